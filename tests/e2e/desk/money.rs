//! What the stories of stored cards, of gateways' notifications and of the operator's word do.

use serde_json::{Value, json};

use super::{Desk, GATEWAY_AUTHORIZATION, Session, create_client};
use crate::http::{self, JSON, Reply};

/// The back end of another account, which has the shop's merchant at the gateway.
pub(crate) struct Market {
    token: String,
}

impl Desk {
    /// Charges a stored card for the shop.
    pub(crate) fn charges(&mut self, key: &str, body: &Value) -> Reply {
        let authorization = self.authorization();
        let reply = self.charges_as(&authorization, key, body);
        if (200..300).contains(&reply.status) {
            self.opened(reply.json());
        }
        reply
    }

    /// Opens the other account's back end.
    pub(crate) fn market(&self) -> Market {
        Market { token: self.token_of(&create_client(self.directory.path(), "market")) }
    }

    /// Charges a stored card for the other account.
    pub(crate) fn market_charges(&self, market: &Market, key: &str, body: &Value) -> Reply {
        self.charges_as(&format!("Bearer {}", market.token), key, body)
    }

    fn charges_as(&self, authorization: &str, key: &str, body: &Value) -> Reply {
        let headers = [("Authorization", authorization), ("Idempotency-Key", key), JSON];
        http::send(&self.seen, self.at.api, "POST /v1/charge", &headers, &body.to_string())
    }

    /// The session's events, in order, by their types.
    pub(crate) fn events(&mut self, session: &Session) -> Vec<String> {
        let authorization = self.authorization();
        let request = format!("GET /v1/session/{}/events", session.guid);
        let headers = [("Authorization", authorization.as_str()), ("Accept", "application/json")];
        let reply = http::send(&self.seen, self.at.api, &request, &headers, "").expect(200).json();
        let events = reply["events"].as_array().unwrap_or_else(|| panic!("{reply}"));
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// From now on the gateway sends its notifications there.
    pub(crate) fn gateway_notifies(&self, url: &str) {
        let headers = [GATEWAY_AUTHORIZATION, JSON];
        let body = json!({ "url": url }).to_string();
        let reply = http::send(&self.seen, self.at.gateway, "POST /admin/notifications", &headers, &body);
        assert!((200..300).contains(&reply.status), "{reply:?}");
    }

    /// Where the product hears the notifications of this gateway.
    pub(crate) fn notifications_of(&self, gateway: &str) -> String {
        format!("http://{}/notifications/{gateway}", self.at.notifications)
    }

    /// A notification comes to the product from somewhere.
    pub(crate) fn is_notified(&self, gateway: &str, body: &str) -> Reply {
        let request = format!("POST /notifications/{gateway}");
        http::send(&self.seen, self.at.notifications, &request, &[JSON], body)
    }
}
