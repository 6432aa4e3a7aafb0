//! Whose stored cards are.

use hushpad_domain::attempt::{StoredCard, Unknown, Verdict};
use hushpad_domain::change::Change;
use hushpad_domain::ids::{GatewayName, OperationId};
use hushpad_domain::kept_card::{KEPT_CARD_RETENTION, KeptCard, TokenHash};
use hushpad_domain::operation::Asked;
use hushpad_domain::ports::CommitError;
use hushpad_domain::session::{Finding, OperationRequest, Retry, Session};
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

use super::story::{account, answer, intended, minute, opened};
use super::{Engine, Ports};

/// As the token of every test is hashed here.
const HASH: TokenHash = TokenHash([7; 32]);

fn sandbox() -> GatewayName {
    GatewayName("sandbox".to_owned())
}

/// An approval with a stored card under the one token.
fn stored(session: Session, network: Option<&str>, at: Timestamp) -> Change {
    let network_transaction_id = network.map(str::to_owned);
    let mut answer = answer(Verdict::Approved, "A1");
    answer.stored = Some(StoredCard { token: "tok-1".to_owned(), network_transaction_id });
    with_card(session.answered(answer, Retry::Possible, at).unwrap())
}

fn with_card(mut change: Change) -> Change {
    change.keep_card(|_, token| {
        assert_eq!(token, "tok-1");
        HASH
    });
    change
}

async fn paid(ports: &Ports, of: &str, network: Option<&str>, at: Timestamp) -> Session {
    let session = ports.commit(opened(of, "A1", at)).await;
    let session = ports.commit(intended(session, at)).await;
    ports.commit(stored(session, network, at)).await
}

async fn found(ports: &Ports, of: &str, gateways: &[&str], token: TokenHash) -> Option<KeptCard> {
    let gateways: Vec<_> = gateways.iter().map(|name| GatewayName((*name).to_owned())).collect();
    ports.kept_cards.kept_card(&account(of), &gateways, token).await.unwrap()
}

fn kept(network: Option<&str>) -> Option<KeptCard> {
    let network_transaction_id = network.map(str::to_owned);
    Some(KeptCard { gateway: sandbox(), token: HASH, network_transaction_id })
}

pub(crate) async fn a_stored_card_is_known_as_the_account_s_that_got_it<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    assert_eq!(found(&ports, "acme", &["sandbox"], HASH).await, None);
    let session = paid(&ports, "acme", Some("N1"), minute(0)).await;
    assert_eq!(ports.read(&session).await, session, "the change is otherwise as any other");
    assert_eq!(found(&ports, "acme", &["other", "sandbox"], HASH).await, kept(Some("N1")));
    for (of, gateways, token) in [
        ("globex", ["sandbox"].as_slice(), HASH),
        ("acme", &["other"], HASH),
        ("acme", &[], HASH),
        ("acme", &["sandbox"], TokenHash([8; 32])),
    ] {
        assert_eq!(found(&ports, of, gateways, token).await, None, "{of} {gateways:?}");
    }
    // Got again, also with less said; and with an operation in the same commit.
    let again = paid(&ports, "acme", None, minute(1)).await;
    assert_eq!(found(&ports, "acme", &["sandbox"], HASH).await, kept(Some("N1")));
    paid(&ports, "globex", Some("N2"), minute(1)).await;
    let ports = engine.open().await;
    assert_eq!(found(&ports, "acme", &["sandbox"], HASH).await, kept(Some("N1")));
    assert_eq!(found(&ports, "globex", &["sandbox"], HASH).await, kept(Some("N2")));
    // What is done with the payment afterwards brings no card.
    let request = OperationRequest {
        id: OperationId(Uuid::new_v4()),
        asked: Asked::Refund,
        amount: None,
        attempt: None,
    };
    let refund = with_card(again.operate(request, minute(2)).unwrap());
    assert_eq!(refund.kept_card, None);
    ports.commit(refund).await;
}

pub(crate) async fn a_refused_change_keeps_no_card<E: Engine>() {
    let engine = E::new().await;
    let old = engine.open().await;
    let session = old.commit(opened("acme", "A1", minute(0))).await;
    let session = old.commit(intended(session, minute(1))).await;
    let late = stored(session.clone(), Some("N1"), minute(2));
    let unknown = old.commit(session.unknown(Unknown::TimedOut, minute(2)).unwrap()).await;
    // Beside others in one transaction, and alone.
    let other = opened("acme", "A2", minute(2));
    let (refused, opened) = tokio::join!(old.sessions.commit(late.clone()), old.sessions.commit(other));
    opened.unwrap();
    assert!(matches!(refused, Err(CommitError::Conflict)));
    assert!(matches!(old.sessions.commit(late).await, Err(CommitError::Conflict)));
    assert_eq!(found(&old, "acme", &["sandbox"], HASH).await, None);
    let new = engine.open().await;
    let fenced = stored_later(unknown);
    assert!(matches!(old.sessions.commit(fenced.clone()).await, Err(CommitError::Fenced)));
    assert_eq!(found(&new, "acme", &["sandbox"], HASH).await, None);
    // Known at last, over what was held before.
    new.commit(fenced).await;
    assert_eq!(found(&new, "acme", &["sandbox"], HASH).await, kept(Some("N3")));
}

/// The answer of an unknown attempt, found by asking.
fn stored_later(unknown: Session) -> Change {
    let mut answer = answer(Verdict::Approved, "A1");
    let network_transaction_id = Some("N3".to_owned());
    answer.stored = Some(StoredCard { token: "tok-1".to_owned(), network_transaction_id });
    with_card(unknown.resolved(Finding::Answer(answer), Retry::Over, minute(3)).unwrap())
}

pub(crate) async fn whose_a_card_is_is_forgotten_after_its_retention<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    paid(&ports, "acme", Some("N1"), minute(0)).await;
    paid(&ports, "globex", None, minute(0)).await;
    paid(&ports, "globex", None, minute(10)).await;
    // The sessions are long gone by then.
    ports.sessions.purge(minute(-1).plus(KEPT_CARD_RETENTION)).await.unwrap();
    assert_eq!(found(&ports, "acme", &["sandbox"], HASH).await, kept(Some("N1")));
    ports.sessions.purge(minute(5).plus(KEPT_CARD_RETENTION)).await.unwrap();
    assert_eq!(found(&ports, "acme", &["sandbox"], HASH).await, None);
    assert_eq!(found(&ports, "globex", &["sandbox"], HASH).await, kept(None), "got again later");
}
