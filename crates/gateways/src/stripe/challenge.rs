//! A payer who is back from the bank, at Stripe.

use hushpad_domain::attempt::{Attempt, Unknown, Verdict};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::masked_card::MaskedCard;

use super::RETURNED;
use super::reply::{Intent, What, is_id, read as read_as};
use crate::connector::{NoReturn, Parsed, Step};
use crate::wire::Reply;

/// Stripe adds `payment_intent` to the return URL. What else came along, such as `redirect_status`, proves nothing.
pub(super) fn returned(challenge: &Challenge, came_along: &[u8]) -> Result<Step, NoReturn> {
    let ids = challenge.reference();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(came_along).map_err(|_| NoReturn)?;
    let named = pairs.iter().find(|(name, _)| name == "payment_intent").map(|(_, intent)| intent);
    match (ids.first(), named) {
        (Some(ours), Some(theirs)) if ours == theirs && ids.iter().all(|id| is_id(id)) => {
            Ok(Step { no: RETURNED, ids: ids.to_vec() })
        }
        _ => Err(NoReturn),
    }
}

pub(super) fn read(step: &Step, attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    let unreadable = Parsed::Indeterminate(Unknown::Unreadable);
    if reply.status >= 500 {
        return Parsed::Indeterminate(Unknown::GatewayError);
    }
    let intent = read_as::<Intent>(reply).filter(|intent| {
        reply.status == 200 && intent.is_of(attempt) && step.ids.first() == Some(&intent.id)
    });
    let Some(intent) = intent else { return unreadable };
    match intent.what(attempt, card) {
        What::Decided(answer) => Parsed::Answer(intent.keeping(answer, &step.ids)),
        What::Processing => Parsed::Answer(intent.answer(Verdict::Pending, card)),
        // The payer came back without having confirmed.
        What::WantsAuthentication => intent.challenge(&step.ids).map_or(unreadable, Parsed::Challenge),
        // A question tells more, and cancels what is still open.
        What::NotConfirmed | What::Cancelled | What::NotKnown => unreadable,
    }
}
