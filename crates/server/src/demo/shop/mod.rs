//! The fake shop: its page, and the back end that does OAuth and the Payment API for it.
//!
//! It has its own listener, so the agent page is framed across origins as in real life. The page never sees
//! the client secret or the API token; what it gets are the two tokens that open the agent page. Everything on the page
//! that moves comes over one event stream (`live`).

mod live;
mod payment;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Json, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use self::live::Judge;
use self::payment::Till;
use super::phone::{KeyCarrier, PhoneError};
use super::{DemoParts, Phones};

/// Connections at once: one person with a few tabs, six each.
const MAX_CONNECTIONS: usize = 48;
/// How long a client may take for its request's headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Largest request body: a run of keys.
const MAX_BODY: usize = 4 * 1024;

/// The shop, serving. Dropping it closes the shop and hangs up.
#[derive(Debug)]
pub struct RunningShop {
    /// Where its page is.
    pub url: String,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for RunningShop {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Opens the shop, and has the customer call the agent.
///
/// # Errors
/// When the address cannot be bound, or the server's addresses cannot be put into a header.
pub async fn serve_shop(parts: DemoParts, phones: Phones, listen: SocketAddr) -> anyhow::Result<RunningShop> {
    let policy = content_security_policy(&parts.page_base)?;
    let listener = TcpListener::bind(listen).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let phones = Arc::new(phones);
    let shop = Arc::new(Shop {
        till: Till::new(&parts),
        judge: Judge::new(phones.clone()),
        live: Arc::new(Semaphore::new(live::MAX_VIEWERS)),
        parts,
        phones,
        policy,
    });
    let judging = tokio::spawn(live::judge(shop.clone()));
    // The page shows whether the call came about, and has a button for another try.
    let calling = shop.clone();
    tokio::spawn(
        async move { calling.phones.customer.call(calling.parts.sip, &calling.parts.agent_user).await },
    );
    let serving = tokio::spawn(serve(listener, router(shop)));
    Ok(RunningShop { url, tasks: [judging, serving] })
}

/// Everything the shop has.
struct Shop {
    parts: DemoParts,
    phones: Arc<Phones>,
    till: Till,
    judge: Judge,
    live: Arc<Semaphore>,
    policy: HeaderValue,
}

/// Every door of the shop.
fn router(shop: Arc<Shop>) -> Router {
    let asset = |content_type: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, content_type)], text) })
    };
    let module = |text| asset("text/javascript; charset=utf-8", text);
    Router::new()
        .route("/", asset("text/html; charset=utf-8", include_str!("../pages/shop.html")))
        .route("/shop.css", asset("text/css; charset=utf-8", include_str!("../pages/shop.css")))
        .route("/shop.js", module(include_str!("../pages/shop.js")))
        .route("/page.js", module(include_str!("../pages/page.js")))
        .route("/keypad.js", module(include_str!("../pages/keypad.js")))
        .route("/picture.js", module(include_str!("../pages/picture.js")))
        // Browsers ask for it whether or not the page names one.
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
        .route("/payment", post(pay))
        .route("/keys", post(press))
        .route("/call", post(call))
        .route("/live", get(live::stream))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(shop.clone(), guard_page))
        .with_state(shop)
}

#[derive(Deserialize)]
struct PayOrder {
    amount: String,
}

/// What the page needs to open the agent page in its frame.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FrameTicket {
    iframe_url: String,
    access_token: String,
    refresh_token: String,
}

async fn pay(State(shop): State<Arc<Shop>>, Json(order): Json<PayOrder>) -> Response {
    match shop.till.open(order.amount).await {
        Ok(opened) => {
            shop.judge.begin_payment();
            Json(FrameTicket {
                iframe_url: opened.iframe_url,
                access_token: opened.agent_access_token,
                refresh_token: opened.agent_refresh_token,
            })
            .into_response()
        }
        Err(error) => refusal(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

#[derive(Deserialize)]
struct KeyOrder {
    keys: String,
    carrier: KeyCarrier,
}

async fn press(State(shop): State<Arc<Shop>>, Json(order): Json<KeyOrder>) -> Response {
    done(shop.phones.customer.press(&order.keys, order.carrier).await)
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum CallOrder {
    Call,
    HangUp,
}

async fn call(State(shop): State<Arc<Shop>>, Json(order): Json<CallOrder>) -> Response {
    let customer = &shop.phones.customer;
    done(match order {
        CallOrder::Call => customer.call(shop.parts.sip, &shop.parts.agent_user).await,
        CallOrder::HangUp => customer.line().hang_up().await,
    })
}

fn done(result: Result<(), PhoneError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refusal(StatusCode::CONFLICT, &error.to_string()),
    }
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}

/// Only the page's own scripts and styles, only the agent page in the frame, nobody frames the shop.
fn content_security_policy(page_base: &str) -> anyhow::Result<HeaderValue> {
    Ok(HeaderValue::from_str(&format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src {page_base}; \
         form-action 'self' {page_base}; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ))?)
}

/// Sets the page's headers. Refuses other host names, so that no foreign page can reach the shop under its own name.
async fn guard_page(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, shop.policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The agent page checks which origin opened it, so the origin, and no more, is told.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    response
}

async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the demo shop cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the demo shop broke off");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::demo::http::{open_events, send};
    use crate::demo::phone::CallState;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    const SECRET: &str = "a-secret/of the shop";

    /// A shop whose customer calls the agent with nothing between, and whose Payment API is a stub.
    struct Street {
        shop: RunningShop,
        agent: tokio::sync::watch::Receiver<CallState>,
        _api: JoinHandle<()>,
    }

    impl Street {
        async fn open() -> Self {
            let api = TcpListener::bind(LOOPBACK).await.unwrap();
            let api_base = format!("http://{}", api.local_addr().unwrap());
            let stub = tokio::spawn(async move { axum::serve(api, payment_api()).await.unwrap() });
            let phones = Phones::start(LOOPBACK, LOOPBACK).await.unwrap();
            let agent = phones.agent.line().state();
            let parts = DemoParts {
                api_base,
                page_base: "http://127.0.0.1:9".into(),
                sip: phones.agent.line().sip(),
                agent_user: "agent1234".into(),
                client_id: "shop".into(),
                client_secret: SECRET.into(),
                account_configuration: 0,
            };
            let shop = serve_shop(parts, phones, LOOPBACK).await.unwrap();
            Self { shop, agent, _api: stub }
        }

        async fn post(&self, path: &str, body: &str) -> (u16, String) {
            let request = axum::http::Request::post(format!("{}{path}", self.shop.url))
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_owned())
                .unwrap();
            let reply = send(request).await.unwrap();
            (reply.status, reply.body)
        }

        /// Everything the page was told until `enough` says so.
        async fn told_until(&self, enough: impl Fn(&str) -> bool) -> String {
            let request =
                axum::http::Request::get(format!("{}live", self.shop.url)).body(String::new()).unwrap();
            let mut live = open_events(request).await.unwrap();
            let mut told = String::new();
            while !enough(&told) {
                let event = live.next().await.unwrap().unwrap();
                told.push_str(&format!("{}: {}\n", event.name, event.data));
            }
            told
        }
    }

    /// As much of the API as the shop uses: the client must be right, "13" is refused, and every payment is approved.
    fn payment_api() -> Router {
        async fn token(body: String) -> Response {
            let right = body.contains("client_id=shop&client_secret=a-secret%2Fof+the+shop");
            let status = if right { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            (status, Json(serde_json::json!({ "access_token": "token-of-the-api" }))).into_response()
        }
        async fn session(Json(body): Json<serde_json::Value>) -> Response {
            if body["paymentData"]["Amount"] == "13" || body["agentId"] != "agent1234" {
                let problem = serde_json::json!({ "detail": "no such amount" });
                return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
            }
            Json(serde_json::json!({
                "sessionGuid": "s1", "providerSessionGuid": "p1", "iframeUrl": "http://127.0.0.1:9/view/p1/framed",
                "agentAccessToken": "access-token-of-the-page", "agentRefreshToken": "refresh-token-of-the-page",
            }))
            .into_response()
        }
        let status = Json(serde_json::json!({ "sessionState": "Finished", "outcome": "approved" }));
        Router::new()
            .route("/Auth/connect/token", post(token))
            .route("/v1/session", post(session))
            .route("/v1/session/s1", get(async || status))
    }

    #[tokio::test]
    async fn every_page_and_asset_is_there_and_guarded() {
        let street = Street::open().await;
        for path in ["", "shop.css", "shop.js", "page.js", "keypad.js", "picture.js"] {
            let client =
                tokio::net::TcpStream::connect(street.shop.url[7..].trim_end_matches('/')).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake::<_, String>(TokioIo::new(client)).await.unwrap();
            tokio::spawn(connection);
            let request =
                Request::get(format!("/{path}")).header(HOST, "localhost:1").body(String::new()).unwrap();
            let reply = sender.send_request(request).await.unwrap();
            assert_eq!(reply.status(), 200, "{path}");
            let policy = reply.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-src http://127.0.0.1:9;")
            );
            let foreign = Request::get("/").header(HOST, "evil.example").body(String::new()).unwrap();
            assert_eq!(sender.send_request(foreign).await.unwrap().status(), 421);
        }
    }

    #[tokio::test]
    async fn a_payment_is_opened_and_followed_and_no_secret_is_shown() {
        let mut street = Street::open().await;
        street.agent.wait_for(|state| *state == CallState::InCall).await.unwrap();
        let (status, ticket) = street.post("payment", r#"{"amount":"12.40"}"#).await;
        assert_eq!(status, 200);
        let ticket: serde_json::Value = serde_json::from_str(&ticket).unwrap();
        assert_eq!(ticket["accessToken"], "access-token-of-the-page");
        let told = street.told_until(|told| told.contains("payment: ") && told.contains("approved")).await;
        assert!(told.contains("POST /Auth/connect/token") && told.contains("client_secret=…"), "{told}");
        for secret in
            ["a-secret", "token-of-the-api", "access-token-of-the-page", "refresh-token-of-the-page"]
        {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_given_in_the_words_of_the_api() {
        let street = Street::open().await;
        let (status, body) = street.post("payment", r#"{"amount":"13"}"#).await;
        assert_eq!((status, body.as_str()), (502, r#"{"error":"no such amount (HTTP 400)"}"#));
    }

    #[tokio::test]
    async fn with_nothing_between_the_phones_every_press_is_judged_as_heard() {
        let mut street = Street::open().await;
        street.agent.wait_for(|state| *state == CallState::InCall).await.unwrap();
        for carrier in ["event", "info", "in_band"] {
            let order = format!(r#"{{"keys":"5","carrier":"{carrier}"}}"#);
            assert_eq!(street.post("keys", &order).await.0, 204);
        }
        let judged = |told: &str| told.matches("judgement: ").count();
        let told = street.told_until(|told| judged(told) == 3).await;
        assert_eq!(told.matches(r#""heard":true"#).count(), 3, "{told}");
        assert!(told.contains(r#"press: {"number":0,"key":"5","carrier":"event""#), "{told}");
        assert!(told.contains(r#""paying":false,"pressed":0"#), "no payment is open: {told}");
    }
}
