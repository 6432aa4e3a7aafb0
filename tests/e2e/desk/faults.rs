//! What the stories of `kill -9` do with the gateway and the product's counts.

use std::thread::JoinHandle;

use serde_json::Value;

use super::{Desk, GATEWAY_AUTHORIZATION, Session};
use crate::http::{self, JSON};
use crate::until;

impl Desk {
    /// Opens a session by this body.
    pub(crate) fn open_session_by(&mut self, body: &Value) -> Session {
        let reply = self.post_session(body).expect(200).json();
        self.opened(reply)
    }

    /// The gateway fails by this rule, which is used up by one request.
    pub(crate) fn gateway_fails(&self, rule: &Value) {
        let headers = [GATEWAY_AUTHORIZATION, JSON];
        let reply =
            http::send(&self.seen, self.at.gateway, "POST /admin/faults", &headers, &rule.to_string());
        assert!((200..300).contains(&reply.status), "{rule}: {reply:?}");
    }

    /// Waits until the rule is used up: the request that it was for has come.
    pub(crate) fn fault_has_struck(&self) {
        until("the gateway's fault strikes", || {
            let headers = [GATEWAY_AUTHORIZATION];
            let reply = http::send(&self.seen, self.at.gateway, "GET /admin/faults", &headers, "");
            let left = reply.expect(200).json();
            let rules = left.as_array().or_else(|| left["rules"].as_array()).cloned();
            rules.unwrap_or_else(|| panic!("{left}")).is_empty().then_some(())
        });
    }

    /// Asks for an operation, and waits for nothing.
    pub(crate) fn asks_for(&mut self, session: &Session, what: &str, body: &Value) -> JoinHandle<()> {
        let (authorization, seen, api) = (self.authorization(), self.seen.clone(), self.at.api);
        let (request, body) = (format!("POST /v1/session/{}/{what}", session.guid), body.to_string());
        std::thread::spawn(move || {
            let headers = [("Authorization", authorization.as_str()), JSON];
            let _ = http::try_send(&seen, api, &request, &headers, &body);
        })
    }

    /// A metric that may not be there yet.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let metrics = http::send(&self.seen, self.at.admin, "GET /metrics", &[], "").expect(200).body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}
