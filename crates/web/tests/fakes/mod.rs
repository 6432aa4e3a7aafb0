//! A desk to test at: the web room with fakes behind its ports, and verbs to use it.

mod operations;
mod ports;
mod replays;
pub(crate) mod schema;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, Method, Request, StatusCode};
use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::{Account, AccountConfiguration, Directory, Kind, PaymentFlow};
use hushpad_domain::attempt::{DeclineClass, GatewayAnswer, Purpose, Verdict};
use hushpad_domain::client::ApiClient;
use hushpad_domain::field::Field;
use hushpad_domain::field_map::{DataFormat, FieldMap, FieldRule, OtherNames};
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptId, ClientId, ConfigurationId, GatewayName, SessionGuid,
};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::page::{FieldStatus, FieldView, PageState, Phase};
use hushpad_domain::ports::{Sessions, World};
use hushpad_domain::session::{Retry, Session};
use hushpad_web::{
    Source, TokenKeys, WebLimits, WebParts, WebSettings, api_router, hash_client_secret, page_router,
};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) use operations::FakeOperations;
use ports::{FakeCalls, FakeClients, FakeSecureSide, FakeStore, FakeWorld, Recorder};
pub(crate) use replays::FakeReplays;
pub(crate) use webhooks::FakeWebhooks;

/// The schemes' published test cards: they must never come back out.
pub(crate) const PANS: [&str; 3] = ["4111111111111111", "5555555555554444", "378282246310005"];
pub(crate) const SHOP: &str = "https://shop.example:8443";
/// Where the public client "crm" of acme takes codes.
pub(crate) const CRM: &str = "https://crm.example";
pub(crate) const CRM_BACK: &str = "https://crm.example/back?tab=1";
pub(crate) const PAGE_HOST: &str = "https://pay.example";
/// The configuration for digital sessions.
pub(crate) const DIGITAL: u32 = 1;
const MASTER: [u8; 32] = [42; 32];
const FORM: &str = "application/x-www-form-urlencoded";

/// The web room and everything behind it.
pub(crate) struct Desk {
    pub(crate) api: Router,
    pub(crate) pages: Router,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) clients: Arc<FakeClients>,
    pub(crate) replays: Arc<FakeReplays>,
    pub(crate) webhooks: Arc<FakeWebhooks>,
    pub(crate) calls: Arc<FakeCalls>,
    pub(crate) secure_side: Arc<FakeSecureSide>,
    pub(crate) operations: Arc<FakeOperations>,
    pub(crate) world: Arc<FakeWorld>,
    pub(crate) observer: Arc<Recorder>,
    parts: Arc<WebParts>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// What `POST /v1/session` gave.
pub(crate) struct Opened {
    pub(crate) guid: String,
    pub(crate) provider: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Desk {
    /// Two accounts, `acme` (agents, a live call of agent1234) and `globex`.
    pub(crate) fn start() -> Self {
        Self::with_limits(WebLimits::default())
    }

    pub(crate) fn with_limits(limits: WebLimits) -> Self {
        Self::on("https://api.example", MASTER, limits)
    }

    /// A room with this API base URL and master key: another installation, when they differ.
    pub(crate) fn on(api_base_url: &str, master: [u8; 32], limits: WebLimits) -> Self {
        let keys = TokenKeys::from_master(&master);
        let clients = Arc::new(FakeClients::default());
        for (id, account, agent) in
            [("backend", "acme", None), ("browser", "acme", Some("agent1234")), ("other", "globex", None)]
        {
            clients.put(client(id, account, agent, hash_client_secret(&keys, &secret_of(id))));
        }
        let crm = client("crm", "acme", None, [0; 32]);
        clients.put(ApiClient { redirect_uris: vec![CRM_BACK.to_owned()], ..crm });
        let store = Arc::new(FakeStore::default());
        let replays = Arc::new(FakeReplays::new(store.clone()));
        let webhooks = Arc::new(FakeWebhooks::default());
        let calls = Arc::new(FakeCalls::default());
        calls.call_of("acme", "agent1234");
        let secure_side = Arc::new(FakeSecureSide::new(store.clone()));
        let operations = Arc::new(FakeOperations::new(store.clone()));
        let world = Arc::new(FakeWorld::default());
        let observer = Arc::new(Recorder::default());
        let parts = Arc::new(WebParts {
            directory: Arc::new(Directory::new(vec![account("acme"), account("globex")])),
            sessions: store.clone(),
            clients: clients.clone(),
            replays: replays.clone(),
            webhooks: webhooks.clone(),
            credentials: clients.clone(),
            changes: store.clone(),
            calls: calls.clone(),
            secure_side: secure_side.clone(),
            operations: operations.clone(),
            stored_cards: operations.clone(),
            world: world.clone(),
            keys,
            settings: WebSettings {
                issuer: "https://api.example".to_owned(),
                api_base_url: api_base_url.to_owned(),
                certificates_base_url: Some("https://certificates.example".to_owned()),
                browser_origins: vec![CRM.to_owned()],
                page_base_url: PAGE_HOST.to_owned(),
                limits,
            },
            observer: observer.clone(),
        });
        let (api, pages) = (api_router(parts.clone()), page_router(parts.clone()));
        Self {
            parts,
            api,
            pages,
            store,
            clients,
            replays,
            webhooks,
            calls,
            secure_side,
            operations,
            world,
            observer,
        }
    }

    /// Starts the process anew over the same store: what was in memory is gone, the secure side's sessions too.
    pub(crate) fn restart(&mut self) {
        self.secure_side.forget_all();
        self.api = api_router(self.parts.clone());
        self.pages = page_router(self.parts.clone());
    }

    /// The same, and the secure side goes on with its sessions, as with those that are paid by a link.
    pub(crate) fn restart_by_link(&mut self) {
        self.api = api_router(self.parts.clone());
        self.pages = page_router(self.parts.clone());
    }

    /// Sends a form to the token endpoint at `path`.
    pub(crate) async fn ask_token(&self, path: &str, form: &str, basic: Option<&str>) -> Answer {
        let mut request = Request::post(path).header("content-type", FORM);
        if let Some(pair) = basic {
            request = request.header("authorization", format!("Basic {pair}"));
        }
        send(&self.api, request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// An access token for one of the clients.
    pub(crate) async fn token_of(&self, client: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&scope=globalpci&client_id={client}&client_secret={}",
            secret_of(client)
        );
        let answer = self.ask_token("/Auth/connect/token", &form, None).await;
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Posts a body to `POST /v1/session` as `client`.
    pub(crate) async fn post_session(&self, client: &str, body: &str) -> Answer {
        let token = self.token_of(client).await;
        self.call_api(Method::POST, "/v1/session", &token, Some(body)).await
    }

    /// Calls the Payment API with a token.
    pub(crate) async fn call_api(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&str>,
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        send(&self.api, request.body(Body::from(body.unwrap_or("").to_owned())).unwrap()).await
    }

    /// Posts with an `Idempotency-Key`.
    pub(crate) async fn post_once(&self, client: &str, key: &str, path: &str, body: &str) -> Answer {
        let token = self.token_of(client).await;
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        send(&self.api, request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// Opens a session for agent1234's call.
    pub(crate) async fn open_session(&self) -> Opened {
        let answer = self.post_session("backend", &good_body().to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        Opened {
            guid: text("sessionGuid"),
            provider: text("providerSessionGuid"),
            access: text("agentAccessToken"),
            refresh: text("agentRefreshToken"),
        }
    }

    pub(crate) async fn status(&self, guid: &str) -> Answer {
        let token = self.token_of("backend").await;
        self.call_api(Method::GET, &format!("/v1/session/{guid}"), &token, None).await
    }

    /// Posts both tokens as the shop's page does.
    pub(crate) async fn open_page(&self, opened: &Opened) -> Answer {
        self.post_tokens(&opened.provider, &opened.access, &opened.refresh).await
    }

    pub(crate) async fn post_tokens(&self, provider: &str, access: &str, refresh: &str) -> Answer {
        let request = Request::post(format!("/view/{provider}/framed"))
            .header("content-type", FORM)
            .header("origin", SHOP)
            .header("sec-fetch-site", "cross-site")
            .body(Body::from(format!("X-BEARER-TOKEN={access}&X-REFRESH-TOKEN={refresh}")));
        send(&self.pages, request.unwrap()).await
    }

    /// Does something as the open page with this handle.
    pub(crate) async fn act(&self, provider: &str, handle: &str, form: &str) -> Answer {
        let request = Request::post(format!("/view/{provider}/act"))
            .header("content-type", FORM)
            .header("x-page-handle", handle)
            .header("sec-fetch-site", "same-origin");
        send(&self.pages, request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// Listens to the live page: status, and its events one by one.
    pub(crate) async fn listen(&self, provider: &str, handle: &str) -> (StatusCode, Events) {
        let request = Request::get(format!("/view/{provider}/live")).header("x-page-handle", handle);
        let response = self.pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (response.status(), Events(response.into_body().into_data_stream()))
    }

    /// The session as stored.
    pub(crate) async fn stored(&self, guid: &str) -> Session {
        let guid = SessionGuid(guid.parse().unwrap());
        self.store.session(&AccountId("acme".to_owned()), guid).await.unwrap().unwrap()
    }

    /// One attempt of the session, answered so.
    pub(crate) async fn attempt(&self, guid: &str, verdict: Verdict) {
        self.attempt_for(Purpose::Sale, guid, verdict).await;
    }

    pub(crate) async fn attempt_for(&self, purpose: Purpose, guid: &str, verdict: Verdict) {
        let now = self.world.now();
        let change = self.stored(guid).await;
        let change = change
            .intend(AttemptId(Uuid::from_u128(9)), GatewayName("sandbox".into()), purpose, now)
            .unwrap();
        self.store.commit(change).await.unwrap();
        let result = BTreeMap::from([
            ("decision".to_owned(), "ACCEPT".to_owned()),
            ("Amount".to_owned(), "1240".to_owned()),
        ]);
        let card = Some(MaskedCard::new(Some(Brand::Visa), 411_111, 1111));
        let answer = GatewayAnswer::new(verdict, "gw-1".to_owned(), result, card);
        let change = self.stored(guid).await.answered(answer, Retry::Possible, now).unwrap();
        self.store.commit(change).await.unwrap();
    }
}

/// Server-sent events of a live page.
pub(crate) struct Events(axum::body::BodyDataStream);

impl Events {
    /// The next piece as it was written.
    pub(crate) async fn raw(&mut self) -> String {
        String::from_utf8(self.0.next().await.unwrap().unwrap().to_vec()).unwrap()
    }

    /// The next event that is not a heartbeat: its name and data. `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let chunk = self.0.next().await?.unwrap();
            let text = std::str::from_utf8(&chunk).unwrap().to_owned();
            assert!(text.ends_with("\n\n"), "{text:?}");
            if text.starts_with(':') {
                continue;
            }
            let lines: Vec<&str> = text.trim_end().lines().collect();
            let [name, data] = lines[..] else { panic!("{text:?}") };
            let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            return Some((name.strip_prefix("event: ").unwrap().to_owned(), data));
        }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The handle that an opened page carries.
    pub(crate) fn handle(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        let (_, rest) = self.body.split_once("data-handle=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// `status code`, after checking that the problem is whole.
    pub(crate) fn problem(&self) -> String {
        let body = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["requestId"], self.header("x-request-id"));
        assert_eq!(body["type"], format!("urn:hushpad:problem:{}", body["code"].as_str().unwrap()));
        assert!(body["title"].is_string() && body["detail"].is_string());
        format!("{} {}", self.status.as_u16(), body["code"].as_str().unwrap())
    }
}

/// Sends a request; no answer may hold a test card's number, in its body or its headers.
pub(crate) async fn send(router: &Router, mut request: Request<Body>) -> Answer {
    if request.extensions().get::<Source>().is_none() {
        request.extensions_mut().insert(Source([192, 0, 2, 1].into()));
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let all = format!("{:?}{body}", head.headers);
    assert!(PANS.iter().all(|pan| !all.contains(pan)), "a card number came back: {all}");
    schema::check_answer(&method, &path, head.status.as_u16(), &head.headers, &body);
    Answer { status: head.status, headers: head.headers, body }
}

pub(crate) fn secret_of(client: &str) -> String {
    format!("secret-of-{client}")
}

/// A body that opens a session.
pub(crate) fn good_body() -> Value {
    json!({
        "agentId": "agent1234",
        "paymentData": {"Amount": "12.40", "Currency": "GBP", "MerchantReferenceCode": "A-1", "amountNote": "x"},
    })
}

/// A body that opens a digital session.
pub(crate) fn digital_body() -> Value {
    json!({
        "accountConfigurationId": DIGITAL,
        "paymentData": {
            "Amount": "12.40", "Currency": "GBP", "MerchantReferenceCode": "A-1",
            "CustomerPhoneNumber": "+442079460958",
        },
    })
}

/// A page with the card number valid and the expiry being typed.
pub(crate) fn page_state() -> PageState {
    let view = |field, status, typed, length, brand| FieldView { field, status, typed, length, brand };
    PageState {
        revision: 1,
        amount: hushpad_domain::money::Money::from_minor(
            1240,
            hushpad_domain::money::Currency::from_code("GBP").unwrap(),
        )
        .unwrap(),
        reference: Some("A-1".to_owned()),
        agent: AgentId("agent1234".to_owned()),
        fields: vec![
            view(Field::CardNumber, FieldStatus::Valid, 16, Some(16), Some(Brand::Visa)),
            view(Field::Expiry, FieldStatus::Typing, 2, Some(4), None),
            view(Field::SecurityCode, FieldStatus::Waiting, 0, Some(3), None),
        ],
        phase: Phase::Entry { active: Some(Field::Expiry) },
        notice: None,
        test_keypad: false,
        link: None,
        may_move: false,
    }
}

pub(crate) fn declined() -> Verdict {
    Verdict::Declined { class: DeclineClass::OtherCard }
}

fn client(id: &str, account: &str, agent: Option<&str>, secret_hash: [u8; 32]) -> ApiClient {
    ApiClient {
        id: ClientId(id.to_owned()),
        account: AccountId(account.to_owned()),
        agent: agent.map(|agent| AgentId(agent.to_owned())),
        secret_hash,
        old_secret_hash: None,
        public_key: None,
        certificate: None,
        redirect_uris: Vec::new(),
        label: id.to_owned(),
        created_on: FakeWorld::default().now(),
        revoked_on: None,
    }
}

/// Configuration 8 has rules.
fn field_map(number: u32) -> FieldMap {
    let rule =
        |name: &str, required, format| FieldRule { name: name.to_owned(), required, format, chars_max: 40 };
    match number {
        8 => FieldMap {
            rules: vec![
                rule("Email", true, DataFormat::Email),
                rule("Country", false, DataFormat::Country),
                rule("MerchantReferenceCode", false, DataFormat::Text),
            ],
            others: OtherNames::Refused,
        },
        _ => FieldMap::default(),
    }
}

fn account(id: &str) -> Account {
    let configuration = |number, test| AccountConfiguration {
        id: ConfigurationId(number),
        kind: if number == DIGITAL { Kind::Digital } else { Kind::AgentAssist },
        link_life: hushpad_domain::link::LINK_LIFE_MAX,
        test,
        flow: PaymentFlow {
            fields: Field::ALL.to_vec(),
            brands: Brand::ALL.to_vec(),
            purpose: Purpose::Sale,
            acceptance: Acceptance::default(),
            keep_card: false,
            data: field_map(number),
            first_key_time_out: Duration::from_secs(60),
            between_keys_time_out: Duration::from_secs(20),
            session_time_out: Duration::from_secs(900),
        },
        gateway: GatewayName("sandbox".to_owned()),
        fail_over: Vec::new(),
        allowed_origins: vec![SHOP.to_owned()],
        webhook: false,
    };
    Account {
        id: AccountId(id.to_owned()),
        payee: format!("{id} shop"),
        default_configuration: ConfigurationId(0),
        configurations: [
            configuration(0, false),
            configuration(DIGITAL, false),
            configuration(7, true),
            configuration(8, true),
        ]
        .map(Arc::new)
        .into(),
        agents: ["agent1234", "1234", "idle", "busy"].map(|agent| AgentId(agent.to_owned())).to_vec(),
        any_agent: false,
    }
}
