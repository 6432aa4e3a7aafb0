//! A type for every id, so that one cannot be taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

guid! {
    /// A payment session, as the API side knows it: `sessionGuid`.
    SessionGuid
}
guid! {
    /// The same session on the secure side: `providerSessionGuid`.
    ProviderSessionGuid
}
guid! {
    /// A phone call that runs through the media relay: `callGuid`.
    CallGuid
}
guid! {
    /// A page that shows an agent the link code.
    LinkPageGuid
}
guid! {
    /// One attempt; our reference at the gateway is made from it.
    AttemptId
}
guid! {
    /// One operation after the answer to an attempt (a capture, void, refund or reversal); our reference at the
    /// gateway and its idempotency key are made from it.
    OperationId
}
guid! {
    /// One thing that a webhook tells: `webhook-id`.
    DeliveryId
}
name! {
    /// An account: a customer of the installation, owner of everything below it.
    AccountId
}
name! {
    /// An agent, as the integrator names it: `agentId`.
    AgentId
}
name! {
    /// The public id of an API client: `client_id`.
    ClientId
}
name! {
    /// The name of a configured gateway.
    GatewayName
}

/// The number of an account configuration. 0 is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigurationId(pub u32);

impl fmt::Display for ConfigurationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an attempt within its session, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptNo(pub u16);

impl fmt::Display for AttemptNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
