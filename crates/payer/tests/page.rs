//! The payer page, asked as browsers ask it, with a fake secure side behind it.
#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hushpad_card::Card;
use hushpad_domain::attempt::DeclineClass;
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::time::Tick;
use hushpad_payer::{
    Bill, Challenge, Form, LinkCode, LinkRefused, Outcome, PayRefused, PayerParts, PaymentLinks, Sight,
    Source, Typing, Visitor, payer_router, release,
};
use tower::ServiceExt;

const HOST: &str = "https://pay.example";
const CARD: &str = "card_number=4111+1111+1111+1111&expiry=12%2F40&security_code=123";

/// One link, and what was done with it.
struct Links {
    code: LinkCode,
    sight: Mutex<Sight>,
    paid: Mutex<Vec<(u32, MaskedCard)>>,
    visitors: Mutex<Vec<Visitor>>,
    typed: Mutex<Vec<Typing>>,
    back: Mutex<Vec<Vec<u8>>>,
}

#[async_trait]
impl PaymentLinks for Links {
    async fn look(&self, code: &LinkCode) -> Result<Sight, LinkRefused> {
        if *code != self.code {
            return Err(LinkRefused::NoSuchLink);
        }
        Ok(self.sight.lock().unwrap().clone())
    }

    async fn typing(&self, _: &LinkCode, typing: Typing) {
        self.typed.lock().unwrap().push(typing);
    }

    async fn pay(&self, _: &LinkCode, round: u32, card: Card, from: Visitor) -> Result<(), PayRefused> {
        self.paid.lock().unwrap().push((round, card.masked()));
        self.visitors.lock().unwrap().push(from);
        Ok(())
    }

    async fn back(&self, _: &LinkCode, came_along: &[u8]) -> Result<(), LinkRefused> {
        self.back.lock().unwrap().push(came_along.to_vec());
        Ok(())
    }

    fn today(&self) -> (i32, u8) {
        (2026, 11)
    }

    fn tick(&self) -> Tick {
        Tick(0)
    }
}

struct Stand {
    links: Arc<Links>,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
}

impl Stand {
    fn showing(sight: Sight) -> Self {
        let links = Arc::new(Links {
            code: LinkCode::new([7; LinkCode::BYTES]),
            sight: Mutex::new(sight),
            paid: Mutex::default(),
            visitors: Mutex::default(),
            typed: Mutex::default(),
            back: Mutex::default(),
        });
        let router = payer_router(PayerParts { links: links.clone(), base_url: HOST.to_owned() });
        Self { links, router }
    }

    fn form() -> Self {
        Self::showing(Sight::Form(form(None)))
    }

    fn path(&self) -> String {
        format!("/pay/{}", self.links.code.text())
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        let request =
            Request::post(path).header("host", "pay.example").header("sec-fetch-site", "same-origin");
        self.send(request.header("origin", "null").body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    fn paid(&self) -> Vec<(u32, MaskedCard)> {
        self.links.paid.lock().unwrap().clone()
    }
}

fn bill() -> Bill {
    let amount = Money::from_minor(1240, Currency::from_code("GBP").unwrap()).unwrap();
    Bill { payee: "Ada's <Flowers>".to_owned(), amount, reference: Some("order-17".to_owned()) }
}

fn form(declined: Option<DeclineClass>) -> Form {
    let (fields, brands) = (Field::ALL.to_vec(), vec![Brand::Visa, Brand::Amex]);
    Form { bill: bill(), round: 3, fields, brands, declined, not_sent: false }
}

#[tokio::test]
async fn the_form_shows_payee_and_amount_and_takes_a_card_once() {
    let stand = Stand::form();
    let page = stand.get(&stand.path()).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("12.40 GBP") && page.body.contains("order-17"), "{}", page.body);
    assert!(page.body.contains("Ada&#39;s &#60;Flowers&#62;"), "{}", page.body);
    assert!(page.body.contains("autocomplete=\"cc-number\""));

    let paid = stand.post(&stand.path(), &format!("round=3&{CARD}")).await;
    // What is seen next is looked up anew: a reload pays nothing.
    assert_eq!(paid.status, StatusCode::SEE_OTHER);
    assert_eq!(paid.headers["location"], stand.path());
    assert_eq!(stand.paid(), [(3, MaskedCard::new(Some(Brand::Visa), 411_111, 1111))]);
}

#[tokio::test]
async fn a_form_of_an_older_round_pays_nothing() {
    let stand = Stand::form();
    for body in [format!("round=2&{CARD}"), CARD.to_owned(), String::new()] {
        let answer = stand.post(&stand.path(), &body).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
    }
    assert_eq!(stand.paid(), []);
}

#[tokio::test]
async fn mistakes_are_beside_their_fields_and_nothing_typed_is_written_back() {
    let stand = Stand::form();
    let body = "round=3&card_number=4111111111111112&expiry=10%2F26&security_code=98";
    let page = stand.post(&stand.path(), body).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    for field in Field::ALL {
        assert!(page.body.contains(&format!("id=\"{field}-mistake\"")), "{field}: {}", page.body);
        assert!(page.body.contains(&format!("aria-describedby=\"{field}-hint {field}-mistake\"")), "{field}");
    }
    for typed in ["4111111111111112", "10/26", "98\""] {
        assert!(!page.body.contains(typed), "{typed} is written back");
    }
    assert_eq!(stand.paid(), []);
}

#[tokio::test]
async fn a_form_from_elsewhere_is_refused() {
    let stand = Stand::form();
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")]
    {
        let request = Request::post(stand.path()).header("host", "pay.example").header(name, value);
        let answer = stand.send(request.body(Body::from(format!("round=3&{CARD}"))).unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(stand.paid(), []);
}

#[tokio::test]
async fn every_answer_may_be_framed_by_nobody_and_runs_only_our_script() {
    let stand = Stand::form();
    let inventory: serde_json::Value =
        serde_json::from_str(&stand.get("/inventory.json").await.body).unwrap();
    let script = &inventory["scripts"][0];
    assert!(script["reason"].as_str().unwrap().len() > 40);
    for path in [stand.path(), "/pay/nothing".to_owned(), "/".to_owned(), "/inventory.json".to_owned()] {
        let answer = stand.get(&path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        let hash = script["integrity"].as_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        let (script, style) = (&script["path"], &inventory["styles"][0]["path"]);
        let script = format!("script-src '{hash}' {HOST}{};", script.as_str().unwrap());
        let style = format!("style-src {HOST}{};", style.as_str().unwrap());
        assert!(
            policy.contains(&script) && policy.contains(&style) && policy.contains("report-uri"),
            "{path}"
        );
        assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert!(answer.headers.contains_key("strict-transport-security"), "{path}");
    }
    let file = stand.get(script["path"].as_str().unwrap()).await;
    assert_eq!(file.status, StatusCode::OK);
    assert!(!file.body.contains("innerHTML"));
}

#[tokio::test]
async fn a_wrong_link_says_so_and_no_more() {
    let stand = Stand::form();
    let other = LinkCode::new([8; LinkCode::BYTES]).text();
    for path in [format!("/pay/{other}"), "/pay/x".to_owned(), format!("/pay/{other}/state")] {
        let page = stand.get(&path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert!(page.body.contains("There is no payment at this link"));
        assert!(!page.body.contains("12.40"));
    }
}

#[tokio::test]
async fn who_tries_many_wrong_links_is_slowed_down_and_a_good_one_opens_all_the_same() {
    let stand = Stand::form();
    let ask = async |path: String, from: [u8; 4]| {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Source(from.into()));
        stand.send(request).await
    };
    let wrong = format!("/pay/{}", LinkCode::new([9; LinkCode::BYTES]).text());
    let mut answers = Vec::new();
    for _ in 0..25 {
        answers.push(ask(wrong.clone(), [192, 0, 2, 1]).await);
    }
    assert_eq!(answers[19].status, StatusCode::NOT_FOUND);
    let last = answers.last().unwrap();
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(last.headers["retry-after"], "10");
    assert!(!last.headers["content-security-policy"].is_empty());
    assert_eq!(ask(wrong, [192, 0, 2, 2]).await.status, StatusCode::NOT_FOUND, "another source");
    assert_eq!(ask(stand.path(), [192, 0, 2, 1]).await.status, StatusCode::OK, "a good link");
}

#[tokio::test]
async fn the_bank_may_hear_who_pays() {
    let stand = Stand::form();
    let request = Request::post(stand.path())
        .header("host", "pay.example")
        .header("origin", HOST)
        .header("user-agent", "Phone/1")
        .header("accept-language", "de,en;q=0.5");
    let mut request = request.body(Body::from(format!("round=3&{CARD}"))).unwrap();
    request.extensions_mut().insert(Source([192, 0, 2, 7].into()));
    assert_eq!(stand.send(request).await.status, StatusCode::SEE_OTHER);
    let said = stand.links.visitors.lock().unwrap().clone();
    let [said] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(said.address, Some([192, 0, 2, 7].into()));
    assert_eq!(
        (said.user_agent.as_deref(), said.languages.as_deref()),
        (Some("Phone/1"), Some("de,en;q=0.5"))
    );
}

#[tokio::test]
async fn what_the_release_says_of_itself_is_what_it_sends() {
    let (stand, release) = (Stand::form(), release(HOST));
    let specimen = stand.get("/specimen").await;
    assert_eq!(specimen.body, release.specimen);
    for (name, value) in &release.headers {
        assert_eq!(specimen.headers[name], value, "{name}");
    }
    assert_eq!(stand.get("/inventory.json").await.body, release.inventory);
    for file in &release.files {
        assert_eq!(stand.get(&file.path).await.status, StatusCode::OK);
        assert!(release.inventory.contains(&file.integrity));
    }
    let form = stand.get(&stand.path()).await.body;
    for element in &release.elements {
        assert!(form.contains(element) && specimen.body.contains(element), "{element}");
    }
    assert_eq!(
        stand.post("/specimen", &format!("round=0&{CARD}")).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(stand.paid(), []);
}

#[tokio::test]
async fn each_state_says_whether_money_was_taken() {
    let card = Some(MaskedCard::new(Some(Brand::Visa), 411_111, 1111));
    let cases = [
        (Sight::Processing(bill()), "do not pay again", true),
        (Sight::Over(bill(), Outcome::Paid { card }), "Paid. Thank you.", false),
        (Sight::Over(bill(), Outcome::Review), "the merchant will look at it", false),
        (Sight::Over(bill(), Outcome::Declined), "Nothing was charged.", false),
        (Sight::Over(bill(), Outcome::Withdrawn), "Nothing was charged.", false),
        (Sight::Over(bill(), Outcome::Expired), "Nothing was charged.", false),
        (Sight::Form(form(Some(DeclineClass::OtherCard))), "Nothing was charged.", false),
    ];
    for (sight, words, waits) in cases {
        let stand = Stand::showing(sight.clone());
        let page = stand.get(&stand.path()).await;
        assert!(page.body.contains(words), "{sight:?}: {}", page.body);
        let state = stand.get(&format!("{}/state", stand.path())).await.body;
        assert_eq!(state, format!("{{\"waits\":{waits}}}"));
        // A card that comes now is not taken, but on the form.
        if !matches!(sight, Sight::Form(_)) {
            stand.post(&stand.path(), &format!("round=3&{CARD}")).await;
            assert_eq!(stand.paid(), []);
        }
    }
}

#[tokio::test]
async fn the_banks_check_is_reached_without_scripts_and_only_there() {
    let fields = vec![("creq".to_owned(), "a\"b".to_owned())];
    let challenge = Challenge { url: "https://acs.example:8443/3ds?x=1".to_owned(), fields };
    let stand = Stand::showing(Sight::Challenge(bill(), challenge));
    let page = stand.get(&stand.path()).await;
    assert!(page.body.contains("action=\"https://acs.example:8443/3ds?x=1\""), "{}", page.body);
    assert!(page.body.contains("value=\"a&#34;b\""), "{}", page.body);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://acs.example:8443;"), "{policy}");

    let back = stand.get(&format!("{}/back?cres=xyz", stand.path())).await;
    assert_eq!(
        (back.status, back.headers["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, &*stand.path())
    );
    assert_eq!(*stand.links.back.lock().unwrap(), [b"cres=xyz".to_vec()]);
}

/// A form that is got would lose the query of its address, and with it the way to the bank.
#[tokio::test]
async fn a_bank_without_a_form_is_reached_by_a_link_that_keeps_its_query() {
    let url = "https://bank.example/redirect?client_secret=a&b=c".to_owned();
    let stand = Stand::showing(Sight::Challenge(bill(), Challenge { url, fields: Vec::new() }));
    let page = stand.get(&stand.path()).await;
    let link = "href=\"https://bank.example/redirect?client_secret=a&#38;b=c\"";
    assert!(page.body.contains(link), "{}", page.body);
    assert!(!page.body.contains("<form"), "{}", page.body);
}

#[tokio::test]
async fn a_bank_that_wants_no_form_gets_a_link_with_its_whole_address() {
    // A form that is sent by GET would lose what stands after the question mark.
    let challenge = Challenge { url: "https://acs.example/3ds?token=a&b=c".to_owned(), fields: Vec::new() };
    let stand = Stand::showing(Sight::Challenge(bill(), challenge));
    let page = stand.get(&stand.path()).await.body;
    assert!(page.contains("href=\"https://acs.example/3ds?token=a&#38;b=c\""), "{page}");
    assert!(!page.contains("<form"), "{page}");
}

#[tokio::test]
async fn typing_tells_a_field_and_a_count_and_takes_nothing_else() {
    let stand = Stand::form();
    let path = format!("{}/typing", stand.path());
    assert_eq!(stand.post(&path, "field=card_number&typed=12").await.status, StatusCode::NO_CONTENT);
    for body in
        ["field=card_number&typed=4111111111111111", "field=pan&typed=3", "typed=3", "", "field=expiry"]
    {
        assert_eq!(stand.post(&path, body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(*stand.links.typed.lock().unwrap(), [Typing { field: Field::CardNumber, typed: 12 }]);
}
