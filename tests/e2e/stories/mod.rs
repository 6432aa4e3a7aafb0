//! The stories.

mod crash;
mod decline;
mod demo;
mod ear_works;
mod keying;
mod memory;
