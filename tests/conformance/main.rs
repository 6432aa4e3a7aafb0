//! Others' word for it: what the vendors publish, against our connectors and against the gateway simulator.
//!
//! - Prism, with Adyen's and Stripe's own OpenAPI files, stands between our connectors and the simulator and finds
//!   fault with every request and every reply.
//! - CyberSource's Python SDK drives the simulator, and signs what our connector signs.
//! - localstripe, a Stripe that others wrote, takes our connector's happy path.
//!
//! The tools come from `./test` (`tests/conformance/package.json`, `requirements.txt`). Everything is on loopback.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod localstripe;
mod prism;
mod sdk;
mod shop;
mod simulator;
mod tools;
