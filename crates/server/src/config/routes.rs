//! Which agent a dialled user means, and where that agent's phone is.

use std::collections::HashMap;

use crate::calls::{Route, RouteRefused, Routes};
use crate::sip::Credential;

/// Dialled users and agents, from the config file.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    by_user: HashMap<String, Route>,
    default: Option<(String, String)>,
    account_credentials: HashMap<String, Credential>,
    agent_credentials: HashMap<(String, String), Credential>,
}

impl RouteTable {
    /// Adds a dialled user; false when it is there already.
    pub(super) fn add(&mut self, user: String, route: Route) -> bool {
        self.by_user.insert(user, route).is_none()
    }

    /// Sets where users go that are not listed; false when it is set already.
    pub(super) fn set_default(&mut self, account: String, phone: String) -> bool {
        self.default.replace((account, phone)).is_none()
    }

    /// What we say when any phone of the account challenges us.
    pub(super) fn set_account_credential(&mut self, account: String, credential: Credential) {
        self.account_credentials.insert(account, credential);
    }

    /// What we say when this agent's phone challenges us; it goes before the account's.
    pub(super) fn set_agent_credential(&mut self, account: String, agent: String, credential: Credential) {
        self.agent_credentials.insert((account, agent), credential);
    }

    /// The agent for a dialled user, or for the agent id of a header, which goes first.
    #[must_use]
    pub fn find(&self, dialled_user: &str, agent_header: Option<&str>) -> Option<Route> {
        if let Some(agent) = agent_header
            && let Some(route) = self.by_user.values().find(|route| route.agent == agent)
        {
            return Some(route.clone());
        }
        self.by_user.get(dialled_user).cloned().or_else(|| {
            let (account, phone) = self.default.as_ref()?;
            let agent = agent_header.unwrap_or(dialled_user);
            is_plain_user(agent).then(|| Route {
                account: account.clone(),
                agent: agent.to_owned(),
                agent_uri: phone.replace("{agent}", agent),
            })
        })
    }
}

/// A user that may be put into a SIP URI as it is (RFC 3261 section 25.1, unreserved).
fn is_plain_user(user: &str) -> bool {
    (1..=64).contains(&user.len())
        && user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.!~*'()+".contains(c))
}

impl Routes for RouteTable {
    fn route(
        &self,
        dialled_user: &str,
        agent_header: Option<&str>,
        _peer: &str,
    ) -> Result<Route, RouteRefused> {
        self.find(dialled_user, agent_header).ok_or(RouteRefused)
    }

    fn credential(&self, route: &Route) -> Option<Credential> {
        let agents = (route.account.clone(), route.agent.clone());
        self.agent_credentials.get(&agents).or_else(|| self.account_credentials.get(&route.account)).cloned()
    }
}
