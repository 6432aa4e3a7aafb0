//! Adyen Checkout v72 (docs.adyen.com/api-explorer/Checkout/72/post/payments).
//!
//! # Orders
//! `POST {url}/payments` with `X-API-Key` and `Idempotency-Key` (a UUIDv5 of the attempt's id, 36 of 64
//! characters). `reference` is the attempt's id, `shopperInteraction` `Moto` for a telephone order, the amount in
//! Adyen's own minor units; there is no 3-D Secure data then. An authorisation asks for manual capture; whether a sale
//! is captured at once is the merchant account's setting. Tokenising is a payment of nothing.
//!
//! # Answer
//! Told by `resultCode`, not by the HTTP status: a refusal comes with 200. `Pending` and `Received` wait for
//! Adyen's notification.
//!
//! # 3-D Secure
//! On a page the request has `channel` `Web`, `origin`, `returnUrl`, `browserInfo`, and asks for the redirect
//! (`nativeThreeDS` `disabled`). `RedirectShopper` names where the payer goes: a link, or a form to post. Back comes
//! `redirectResult` (or `MD` and `PaRes`), which goes to `POST {url}/payments/details`; only that charges, so a payer who
//! never comes back is not charged (docs.adyen.com/online-payments/3d-secure/redirect-3ds2).
//! The payer brings `redirectResult`: the answer must name our reference, else it is another payment's and proves
//! nothing for this one.
//!
//! # Follow-ups
//! `POST {url}/payments/{pspReference}/captures`, `/cancels`, `/refunds` and `/reversals`, each with an
//! `Idempotency-Key`. Adyen only says that it has taken them; how they end it says by notification. `/cancels`
//! and `/reversals` refuse an `amount`.
//!
//! # Unknowns
//! Adyen cannot be asked by our reference, and a replay would need the card. It says by notification what became
//! of an attempt; and `POST {url}/cancels` by our reference undoes what it held (a `TECHNICAL_CANCEL`
//! notification tells).

mod challenge;
mod follow;
mod notification;
mod reply;
mod request;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use hushpad_domain::attempt::{Attempt, Purpose, Unknown};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::notification::Notification;
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

use self::notification::NotificationKey;
use crate::amounts::{Currencies, Unit};
use crate::caps::{Caps, Challenges, Replay};
use crate::connector::{
    BuildError, Connector, NoReturn, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, Step,
};
use crate::endpoint::Endpoint;
use crate::notification::NotificationError;
use crate::order::{FollowUp, FollowUpKind, Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};
use crate::wire_text::{derived, idempotency_key, secret_header};

/// Adyen keeps idempotency keys for seven days at least (docs.adyen.com, "API idempotency"). A day is kept back.
pub const REPLAY_MAX: Duration = Duration::from_secs(6 * 24 * 60 * 60);

/// Where Adyen does not write two decimals, or not as ISO 4217 does (CLP, CVE, IDR, ISK), from
/// docs.adyen.com/development-resources/currency-codes. MGA is not taken.
const UNITS: &[Unit] = &[
    Unit::new("BHD", 3),
    Unit::new("CLP", 2),
    Unit::new("CVE", 0),
    Unit::new("DJF", 0),
    Unit::new("GNF", 0),
    Unit::new("HUF", 2),
    Unit::new("IDR", 0),
    Unit::new("ISK", 2),
    Unit::new("JOD", 3),
    Unit::new("JPY", 0),
    Unit::new("KMF", 0),
    Unit::new("KRW", 0),
    Unit::new("KWD", 3),
    Unit::new("OMR", 3),
    Unit::new("PYG", 0),
    Unit::new("RWF", 0),
    Unit::new("TND", 3),
    Unit::new("UGX", 0),
    Unit::new("VND", 0),
    Unit::new("VUV", 0),
    Unit::new("XAF", 0),
    Unit::new("XOF", 0),
    Unit::new("XPF", 0),
];

/// How to reach Adyen as a merchant.
pub struct Settings<'a> {
    /// Up to the version, such as `/v72`.
    pub base: Endpoint,
    /// The merchant account.
    pub merchant_account: &'a str,
    /// The API key.
    pub api_key: &'a str,
    /// The key of notifications in hexadecimal; without it none is believed.
    pub hmac_key: Option<&'a str>,
    /// How long after the intent an operator may take silence for "not charged".
    pub settle_time: Duration,
}

/// The connector of Adyen.
pub struct Adyen {
    base: Endpoint,
    merchant_account: String,
    api_key: HeaderValue,
    notifications: Option<NotificationKey>,
    caps: Caps,
}

impl Adyen {
    /// The connector; `None` when a key cannot be used or the account has no name.
    #[must_use]
    pub fn new(settings: Settings<'_>) -> Option<Self> {
        let Settings { base, merchant_account, api_key, hmac_key, settle_time } = settings;
        if merchant_account.is_empty() || api_key.is_empty() {
            return None;
        }
        let notifications = match hmac_key {
            Some(key) => Some(NotificationKey::new(key)?),
            None => None,
        };
        Some(Self {
            base,
            merchant_account: merchant_account.to_owned(),
            api_key: secret_header(api_key)?,
            caps: Caps {
                replay: Replay::StoresFirst { window: REPLAY_MAX },
                query_by_ref: false,
                reverse_by_ref: true,
                settle_time,
                currencies: Currencies::in_minor_units(UNITS),
                brands: &Brand::ALL,
                partial: true,
                moto: true,
                purposes: &Purpose::ALL,
                follow_ups: &FollowUpKind::ALL,
                query_follow_up: false,
                notifies: notifications.is_some(),
                challenge: Challenges::ChargedOnReturn,
            },
            notifications,
        })
    }

    fn post(&self, path: &str, id: Uuid, step: &str, body: WireBody) -> WireRequest {
        let headers = vec![
            (HeaderName::from_static("x-api-key"), self.api_key.clone()),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("idempotency-key"), idempotency_key(id, step)),
        ];
        WireRequest { endpoint: self.base.below(path), method: Method::POST, headers, body }
    }
}

impl Connector for Adyen {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn home(&self) -> &Endpoint {
        &self.base
    }

    fn build(
        &self,
        _: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let mut body = WireBody::room();
        request::write(&mut body, &self.merchant_account, order, source)?;
        Ok(self.post("/payments", order.attempt.id.0, "payments", body))
    }

    fn parse(&self, _: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        reply::read(order, card, reply)
    }

    fn after_challenge(&self, challenge: &Challenge, came_along: &[u8]) -> Result<Step, NoReturn> {
        challenge::returned(challenge, came_along)
    }

    fn go_on(&self, step: &Step, attempt: &Attempt, _: Timestamp) -> Result<WireRequest, BuildError> {
        let body = challenge::details(step).ok_or(BuildError::Unsupported)?;
        // The same for every try, another for another return.
        let visit = attempt.visit().map_or(0, |visit| visit.no);
        let brought = derived(attempt.id.0, &format!("{visit} {}", step.ids.join(" ")));
        Ok(self.post("/payments/details", brought, "details", WireBody::json(&body)?))
    }

    fn parse_go_on(&self, _: &Step, attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        challenge::read(attempt, card, reply)
    }

    fn query(&self, _: &Step, _: &Attempt, _: Timestamp) -> Option<WireRequest> {
        None
    }

    fn parse_query(&self, _: &Step, _: &Attempt, _: &Reply) -> ParsedQuery {
        ParsedQuery::Indeterminate(Unknown::Unreadable)
    }

    fn follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, _: Timestamp) -> Result<WireRequest, BuildError> {
        let (path, body) = follow::request(&self.merchant_account, follow_up)?;
        Ok(self.post(&path, follow_up.id.0, "follow-up", WireBody::json(&body)?))
    }

    fn parse_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        follow::read(follow_up, reply)
    }

    fn reverse_unknown(&self, _: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        let body = follow::technical_cancel(&self.merchant_account, attempt);
        Some(self.post("/cancels", derived(attempt.id.0, "cancels"), "", WireBody::json(&body).ok()?))
    }

    fn parse_reverse_unknown(&self, _: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
        follow::read_technical_cancel(attempt, reply)
    }

    fn notification(&self, body: &[u8]) -> Result<Vec<Notification>, NotificationError> {
        let key = self.notifications.as_ref().ok_or(NotificationError::NotExpected)?;
        notification::read(key, &self.merchant_account, body)
    }
}

#[cfg(test)]
pub(crate) mod tests;
