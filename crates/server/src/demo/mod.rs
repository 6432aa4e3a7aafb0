//! `hushpad demo`: the main job on one machine.
//!
//! Around a running server: two telephones ([`phone`]), an independent judge of what the agent could hear
//! ([`ear`]).

pub mod ear;
pub mod phone;
