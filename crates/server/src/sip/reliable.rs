//! Provisional answers that are acknowledged (RFC 3262), toward a customer whose phone requires them.
//!
//! They go out one after the other, each again and again until its PRACK comes; the final answer waits for
//! them. (Toward the agent we are the one that acknowledges, which the stack does.)

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::{HasHeaders, Header, Request, StatusCode};
use tokio::sync::{Notify, mpsc};

use super::headers;

/// What waits to be said: ringing, early media, the answer.
const MAX_WAITING: usize = 8;
/// The first interval between two sendings, T1 (RFC 3262 section 3).
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// How often one is sent, the interval doubling: 64 times T1 in all.
const SENDINGS: u32 = 6;

/// Answers to the customer's INVITE, in their order.
pub(super) enum Saying {
    /// 180, or 183 with early media.
    Ring(Option<Vec<u8>>),
    /// 200.
    Answer(Vec<Header>, Vec<u8>),
}

/// Which dialogs wait for a PRACK.
#[derive(Default)]
pub(super) struct Pracks {
    waiting: Mutex<HashMap<String, Arc<Waiting>>>,
}

/// What one dialog waits for.
struct Waiting {
    sequence: u32,
    /// The `RSeq` to be acknowledged; zero when there is none.
    number: AtomicU32,
    acknowledged: Notify,
}

impl Pracks {
    /// Begins to speak reliably on the dialog of this INVITE.
    pub(super) fn begin(&self, dialog: &InviteDialog) -> mpsc::Sender<Saying> {
        let sequence = headers::sequence(&dialog.initial_request()).unwrap_or_default();
        let waiting = Arc::new(Waiting { sequence, number: AtomicU32::new(0), acknowledged: Notify::new() });
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(dialog.id().to_string(), Arc::clone(&waiting));
        let (sayings, to_say) = mpsc::channel(MAX_WAITING);
        tokio::spawn(speak(dialog.clone(), waiting, to_say));
        sayings
    }

    pub(super) fn end(&self, dialog: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(dialog);
    }

    /// The answer to a PRACK on this dialog.
    pub(super) fn acknowledge(&self, dialog: &str, prack: &Request) -> StatusCode {
        let all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = all.get(dialog) else { return StatusCode::CallTransactionDoesNotExist };
        let Some((number, sequence)) = acknowledged(prack) else { return StatusCode::BadRequest };
        // No offer of ours is open, so there is nothing for it to describe (RFC 3262 section 5).
        if !prack.body.is_empty() {
            return StatusCode::NotAcceptableHere;
        }
        let taken = || waiting.number.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Acquire);
        if sequence != waiting.sequence || number == 0 || taken().is_err() {
            return StatusCode::CallTransactionDoesNotExist;
        }
        waiting.acknowledged.notify_one();
        StatusCode::OK
    }
}

/// Whether the far end requires it.
pub(super) fn is_required(invite: &Request) -> bool {
    headers::requires(invite, "100rel")
}

/// `RSeq` and `CSeq` number in `RAck`.
pub(super) fn acknowledged(prack: &Request) -> Option<(u32, u32)> {
    let mut values = prack.headers().iter().filter_map(|header| match header {
        Header::RAck(value) => Some(value.value()),
        _ => None,
    });
    let mut words = values.next()?.split_ascii_whitespace();
    let (number, sequence) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next()? == "INVITE").then_some((number, sequence))
}

async fn speak(dialog: InviteDialog, waiting: Arc<Waiting>, mut to_say: mpsc::Receiver<Saying>) {
    let has_offer = !dialog.initial_request().body.is_empty();
    let mut number = 0;
    while let Some(saying) = to_say.recv().await {
        if !dialog.state().can_cancel() {
            return;
        }
        match saying {
            Saying::Ring(sdp) if has_offer => {
                number += 1;
                if !ring(&dialog, &waiting, number, sdp).await {
                    // Section 3: a 5xx, as the caller did not hear us.
                    drop(dialog.reject(Some(StatusCode::ServerTimeOut), None));
                    return;
                }
            }
            // It would have to hold our offer (RFC 3262 section 5), which comes with the 200 only.
            Saying::Ring(_) => {}
            Saying::Answer(fields, sdp) => drop(dialog.accept(Some(fields), Some(sdp))),
        }
    }
}

/// Whether it was acknowledged, or nothing is left to acknowledge.
async fn ring(dialog: &InviteDialog, waiting: &Waiting, number: u32, sdp: Option<Vec<u8>>) -> bool {
    waiting.number.store(number, Ordering::Release);
    let mut fields = sdp.as_ref().map_or_else(Vec::new, |_| headers::with_sdp(None));
    fields.push(Header::Require("100rel".into()));
    fields.push(Header::RSeq(number.to_string().into()));
    let mut interval = FIRST_INTERVAL;
    for _ in 0..SENDINGS {
        if !dialog.state().can_cancel() || dialog.ringing(Some(fields.clone()), sdp.clone()).is_err() {
            return true;
        }
        if tokio::time::timeout(interval, waiting.acknowledged.notified()).await.is_ok() {
            return true;
        }
        interval *= 2;
    }
    false
}
