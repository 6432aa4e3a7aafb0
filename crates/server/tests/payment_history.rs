//! The history checker: many random schedules of payments over gateways that fail in every way, a store that fails, and
//! processes that crash, restart and take over from each other, in virtual time. Whatever happens: every reference is
//! charged at most once, what is reported agrees with the gateways' ledger, every session has one terminal state, and
//! what must not stand is given back (G1 to G4, G6).
//!
//! A failure names its seed: `HUSHPAD_HISTORY_SEED=<seed>` runs that schedule alone.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "payment_history/bank.rs"]
mod bank;
#[path = "payment_history/checker.rs"]
mod checker;
#[path = "payment_history/dice.rs"]
mod dice;
#[path = "payment_history/gateway.rs"]
mod gateway;
#[path = "payment_history/gateways.rs"]
mod gateways;
#[path = "payment_history/memory.rs"]
mod memory;
#[path = "payment_history/schedule.rs"]
mod schedule;
#[path = "payment_history/shop.rs"]
mod shop;
#[path = "payment_history/simulator.rs"]
mod simulator;
#[path = "payment_history/tells.rs"]
mod tells;
#[path = "payment_history/world.rs"]
mod world;

use hushpad_domain::attempt::Purpose;
use schedule::{Build, run};

/// Schedules of one test function; eight of them run side by side.
const SCHEDULES: u64 = 1_300;

fn check(part: u64) {
    for seed in part * SCHEDULES..(part + 1) * SCHEDULES {
        let found = run(seed, Build::Sound);
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

macro_rules! parts {
    ($($name:ident: $part:literal),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                check($part);
            }
        )+
    };
}

parts! {
    histories_agree_with_the_ledger_1: 0,
    histories_agree_with_the_ledger_2: 1,
    histories_agree_with_the_ledger_3: 2,
    histories_agree_with_the_ledger_4: 3,
    histories_agree_with_the_ledger_5: 4,
    histories_agree_with_the_ledger_6: 5,
    histories_agree_with_the_ledger_7: 6,
    histories_agree_with_the_ledger_8: 7,
}

/// Schedules of one test function at the simulator; four of them run side by side.
const AT_THE_SIMULATOR: u64 = 700;

fn check_at_the_simulator(part: u64) {
    let (mut charged, mut operations) = (std::collections::BTreeMap::<String, u32>::new(), 0);
    for seed in part * AT_THE_SIMULATOR..(part + 1) * AT_THE_SIMULATOR {
        let seen = simulator::run(seed, Build::Sound);
        assert!(seen.wrong.is_empty(), "seed {seed}: {:#?}", seen.wrong);
        for (gateway, count) in seen.charged {
            *charged.entry(gateway).or_default() += count;
        }
        operations += seen.operations;
    }
    // Money moved at each of the six, and much was done with it.
    assert!(charged.len() == 6 && charged.values().all(|count| *count > 30), "{charged:?}");
    assert!(operations > 100, "{operations}");
}

#[test]
fn the_real_connectors_agree_with_the_simulators_ledger_1() {
    check_at_the_simulator(0);
}

#[test]
fn the_real_connectors_agree_with_the_simulators_ledger_2() {
    check_at_the_simulator(1);
}

#[test]
fn the_real_connectors_agree_with_the_simulators_ledger_3() {
    check_at_the_simulator(2);
}

#[test]
fn the_real_connectors_agree_with_the_simulators_ledger_4() {
    check_at_the_simulator(3);
}

/// Ten schedules of each: the store fails in some.
fn lost_parts(split: bool) -> Vec<simulator::lost_part::LostPart> {
    let purposes = [Purpose::Sale, Purpose::Authorise];
    let of =
        |purpose| (0..10).filter_map(move |seed| simulator::lost_part::at_cybersource(seed, purpose, split));
    let lost: Vec<_> = purposes.into_iter().flat_map(of).collect();
    assert!(lost.len() > 10, "{}", lost.len());
    lost
}

#[test]
fn a_part_whose_answer_was_lost_is_found_and_given_back() {
    for part in lost_parts(false) {
        let attempt = &part.attempt;
        assert_eq!((part.found(), part.stands), (Some(3400), 0), "{attempt:?}");
        assert!(attempt.was_turned_back() && !attempt.is_reversing(), "{attempt:?}");
    }
}

#[test]
fn a_part_whose_answer_was_lost_is_found_and_taken_where_the_flow_splits_payments() {
    for part in lost_parts(true) {
        let standing = part.attempt.standing().map(|money| money.minor());
        assert_eq!(
            (part.found(), standing, part.stands),
            (Some(3400), Some(3400), 3400),
            "{:?}",
            part.attempt
        );
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a developer runs one schedule again")]
fn one_schedule_again() {
    if let Some(seed) = std::env::var("HUSHPAD_HISTORY_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let found = [run(seed, Build::Sound), simulator::run(seed, Build::Sound).wrong].concat();
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// The checker sees what it is there for: a build that is broken in this way is found out.
fn is_found_out(build: Build) {
    let found = (0..300).find(|seed| !run(*seed, build).is_empty());
    assert!(found.is_some(), "300 schedules of a broken build look sound");
}

#[test]
fn a_build_that_writes_its_intent_after_it_has_sent_is_found_out() {
    is_found_out(Build::IntentAfterSend);
}

#[test]
fn a_build_that_fails_over_after_a_reset_is_found_out() {
    is_found_out(Build::FailOverAfterReset);
}

#[test]
fn a_build_that_goes_on_before_the_return_is_written_is_found_out() {
    is_found_out(Build::ReturnAfterGoingOn);
}

/// The schedules reach what they are there for: payers who paid over the bank, who were given up, and who came twice.
#[test]
fn the_schedules_go_over_the_bank() {
    let seen = (0..200).fold((0, 0), |(over, given_up), seed| {
        let (more_over, more_given_up) = bank::visits(seed);
        (over + more_over, given_up + more_given_up)
    });
    assert!(seen.0 > 10 && seen.1 > 10, "{seen:?}");
}

#[test]
fn a_build_that_fails_over_after_a_reset_is_found_out_at_the_simulator() {
    let found = (0..300).find(|seed| !simulator::run(*seed, Build::FailOverAfterReset).wrong.is_empty());
    assert!(found.is_some(), "300 schedules of a broken build look sound");
}
