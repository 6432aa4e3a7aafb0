//! What became of an attempt without an answer: asked by our reference, with back-off, until it is known.

use std::time::Duration;

use hushpad_domain::attempt::Attempt;
use hushpad_domain::ports::World;
use hushpad_domain::session::Finding;
use hushpad_gateways::{Asked, Gateways};
use tracing::{info, warn};

use crate::world::RealWorld;

/// The first question follows at once: a reset often leaves an answer behind.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The agent and the customer wait for the answer.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Asks until the gateway knows. "Not found" counts only when the gateway's settle time is over.
pub(super) async fn ask_until_known(gateways: &Gateways, attempt: &Attempt, world: &RealWorld) -> Finding {
    let mut pause = PAUSE_FIRST;
    loop {
        match gateways.ask(&attempt.gateway, attempt).await {
            Asked::Found(answer) => return Finding::Answer(answer),
            Asked::NotFound if is_settled(gateways, attempt, world) => return Finding::NotCharged,
            Asked::NotFound => {
                info!(attempt.id = %attempt.id, "the gateway does not know the attempt yet");
            }
            Asked::NotKnown(reason) => {
                warn!(attempt.id = %attempt.id, ?reason, "the gateway could not be asked");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether what was still on its way has arrived or is lost. Counted from the intent.
fn is_settled(gateways: &Gateways, attempt: &Attempt, world: &RealWorld) -> bool {
    gateways
        .caps(&attempt.gateway)
        .is_some_and(|caps| world.now() > attempt.intended_on.plus(caps.settle_time))
}
