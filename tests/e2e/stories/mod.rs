//! The stories.

mod browser;
mod by_ear;
mod crash;
mod database;
mod decline;
mod demo;
mod digital;
mod ear_works;
mod edges;
mod gateway;
mod intruders;
mod keying;
mod kill_steps;
mod link_code;
mod memory;
mod notifications;
mod pay_connector;
mod recipes;
mod secure_mode;
mod settling;
mod stored_cards;
mod test_keypad;
mod webhooks;
