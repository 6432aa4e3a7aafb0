//! The pay connector, asked as others' telephony asks it, with a fake secure side behind it.
#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hushpad_card::Card;
use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::{Account, AccountConfiguration, Directory, Kind, PaymentFlow};
use hushpad_domain::attempt::Purpose;
use hushpad_domain::field::Field;
use hushpad_domain::field_map::{DataFormat, FieldMap, FieldRule, OtherNames};
use hushpad_domain::ids::{AccountId, ConfigurationId, GatewayName};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::text::holds_card_number;
use hushpad_domain::time::Tick;
use hushpad_payer::{
    ConnectorDesk, ConnectorOrder, ConnectorParts, ConnectorRefused, ConnectorUser, ConnectorUsers, Found,
    Method, Patience, Source, TransactionKey, connector_router,
};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A Twilio SID that reads as a card number, as one in some hundreds does.
const SID: &str = "PK4111111111111111aabbccddeeff00aa";

/// An order, and what is seen of its card: last four digits, expiry, digits of the code.
type Paid = (ConnectorOrder, String, (u8, i32), usize);

/// Takes note of what it is asked to pay, and pays nothing.
#[derive(Default)]
struct Notes {
    known: Mutex<Option<String>>,
    paid: Mutex<Vec<Paid>>,
    refuses: Mutex<Option<ConnectorRefused>>,
}

#[async_trait]
impl ConnectorDesk for Notes {
    async fn look(&self, key: &TransactionKey, _: Patience) -> Result<Option<Found>, ConnectorRefused> {
        let known = self.known.lock().unwrap().as_ref().is_some_and(|known| *known == key.id);
        Ok(known.then_some(Found::Begun))
    }

    async fn pay(&self, order: ConnectorOrder, card: Card) -> Result<Found, ConnectorRefused> {
        if let Some(refused) = *self.refuses.lock().unwrap() {
            return Err(refused);
        }
        let code = card.read_security_code(|code| code.map_or(0, <[u8]>::len));
        self.paid.lock().unwrap().push((order, card.masked().last4(), card.expiry(), code));
        Ok(Found::Begun)
    }

    fn today(&self) -> (i32, u8) {
        (2026, 11)
    }

    fn tick(&self) -> Tick {
        Tick(0)
    }
}

struct Stand {
    notes: Arc<Notes>,
    router: Router,
}

impl Stand {
    fn open() -> Self {
        let notes = Arc::new(Notes::default());
        let user = |name: &str, configuration| ConnectorUser {
            name: name.to_owned(),
            password: "a password".to_owned().into(),
            account: AccountId("shop".to_owned()),
            configuration: ConfigurationId(configuration),
        };
        let router = connector_router(ConnectorParts {
            desk: notes.clone(),
            users: ConnectorUsers::new(&[3; 32], vec![user("open", 0), user("strict", 1)]),
            directory: Arc::new(directory()),
        });
        Self { notes, router }
    }

    async fn posts(&self, user: &str, body: &Value) -> (StatusCode, Value) {
        self.asks(user, "a password", &body.to_string(), None).await
    }

    async fn asks(&self, user: &str, password: &str, body: &str, from: Option<&str>) -> (StatusCode, Value) {
        let login = STANDARD.encode(format!("{user}:{password}"));
        let mut request = Request::post("/charges")
            .header("Authorization", format!("Basic {login}"))
            .header("Content-Type", "application/json; charset=utf-8")
            .body(Body::from(body.to_owned()))
            .unwrap();
        if let Some(from) = from {
            request.extensions_mut().insert(Source(from.parse::<IpAddr>().unwrap()));
        }
        self.answers(request).await
    }

    async fn answers(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!holds_card_number(&text.replace(SID, "")), "{text}");
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    fn paid(&self) -> usize {
        self.notes.paid.lock().unwrap().len()
    }
}

fn directory() -> Directory {
    let configuration = |id, data| AccountConfiguration {
        id: ConfigurationId(id),
        kind: Kind::AgentAssist,
        link_life: Duration::from_secs(3600),
        test: false,
        flow: PaymentFlow {
            fields: Field::ALL.to_vec(),
            brands: vec![Brand::Visa, Brand::Mastercard],
            purpose: Purpose::Sale,
            acceptance: Acceptance::default(),
            keep_card: false,
            data,
            first_key_time_out: Duration::from_secs(30),
            between_keys_time_out: Duration::from_secs(30),
            session_time_out: Duration::from_secs(900),
        },
        gateway: GatewayName("sandbox".to_owned()),
        fail_over: Vec::new(),
        allowed_origins: Vec::new(),
        webhook: false,
    };
    let rule = |name: &str, required| FieldRule {
        name: name.to_owned(),
        required,
        format: DataFormat::Digits,
        chars_max: 8,
    };
    let strict = FieldMap {
        rules: vec![rule("CustomerId", true), rule("Postcode", false)],
        others: OtherNames::Refused,
    };
    Directory::new(vec![Account {
        id: AccountId("shop".to_owned()),
        payee: "Shop".to_owned(),
        default_configuration: ConfigurationId(0),
        configurations: vec![configuration(0, FieldMap::default()).into(), configuration(1, strict).into()],
        agents: Vec::new(),
        any_agent: false,
    }])
}

fn charge() -> Value {
    json!({
        "transaction_id": SID, "method": "charge", "cardnumber": "4111 1111 1111 1111",
        "cvv": "123", "expiry_month": "1", "expiry_year": "30", "amount": "12.4", "currency_code": "gbp",
        "postal_code": "SW1A 1AA", "description": "Order 7", "parameters": {"CustomerId": 7},
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut body = charge();
    for (name, value) in changes {
        body[*name] = value.clone();
    }
    body
}

#[tokio::test]
async fn the_published_json_is_an_order() {
    let stand = Stand::open();
    let (status, answer) = stand.posts("open", &charge()).await;
    assert_eq!((status, &answer["error_code"]), (StatusCode::ACCEPTED, &json!("pending")), "{answer}");
    let paid = stand.notes.paid.lock().unwrap().pop().unwrap();
    let (order, last4, expiry, code_digits) = paid;
    assert_eq!((last4.as_str(), expiry, code_digits), ("1111", (1, 2030), 3));
    assert_eq!((order.user.as_str(), order.method), ("open", Method::Charge));
    assert_eq!(order.payment_data.amount().to_string(), "12.40 GBP");
    let data: Vec<_> = order.payment_data.values().iter().map(|(n, v)| format!("{n}={v}")).collect();
    // A Twilio SID that reads as a card number names the transaction; it is kept nowhere else.
    assert_eq!(order.key.id, SID);
    assert_eq!(
        data.join(" "),
        "Amount=12.40 Currency=GBP CustomerId=7 Description=Order 7 Postcode=SW1A 1AA"
    );
}

#[tokio::test]
async fn others_spellings_are_taken_too() {
    let stand = Stand::open();
    // SignalWire's, with numbers in place of strings, and years of four digits.
    let mut signal_wire = with(&[
        ("transaction_id", json!("8c9d14d5-52ae-4e2e-b880-a14e6e1cda7d")),
        ("method", json!("credit-card")),
        ("expiry_month", json!(12)),
        ("expiry_year", json!(2031)),
        ("chargeAmount", json!(10.55)),
        ("token_type", json!("reusable")),
        ("parameters", Value::Null),
    ]);
    signal_wire.as_object_mut().unwrap().remove("amount");
    stand.posts("open", &signal_wire).await;
    let (order, _, expiry, _) = stand.notes.paid.lock().unwrap().pop().unwrap();
    assert_eq!((order.method, expiry), (Method::Charge, (12, 2031)));
    assert_eq!(order.payment_data.amount().to_string(), "10.55 GBP");
    assert_eq!(order.payment_data.reference(), Some("8c9d14d5-52ae-4e2e-b880-a14e6e1cda7d"));
    for no_amount in [Value::Null, json!(""), json!("0"), json!("0.00"), json!(0)] {
        let body = with(&[("method", json!("tokenize")), ("amount", no_amount)]);
        stand.posts("open", &body).await;
        let (order, ..) = stand.notes.paid.lock().unwrap().pop().unwrap();
        assert_eq!((order.method, order.payment_data.amount().minor()), (Method::Tokenize, 1));
    }
}

#[tokio::test]
async fn every_mistake_is_told_at_once_and_nothing_of_what_was_sent() {
    let stand = Stand::open();
    let body = json!({
        "method": "refund", "cardnumber": "4111111111111112", "cvv": "12", "expiry_month": "13",
        "expiry_year": "30", "amount": "12.405", "currency_code": "GBP", "description": ["x"],
        "parameters": {"Amount": "1", "a": {"b": "c"}, "channel": "ecommerce"},
    });
    let (status, answer) = stand.posts("open", &body).await;
    assert_eq!((status, &answer["error_code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    let told = answer["error_message"].as_str().unwrap().replace("; ", "\n");
    insta::assert_snapshot!(told, @r"
    transaction_id is missing
    method must be charge or tokenize
    amount has too many decimals: GBP has 2
    parameters.Amount is not taken: amount and currency_code say it
    parameters must be an object of strings
    only cards that were keyed on a phone are taken here
    description must be a string
    cardnumber has a wrong, missing or doubled digit
    expiry_month with expiry_year is no month from 01 to 12
    cvv has too few or too many digits, or something between them
    ");
    assert_eq!(stand.paid(), 0);
}

#[tokio::test]
async fn a_wrong_card_is_told_by_the_names_that_gateways_share() {
    let stand = Stand::open();
    for (name, value, code) in [
        ("cardnumber", json!("4111111111111112"), "incorrect_number"),
        ("cardnumber", json!("4111111111111111x"), "incorrect_number"),
        ("cardnumber", json!("\u{34}111\t"), "incorrect_number"),
        ("cardnumber", json!(["4111111111111111"]), "incorrect_number"),
        ("cardnumber", Value::Null, "incorrect_number"),
        ("cardnumber", json!("378282246310005"), "card_not_supported"),
        ("expiry_month", json!("13"), "invalid_expiry"),
        ("expiry_month", json!("012"), "invalid_expiry"),
        ("expiry_year", json!("25"), "invalid_expiry"),
        ("expiry_year", json!("1930"), "invalid_expiry"),
        ("expiry_year", json!("230"), "invalid_expiry"),
        ("cvv", json!("12"), "invalid_cvc"),
        ("cvv", Value::Null, "invalid_cvc"),
    ] {
        let (status, answer) = stand.posts("open", &with(&[(name, value.clone())])).await;
        let told = (status, answer["error_code"].as_str());
        assert_eq!(told, (StatusCode::UNPROCESSABLE_ENTITY, Some(code)), "{name} {value}: {answer}");
    }
    assert_eq!(stand.paid(), 0);
}

#[tokio::test]
async fn a_card_number_in_a_text_is_refused_and_not_written_back() {
    let stand = Stand::open();
    let number = "5555-5555 5555.4444";
    for (name, value) in [
        ("description", json!(number)),
        ("postal_code", json!(number)),
        ("transaction_id", json!(number)),
        ("transaction_id", json!("PK4111111111111111")),
        ("parameters", json!({"Note": number})),
        ("parameters", json!({number: "x"})),
        ("parameters", json!({number: number})),
        ("parameters", json!({"Note": "4111\u{a0}1111 1111 1111"})),
    ] {
        let (status, answer) = stand.posts("open", &with(&[(name, value.clone())])).await;
        let told = (status, answer["error_code"].as_str());
        assert_eq!(told, (StatusCode::BAD_REQUEST, Some("card_number_in_text")), "{name}: {answer}");
        // Not even where all else is wrong too.
        for user in ["open", "strict"] {
            let worse = with(&[("amount", json!("x")), (name, value.clone())]);
            let (_, answer) = stand.posts(user, &worse).await;
            assert!(!answer.to_string().contains("4444"), "{answer}");
        }
    }
    assert_eq!(stand.paid(), 0);
}

#[tokio::test]
async fn what_belongs_elsewhere_is_not_taken() {
    let stand = Stand::open();
    let mut stored = with(&[("token_id", json!("tok_1"))]);
    stored.as_object_mut().unwrap().remove("cardnumber");
    let (status, answer) = stand.posts("open", &stored).await;
    assert!(status == StatusCode::BAD_REQUEST && answer.to_string().contains("/v1/charge"), "{answer}");
    // A card from a page must not go on as one that was keyed.
    let (status, _) = stand.posts("open", &with(&[("parameters", json!({"channel": "ecommerce"}))])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    // What the flow does not know, or wants otherwise.
    let (status, answer) = stand.posts("strict", &charge()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let told = answer["error_message"].as_str().unwrap();
    assert!(
        told.contains("description is not a name") && told.contains("postal_code must be digits"),
        "{told}"
    );
    let (_, answer) = stand.posts("strict", &json!({"method": "charge"})).await;
    assert!(
        answer["error_message"].as_str().unwrap().contains("parameters.CustomerId is missing"),
        "{answer}"
    );
    let good = with(&[("description", json!("")), ("postal_code", json!("10115"))]);
    assert_eq!(stand.posts("strict", &good).await.0, StatusCode::ACCEPTED);
    assert_eq!(stand.paid(), 1);
}

#[tokio::test]
async fn of_a_transaction_that_came_before_no_card_is_looked_at() {
    let stand = Stand::open();
    *stand.notes.known.lock().unwrap() = Some("known".to_owned());
    let expired = with(&[("transaction_id", json!("known")), ("expiry_year", json!("20"))]);
    assert_eq!(stand.posts("open", &expired).await.0, StatusCode::ACCEPTED);
    assert_eq!(stand.paid(), 0);
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_the_same_names() {
    let stand = Stand::open();
    let deep = format!("{{\"transaction_id\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    for (body, status) in [
        (String::new(), StatusCode::BAD_REQUEST),
        ("[]".to_owned(), StatusCode::BAD_REQUEST),
        ("{\"cardnumber\":\"4111111111111111\"".to_owned(), StatusCode::BAD_REQUEST),
        (charge().to_string().replacen('{', "{\"Amount\":\"1\",", 1), StatusCode::BAD_REQUEST),
        (deep, StatusCode::BAD_REQUEST),
        ("4".repeat(64 * 1024 + 1), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let (told, answer) = stand.asks("open", "a password", &body, None).await;
        assert_eq!(told, status, "{answer}");
        assert!(answer["error_code"].is_string() && answer["error_message"].is_string(), "{answer}");
    }
    let get = |path: &str| {
        Request::get(path).header("Authorization", format!("Basic {}", STANDARD.encode("open:a password")))
    };
    for (request, status) in [
        (get("/charges"), StatusCode::BAD_REQUEST),
        (get("/charges?transaction_id=4111111111111111"), StatusCode::BAD_REQUEST),
        (get("/charges?transaction_id=nobody"), StatusCode::NOT_FOUND),
        (get("/"), StatusCode::NOT_FOUND),
        (Request::put("/charges"), StatusCode::METHOD_NOT_ALLOWED),
        (Request::post("/charges"), StatusCode::UNAUTHORIZED),
        (get("/charges").method("POST"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let (told, answer) = stand.answers(request.body(Body::empty()).unwrap()).await;
        assert_eq!(told, status, "{answer}");
    }
    *stand.notes.refuses.lock().unwrap() = Some(ConnectorRefused::Busy);
    let (told, answer) = stand.posts("open", &charge()).await;
    assert_eq!((told, answer["error_code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("busy")));
}

#[tokio::test]
async fn a_password_alone_is_a_bearer_token_where_one_user_has_it() {
    let user = |name: &str, password: &str| ConnectorUser {
        name: name.to_owned(),
        password: password.to_owned().into(),
        account: AccountId("shop".to_owned()),
        configuration: ConfigurationId(0),
    };
    let notes = Arc::new(Notes::default());
    let users = vec![user("a", "of a alone"), user("b", "of two"), user("c", "of two")];
    let router = connector_router(ConnectorParts {
        desk: notes.clone(),
        users: ConnectorUsers::new(&[3; 32], users),
        directory: Arc::new(directory()),
    });
    let stand = Stand { notes, router };
    for (token, status) in [
        ("of a alone", StatusCode::NOT_FOUND),
        ("of two", StatusCode::UNAUTHORIZED),
        ("of nobody", StatusCode::UNAUTHORIZED),
        ("", StatusCode::UNAUTHORIZED),
    ] {
        let request =
            Request::get("/charges?transaction_id=x").header("Authorization", format!("Bearer {token}"));
        assert_eq!(stand.answers(request.body(Body::empty()).unwrap()).await.0, status, "{token:?}");
    }
}

#[tokio::test]
async fn who_guesses_is_slowed_down_and_locks_nobody_else_out() {
    let stand = Stand::open();
    let body = charge().to_string();
    let ask = async |user: &str, password: &str, from| stand.asks(user, password, &body, Some(from)).await;
    for guess in 0..20 {
        // Of users that are none, too: nobody learns which there are.
        assert_eq!(ask("open", &format!("guess {guess}"), "192.0.2.1").await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&format!("user {guess}"), "x", "192.0.2.1").await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask("open", "a password", "192.0.2.1").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("nobody", "x", "192.0.2.1").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("strict", "a password", "192.0.2.1").await.0, StatusCode::BAD_REQUEST, "it is let in");
    assert_eq!(ask("open", "a password", "192.0.2.2").await.0, StatusCode::ACCEPTED);
}

proptest::proptest! {
    #[test]
    fn any_json_like_text_is_answered_without_a_panic(
        text in r#"\{("(transaction_id|method|cardnumber|cvv|amount|currency_code|expiry_year|parameters|x)":(1e9|12.40|"(charge|GBP|4111111111111111|\\u0034|é)"|\{"(a|Amount)":[0-9.]{1,5}\}|null|\[1\]|true),?){0,8}\}"#,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (status, _) = runtime.block_on(async { Stand::open().asks("open", "a password", &text, None).await });
        // A panic is caught and answered so.
        assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    }
}
