//! A part that was approved and whose answer was lost: it is found by asking, and given back, or taken where the flow
//! splits payments.

use hushpad_domain::attempt::{AttemptState, Verdict};
use hushpad_gateways::sandbox::Rule;

use super::*;

/// What became of such a part.
pub(crate) struct LostPart {
    pub(crate) attempt: Attempt,
    /// What the customer is out of, by the ledger.
    pub(crate) stands: i64,
}

/// One at CyberSource; `None` where the store failed before there was an attempt.
pub(crate) fn at_cybersource(seed: u64, purpose: Purpose, split: bool) -> Option<LostPart> {
    let way: Way = (&["cybersource"], purpose, split);
    let (_, configuration) = WAYS.iter().zip(0..).find(|(known, _)| **known == way)?;
    let dice = Dice::new(seed);
    let world = VirtualWorld::new(dice.clone());
    let clock = world.clone();
    let ledger = Ledger::in_memory_at(move || clock.now());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        world.resume();
        let town = Town::open(Disk::default(), world.clone(), dice, ledger.clone(), Build::Sound).await;
        ledger.set_chaos(None);
        assert!(ledger.add_fault(Rule {
            fault: Fault::ResetAfterCommit,
            gateway: None,
            path: Some("/pts/v2/payments".to_owned()),
            method: Some("POST".to_owned()),
            after: 0,
            times: 1,
        }));
        let payments = town.start().await;
        let session = town.open_at(&payments, configuration, "68.01".to_owned()).await?;
        let (sender, mut progress) = mpsc::channel(8);
        let card = card_of(CARDS[0]);
        payments.pay(session.clone(), card, CameBy::Phone, StillThere::yes(), sender);
        while progress.recv().await.is_some() {}
        // What waits between two questions is less than that.
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let session = payments.books.read_again(session).await;
        let attempt = session.attempts.first()?.clone();
        let stands = charge_of(&ledger.charges(), &attempt).map_or(0, |charge| minor(&charge.stands));
        Some(LostPart { attempt, stands })
    })
}

impl LostPart {
    /// What was approved, where that was found by asking.
    pub(crate) fn found(&self) -> Option<i64> {
        match &self.attempt.state {
            AttemptState::Answered { answer, resolved: true } => match answer.verdict {
                Verdict::Partial { approved } => Some(approved.minor()),
                _ => None,
            },
            _ => None,
        }
    }
}
