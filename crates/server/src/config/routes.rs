//! Which agent or next hop a dialled user means, and where that is.

use std::collections::{HashMap, HashSet};

use hushpad_telephony::call::Leg;

use crate::calls::{Dialled, Route, RouteRefused, Routes};
use crate::sip::Credential;

/// Dialled users, agents and trunks, from the config file.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    by_user: HashMap<String, Route>,
    trunks: Vec<Trunk>,
    default: Option<(String, String)>,
    /// Agents without a phone of their own: reached over a trunk, known by header or bound later.
    phoneless: HashSet<(String, String)>,
    /// The user parts that agents call from.
    users: HashMap<(String, String), String>,
    shows_callers: HashSet<String>,
    account_credentials: HashMap<String, Credential>,
    agent_credentials: HashMap<(String, String), Credential>,
}

/// Where users go that are no agent's.
#[derive(Clone, Debug)]
pub(super) struct Trunk {
    pub(super) account: String,
    /// Only calls of this peer.
    pub(super) from: Option<String>,
    /// Only users that begin so.
    pub(super) prefix: String,
    /// A SIP URI with `{user}`.
    pub(super) next_hop: String,
    pub(super) customer: Leg,
}

impl RouteTable {
    /// Adds a dialled user; false when it is there already.
    pub(super) fn add(&mut self, user: String, route: Route) -> bool {
        self.by_user.insert(user, route).is_none()
    }

    /// Adds an agent that has no phone of its own.
    pub(super) fn add_phoneless(&mut self, account: String, agent: String) {
        self.phoneless.insert((account, agent));
    }

    /// Says which user part an agent calls from.
    pub(super) fn add_user(&mut self, account: String, user: String, agent: String) {
        self.users.insert((account, user), agent);
    }

    /// Adds a trunk after those there are; the first that fits is taken.
    pub(super) fn add_trunk(&mut self, trunk: Trunk) {
        self.trunks.push(trunk);
    }

    /// Lets an account see who calls.
    pub(super) fn show_callers(&mut self, account: String) {
        self.shows_callers.insert(account);
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

    /// In this order: the agent of the header, the agent whose user was dialled, the first trunk that fits, any
    /// agent by its id.
    fn find(&self, dialled: &Dialled<'_>) -> Option<Route> {
        if let Some(agent) = dialled.agent_header
            && let Some(route) = self.by_user.values().find(|route| route.agent.as_deref() == Some(agent))
        {
            return Some(route.clone());
        }
        self.by_user
            .get(dialled.user)
            .cloned()
            .or_else(|| self.trunk(dialled))
            .or_else(|| self.any_agent(dialled.agent_header.unwrap_or(dialled.user)))
    }

    fn trunk(&self, dialled: &Dialled<'_>) -> Option<Route> {
        let user = Some(dialled.user).filter(|user| is_plain_user(user))?;
        let fits = |trunk: &&Trunk| {
            trunk.from.as_deref().is_none_or(|peer| peer == dialled.peer) && user.starts_with(&trunk.prefix)
        };
        let trunk = self.trunks.iter().find(fits)?;
        let named = dialled.agent_header.filter(|agent| self.has_phoneless(&trunk.account, agent));
        // Who calls out is an agent, perhaps one that we know.
        let calling = match trunk.customer {
            Leg::Caller => None,
            Leg::Callee => self.users.get(&(trunk.account.clone(), dialled.caller.to_owned())),
        };
        Some(Route {
            account: trunk.account.clone(),
            agent: named.map(str::to_owned).or_else(|| calling.cloned()),
            uri: trunk.next_hop.replace("{user}", user),
            customer: trunk.customer,
            shows_caller: false,
            srtp: None,
        })
    }

    fn any_agent(&self, agent: &str) -> Option<Route> {
        let (account, phone) = self.default.as_ref()?;
        is_plain_user(agent).then(|| Route::to_agent(account, agent, phone.replace("{agent}", agent)))
    }

    fn has_phoneless(&self, account: &str, agent: &str) -> bool {
        self.phoneless.contains(&(account.to_owned(), agent.to_owned()))
    }

    fn shown(&self, route: Route) -> Route {
        Route { shows_caller: self.shows_callers.contains(&route.account), ..route }
    }
}

/// A user that may be put into a SIP URI as it is (RFC 3261 section 25.1, unreserved).
fn is_plain_user(user: &str) -> bool {
    (1..=64).contains(&user.len())
        && user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.!~*'()+".contains(c))
}

impl Routes for RouteTable {
    fn route(&self, dialled: &Dialled<'_>) -> Result<Route, RouteRefused> {
        self.find(dialled).map(|route| self.shown(route)).ok_or(RouteRefused)
    }

    fn agent_phone(&self, account: &str, agent: &str) -> Option<Route> {
        let own = |route: &&Route| route.account == account && route.agent.as_deref() == Some(agent);
        let listed = self.by_user.values().find(own).cloned();
        let default = || {
            let ours = self.default.as_ref().is_some_and(|(of, _)| of == account);
            let phoneless = self.has_phoneless(account, agent);
            if ours && !phoneless { self.any_agent(agent) } else { None }
        };
        listed.or_else(default).map(|route| self.shown(route))
    }

    fn agent_calling(&self, account: &str, agent_header: Option<&str>, caller: &str) -> Option<String> {
        let known =
            |agent: &&str| self.agent_phone(account, agent).is_some() || self.has_phoneless(account, agent);
        let named = agent_header.filter(known).map(str::to_owned);
        named.or_else(|| self.users.get(&(account.to_owned(), caller.to_owned())).cloned())
    }

    fn credential(&self, route: &Route) -> Option<Credential> {
        let own = route
            .agent
            .as_ref()
            .and_then(|agent| self.agent_credentials.get(&(route.account.clone(), agent.clone())));
        own.or_else(|| self.account_credentials.get(&route.account)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> RouteTable {
        let mut table = RouteTable::default();
        table.add("1234".into(), Route::to_agent("shop", "anna", "sip:1234@10.0.0.5".into()));
        table.add_user("shop".into(), "1234".into(), "anna".into());
        table.add_phoneless("shop".into(), "ben".into());
        table.set_default("shop".into(), "sip:{agent}@10.0.0.6".into());
        let trunk = |from: &str, prefix: &str, host: &str, customer| Trunk {
            account: "shop".into(),
            from: Some(from.into()),
            prefix: prefix.into(),
            next_hop: format!("sip:{{user}}@{host}"),
            customer,
        };
        table.add_trunk(trunk("carrier", "+49", "pbx", Leg::Caller));
        table.add_trunk(trunk("pbx", "", "carrier", Leg::Callee));
        table
    }

    fn told(user: &str, header: Option<&str>, peer: &str, caller: &str) -> String {
        let dialled = Dialled { user, agent_header: header, peer, caller };
        table().route(&dialled).map_or("none".into(), |route| {
            format!("{} {} {:?}", route.agent.as_deref().unwrap_or("-"), route.uri, route.customer)
        })
    }

    #[test]
    fn agents_go_before_trunks_and_trunks_before_anybody() {
        assert_eq!(told("1234", None, "carrier", ""), "anna sip:1234@10.0.0.5 Caller");
        assert_eq!(told("+4930", Some("anna"), "carrier", ""), "anna sip:1234@10.0.0.5 Caller");
        assert_eq!(told("+4930", None, "carrier", ""), "- sip:+4930@pbx Caller");
        assert_eq!(told("+4930", Some("ben"), "carrier", ""), "ben sip:+4930@pbx Caller");
        assert_eq!(told("+4930", Some("nobody"), "carrier", ""), "- sip:+4930@pbx Caller");
        assert_eq!(told("7", None, "carrier", ""), "7 sip:7@10.0.0.6 Caller");
        assert_eq!(told("a b", None, "carrier", ""), "none");
    }

    #[test]
    fn who_calls_out_is_the_agent_and_the_callee_the_customer() {
        assert_eq!(told("+4930", None, "pbx", "1234"), "anna sip:+4930@carrier Callee");
        assert_eq!(told("+4930", None, "pbx", "99"), "- sip:+4930@carrier Callee");
    }

    #[test]
    fn who_takes_a_leg_over_is_an_agent_of_that_account_or_nobody() {
        let told = |account, header, caller| table().agent_calling(account, header, caller);
        assert_eq!(told("shop", Some("ben"), "1234").as_deref(), Some("ben"));
        assert_eq!(told("shop", None, "1234").as_deref(), Some("anna"));
        assert_eq!(told("shop", Some("no body"), "99"), None);
        assert_eq!(told("other", Some("anna"), "1234"), None);
    }

    #[test]
    fn a_link_code_leads_to_a_phone_only_where_there_is_one() {
        let phone = |agent| table().agent_phone("shop", agent).map(|route| route.uri);
        assert_eq!(phone("anna").as_deref(), Some("sip:1234@10.0.0.5"));
        assert_eq!(phone("carl").as_deref(), Some("sip:carl@10.0.0.6"));
        assert_eq!(phone("ben"), None);
        assert_eq!(table().agent_phone("other", "anna"), None);
    }
}
