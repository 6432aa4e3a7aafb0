//! Payment gateways: what is sent, what was answered, and whether anything was sent at all.
//!
//! Two halves that do not mix:
//! - A [`Connector`] knows one gateway's words. It is pure: it builds a request and reads a reply. A reply
//!   that it does not understand is indeterminate, never a decline.
//! - The executor owns sockets and deadlines, and KNOWS whether a byte of the request was written. Only when
//!   surely none was, a submission is [`Submission::NotSent`], and only then it is tried again within the
//!   patience. Anything else without a readable answer is [`Submission::Unknown`] (G1, G3).
//!
//! [`Gateways`] puts both together. [`generic`] is the JSON of the pay connectors that voice platforms speak;
//! [`cybersource`], [`stripe`], [`adyen`], [`worldpay`] and [`mpgs`] speak to those gateways; [`sandbox`] is a gateway that takes no
//! money and speaks as the generic one.
//!
//! No card digit leaves here but in the request itself: request bodies are wiped, replies are kept only as
//! far as they are understood, and nothing of either is logged.

pub mod adyen;
mod amounts;
mod breaker;
#[cfg(test)]
mod capabilities;
mod caps;
mod challenge;
mod checks;
mod config;
mod connector;
#[cfg(test)]
mod contract;
mod counted_io;
pub mod cybersource;
mod endpoint;
mod executor;
#[cfg(test)]
mod fixtures;
mod follow_up;
mod gateways;
pub mod generic;
mod line;
pub mod mpgs;
mod notification;
mod order;
mod pool;
pub mod sandbox;
pub mod stripe;
mod wire;
mod wire_text;
pub mod worldpay;

pub use amounts::Currencies;
pub use caps::{Caps, Challenges, Replay};
pub use challenge::Return;
pub use config::{GatewayConfig, GatewayConfigError, GatewayKind, Patience};
pub use connector::{
    BuildError, Connector, NoReturn, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, STEPS_MAX, Step,
};
pub use cybersource::Auth as CyberSourceAuth;
pub use endpoint::{Endpoint, EndpointError};
pub use follow_up::{AskedFollowUp, FollowUpSubmission, Reversal};
pub use gateways::{Asked, Clock, Gateways, NotKnown, Submission};
pub use notification::{NOTIFICATIONS_MAX, NotificationError};
pub use order::{Channel, Credential, FollowUp, FollowUpKind, Order, Source};
pub use wire::{BODY_BYTES_MAX, Reply, WireBody, WireRequest};
