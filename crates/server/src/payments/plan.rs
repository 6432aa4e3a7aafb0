//! What the account's configuration says about a payment: where it goes, what for, what is taken of an answer.

use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::Directory;
use hushpad_domain::attempt::Purpose;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::session::{Retry, Session, Terms};

/// How a session's payments are made.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where they go: the first one, and the others only when surely nothing was sent to those before.
    pub(super) gateways: Vec<GatewayName>,
    pub(super) purpose: Purpose,
    pub(super) acceptance: Acceptance,
    /// Whether the gateway is to keep the card, for which the customer's consent was given.
    pub(super) keep_card: bool,
}

impl Plan {
    /// The plan of a session. A configuration that is gone judges as the usual one does and pays nowhere.
    pub(super) fn of(directory: &Directory, session: &Session) -> Self {
        let configuration = directory
            .account(&session.account)
            .and_then(|account| account.configuration(session.configuration));
        match configuration {
            Some(configuration) => Self {
                gateways: std::iter::once(&configuration.gateway)
                    .chain(&configuration.fail_over)
                    .cloned()
                    .collect(),
                purpose: configuration.flow.purpose,
                acceptance: configuration.flow.acceptance,
                keep_card: configuration.flow.keep_card,
            },
            None => Self {
                gateways: Vec::new(),
                purpose: Purpose::Sale,
                acceptance: Acceptance::default(),
                keep_card: false,
            },
        }
    }

    pub(super) fn terms(&self, retry: Retry) -> Terms {
        Terms { retry, acceptance: self.acceptance }
    }
}
