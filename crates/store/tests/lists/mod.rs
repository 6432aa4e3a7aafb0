//! Lists of sessions, and what clients prove themselves with: the same in every engine.

use hushpad_domain::attempt::Unknown;
use hushpad_domain::client::{ApiClient, ClientCertificate};
use hushpad_domain::credentials::{AgentLogin, ClientProof, SigningKeyNumber, Spent};
use hushpad_domain::ids::{AccountId, AgentId, ClientId, SessionGuid};
use hushpad_domain::listing::{Place, SessionQuery, StateName};
use hushpad_domain::session::{Outcome, Session};

use crate::story::{account, approved, intended, minute, opened};
use crate::{Engine, Ports};

fn any() -> SessionQuery {
    SessionQuery {
        agent: None,
        call: None,
        state: None,
        outcome: None,
        reference: None,
        from: None,
        until: None,
        after: None,
        limit: 100,
        now: minute(10),
    }
}

async fn guids(ports: &Ports, query: SessionQuery) -> Vec<SessionGuid> {
    let listed = ports.sessions.list(&account("acme"), &query).await.unwrap();
    listed.iter().map(|session| session.guid).collect()
}

/// One session of each kind, the newest last.
async fn several(ports: &Ports) -> [Session; 4] {
    let created = ports.commit(opened("acme", "A1", minute(0))).await;
    let paid = ports.commit(opened("acme", "A2", minute(1))).await;
    let paid = ports.commit(intended(paid, minute(2))).await;
    let paid = ports.commit(approved(paid, "A2", minute(3))).await;
    let unknown = ports.commit(opened("acme", "A1", minute(2))).await;
    let unknown = ports.commit(intended(unknown, minute(3))).await;
    let unknown = ports.commit(unknown.unknown(Unknown::TimedOut, minute(4)).unwrap()).await;
    let expired = ports.commit(opened("acme", "A4", minute(2))).await;
    let expired = ports.commit(expired.time_out(minute(9)).unwrap()).await;
    ports.commit(opened("globex", "A1", minute(1))).await;
    [created, paid, unknown, expired]
}

pub(crate) async fn sessions_are_listed_newest_first_by_what_is_asked<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let [created, paid, unknown, expired] = several(&ports).await;
    let mut newest = [unknown.guid, expired.guid];
    newest.sort_unstable_by(|one, other| other.cmp(one));
    let all = guids(&ports, any()).await;
    assert_eq!(all, [newest[0], newest[1], paid.guid, created.guid]);
    for (query, expected) in [
        (SessionQuery { state: Some(StateName::Finished), ..any() }, vec![paid.guid]),
        (SessionQuery { state: Some(StateName::Processing), ..any() }, vec![unknown.guid]),
        (SessionQuery { state: Some(StateName::ExpiredOnProviderSide), ..any() }, vec![expired.guid]),
        (SessionQuery { state: Some(StateName::InProgress), ..any() }, vec![]),
        (SessionQuery { outcome: Some(Outcome::Approved), ..any() }, vec![paid.guid]),
        (SessionQuery { outcome: Some(Outcome::Unknown), ..any() }, vec![unknown.guid]),
        (SessionQuery { outcome: Some(Outcome::None), ..any() }, vec![expired.guid, created.guid]),
        (SessionQuery { reference: Some("A1".into()), ..any() }, vec![unknown.guid, created.guid]),
        (SessionQuery { reference: Some("a1".into()), ..any() }, vec![]),
        (SessionQuery { agent: Some(AgentId("agent1234".into())), limit: 2, ..any() }, newest.to_vec()),
        (SessionQuery { agent: Some(AgentId("nobody".into())), ..any() }, vec![]),
        (SessionQuery { call: paid.call, ..any() }, vec![paid.guid]),
        (SessionQuery { call: paid.call, agent: Some(AgentId("nobody".into())), ..any() }, vec![]),
        (SessionQuery { from: Some(minute(1)), until: Some(minute(2)), ..any() }, vec![paid.guid]),
    ] {
        assert_eq!(guids(&ports, query.clone()).await, expected, "{query:?}");
    }
    // Past its retention a reference is not found any more, whether or not the purge has come round.
    let later = SessionQuery { reference: Some("A2".into()), ..any() };
    assert_eq!(guids(&ports, later.clone()).await, [paid.guid]);
    assert!(guids(&ports, SessionQuery { now: minute(3 + 15), ..later }).await.is_empty());
}

pub(crate) async fn pages_of_a_list_neither_skip_nor_repeat<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    for number in 0..25 {
        ports.commit(opened("acme", "A1", minute(number / 10))).await;
    }
    let all = guids(&ports, any()).await;
    assert_eq!(all.len(), 25);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let query = SessionQuery { after, limit: 7, ..any() };
        let page = ports.sessions.list(&account("acme"), &query).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(Place::of(last));
        paged.extend(page.iter().map(|session| session.guid));
        // What is new comes before the first page and disturbs none.
        ports.commit(opened("acme", "A9", minute(50))).await;
    }
    assert_eq!(paged, all);
}

pub(crate) async fn two_secrets_are_kept_while_one_is_changed<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let id = ClientId("shop".to_owned());
    let client = ApiClient {
        id: id.clone(),
        account: account("acme"),
        agent: None,
        secret_hash: [1; 32],
        old_secret_hash: None,
        public_key: None,
        certificate: None,
        redirect_uris: Vec::new(),
        label: String::new(),
        created_on: minute(0),
        revoked_on: None,
    };
    ports.clients.add(client.clone()).await.unwrap();
    let stored = async || ports.clients.client(&id).await.unwrap().unwrap();
    assert!(ports.credentials.prove(ClientProof::NewSecret(id.clone(), [2; 32])).await.unwrap());
    let both = ApiClient { secret_hash: [2; 32], old_secret_hash: Some([1; 32]), ..client };
    assert_eq!(stored().await, both);
    assert!(ports.credentials.prove(ClientProof::DropOldSecret(id.clone())).await.unwrap());
    assert!(ports.credentials.prove(ClientProof::PublicKey(id.clone(), Some([3; 32]))).await.unwrap());
    let one = ApiClient { old_secret_hash: None, public_key: Some([3; 32]), ..both };
    assert_eq!(stored().await, one);
    for certificate in [
        Some(ClientCertificate::Name("api.shop.example".to_owned())),
        Some(ClientCertificate::Thumbprint([0xA5; 32])),
        None,
    ] {
        let proof = ClientProof::Certificate(id.clone(), certificate.clone());
        assert!(ports.credentials.prove(proof).await.unwrap());
        assert_eq!(stored().await, ApiClient { certificate, ..one.clone() });
    }
    ports.clients.revoke(&id, minute(1)).await.unwrap();
    assert!(!ports.credentials.prove(ClientProof::NewSecret(id.clone(), [4; 32])).await.unwrap());
    let nobody = ClientId("nobody".to_owned());
    assert!(!ports.credentials.prove(ClientProof::DropOldSecret(nobody)).await.unwrap());
}

pub(crate) async fn what_is_spent_stays_spent_until_it_has_expired<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let spent = Spent { hash: [7; 32], expires_on: minute(5) };
    assert!(!ports.credentials.is_spent(spent.hash).await.unwrap());
    assert!(ports.credentials.spend(spent).await.unwrap());
    assert!(!ports.credentials.spend(spent).await.unwrap());
    // Another process, the same truth.
    assert!(engine.open().await.credentials.is_spent(spent.hash).await.unwrap());
    let ports = engine.open().await;
    ports.sessions.purge(minute(4)).await.unwrap();
    assert!(ports.credentials.is_spent(spent.hash).await.unwrap());
    ports.sessions.purge(minute(5)).await.unwrap();
    assert!(!ports.credentials.is_spent(spent.hash).await.unwrap());
}

pub(crate) async fn signing_keys_are_numbered_once<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    assert!(ports.credentials.signing_keys().await.unwrap().is_empty());
    let key = |number, at| SigningKeyNumber { number, active_from: minute(at) };
    assert!(ports.credentials.add_signing_key(key(1, 3)).await.unwrap());
    assert!(!ports.credentials.add_signing_key(key(1, 9)).await.unwrap());
    assert!(ports.credentials.add_signing_key(key(2, 5)).await.unwrap());
    assert_eq!(ports.credentials.signing_keys().await.unwrap(), [key(1, 3), key(2, 5)]);
}

pub(crate) async fn agents_sign_in_by_what_was_put_last<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let login = |account: &str, agent: &str, at| AgentLogin {
        account: AccountId(account.to_owned()),
        agent: AgentId(agent.to_owned()),
        password_hash: format!("$argon2id${at}"),
        since: minute(at),
        revoked_on: None,
    };
    let (one, other) = (login("acme", "A1", 1), login("globex", "A1", 2));
    ports.credentials.put_login(other.clone()).await.unwrap();
    ports.credentials.put_login(one.clone()).await.unwrap();
    assert_eq!(ports.credentials.logins().await.unwrap(), [one.clone(), other.clone()]);
    let next = AgentLogin { revoked_on: Some(minute(4)), ..login("acme", "A1", 3) };
    ports.credentials.put_login(next.clone()).await.unwrap();
    let ports = engine.open().await;
    assert_eq!(ports.credentials.login(&one.account, &one.agent).await.unwrap(), Some(next));
    assert_eq!(ports.credentials.login(&other.account, &other.agent).await.unwrap(), Some(other));
    let nobody = AgentId("A2".to_owned());
    assert_eq!(ports.credentials.login(&one.account, &nobody).await.unwrap(), None);
}
