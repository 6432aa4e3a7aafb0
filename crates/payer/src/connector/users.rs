//! Who may use the pay connector: HTTP Basic (RFC 7617), or a user's password as a Bearer token (RFC 6750). Each user is
//! bound to one account configuration.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use hushpad_domain::ids::{AccountId, ConfigurationId};
use hushpad_domain::time::Tick;
use ring::hmac;
use zeroize::Zeroizing;

use crate::links::Source;
use crate::throttle::{Throttle, network_of};

/// A user as the operator has set it up.
pub struct ConnectorUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// Whose payments it makes.
    pub account: AccountId,
    /// By which configuration.
    pub configuration: ConfigurationId,
}

/// Everyone who may. Passwords are kept as keyed hashes only. No `Debug`: nothing prints them.
pub struct ConnectorUsers {
    key: hmac::Key,
    users: Vec<Known>,
    throttle: Throttle<(Option<IpAddr>, Option<usize>)>,
}

struct Known {
    name: String,
    tag: hmac::Tag,
    account: AccountId,
    configuration: ConfigurationId,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) user: String,
    pub(super) account: AccountId,
    pub(super) configuration: ConfigurationId,
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginRefused {
    /// No such user, or another password. Which of the two is not told.
    Wrong,
    /// Wrong too often: not looked at for so many seconds.
    TooOften(u64),
}

impl ConnectorUsers {
    /// These users; `key` is random, of this process.
    #[must_use]
    pub fn new(key: &[u8; 32], users: Vec<ConnectorUser>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let known = |user: ConnectorUser| Known {
            tag: hmac::sign(&key, user.password.as_bytes()),
            name: user.name,
            account: user.account,
            configuration: user.configuration,
        };
        let users = users.into_iter().map(known).collect();
        Self { key, users, throttle: Throttle::default() }
    }

    /// Who asks, by the request's `Authorization`. A user whose password was wrong too often from one network is not
    /// looked at from there for a while, right or wrong; from elsewhere it is.
    pub(super) fn login(
        &self,
        headers: &HeaderMap,
        source: Option<Source>,
        now: Tick,
    ) -> Result<Caller, LoginRefused> {
        let shown = Shown::of(headers);
        let at = match &shown {
            Shown::Basic(text) => self.named(text.split_once(':').unwrap_or_default().0),
            Shown::Bearer(token) => self.holder(token),
            Shown::Nothing => None,
        };
        // Who is nobody's user shares one allowance: their names would fill the map.
        let key = (network_of(source), at);
        if let Some(wait_s) = self.throttle.wait_s(key, now) {
            return Err(LoginRefused::TooOften(wait_s));
        }
        // Of a name that is none, a hash is taken too, so that both take as long.
        let nobody = hmac::sign(&self.key, b"");
        let user = at.and_then(|at| self.users.get(at));
        let tag = user.map_or(&nobody, |user| &user.tag);
        let right = hmac::verify(&self.key, shown.password().as_bytes(), tag.as_ref()).is_ok();
        match user {
            Some(user) if right => Ok(Caller {
                user: user.name.clone(),
                account: user.account.clone(),
                configuration: user.configuration,
            }),
            Some(_) | None => {
                self.throttle.count(key, now);
                Err(LoginRefused::Wrong)
            }
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.users.iter().position(|user| user.name == name)
    }

    /// Whose password this is; every one is looked at, and two users with one password have none.
    fn holder(&self, token: &str) -> Option<usize> {
        let holds = |user: &Known| hmac::verify(&self.key, token.as_bytes(), user.tag.as_ref()).is_ok();
        let holders: Vec<_> = self.users.iter().enumerate().filter(|(_, user)| holds(user)).collect();
        match holders[..] {
            [(at, _)] => Some(at),
            _ => None,
        }
    }
}

/// What a request shows of its user.
enum Shown {
    /// `user:password` (RFC 7617).
    Basic(Zeroizing<String>),
    /// The password alone (RFC 6750), for telephony that sends no other header, as Telnyx.
    Bearer(Zeroizing<String>),
    Nothing,
}

impl Shown {
    fn of(headers: &HeaderMap) -> Self {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (all.next(), all.next()) else { return Self::Nothing };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
            return Self::Nothing;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Self::Bearer(Zeroizing::new(rest.to_owned()));
        }
        let decoded = STANDARD.decode(rest).map(Zeroizing::new).ok();
        let text = decoded.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        match text.filter(|_| scheme.eq_ignore_ascii_case("basic")) {
            Some(text) => Self::Basic(Zeroizing::new(text.to_owned())),
            None => Self::Nothing,
        }
    }

    fn password(&self) -> &str {
        match self {
            Self::Basic(text) => text.split_once(':').unwrap_or_default().1,
            Self::Bearer(token) => token,
            Self::Nothing => "",
        }
    }
}
