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
mod memory;
mod pay_connector;
mod recipes;
mod secure_mode;
mod test_keypad;
mod webhooks;
