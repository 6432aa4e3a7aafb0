//! What Stripe says when asked what became of an attempt.

use hushpad_domain::attempt::{Attempt, Unknown};
use serde::Deserialize;

use super::reply::{Intent, What, authentication_wanted, read as read_as};
use crate::connector::{ParsedQuery, Step};
use crate::wire::Reply;

/// The steps of a question. The intent's id, by step 1 of the order once more or by search.
pub(super) const FIND: u8 = 0;
/// The intent as it is now.
pub(super) const LOOK: u8 = 1;
/// Cancelling an intent that waits for authentication.
const CANCEL_WAITING: u8 = 2;
/// Cancelling an intent that was never confirmed.
const CANCEL_UNUSED: u8 = 3;

const UNREADABLE: ParsedQuery = ParsedQuery::Indeterminate(Unknown::Unreadable);

pub(super) fn read(step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
    if reply.status >= 500 {
        return ParsedQuery::Indeterminate(Unknown::GatewayError);
    }
    if reply.status != 200 {
        return UNREADABLE;
    }
    match (read_as::<Found>(reply), read_as::<Intent>(reply)) {
        (Some(found), _) if step.no == FIND && found.object == "search_result" && !found.has_more => {
            match found.data.as_slice() {
                [] => ParsedQuery::NotFound,
                [intent] if intent.is_of(attempt) => go_to(LOOK, intent),
                _ => UNREADABLE,
            }
        }
        (_, Some(intent)) if intent.is_of(attempt) => match step.no {
            // The stored reply shows the intent as it was made.
            FIND => go_to(LOOK, &intent),
            _ if step.ids.first() != Some(&intent.id) => UNREADABLE,
            LOOK => look(&intent, attempt),
            _ if intent.status != "canceled" => UNREADABLE,
            CANCEL_WAITING => ParsedQuery::Found(authentication_wanted(intent.id, None)),
            _ => ParsedQuery::NotFound,
        },
        _ => UNREADABLE,
    }
}

#[derive(Deserialize)]
struct Found {
    object: String,
    has_more: bool,
    data: Vec<Intent>,
}

fn look(intent: &Intent, attempt: &Attempt) -> ParsedQuery {
    match intent.what(attempt, None) {
        What::Decided(answer) => ParsedQuery::Found(answer),
        What::WantsAuthentication => go_to(CANCEL_WAITING, intent),
        What::NotConfirmed => go_to(CANCEL_UNUSED, intent),
        // We cancel only what took no money.
        What::Cancelled => ParsedQuery::NotFound,
        What::Processing | What::NotKnown => UNREADABLE,
    }
}

fn go_to(no: u8, intent: &Intent) -> ParsedQuery {
    ParsedQuery::Next(Step { no, ids: vec![intent.id.clone()] })
}
