//! Others' telephony, which hands over cards by the pay connector.

use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Desk, GATEWAY_PASSWORD, Session};
use crate::cards::TestCard;
use crate::http::{self, JSON, Reply};

impl Desk {
    /// Posts a transaction as this user, whatever is answered.
    pub(crate) fn telephony_posts(&self, user: &str, body: &str) -> Reply {
        let login = login(user, GATEWAY_PASSWORD.1);
        http::send(&self.seen, self.at.connector, "POST /charges", &[("Authorization", &login), JSON], body)
    }

    /// The same beside the test; `None` where the connection ends without an answer.
    pub(crate) fn telephony_sends(&self, user: &str, body: String) -> JoinHandle<Option<Reply>> {
        let (seen, at, login) = (self.seen.clone(), self.at.connector, login(user, GATEWAY_PASSWORD.1));
        std::thread::spawn(move || {
            http::try_send(&seen, at, "POST /charges", &[("Authorization", &login), JSON], &body)
        })
    }

    /// Asks what became of a transaction.
    pub(crate) fn telephony_asks(&self, user: &str, password: &str, id: &str) -> Reply {
        let request = format!("GET /charges?transaction_id={id}");
        let login = login(user, password);
        http::send(&self.seen, self.at.connector, &request, &[("Authorization", &login)], "")
    }

    /// The session that an answer to others' telephony tells of: from now on this desk sees to its end.
    pub(crate) fn session_told(&mut self, answer: &Value) -> Session {
        let guid = answer["parameters"]["session_guid"].as_str().unwrap_or_else(|| panic!("{answer}"));
        self.opened(json!({ "sessionGuid": guid }))
    }
}

/// The published JSON of a charge.
pub(crate) fn charge(id: &str, card: TestCard, amount: &str) -> Value {
    let (month, year) = card.expiry.split_at(2);
    json!({
        "transaction_id": id, "method": "charge", "cardnumber": card.number, "cvv": card.security_code,
        "expiry_month": month, "expiry_year": year, "amount": amount, "currency_code": "GBP",
        "postal_code": "SW1A 1AA", "description": "Order 7", "parameters": {"CustomerId": "C-7"},
    })
}

fn login(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
