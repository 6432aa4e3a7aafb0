//! CyberSource REST (developer.cybersource.com/api-reference-assets); the host is configured, since others
//! speak it too: Barclaycard Fuse, Worldpay Business, Bank of America.
//!
//! # Orders
//! `POST /pts/v2/payments` with `capture`, and `commerceIndicator` `moto` for a telephone order, the amount as
//! `12.40`, signed as `auth.rs` says. Our reference, as `clientReferenceInformation.code` and `transactionId`, is
//! the attempt's id in 26 characters (30 are allowed); the merchant's own reference is
//! `merchantDefinedInformation` 1. AVS and CVN answers are told and decided by the flow's policy: CyberSource is
//! asked to ignore them. Tokenising is an authorisation of zero with `TOKEN_CREATE`; a token is a TMS customer.
//!
//! # Answer
//! Told by `status`, not by the HTTP status: a decline comes with 201. Every 5xx, and the reasons
//! `SERVER_TIMEOUT` and `SERVICE_TIMEOUT`, are unknown. The result is in the names of the published
//! `paymentResultData`.
//!
//! # Follow-ups
//! `…/captures`, `…/refunds`, `…/voids` and `…/reversals` below the payment or the capture. There is no replay
//! protection: an unknown follow-up is searched for by its own reference and never sent again.
//!
//! # Unknowns
//! `POST /tss/v2/searches` by our reference. Its index lags, so "not found" is final only after
//! [`SETTLE_MIN`]. A partial approval (reason code 110) is looked at once more, by `GET /tss/v2/transactions/{id}`: only
//! that names the part, as `authorizedAmount`. What stays unknown is undone by our reference: `POST /pts/v2/voids/`, then
//! `POST /pts/v2/reversals/` by `clientReferenceInformation.transactionId`.

mod auth;
mod body;
mod follow;
mod question;
mod reply;
mod search;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

pub use self::auth::Auth;
use self::auth::Signer;
use crate::amounts::{Currencies, Unit};
use crate::caps::{Caps, Challenges, Replay};
use crate::connector::{BuildError, Connector, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, Step};
use crate::endpoint::Endpoint;
use crate::order::{FollowUp, FollowUpKind, Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};

/// The window in which CyberSource itself tells duplicates of a reference; its search has caught up by then.
pub const SETTLE_MIN: Duration = Duration::from_secs(15 * 60);

/// Currencies whose decimals are ISO 4217's at CyberSource whatever the processor. Others, such as CLP, HUF,
/// IDR, ISK, MGA and UGX, differ from processor to processor and are not taken.
const UNITS: &[Unit] = &[
    Unit::new("BHD", 3),
    Unit::new("JOD", 3),
    Unit::new("JPY", 0),
    Unit::new("KRW", 0),
    Unit::new("KWD", 3),
    Unit::new("OMR", 3),
    Unit::new("TND", 3),
];

const PAYMENTS: &str = "/pts/v2/payments";
const SEARCHES: &str = "/tss/v2/searches";
const TRANSACTIONS: &str = "/tss/v2/transactions";

const ACCEPTED: HeaderValue = HeaderValue::from_static("application/hal+json;charset=utf-8");

/// How to reach CyberSource as a merchant.
pub struct Settings<'a> {
    /// The host.
    pub base: Endpoint,
    /// The merchant id.
    pub merchant_id: &'a str,
    /// The id of the shared secret key.
    pub key_id: &'a str,
    /// The shared secret in base64.
    pub secret: &'a str,
    /// How requests are signed.
    pub auth: Auth,
    /// How long "not found" may still change; at least [`SETTLE_MIN`] counts.
    pub settle_time: Duration,
}

/// The connector of CyberSource.
pub struct CyberSource {
    base: Endpoint,
    merchant: HeaderValue,
    signer: Signer,
    caps: Caps,
}

impl CyberSource {
    /// The connector. `None` when the secret is no base64, or a name is empty or cannot be a header.
    #[must_use]
    pub fn new(settings: Settings<'_>) -> Option<Self> {
        let Settings { base, merchant_id, key_id, secret, auth, settle_time } = settings;
        if merchant_id.is_empty() || key_id.is_empty() || key_id.contains('"') {
            return None;
        }
        let caps = Caps {
            replay: Replay::None,
            query_by_ref: true,
            reverse_by_ref: true,
            settle_time: settle_time.max(SETTLE_MIN),
            currencies: Currencies::in_decimals(UNITS),
            brands: &Brand::ALL,
            partial: true,
            moto: true,
            purposes: &Purpose::ALL,
            follow_ups: &FollowUpKind::ALL,
            query_follow_up: true,
            notifies: false,
            challenge: Challenges::None,
        };
        let merchant = HeaderValue::try_from(merchant_id).ok()?;
        Some(Self { base, merchant, signer: Signer::new(auth, merchant_id, key_id, secret)?, caps })
    }

    /// A signed POST; `id` is what it is about.
    fn post(&self, path: &str, body: WireBody, id: Uuid, now: Timestamp) -> Option<WireRequest> {
        let endpoint = self.base.below(path);
        let mut headers = self.signer.sign(&endpoint, Some(body.as_ref()), id, now)?;
        headers.extend([
            (HeaderName::from_static("v-c-merchant-id"), self.merchant.clone()),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, ACCEPTED),
        ]);
        Some(WireRequest { endpoint, method: Method::POST, headers, body })
    }

    /// A signed GET; `id` is what it is about.
    fn get(&self, path: &str, id: Uuid, now: Timestamp) -> Option<WireRequest> {
        let endpoint = self.base.below(path);
        let mut headers = self.signer.sign(&endpoint, None, id, now)?;
        headers.extend([
            (HeaderName::from_static("v-c-merchant-id"), self.merchant.clone()),
            (header::ACCEPT, ACCEPTED),
        ]);
        Some(WireRequest { endpoint, method: Method::GET, headers, body: WireBody::empty() })
    }

    fn search(&self, id: Uuid, now: Timestamp) -> Option<WireRequest> {
        self.post(SEARCHES, WireBody::json(&search::request(id)).ok()?, id, now)
    }
}

impl Connector for CyberSource {
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
        now: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let mut body = WireBody::room();
        body::write_payment(&mut body, order, source)?;
        self.post(PAYMENTS, body, order.attempt.id.0, now).ok_or(BuildError::Header)
    }

    fn parse(&self, _: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        reply::read(order, card, reply)
    }

    fn query(&self, step: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest> {
        match (step.no, step.ids.as_slice()) {
            (question::LOOK, [id]) => self.get(&format!("{TRANSACTIONS}/{id}"), attempt.id.0, now),
            _ => self.search(attempt.id.0, now),
        }
    }

    fn parse_query(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        match (step.no, step.ids.as_slice()) {
            (question::LOOK, [id]) => question::read_part(id, attempt, reply),
            _ => question::read(attempt, reply),
        }
    }

    fn follow_up(
        &self,
        step: &Step,
        follow_up: &FollowUp<'_>,
        now: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let (path, body) = follow::request(step, follow_up)?;
        self.post(&path, WireBody::json(&body)?, follow_up.id.0, now).ok_or(BuildError::Header)
    }

    fn parse_follow_up(&self, step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        follow::read(step, follow_up, reply)
    }

    fn query_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, now: Timestamp) -> Option<WireRequest> {
        self.search(follow_up.id.0, now)
    }

    fn parse_query_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        question::read_follow_up(follow_up, reply)
    }

    fn reverse_unknown(&self, step: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest> {
        let (path, body) = follow::reversal_of_unknown(step, attempt)?;
        self.post(path, WireBody::json(&body).ok()?, attempt.id.0, now)
    }

    fn parse_reverse_unknown(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
        follow::read_reversal_of_unknown(step, attempt, reply)
    }
}

/// Our reference: an id in base 32 (Crockford's letters), 26 characters.
fn reference(id: Uuid) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let id = id.as_u128();
    (0..26_u32).rev().map(|place| char::from(LETTERS[((id >> (place * 5)) & 31) as usize])).collect()
}

/// Whether it may stand in a path.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
pub(crate) mod tests;
