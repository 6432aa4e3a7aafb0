//! Accounts and their configurations, as the operator's config file gives them.

use std::sync::Arc;
use std::time::Duration;

use crate::acceptance::Acceptance;
use crate::attempt::Purpose;
use crate::field::Field;
use crate::field_map::FieldMap;
use crate::ids::{AccountId, AgentId, ConfigurationId, GatewayName};
use crate::masked_card::Brand;

/// A customer of the installation: owner of its configurations, agents, clients and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id; also the `{account}` of published error texts.
    pub id: AccountId,
    /// Who gets the money, as payers know them: the payer page says it.
    pub payee: String,
    /// Used when a request names no configuration.
    pub default_configuration: ConfigurationId,
    /// Its configurations. Each live session holds on to its own.
    pub configurations: Vec<Arc<AccountConfiguration>>,
    /// Its agents.
    pub agents: Vec<AgentId>,
    /// Whether agents not listed are taken as they come; else they are unknown (404).
    pub any_agent: bool,
}

impl Account {
    /// The configuration with this number.
    #[must_use]
    pub fn configuration(&self, id: ConfigurationId) -> Option<&Arc<AccountConfiguration>> {
        self.configurations.iter().find(|configuration| configuration.id == id)
    }

    /// Whether the agent belongs to this account.
    #[must_use]
    pub fn knows(&self, agent: &AgentId) -> bool {
        self.any_agent || self.agents.contains(agent)
    }
}

/// What a numbered account configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountConfiguration {
    /// Its number within the account; 0 is valid.
    pub id: ConfigurationId,
    /// What sessions it is for.
    pub kind: Kind,
    /// How long a payment link of its sessions lives, at most [`LINK_LIFE_MAX`](crate::link::LINK_LIFE_MAX).
    pub link_life: Duration,
    /// Whether `skipCallTransfer` and its test keypad are allowed.
    pub test: bool,
    /// What is captured, and how.
    pub flow: PaymentFlow,
    /// Where the attempt is sent.
    pub gateway: GatewayName,
    /// Where it is sent instead, in this order, when surely nothing was sent to those before.
    pub fail_over: Vec<GatewayName>,
    /// Origins (`scheme://host:port`) that may frame the agent page; none means nobody.
    pub allowed_origins: Vec<String>,
    /// Whether a webhook tells of its sessions. Where it goes is `server`'s to know.
    pub webhook: bool,
}

/// What sessions a configuration opens. Either kind may later move between keypad and payment link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Begun on a call: the card is keyed on the phone.
    AgentAssist,
    /// Begun with a payment link.
    Digital,
}

/// Which fields are captured, in what order, with what patience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentFlow {
    /// The fields in the order they are keyed.
    pub fields: Vec<Field>,
    /// The brands that are taken.
    pub brands: Vec<Brand>,
    /// What the gateway is asked for.
    pub purpose: Purpose,
    /// What of an approval is taken.
    pub acceptance: Acceptance,
    /// Whether the gateway is to keep the card under a token. The customer must have agreed to that.
    pub keep_card: bool,
    /// What `paymentData` must hold.
    pub data: FieldMap,
    /// How long a field waits for its first key.
    pub first_key_time_out: Duration,
    /// How long it waits between keys.
    pub between_keys_time_out: Duration,
    /// How long the whole session may last before it is paid.
    pub session_time_out: Duration,
}

/// Every account of the installation. Fixed from start to stop.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    accounts: Vec<Account>,
}

impl Directory {
    /// A directory of these accounts.
    #[must_use]
    pub fn new(accounts: Vec<Account>) -> Self {
        Self { accounts }
    }

    /// The account with this id.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == *id)
    }

    /// All accounts.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }
}
