//! A payer who is sent to the bank by a generic gateway, and comes back.

use std::collections::BTreeMap;

use hushpad_domain::attempt::Attempt;
use hushpad_domain::challenge::Challenge;
use serde::Deserialize;
use serde_json::json;

use crate::connector::{BuildError, NoReturn, Step};
use crate::wire::{Reply, WireBody};

/// A challenge's id is an id, not a document.
const ID_BYTES_MAX: usize = 256;
/// What comes back is a handful of tokens.
const BROUGHT_MAX: usize = 16;
/// The longest of them: a `PaRes` of some kilobytes.
const BROUGHT_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Answer {
    transaction_id: Option<String>,
    charge_id: Option<String>,
    token_id: Option<String>,
    error_code: Option<String>,
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Parameters {
    challenge_url: String,
    challenge_id: String,
    #[serde(default)]
    challenge_fields: BTreeMap<String, String>,
}

/// The challenge that a reply asks for; an answer is none.
pub(super) fn of(attempt: &Attempt, reply: &Reply) -> Option<Challenge> {
    let answer = reply.json::<Answer>().filter(|_| reply.status == 200)?;
    let is_ours = answer.transaction_id.is_none_or(|id| id.eq_ignore_ascii_case(&attempt.id.to_string()));
    let said = [&answer.charge_id, &answer.token_id, &answer.error_code];
    let decided = said.into_iter().flatten().any(|text| !text.is_empty());
    let Parameters { challenge_url, challenge_id, challenge_fields } = answer.parameters;
    let is_id = (1..=ID_BYTES_MAX).contains(&challenge_id.len());
    if !is_ours || decided || !is_id {
        return None;
    }
    Challenge::new(challenge_url, challenge_fields.into_iter().collect(), vec![challenge_id]).ok()
}

/// In [`Step::ids`]: the challenge's id, then names and values of what came back.
pub(super) fn returned(challenge: &Challenge, came_along: &[u8]) -> Result<Step, NoReturn> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(came_along).map_err(|_| NoReturn)?;
    let id = challenge.reference().first().ok_or(NoReturn)?;
    let is_from_there = pairs.iter().any(|(name, value)| name == "challenge_id" && value == id);
    let fits = pairs.len() <= BROUGHT_MAX
        && pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= BROUGHT_BYTES_MAX;
    if !is_from_there || !fits {
        return Err(NoReturn);
    }
    let brought = pairs.into_iter().filter(|(name, _)| name != "challenge_id");
    let ids = std::iter::once(id.clone()).chain(brought.flat_map(|(name, value)| [name, value]));
    Ok(Step { no: 0, ids: ids.collect() })
}

pub(super) fn write(body: &mut WireBody, step: &Step, attempt: &Attempt) -> Result<(), BuildError> {
    let [id, brought @ ..] = step.ids.as_slice() else { return Err(BuildError::Unsupported) };
    let (pairs, _) = brought.as_chunks::<2>();
    let parameters: BTreeMap<&str, &str> =
        pairs.iter().map(|[name, value]| (name.as_str(), value.as_str())).collect();
    let request = json!({
        "transaction_id": attempt.id, "method": "complete", "challenge_id": id, "parameters": parameters,
    });
    serde_json::to_writer(body, &request).map_err(|_| BuildError::TooLong)
}
