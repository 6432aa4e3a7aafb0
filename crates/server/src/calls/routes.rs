//! Where calls go. The config file decides; a call only asks.

use hushpad_telephony::call::{Leg, Wish};
use thiserror::Error;

use crate::sip::Credential;

/// What an INVITE says of where it wants to go.
#[derive(Clone, Copy, Debug)]
pub struct Dialled<'a> {
    /// The user part that was dialled; may be empty.
    pub user: &'a str,
    /// The value of `X-Agent-Id`.
    pub agent_header: Option<&'a str>,
    /// The name of the peer it comes from.
    pub peer: &'a str,
    /// The user part of its From; may be empty.
    pub caller: &'a str,
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The account it belongs to.
    pub account: String,
    /// The agent it is for; nobody yet on a trunk.
    pub agent: Option<String>,
    /// Whom we call, a SIP URI: the agent's phone, or the next hop.
    pub uri: String,
    /// On which leg the customer is: the one whose keys are hidden.
    pub customer: Leg,
    /// Whether the account may see who calls.
    pub shows_caller: bool,
    /// What is wanted of SRTP there; else what the peer at that address says.
    pub srtp: Option<Wish>,
}

/// Decides on SRTP: a key in a description that anybody can read protects nothing, so without TLS there is none
/// unless that is allowed.
///
/// # Errors
/// SRTP is required and cannot be had.
pub(super) fn settle(wish: Wish, encrypted: bool, without_tls: bool) -> Result<Wish, SrtpNeedsTls> {
    match wish {
        Wish::Off => Ok(Wish::Off),
        _ if encrypted || without_tls => Ok(wish),
        Wish::Optional => Ok(Wish::Off),
        Wish::Required => Err(SrtpNeedsTls),
    }
}

/// See [`settle`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("srtp is required, but its keys would go unencrypted: use TLS for SIP, or set sip.sdes_without_tls")]
pub(super) struct SrtpNeedsTls;

/// Whether calls to this SIP address go over TLS.
pub(super) fn is_encrypted(uri: &str) -> bool {
    let mut parameters = uri.split(';').skip(1).map(str::trim);
    uri.starts_with("sips:") || parameters.any(|parameter| parameter.eq_ignore_ascii_case("transport=tls"))
}

impl Route {
    /// To an agent's phone, for a customer who calls.
    #[must_use]
    pub fn to_agent(account: &str, agent: &str, uri: String) -> Self {
        let (account, agent) = (account.to_owned(), Some(agent.to_owned()));
        Self { account, agent, uri, customer: Leg::Caller, shows_caller: false, srtp: None }
    }
}

/// Nobody is reached by what was dialled: the caller hears 404.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no route")]
pub struct RouteRefused;

/// Decides where a call goes. Must not wait for anything.
pub trait Routes: Send + Sync {
    /// The route for what was dialled.
    ///
    /// # Errors
    /// There is none.
    fn route(&self, dialled: &Dialled<'_>) -> Result<Route, RouteRefused>;

    /// The route to an agent's own phone, for a link code; nothing when it is not known.
    fn agent_phone(&self, _account: &str, _agent: &str) -> Option<Route> {
        None
    }

    /// The agent who calls to take over a leg of this account's call, by the header `X-Agent-Id` or the user part
    /// of From; nothing when it is none that is known.
    fn agent_calling(&self, _account: &str, _agent_header: Option<&str>, _caller: &str) -> Option<String> {
        None
    }

    /// What we say when the far end, or the telephone system before it, challenges us. Kept apart from
    /// [`Route`], which is shown and compared.
    fn credential(&self, _route: &Route) -> Option<Credential> {
        None
    }
}
