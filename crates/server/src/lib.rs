//! The program `hushpad`: everything that touches clocks, sockets, files and the environment.

pub mod calls;
pub mod capture;
pub mod config;
pub mod demo;
pub mod media;
pub mod sip;
