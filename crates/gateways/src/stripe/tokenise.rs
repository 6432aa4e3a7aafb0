//! Keeping a card at Stripe without a payment: a customer, the card, and a SetupIntent that checks it with the
//! issuer. No step takes money, so any may be sent again.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, GatewayAnswer, StoredCard, Unknown, Verdict};
use hushpad_domain::masked_card::MaskedCard;
use serde::Deserialize;

use super::reply::{self, is_id};
use super::{CREATE, METHOD, SETUP, Stripe, request};
use crate::connector::{BuildError, Parsed, ParsedQuery, Step};
use crate::order::{Channel, Order, Source};
use crate::wire::{Reply, WireRequest};
use crate::wire_text::idempotency_key;

/// The customer, the payment method and the SetupIntent.
const SETUP_CONFIRM: u8 = 8;

const UNREADABLE: Parsed = Parsed::Indeterminate(Unknown::Unreadable);

pub(super) fn build(
    stripe: &Stripe,
    step: &Step,
    order: &Order<'_>,
    source: &Source<'_>,
) -> Result<WireRequest, BuildError> {
    let Source::Keyed(card) = source else { return Err(BuildError::Unsupported) };
    let key = |name: &str| idempotency_key(order.attempt.id.0, name);
    match (step.no, step.ids.as_slice()) {
        (CREATE, _) => Ok(stripe.post("/v1/customers", key("customer"), request::customer(order)?)),
        (METHOD, _) => Ok(stripe.post("/v1/payment_methods", key("method"), request::method(order, card)?)),
        (SETUP, [customer, ..]) => {
            let reference = order.attempt.id.to_string();
            let pairs = [
                ("customer", customer.as_str()),
                ("payment_method_types[]", "card"),
                ("usage", "off_session"),
                ("metadata[ref]", &reference),
            ];
            Ok(stripe.post("/v1/setup_intents", key("setup"), request::form(&pairs)?))
        }
        (SETUP_CONFIRM, [_, method, setup]) => {
            let mut pairs = vec![("payment_method", method.as_str())];
            if matches!(order.channel, Channel::Moto) {
                pairs.push(("payment_method_options[card][moto]", "true"));
            }
            let path = format!("/v1/setup_intents/{setup}/confirm");
            Ok(stripe.post(&path, key("setup confirm"), request::form(&pairs)?))
        }
        _ => Err(BuildError::Unsupported),
    }
}

pub(super) fn read(step: &Step, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    let made = reply.json::<Made>().filter(|made| reply.status == 200 && is_id(&made.id));
    let with =
        |no: u8, id: String| Parsed::Next(Step { no, ids: step.ids.iter().cloned().chain([id]).collect() });
    match (step.no, made) {
        (CREATE, Some(made)) if made.object == "customer" => with(METHOD, made.id),
        (METHOD, Some(made)) if made.object == "payment_method" => with(SETUP, made.id),
        (SETUP, Some(made)) if made.object == "setup_intent" => with(SETUP_CONFIRM, made.id),
        (SETUP_CONFIRM, Some(made)) if made.object == "setup_intent" => kept(step, card, &made),
        _ => reply::declined_card(reply, card).unwrap_or_else(|| reply::failed_before_confirming(reply)),
    }
}

/// Without the token, there is nothing that could be used, and nothing was charged.
pub(super) fn query(stripe: &Stripe, attempt: &Attempt) -> Option<WireRequest> {
    let body = request::customer_of(attempt, None).ok()?;
    // Another key than the order's: its form may differ. A customer without a card does no harm.
    Some(stripe.post("/v1/customers", idempotency_key(attempt.id.0, "asked"), body))
}

pub(super) fn read_query(reply: &Reply) -> ParsedQuery {
    match reply.json::<Made>() {
        Some(made) if reply.status == 200 && made.object == "customer" => ParsedQuery::NotFound,
        _ => ParsedQuery::Indeterminate(Unknown::Unreadable),
    }
}

fn kept(step: &Step, card: Option<&MaskedCard>, made: &Made) -> Parsed {
    match (made.status.as_deref(), step.ids.as_slice()) {
        (Some("succeeded"), [customer, method, ..]) => {
            let result = BTreeMap::from([
                ("setup_intent".to_owned(), made.id.clone()),
                ("status".to_owned(), "succeeded".to_owned()),
            ]);
            let mut answer = GatewayAnswer::new(Verdict::Approved, made.id.clone(), result, card.cloned());
            answer.stored = Some(token(customer, method));
            Parsed::Answer(answer)
        }
        (Some("requires_action"), _) => {
            Parsed::Answer(reply::authentication_wanted(made.id.clone(), card.cloned()))
        }
        _ => UNREADABLE,
    }
}

/// A card that Stripe keeps is a payment method of a customer; both are needed to use it.
pub(super) fn token(customer: &str, method: &str) -> StoredCard {
    StoredCard { token: format!("{customer}:{method}"), network_transaction_id: None }
}

/// The customer and the payment method.
pub(super) fn of_token(stored: &StoredCard) -> Option<(&str, &str)> {
    stored.token.split_once(':').filter(|(customer, method)| is_id(customer) && is_id(method))
}

#[derive(Deserialize)]
struct Made {
    id: String,
    object: String,
    status: Option<String>,
}
