//! The program `hushpad`: everything that touches clocks, sockets, files and the environment.
//!
//! [`serve`] puts the parts together. A call lives in [`calls`] over [`sip`] and [`media`]; a payment session
//! in [`capture`], which alone holds the card; an attempt in [`payments`]; a card that came whole from others' telephony in
//! [`pay_connector`]. [`config`] reads the one file,
//! [`webhooks`] tells back ends of results,
//! [`world`] is time and chance, [`demo`] plays the main job on one machine, `bench` measures it.

pub mod admin;
pub mod agents;
pub mod allocator;
pub mod announcer;
pub mod attempts;
pub mod audio_check;
pub mod bench;
pub mod calls;
pub mod capture;
pub mod cli;
pub mod clients;
pub mod config;
pub mod demo;
pub mod gateway_sim;
pub mod hardening;
pub mod http;
pub mod log;
pub mod media;
pub mod metrics;
pub mod migrate;
pub mod page_watch;
pub mod pay_connector;
pub mod payments;
pub mod recorder;
pub mod senders;
pub mod serve;
pub mod sip;
pub mod webhooks;
pub mod world;
