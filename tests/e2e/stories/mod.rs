//! The stories.

mod browser;
mod crash;
mod decline;
mod demo;
mod ear_works;
mod edges;
mod gateway;
mod intruders;
mod keying;
mod memory;
mod secure_mode;
mod test_keypad;
mod webhooks;
