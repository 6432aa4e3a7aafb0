//! What every engine must keep, written against the ports alone. A new engine adds one line at the end.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

mod chance;
mod cluster;
mod kept_cards;
mod links;
mod lists;
mod notifications;
mod operations;
mod replays;
mod story;
mod webhooks;

use std::collections::BTreeSet;
use std::sync::Arc;

use chance::chance;
use hushpad_domain::attempt::Unknown;
use hushpad_domain::challenge::{Challenge, FIELD_BYTES_MAX, FIELDS_MAX};
use hushpad_domain::change::Change;
use hushpad_domain::client::ApiClient;
use hushpad_domain::ids::{AccountId, AgentId, CallGuid, ClientId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::ports::{
    Clients, CommitError, Credentials, KeptCards, Notifications, Replays, Sessions, Settlements, Webhooks,
};
use hushpad_domain::session::{Outcome, Session};
use hushpad_store::{Ownership, PostgresStore, SqliteOptions, SqliteStore};
use kept_cards::{
    a_refused_change_keeps_no_card, a_stored_card_is_known_as_the_account_s_that_got_it,
    whose_a_card_is_is_forgotten_after_its_retention,
};
use links::{
    a_call_is_free_while_its_session_is_paid_by_a_link, every_state_of_a_link_reads_back,
    of_two_moves_at_once_one_is_made,
};
use lists::{
    agents_sign_in_by_what_was_put_last, pages_of_a_list_neither_skip_nor_repeat,
    sessions_are_listed_newest_first_by_what_is_asked, signing_keys_are_numbered_once,
    two_secrets_are_kept_while_one_is_changed, what_is_spent_stays_spent_until_it_has_expired,
};
use notifications::{
    a_replaced_owner_keeps_and_takes_up_nothing, a_session_is_found_by_its_attempt_and_by_its_operation,
    what_was_told_before_is_known_also_after_it_was_taken_up,
    what_was_told_waits_in_order_and_survives_its_owner,
};
use operations::{
    a_settlement_is_found_by_its_attempt_and_the_last_word_counts,
    a_split_payment_given_up_gives_all_parts_back, a_wiped_session_keeps_nothing_of_a_late_success,
    an_answer_after_a_pending_one_leaves_nothing_behind, ended_sessions_with_something_to_see_to_are_found,
    every_operation_reads_back, of_two_refunds_at_once_one_is_begun,
};
use replays::{
    a_key_is_taken_once_and_then_tells_its_answer, a_replaced_owner_takes_and_answers_no_key,
    after_a_day_a_key_is_free_and_its_answer_gone, an_abandoned_key_is_free, an_answer_survives_its_owner,
    neither_accounts_nor_clients_meet_in_a_key, of_many_at_once_one_is_the_first,
    what_a_crash_left_in_flight_is_free_unless_its_session_is_there,
};
use story::{account, approved, declined, intended, minute, opened, opened_on};
use uuid::Uuid;
use webhooks::{
    a_change_that_is_refused_tells_nobody, a_failed_try_is_due_again_and_a_delivered_one_never,
    a_replaced_owner_settles_nothing, a_result_is_kept_until_it_was_delivered_for_a_while,
    dead_letters_are_listed_and_replayed_within_their_account, deliveries_go_with_their_session,
    many_are_settled_at_once, only_one_of_a_session_is_under_way,
    what_a_receiver_must_hear_is_due_with_its_change, without_a_webhook_nothing_is_due,
};

const MINUTE: i64 = 60 * 1_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// One engine's empty database, which can be opened several times over.
trait Engine {
    async fn new() -> Self;
    /// The ports of an owner that takes the store over from any earlier one.
    async fn open(&self) -> Ports;
}

struct Ports {
    sessions: Arc<dyn Sessions>,
    clients: Arc<dyn Clients>,
    replays: Arc<dyn Replays>,
    credentials: Arc<dyn Credentials>,
    settlements: Arc<dyn Settlements>,
    kept_cards: Arc<dyn KeptCards>,
    notifications: Arc<dyn Notifications>,
    webhooks: Arc<dyn Webhooks>,
}

impl Ports {
    async fn commit(&self, change: Change) -> Session {
        let after = change.after.clone();
        self.sessions.commit(change).await.unwrap();
        after
    }

    async fn read(&self, session: &Session) -> Session {
        self.sessions.session(&session.account, session.guid).await.unwrap().expect("the session is there")
    }
}

async fn every_state_reads_back_as_it_was_written<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let created = ports.commit(opened("acme", "A1", minute(0))).await;
    assert_eq!(ports.read(&created).await, created);
    let begun = ports.commit(created.begin(minute(1)).unwrap()).await;
    assert_eq!(ports.read(&begun).await, begun);
    let first = ports.commit(intended(begun, minute(2))).await;
    assert_eq!(ports.read(&first).await, first);
    let declined = ports.commit(declined(first, "A1", minute(3))).await;
    assert_eq!(ports.read(&declined).await, declined);
    let second = ports.commit(intended(declined, minute(4))).await;
    let unknown = ports.commit(second.unknown(Unknown::TimedOut, minute(5)).unwrap()).await;
    assert_eq!(ports.read(&unknown).await, unknown);
    let paid = ports.commit(approved(unknown, "A1", minute(6))).await;
    assert_eq!(ports.read(&paid).await, paid);
    assert_eq!(ports.sessions.provider_session(paid.provider).await.unwrap(), Some(paid.clone()));
    // Another connection, the same truth.
    assert_eq!(engine.open().await.read(&paid).await, paid);
}

async fn a_payer_at_the_bank_is_there_after_opening_again<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let opened = ports.commit(opened_on(None, "acme", "A1", minute(0))).await;
    let paying = ports.commit(intended(opened, minute(1))).await;
    let fields = vec![("creq".to_owned(), "x".repeat(FIELD_BYTES_MAX)); FIELDS_MAX];
    let ids = vec!["pi_1".to_owned(), "pm_1".to_owned()];
    let challenge = Challenge::new("https://acs.example/3ds?x=1".to_owned(), fields, ids).unwrap();
    let card = Some(MaskedCard::new(Some(Brand::Visa), 400_000, 3220));
    let challenged = paying.challenged(challenge, card, minute(17), minute(2)).unwrap();
    let challenged = ports.commit(challenged).await;
    let ports = engine.open().await;
    assert_eq!(ports.read(&challenged).await, challenged);
    assert_eq!(ports.sessions.unfinished().await.unwrap(), std::slice::from_ref(&challenged));
    let no = challenged.attempts[0].no;
    let back = challenged.clone().challenge_returned(no, minute(3)).unwrap();
    let again = challenged.challenge_returned(no, minute(3)).unwrap();
    let confirming = ports.commit(back).await;
    // Of two returns one goes on.
    assert!(matches!(ports.sessions.commit(again).await, Err(CommitError::Conflict)));
    assert_eq!(ports.read(&confirming).await, confirming);
    let paid = ports.commit(approved(confirming, "A1", minute(4))).await;
    assert_eq!(ports.read(&paid).await, paid);
}

async fn every_ending_reads_back<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let new = || opened_on(None, "acme", "A1", minute(0)).after;
    let begun = || new().begin(minute(1)).unwrap().after;
    for (before, ending) in [
        (vec![], new().cancel(minute(2)).unwrap()),
        (vec![], new().fail(minute(2)).unwrap()),
        (vec![], new().time_out(minute(2)).unwrap()),
        (vec![()], begun().time_out(minute(2)).unwrap()),
    ] {
        // The same session again, step by step, so that each version is committed.
        let mut opening = opened_on(None, "acme", "A1", minute(0));
        opening.after.guid = ending.after.guid;
        opening.after.provider = ending.after.provider;
        let opened = ports.commit(opening).await;
        for () in before {
            ports.commit(opened.clone().begin(minute(1)).unwrap()).await;
        }
        let ended = ports.commit(ending).await;
        assert_eq!(ports.read(&ended).await, ended);
    }
}

async fn events_are_told_in_order_after_a_number<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let steps = |at| minute(at);
    let mut told = Vec::new();
    let mut commit = async |change: Change| {
        told.extend(change.events.clone());
        ports.commit(change).await
    };
    let session = commit(opened("acme", "A1", steps(0))).await;
    let session = commit(session.begin(steps(1)).unwrap()).await;
    let session = commit(intended(session, steps(2))).await;
    let session = commit(approved(session, "A1", steps(3))).await;
    for after in 0..=session.events {
        let events = ports.sessions.events(&session.account, session.guid, after).await.unwrap();
        assert_eq!(events, told[after as usize..]);
    }
}

async fn accounts_do_not_see_or_touch_each_other<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened("acme", "A1", minute(0))).await;
    let other = account("globex");
    assert_eq!(ports.sessions.session(&other, session.guid).await.unwrap(), None);
    assert_eq!(ports.sessions.events(&other, session.guid, 0).await.unwrap(), vec![]);
    let mut theft = session.clone().begin(minute(1)).unwrap();
    theft.after.account = other;
    assert!(matches!(ports.sessions.commit(theft).await, Err(CommitError::Conflict)));
    assert_eq!(ports.read(&session).await, session);
}

async fn what_is_not_there_is_none<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let guid = Uuid::new_v4();
    assert_eq!(ports.sessions.session(&account("acme"), SessionGuid(guid)).await.unwrap(), None);
    assert_eq!(ports.sessions.provider_session(ProviderSessionGuid(guid)).await.unwrap(), None);
    assert_eq!(ports.sessions.events(&account("acme"), SessionGuid(guid), 0).await.unwrap(), vec![]);
    assert_eq!(ports.clients.client(&ClientId("nobody".to_owned())).await.unwrap(), None);
    let unwritten = opened("acme", "A1", minute(0)).after.begin(minute(1)).unwrap();
    assert!(matches!(ports.sessions.commit(unwritten).await, Err(CommitError::Conflict)));
}

async fn of_two_changes_to_one_version_one_wins_whole<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened("acme", "A1", minute(0))).await;
    let session = ports.commit(session.begin(minute(1)).unwrap()).await;
    let pay = intended(session.clone(), minute(2));
    let cancel = session.cancel(minute(2)).unwrap();
    let (winner, loser) = tokio::join!(
        ports.sessions.commit(pay.clone()),
        // Never before the other: the queue keeps the order.
        ports.sessions.commit(cancel),
    );
    winner.unwrap();
    assert!(matches!(loser, Err(CommitError::Conflict)));
    assert_eq!(ports.read(&pay.after).await, pay.after);
    let events = ports.sessions.events(&pay.after.account, pay.after.guid, 0).await.unwrap();
    assert_eq!(events.last(), pay.events.last());
    assert_eq!(events.len(), pay.after.events as usize);
}

async fn the_same_change_twice_is_a_conflict<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let opening = opened("acme", "A1", minute(0));
    let session = ports.commit(opening.clone()).await;
    assert!(matches!(
        ports.sessions.commit(opening).await,
        Err(CommitError::Conflict | CommitError::CallTaken)
    ));
    let keypad = opened_on(None, "acme", "A2", minute(0));
    ports.commit(keypad.clone()).await;
    assert!(matches!(ports.sessions.commit(keypad).await, Err(CommitError::Conflict)));
    let intent = intended(ports.commit(session.begin(minute(1)).unwrap()).await, minute(2));
    let paying = ports.commit(intent.clone()).await;
    assert!(matches!(ports.sessions.commit(intent).await, Err(CommitError::Conflict)));
    assert_eq!(ports.read(&paying).await, paying);
}

async fn a_call_has_one_open_session<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let call = CallGuid(Uuid::new_v4());
    let first = ports.commit(opened_on(Some(call), "acme", "A1", minute(0))).await;
    let second = opened_on(Some(call), "acme", "A2", minute(1));
    assert!(matches!(ports.sessions.commit(second.clone()).await, Err(CommitError::CallTaken)));
    assert_eq!(ports.sessions.session(&account("acme"), second.after.guid).await.unwrap(), None);
    ports.commit(first.cancel(minute(2)).unwrap()).await;
    ports.commit(second).await;
    // Sessions without a call are never in each other's way.
    ports.commit(opened_on(None, "acme", "A3", minute(3))).await;
    ports.commit(opened_on(None, "acme", "A4", minute(3))).await;
}

async fn a_refused_change_does_not_harm_those_written_with_it<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let call = CallGuid(Uuid::new_v4());
    let late = ports.commit(opened_on(None, "acme", "A0", minute(0))).await;
    let (first, taken) =
        (opened_on(Some(call), "acme", "A1", minute(0)), opened_on(Some(call), "acme", "A2", minute(0)));
    let (stale, last) = (intended(late.clone(), minute(2)), opened("acme", "A3", minute(0)));
    // Asked at once, so that they are written together.
    let (begun, opened, refused, conflict, other) = tokio::join!(
        ports.sessions.commit(late.begin(minute(1)).unwrap()),
        ports.sessions.commit(first.clone()),
        ports.sessions.commit(taken.clone()),
        ports.sessions.commit(stale),
        ports.sessions.commit(last.clone()),
    );
    begun.unwrap();
    opened.unwrap();
    other.unwrap();
    assert!(matches!(refused, Err(CommitError::CallTaken)));
    assert!(matches!(conflict, Err(CommitError::Conflict)));
    assert_eq!(ports.read(&first.after).await, first.after);
    assert_eq!(ports.read(&last.after).await, last.after);
    let refused = ports.sessions.events(&taken.after.account, taken.after.guid, 0).await.unwrap();
    assert_eq!(refused, vec![]);
}

async fn unfinished_sessions_are_found_with_their_attempts<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let open = ports.commit(opened_on(None, "acme", "A1", minute(0))).await;
    let paying = ports.commit(opened("globex", "A2", minute(1))).await;
    let paying = ports.commit(intended(paying, minute(2))).await;
    let over = ports.commit(opened("acme", "A3", minute(3))).await;
    ports.commit(over.cancel(minute(4)).unwrap()).await;
    assert_eq!(ports.sessions.unfinished().await.unwrap(), vec![open, paying]);
}

async fn a_hundred_commits_at_once_are_all_there_after_opening_again<E: Engine>() {
    let engine = E::new().await;
    let ports = Arc::new(engine.open().await);
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let ports = Arc::clone(&ports);
            tokio::spawn(async move {
                let reference = format!("A{n}");
                let session = ports.commit(opened("acme", &reference, minute(0))).await;
                let session = ports.commit(intended(session, minute(1))).await;
                ports.commit(approved(session, &reference, minute(2))).await
            })
        })
        .collect();
    let mut written = Vec::new();
    for task in tasks {
        written.push(task.await.unwrap());
    }
    let again = engine.open().await;
    for session in written {
        assert_eq!(again.read(&session).await, session);
        let events = again.sessions.events(&session.account, session.guid, 0).await.unwrap();
        let numbers: Vec<u32> = events.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=session.events).collect::<Vec<_>>());
    }
}

async fn an_owner_that_was_replaced_cannot_write<E: Engine>() {
    let engine = E::new().await;
    let old = engine.open().await;
    let session = old.commit(opened("acme", "A1", minute(0))).await;
    let new = engine.open().await;
    let late = intended(session.clone(), minute(1));
    assert!(matches!(old.sessions.commit(late.clone()).await, Err(CommitError::Fenced)));
    assert!(old.sessions.purge(minute(1_000_000)).await.is_err());
    assert_eq!(new.read(&session).await, session);
    new.commit(late).await;
}

async fn once_a_new_owner_is_there_the_old_one_adds_nothing<E: Engine>() {
    let engine = E::new().await;
    let old = Arc::new(engine.open().await);
    let first = old.commit(opened("acme", "A1", minute(0))).await;
    let until_fenced: Vec<_> = (0..16)
        .map(|_| {
            let old = Arc::clone(&old);
            tokio::spawn(async move {
                let mut written = Vec::new();
                loop {
                    let change = opened("acme", "A1", minute(0));
                    let guid = change.after.guid;
                    match old.sessions.commit(change).await {
                        Ok(()) => written.push(guid),
                        Err(CommitError::Fenced) => return written,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    // In the midst of it.
    let new = engine.open().await;
    let guids = async || -> BTreeSet<Uuid> {
        new.sessions.unfinished().await.unwrap().iter().map(|session| session.guid.0).collect()
    };
    let found = guids().await;
    let mut acknowledged = BTreeSet::from([first.guid.0]);
    for task in until_fenced {
        acknowledged.extend(task.await.unwrap().into_iter().map(|guid| guid.0));
    }
    assert_eq!(guids().await, found);
    assert_eq!(found, acknowledged);
}

async fn after_its_retention_a_session_keeps_no_data_and_later_is_gone<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened("acme", "A1", minute(0))).await;
    let session = ports.commit(intended(session, minute(1))).await;
    let paid = ports.commit(approved(session, "A1", minute(2))).await;
    let open = ports.commit(opened("acme", "A2", minute(0))).await;
    let after_end = |micros: i64| minute(2).as_micros() + micros;
    let at = hushpad_domain::time::Timestamp::from_micros;

    assert_eq!(ports.sessions.purge(at(after_end(15 * MINUTE - 1))).await.unwrap(), 0);
    assert_eq!(ports.read(&paid).await, paid);

    assert_eq!(ports.sessions.purge(at(after_end(15 * MINUTE))).await.unwrap(), 1);
    let kept = ports.read(&paid).await;
    assert!(kept.payment_data.values().is_empty());
    let answer = kept.attempts[0].answer().expect("the answer is still known");
    assert!(answer.result.is_empty());
    assert_eq!(answer.card, None);
    assert_eq!(kept.amount(), paid.amount());
    assert_eq!((kept.state.clone(), kept.outcome()), (paid.state.clone(), Outcome::Approved));
    assert_eq!((kept.created_on, kept.updated_on), (paid.created_on, paid.updated_on));
    assert_eq!((kept.provider, kept.call, &kept.agent), (paid.provider, paid.call, &paid.agent));
    assert_eq!(ports.sessions.events(&paid.account, paid.guid, 0).await.unwrap().len(), 4);
    assert_eq!(ports.sessions.purge(at(after_end(16 * MINUTE))).await.unwrap(), 0);

    assert_eq!(ports.sessions.purge(at(after_end(90 * DAY - 1))).await.unwrap(), 0);
    assert_eq!(ports.sessions.purge(at(after_end(90 * DAY))).await.unwrap(), 1);
    assert_eq!(ports.sessions.session(&paid.account, paid.guid).await.unwrap(), None);
    assert_eq!(ports.sessions.events(&paid.account, paid.guid, 0).await.unwrap(), vec![]);
    // What has not ended is never forgotten.
    assert_eq!(ports.read(&open).await, open);
}

async fn clients_are_added_listed_found_and_revoked<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let client = |id: &str, agent: Option<&str>, at| ApiClient {
        id: ClientId(id.to_owned()),
        account: AccountId("acme".to_owned()),
        agent: agent.map(|agent| AgentId(agent.to_owned())),
        secret_hash: [7; 32],
        old_secret_hash: None,
        public_key: None,
        certificate: None,
        redirect_uris: Vec::new(),
        label: "the shop".to_owned(),
        created_on: minute(at),
        revoked_on: None,
    };
    let (young, old) = (client("a", Some("agent1234"), 2), client("b", None, 1));
    ports.clients.add(young.clone()).await.unwrap();
    ports.clients.add(old.clone()).await.unwrap();
    assert_eq!(ports.clients.list().await.unwrap(), vec![old.clone(), young.clone()]);
    assert!(ports.clients.add(young.clone()).await.is_err(), "an id is given once");

    assert!(ports.clients.revoke(&old.id, minute(3)).await.unwrap());
    assert!(!ports.clients.revoke(&old.id, minute(4)).await.unwrap());
    assert!(!ports.clients.revoke(&ClientId("nobody".to_owned()), minute(4)).await.unwrap());
    let revoked = ApiClient { revoked_on: Some(minute(3)), ..old.clone() };
    assert_eq!(engine.open().await.clients.client(&old.id).await.unwrap(), Some(revoked));
    assert_eq!(ports.clients.client(&young.id).await.unwrap(), Some(young));
}

/// The whole suite for one engine.
macro_rules! contract {
    ($engine:ident in $module:ident: $($test:ident),+ $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test::<super::$engine>().await;
                }
            )+
        }
    };
}

macro_rules! contract_of {
    ($engine:ident in $module:ident) => {
        contract! { $engine in $module:
            every_state_reads_back_as_it_was_written,
            a_payer_at_the_bank_is_there_after_opening_again,
            every_ending_reads_back,
            events_are_told_in_order_after_a_number,
            accounts_do_not_see_or_touch_each_other,
            what_is_not_there_is_none,
            of_two_changes_to_one_version_one_wins_whole,
            the_same_change_twice_is_a_conflict,
            a_call_has_one_open_session,
            a_refused_change_does_not_harm_those_written_with_it,
            unfinished_sessions_are_found_with_their_attempts,
            a_hundred_commits_at_once_are_all_there_after_opening_again,
            an_owner_that_was_replaced_cannot_write,
            once_a_new_owner_is_there_the_old_one_adds_nothing,
            after_its_retention_a_session_keeps_no_data_and_later_is_gone,
            clients_are_added_listed_found_and_revoked,
            sessions_are_listed_newest_first_by_what_is_asked,
            pages_of_a_list_neither_skip_nor_repeat,
            two_secrets_are_kept_while_one_is_changed,
            what_is_spent_stays_spent_until_it_has_expired,
            signing_keys_are_numbered_once,
            every_state_of_a_link_reads_back,
            a_call_is_free_while_its_session_is_paid_by_a_link,
            of_two_moves_at_once_one_is_made,
            agents_sign_in_by_what_was_put_last,
            every_operation_reads_back,
            of_two_refunds_at_once_one_is_begun,
            ended_sessions_with_something_to_see_to_are_found,
            a_wiped_session_keeps_nothing_of_a_late_success,
            an_answer_after_a_pending_one_leaves_nothing_behind,
            a_split_payment_given_up_gives_all_parts_back,
            a_settlement_is_found_by_its_attempt_and_the_last_word_counts,
            a_key_is_taken_once_and_then_tells_its_answer,
            of_many_at_once_one_is_the_first,
            an_abandoned_key_is_free,
            neither_accounts_nor_clients_meet_in_a_key,
            an_answer_survives_its_owner,
            what_a_crash_left_in_flight_is_free_unless_its_session_is_there,
            a_replaced_owner_takes_and_answers_no_key,
            after_a_day_a_key_is_free_and_its_answer_gone,
            what_a_receiver_must_hear_is_due_with_its_change,
            without_a_webhook_nothing_is_due,
            a_change_that_is_refused_tells_nobody,
            a_failed_try_is_due_again_and_a_delivered_one_never,
            only_one_of_a_session_is_under_way,
            many_are_settled_at_once,
            a_result_is_kept_until_it_was_delivered_for_a_while,
            dead_letters_are_listed_and_replayed_within_their_account,
            deliveries_go_with_their_session,
            a_replaced_owner_settles_nothing,
            what_was_told_waits_in_order_and_survives_its_owner,
            what_was_told_before_is_known_also_after_it_was_taken_up,
            a_session_is_found_by_its_attempt_and_by_its_operation,
            a_replaced_owner_keeps_and_takes_up_nothing,
            a_stored_card_is_known_as_the_account_s_that_got_it,
            a_refused_change_keeps_no_card,
            whose_a_card_is_is_forgotten_after_its_retention,
        }
    };
}

struct Sqlite {
    directory: tempfile::TempDir,
}

impl Engine for Sqlite {
    async fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> Ports {
        let options = SqliteOptions::new(Ownership::TakeOver(chance()));
        let store = SqliteStore::open(&self.directory.path().join("hushpad.db"), options).await.unwrap();
        let store = Arc::new(store);
        Ports {
            sessions: store.clone(),
            clients: store.clone(),
            replays: store.clone(),
            credentials: store.clone(),
            settlements: store.clone(),
            kept_cards: store.clone(),
            notifications: store.clone(),
            webhooks: store,
        }
    }
}

contract_of!(Sqlite in sqlite);

struct Postgres {
    database: cluster::Database,
    keys: tempfile::TempDir,
}

impl Engine for Postgres {
    async fn new() -> Self {
        Self { database: cluster::Database::new().await, keys: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> Ports {
        let (url, keys) = (self.database.url(), self.keys.path().join("keys"));
        let store =
            PostgresStore::open_with_keys(&url, Ownership::TakeOver(chance()), Some(&keys)).await.unwrap();
        let store = Arc::new(store);
        Ports {
            sessions: store.clone(),
            clients: store.clone(),
            replays: store.clone(),
            credentials: store.clone(),
            settlements: store.clone(),
            kept_cards: store.clone(),
            notifications: store.clone(),
            webhooks: store,
        }
    }
}

contract_of!(Postgres in postgres);
