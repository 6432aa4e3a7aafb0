//! The generic gateway: the JSON over HTTP that the pay connectors of Twilio, SignalWire and Telnyx speak.
//!
//! # Orders
//! `POST url`, HTTP Basic, `application/json`, all values strings: `transaction_id` (the attempt's id: the same
//! id must never be charged twice), `method` `charge` or `tokenize`, the card as `cardnumber`, `cvv` (if it has
//! one), `expiry_month` `MM` and `expiry_year` `YY`, or `token_id`; `amount` `12.40`, `currency_code` `GBP`,
//! `postal_code`, `description`, and `parameters`: what else came in `paymentData`.
//! `Idempotency-Key` is a UUIDv5 of the attempt's id.
//!
//! # Answer
//! `charge_id` (for `tokenize` `token_id`) and no `error_code`: approved. `error_code` (and `error_message`)
//! and no id: declined, with status 200 or 402; with 400 or 422 only where the code is one we know. Status 401,
//! 403 and 429 without an id: refused before processing. If `transaction_id`, `amount` or `currency_code` come
//! back, they must be ours; with `partial` `true` the amount is smaller, and that is a partial approval.
//! `cvv_result`, `avs_result` (`match`, `mismatch`) and `review` (`true`) are read where they are there. All else
//! is unknown.
//!
//! # 3-D Secure (ours, optional)
//! On a page `parameters` has `channel` `ecommerce`, `return_url`, `browser_user_agent`, `browser_accept`,
//! `browser_language` and, when known, `browser_ip`. A gateway that wants to see the payer answers with status 200, no
//! `charge_id`, no `error_code`, and in `parameters` `challenge_url`, `challenge_id` and, for a form to post,
//! `challenge_fields`, an object of strings. It sends the payer back to `return_url` with `challenge_id` in the query or
//! the form. Then `POST url`: `method` `complete`, the same `transaction_id`, `challenge_id`, `parameters`: what came
//! back. It is answered as an order is; with the challenge again as long as the payer has not confirmed. Nothing may be
//! charged before `complete` came: a payer who does not come back is taken for not charged.
//!
//! # Operations (ours, optional)
//! With `operations_url`, `POST` there: `method` `authorize`, `capture`, `void`, `refund` or `reverse`,
//! `transaction_id` (the operation's id), `charge_id`, `original_transaction_id`, `amount`, `currency_code`. The
//! same `transaction_id` must get the first answer again. `reverse` undoes whatever `original_transaction_id`
//! did; status 404 and `not_found` promises that it did nothing and never will.
//!
//! # Query (ours, optional)
//! `GET query_url?transaction_id=…`: status 200 with `transaction_id` and the answer as above; or 404 with
//! `transaction_id` and `error_code` `not_found`. A 404 without these may be a wrong URL, and proves nothing.

mod body;
mod challenge;
mod reply;

use std::fmt::Display;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Method, header};
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::time::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::amounts::Currencies;
use crate::caps::{Caps, Challenges, Replay};
use crate::connector::{
    BuildError, Connector, NoReturn, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, Step,
};
use crate::endpoint::Endpoint;
use crate::order::{Channel, FollowUp, FollowUpKind, Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};
use crate::wire_text::{derived, idempotency_key};

/// How long the same operation may be given again. The contract sets no end; nobody asks after a day.
const REPLAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The connector of the generic gateway.
pub struct Generic {
    charge: Endpoint,
    operations: Option<Endpoint>,
    query: Option<Endpoint>,
    authorization: HeaderValue,
    caps: Caps,
}

impl Generic {
    /// The connector; `None` when user or password cannot be sent by HTTP Basic (RFC 7617, section 2).
    #[must_use]
    pub fn new(
        charge: Endpoint,
        operations: Option<Endpoint>,
        query: Option<Endpoint>,
        user: &str,
        password: &str,
        settle_time: Duration,
    ) -> Option<Self> {
        let authorization = basic(user, password)?;
        let operates = operations.is_some();
        let caps = Caps {
            replay: if operates { Replay::StoresFirst { window: REPLAY } } else { Replay::None },
            query_by_ref: query.is_some(),
            reverse_by_ref: operates,
            settle_time,
            currencies: Currencies::all_in_decimals(),
            brands: &Brand::ALL,
            partial: true,
            moto: true,
            purposes: if operates { &Purpose::ALL } else { &[Purpose::Sale, Purpose::Tokenise] },
            follow_ups: if operates { &FollowUpKind::ALL } else { &[] },
            query_follow_up: operates && query.is_some(),
            notifies: false,
            challenge: Challenges::ChargedOnReturn,
        };
        Some(Self { charge, operations, query, authorization, caps })
    }

    fn post(&self, endpoint: &Endpoint, key: HeaderValue, body: WireBody) -> WireRequest {
        let headers = vec![
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("idempotency-key"), key),
        ];
        WireRequest { endpoint: endpoint.clone(), method: Method::POST, headers, body }
    }

    fn ask(&self, id: impl Display) -> Option<WireRequest> {
        let mut endpoint = self.query.clone()?;
        let join = if endpoint.target.contains('?') { '&' } else { '?' };
        endpoint.target = format!("{}{join}transaction_id={id}", endpoint.target);
        let headers = vec![
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ];
        Some(WireRequest { endpoint, method: Method::GET, headers, body: WireBody::empty() })
    }
}

/// The header of HTTP Basic; `None` when user or password cannot be sent (RFC 7617, section 2).
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
        return None;
    }
    let credentials = Zeroizing::new(format!("{user}:{password}"));
    let mut authorization =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials.as_bytes()))).ok()?;
    authorization.set_sensitive(true);
    Some(authorization)
}

impl Connector for Generic {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn home(&self) -> &Endpoint {
        &self.charge
    }

    fn build(
        &self,
        _: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let (method, endpoint) = match order.attempt.purpose {
            Purpose::Sale => ("charge", Some(&self.charge)),
            Purpose::Tokenise => ("tokenize", Some(&self.charge)),
            Purpose::Authorise => ("authorize", self.operations.as_ref()),
        };
        let mut written = WireBody::room();
        body::write_order(&mut written, method, order, source)?;
        let key = idempotency_key(order.attempt.id.0, "");
        Ok(self.post(endpoint.ok_or(BuildError::Unsupported)?, key, written))
    }

    fn parse(&self, _: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        let challenge = match order.channel {
            Channel::Ecommerce(_) => challenge::of(order.attempt, reply),
            Channel::Moto => None,
        };
        challenge.map_or_else(|| reply::to_order(order.attempt, card, reply), Parsed::Challenge)
    }

    fn after_challenge(&self, challenge: &Challenge, came_along: &[u8]) -> Result<Step, NoReturn> {
        challenge::returned(challenge, came_along)
    }

    fn go_on(&self, step: &Step, attempt: &Attempt, _: Timestamp) -> Result<WireRequest, BuildError> {
        let mut written = WireBody::room();
        challenge::write(&mut written, step, attempt)?;
        // The same for every try, another for another return.
        let visit = attempt.visit().map_or(0, |visit| visit.no);
        let key = idempotency_key(attempt.id.0, &format!("{visit} {}", step.ids.join(" ")));
        Ok(self.post(&self.charge, key, written))
    }

    fn parse_go_on(&self, _: &Step, attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        match challenge::of(attempt, reply) {
            Some(challenge) => Parsed::Challenge(challenge),
            None => reply::to_order(attempt, card, reply),
        }
    }

    fn query(&self, _: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        self.ask(attempt.id)
    }

    fn parse_query(&self, _: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        reply::to_query(attempt, reply)
    }

    fn follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, _: Timestamp) -> Result<WireRequest, BuildError> {
        let endpoint = self.operations.as_ref().ok_or(BuildError::Unsupported)?;
        let mut written = WireBody::room();
        body::write_follow_up(&mut written, follow_up)?;
        Ok(self.post(endpoint, idempotency_key(follow_up.id.0, ""), written))
    }

    fn parse_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        reply::to_follow_up(follow_up, reply)
    }

    fn query_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, _: Timestamp) -> Option<WireRequest> {
        self.operations.as_ref()?;
        self.ask(follow_up.id)
    }

    fn parse_query_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        reply::to_follow_up_query(follow_up, reply)
    }

    fn reverse_unknown(&self, _: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        let endpoint = self.operations.as_ref()?;
        let id = reversal_id(attempt);
        let mut written = WireBody::room();
        body::write_reversal(&mut written, id, attempt).ok()?;
        Some(self.post(endpoint, idempotency_key(id, ""), written))
    }

    fn parse_reverse_unknown(&self, _: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
        reply::to_reversal(reversal_id(attempt), reply)
    }
}

/// What an attempt is reversed under when its answer is lost: always the same, so that it is done once.
fn reversal_id(attempt: &Attempt) -> Uuid {
    derived(attempt.id.0, "reverse")
}

#[cfg(test)]
pub(crate) mod tests;
