//! The pay connector: its listener, and whose payments its users make.

use std::net::SocketAddr;
use std::time::Duration;

use hushpad_domain::ids::{AccountId, ConfigurationId};
use hushpad_payer::ConnectorUser;

use super::check::Mistakes;
use super::{raw, secret};

/// The password that the documentation uses. Anyone can read it, so only test mode takes it.
pub const SAMPLE_CONNECTOR_PASSWORD: &str = "hushpad-sample-password";
/// As hard to guess as a key of 96 bits, where each character is one of 64 by chance.
const PASSWORD_CHARS_MIN: usize = 16;
/// A caller that waits longer has given up.
const PATIENCE_S: std::ops::RangeInclusive<u64> = 1..=60;

/// Where others' telephony hands over cards.
pub struct PayConnectorConfig {
    /// Where we listen.
    pub listen: SocketAddr,
    /// How long a caller waits for an answer.
    pub patience: Duration,
    /// Who may.
    pub users: Vec<ConnectorUser>,
}

/// The pay connector, if there is one.
pub(super) fn pay_connector(mistakes: &mut Mistakes, whole: &raw::Raw) -> Option<PayConnectorConfig> {
    let raw = whole.pay_connector.as_ref()?;
    if !PATIENCE_S.contains(&raw.patience_s) {
        mistakes.add(
            "pay_connector.patience_s",
            format!("must be from {} to {}", PATIENCE_S.start(), PATIENCE_S.end()),
        );
    }
    if raw.users.is_empty() {
        mistakes.add("pay_connector.users", "must have at least one user");
    }
    let users = (0..raw.users.len()).filter_map(|index| user(mistakes, whole, &raw.users, index)).collect();
    Some(PayConnectorConfig { listen: raw.listen, patience: Duration::from_secs(raw.patience_s), users })
}

fn user(
    mistakes: &mut Mistakes,
    whole: &raw::Raw,
    users: &[raw::ConnectorUser],
    index: usize,
) -> Option<ConnectorUser> {
    let user = &users[index];
    let path = |name: &str| format!("pay_connector.users[{index}].{name}");
    let sendable = !user.user.contains(':') && !user.user.chars().any(char::is_control);
    if user.user.is_empty() || !sendable || users[..index].iter().any(|other| other.user == user.user) {
        mistakes.add(&path("user"), "must be there, be used once, and have no colon (RFC 7617)");
    }
    let account = whole.accounts.iter().find(|account| account.id == user.account);
    match account {
        None => mistakes.add(&path("account"), "must be the id of one of the accounts"),
        Some(account) if account.configurations.iter().all(|one| one.id != user.configuration) => {
            mistakes.add(&path("configuration"), "must be the id of one of the account's configurations");
        }
        Some(_) => {}
    }
    let password = mistakes.take(&path("password"), secret::read(&user.password))?;
    if !whole.test_mode {
        if password.as_str() == SAMPLE_CONNECTOR_PASSWORD {
            mistakes.add(&path("password"), "is the sample password of the documentation");
        }
        if password.chars().count() < PASSWORD_CHARS_MIN {
            mistakes.add(
                &path("password"),
                format!("must have at least {PASSWORD_CHARS_MIN} characters: make one with `openssl rand -base64 24`"),
            );
        }
    }
    Some(ConnectorUser {
        name: user.user.clone(),
        password,
        account: AccountId(user.account.clone()),
        configuration: ConfigurationId(user.configuration),
    })
}
