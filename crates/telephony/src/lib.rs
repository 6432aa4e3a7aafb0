//! Calls of two legs: RTP, SDP, tones, and the guard that hides them.
//!
//! This room knows calls, legs and tones, never payments. Everything here is pure: bytes and time come
//! in as arguments, bytes and events go out. Sockets, threads and the SIP stack are in `server`.
//!
//! Read in this order: [`key`] (what is pressed), [`detector`] and [`guard`] (hearing and hiding tones),
//! [`rtp`], [`rtcp`], [`srtp`] and [`telephone_event`] (packets), [`relay`] (two legs joined), [`sdp`] and [`call`] (signalling), [`siprec`] (what recorders are told).

pub mod call;
pub mod detector;
pub mod g711;
pub mod guard;
pub mod key;
pub mod key_queue;
pub mod relay;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod siprec;
pub mod srtp;
pub mod telephone_event;
