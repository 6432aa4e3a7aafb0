//! Webhooks from the commit to the receiver, with a clock that is moved.

mod desk;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use hushpad_domain::ids::{AccountId, DeliveryId, SessionGuid};
use hushpad_domain::ports::{Sessions, StoreUnavailable, Webhooks, World};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{
    Backlog, DELAYS_S, Delivery, DeliveryList, Listed, Receiver, Tried, TryAnswer,
};
use hushpad_gateways::Endpoint;
use zeroize::Zeroizing;

use super::WebhookConfig;
use super::client::{Client, tls};
use super::guard::Reach;
use super::signature::{self, SigningSecret};
use super::token::ClientCredentials;
use desk::{Came, Desk, Door, Manner, SECRET, receiver, webhook};

const HOUR: Duration = Duration::from_secs(3_600);

fn verify(came: &Came, now: Timestamp) {
    let secret = SigningSecret::parse(SECRET).unwrap();
    signature::verify(&secret, &came.headers, &came.body, now).unwrap();
}

#[tokio::test]
async fn a_result_arrives_once_signed_and_is_what_get_would_say() {
    let door = Door::open(Manner::Answers(204)).await;
    let desk = Desk::start(vec![webhook(0, &door.url())]).await;
    let session = desk.session_ends(0).await;
    desk.all_delivered().await;
    let came = door.came();
    assert_eq!(came.len(), 1);
    verify(&came[0], desk.world.now());
    assert_eq!(came[0].header("webhook-id"), DeliveryId::of(session.guid, session.events).to_string());
    assert_eq!(came[0].header("content-type"), "application/json");
    let body = std::str::from_utf8(&came[0].body).unwrap();
    assert_eq!(body, hushpad_web::status_body(&session, desk.world.now()));
    assert!(body.contains("ORDER-7"));
    desk.ends().await;
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_id_and_a_new_time() {
    let door = Door::open(Manner::Answers(500)).await;
    let desk = Desk::start(vec![webhook(0, &door.url())]).await;
    desk.session_ends(0).await;
    assert_eq!(desk.tried(1).await.last, Some(TryAnswer::Status(500)));
    door.now(Manner::Answers(200));
    desk.moves(Duration::from_secs(6));
    desk.all_delivered().await;
    let came = door.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].header("webhook-id"), came[1].header("webhook-id"));
    assert_ne!(came[0].header("webhook-timestamp"), came[1].header("webhook-timestamp"));
    verify(&came[1], desk.world.now());
    desk.ends().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_for_eleven_hours_gets_it() {
    let door = Door::open(Manner::Answers(503)).await;
    let desk = Desk::start(vec![webhook(0, &door.url())]).await;
    let session = desk.session_ends(0).await;
    desk.tried(1).await;
    desk.lets_pass(11 * HOUR).await;
    assert_eq!(door.came().len(), DELAYS_S.len() - 1);
    door.now(Manner::Answers(200));
    desk.lets_pass(HOUR).await;
    desk.all_delivered().await;
    let came = door.came();
    assert!(std::str::from_utf8(&came[came.len() - 1].body).unwrap().contains("ORDER-7"));
    // From here on the result is kept as long as without a webhook.
    desk.announcer.purge(desk.world.now().plus(HOUR)).await.unwrap();
    let kept = desk.store.session(&session.account, session.guid).await.unwrap().unwrap();
    assert!(kept.payment_data.values().is_empty());
    desk.ends().await;
}

#[tokio::test]
async fn after_twelve_hours_it_is_a_dead_letter_that_can_be_sent_again_without_its_data() {
    let door = Door::open(Manner::Answers(410)).await;
    let desk = Desk::start(vec![webhook(0, &door.url())]).await;
    desk.session_ends(0).await;
    desk.tried(1).await;
    desk.lets_pass(13 * HOUR).await;
    desk.until("it is given up", async || desk.backlog().await.dead == 1).await;
    assert_eq!(door.came().len(), DELAYS_S.len());
    door.now(Manner::Answers(200));
    desk.announcer.purge(desk.world.now()).await.unwrap();
    let dead = desk.listed(Listed::Dead).await.remove(0);
    assert_eq!(dead.last, Some(TryAnswer::Status(410)));
    desk.told.replay(&dead.receiver.account, dead.id, desk.world.now()).await.unwrap();
    desk.all_delivered().await;
    let came = door.came();
    let last = &came[came.len() - 1];
    assert_eq!(last.header("webhook-id"), came[0].header("webhook-id"));
    let body: serde_json::Value = serde_json::from_slice(&last.body).unwrap();
    assert_eq!(body.get("paymentResultData"), None);
    assert_eq!(body["outcome"], "cancelled");
    desk.ends().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let (slow, fast) = (Door::open(Manner::Hangs).await, Door::open(Manner::Answers(200)).await);
    let desk = Desk::start(vec![webhook(0, &slow.url()), webhook(1, &fast.url())]).await;
    for _ in 0..50 {
        desk.session_ends(0).await;
    }
    desk.until("it hangs", async || slow.came().len() >= 30).await;
    for _ in 0..50 {
        desk.session_ends(1).await;
    }
    desk.until("the other has all", async || fast.came().len() == 50).await;
    // And no more than so many hang at one time.
    assert_eq!(slow.came().len(), 32);
    desk.until("all of the other is written down", async || desk.backlog().await.due == 50).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Door::open(Manner::Answers(200)).await;
    let place = format!("http://127.0.0.1:{}/", elsewhere.port).leak();
    let door = Door::open(Manner::RedirectsTo(place)).await;
    let desk = Desk::start(vec![webhook(0, &door.url())]).await;
    desk.session_ends(0).await;
    assert_eq!(desk.tried(1).await.last, Some(TryAnswer::Status(302)));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn of_a_reply_without_end_only_the_status_counts() {
    let door = Door::open(Manner::AnswersAtLength(200)).await;
    let desk = Desk::start(vec![webhook(0, &door.url())]).await;
    desk.session_ends(0).await;
    desk.all_delivered().await;
    assert_eq!(door.came().len(), 1);
    desk.ends().await;
}

#[tokio::test]
async fn connections_are_used_again() {
    let door = Door::open(Manner::Answers(200)).await;
    let desk = Desk::start(vec![webhook(0, &door.url())]).await;
    for _ in 0..20 {
        desk.session_ends(0).await;
        desk.all_delivered().await;
    }
    assert_eq!((door.came().len(), door.connections()), (20, 1));
    desk.ends().await;
}

#[tokio::test]
async fn private_addresses_are_not_called_by_number_or_by_name() {
    let door = Door::open(Manner::Answers(200)).await;
    for url in [format!("http://127.0.0.1:{}/", door.port), format!("http://localhost:{}/", door.port)] {
        let desk = Desk::start(vec![WebhookConfig { reach: Reach::Public, ..webhook(0, &url) }]).await;
        desk.session_ends(0).await;
        assert_eq!(desk.tried(1).await.last, Some(TryAnswer::AddressRefused));
    }
    assert_eq!(door.connections(), 0);
}

#[tokio::test]
async fn a_token_is_fetched_once_kept_for_nine_tenths_of_its_life_and_renewed_when_refused() {
    let (tokens, door) = (Door::open(Manner::GivesTokens).await, Door::open(Manner::Answers(200)).await);
    let credentials = ClientCredentials {
        client_id: "hush:pad".into(),
        client_secret: Zeroizing::new("s%cret".into()),
        scope: Some("results write".into()),
    };
    let token_url = Endpoint::parse(&format!("http://127.0.0.1:{}/token", tokens.port), true).unwrap();
    let config = WebhookConfig { token: Some((token_url, credentials)), ..webhook(0, &door.url()) };
    let desk = Desk::start(vec![config]).await;
    for _ in 0..3 {
        desk.session_ends(0).await;
        desk.all_delivered().await;
    }
    let asked = tokens.came();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=results+write");
    // RFC 6749, 2.3.1: hush%3Apad:s%25cret
    assert_eq!(asked[0].header("authorization"), "Basic aHVzaCUzQXBhZDpzJTI1Y3JldA==");
    assert!(door.came().iter().all(|came| came.header("authorization") == "Bearer token-1"));

    desk.moves(Duration::from_secs(3_600 * 9 / 10));
    desk.session_ends(0).await;
    desk.all_delivered().await;
    assert_eq!(door.came()[3].header("authorization"), "Bearer token-2");

    door.now(Manner::Answers(401));
    desk.session_ends(0).await;
    assert_eq!(desk.tried(1).await.last, Some(TryAnswer::Status(401)));
    let used: Vec<_> = door.came()[4..].iter().map(|came| came.header("authorization").to_owned()).collect();
    assert_eq!(used, ["Bearer token-2", "Bearer token-3"]);

    tokens.now(Manner::Answers(500));
    desk.moves(Duration::from_secs(6));
    assert_eq!(desk.tried(2).await.last, Some(TryAnswer::NoToken));
    assert_eq!(door.came().len(), 6);
}

/// A store that is gone just when what became of a try is to be written down.
struct Forgetful(Arc<hushpad_store::Store>);

#[async_trait]
impl Webhooks for Forgetful {
    async fn due(
        &self,
        receiver: &Receiver,
        now: Timestamp,
        except: &[SessionGuid],
        limit: u32,
    ) -> Result<Vec<(Delivery, Session)>, StoreUnavailable> {
        self.0.due(receiver, now, except, limit).await
    }

    async fn next_due(
        &self,
        receiver: &Receiver,
        except: &[SessionGuid],
    ) -> Result<Option<Timestamp>, StoreUnavailable> {
        self.0.next_due(receiver, except).await
    }

    async fn receivers(&self) -> Result<Vec<Receiver>, StoreUnavailable> {
        self.0.receivers().await
    }

    async fn settle(&self, _: Vec<Tried>) -> Result<(), StoreUnavailable> {
        Err(StoreUnavailable("the disk is full".into()))
    }

    async fn backlog(&self) -> Result<Backlog, StoreUnavailable> {
        self.0.backlog().await
    }

    async fn deliveries(&self, list: DeliveryList) -> Result<Vec<Delivery>, StoreUnavailable> {
        self.0.deliveries(list).await
    }

    async fn replay(
        &self,
        account: &AccountId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreUnavailable> {
        self.0.replay(account, id, now).await
    }
}

#[tokio::test]
async fn what_was_sent_and_not_written_down_is_sent_once_by_this_process_and_again_by_the_next() {
    let door = Door::open(Manner::Answers(200)).await;
    let desk = Desk::start(vec![]).await;
    let forgetful = Arc::new(Forgetful(Arc::clone(&desk.store)));
    let first = Desk::dispatcher(vec![webhook(0, &door.url())], forgetful, &desk.world);
    desk.session_ends_at(&*desk.store, 0).await;
    first.nudge(&receiver(0));
    desk.until("it arrives", async || door.came().len() == 1).await;
    // However often it looks, it knows that this one is under way.
    for _ in 0..20 {
        first.nudge(&receiver(0));
        tokio::task::yield_now().await;
    }
    first.shut_down().await;
    assert_eq!(door.came().len(), 1);
    let next = Desk::dispatcher(vec![webhook(0, &door.url())], desk.store.clone(), &desk.world);
    desk.all_delivered().await;
    let came = door.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].header("webhook-id"), came[1].header("webhook-id"));
    next.shut_down().await;
    desk.ends().await;
}

#[tokio::test]
async fn without_a_webhook_in_the_config_any_more_it_waits_as_for_a_receiver_that_is_down() {
    let desk = Desk::start(vec![]).await;
    desk.session_ends(0).await;
    assert_eq!(desk.tried(1).await.last, Some(TryAnswer::NotConfigured));
}

#[tokio::test]
async fn tls_is_spoken_with_those_only_who_prove_their_name() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let door = Door::open_with(Manner::Answers(200), Some(acceptor)).await;
    let try_with = async |host: &str, authorities: Option<&[u8]>| {
        let url = format!("https://{host}:{}/", door.port);
        let config = WebhookConfig { tls: tls(authorities).unwrap(), ..webhook(0, &url) };
        let desk = Desk::start(vec![config]).await;
        desk.session_ends(0).await;
        desk
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(cert.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    let stranger = try_with("localhost", None).await;
    assert_eq!(stranger.tried(1).await.last, Some(TryAnswer::Unreachable));
    let misnamed = try_with("127.0.0.1", Some(pem.as_bytes())).await;
    assert_eq!(misnamed.tried(1).await.last, Some(TryAnswer::Unreachable));
    assert_eq!(door.came().len(), 0);
    let known = try_with("localhost", Some(pem.as_bytes())).await;
    known.all_delivered().await;
    assert_eq!(door.came().len(), 1);
    known.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_try_ends_in_time() {
    let door = Door::open(Manner::Hangs).await;
    let endpoint = Endpoint::parse(&door.url(), true).unwrap();
    let client = Client::new(endpoint, Reach::Private, tls(None).unwrap());
    assert_eq!(client.post(&[], bytes::Bytes::new()).await.err(), Some(TryAnswer::TimedOut));
}
