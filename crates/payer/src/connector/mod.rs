//! The pay connector: the JSON by which others' telephony (Twilio `<Pay>`, SignalWire, Telnyx) hands over a card that
//! was keyed there. Its own listener; nothing else is served on it.
//!
//! ```text
//! POST /charges                       HTTP Basic, application/json
//!   transaction_id, method (charge | tokenize), cardnumber, cvv, expiry_month, expiry_year, amount, currency_code,
//!   postal_code, description, parameters {}
//! GET  /charges?transaction_id=…      what became of it (ours)
//! answer: charge_id or token_id, error_code, error_message, parameters {}
//! ```
//! Each `transaction_id` is one payment session with one payment, ever: one that comes again is told what became of the
//! first, and its card is wiped. The body is read into one buffer that is wiped, the card goes from there into locked
//! memory, and nothing of it is made a string.
//!
//! Read in this order: `desk.rs` (the port), `request.rs` (how a transaction is read), `answer.rs` (what is told),
//! `users.rs` (who may), `json.rs`.

mod answer;
mod desk;
mod json;
mod request;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use hushpad_domain::account::{Directory, PaymentFlow};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::warn;

pub use desk::{ConnectorDesk, ConnectorOrder, ConnectorRefused, Found, Method, Patience, TransactionKey};
pub use users::{ConnectorUser, ConnectorUsers};

use crate::body::{BadBody, read_wiped};
use crate::form::FormBody;
use crate::links::Source;
use crate::page::NOT_KEPT;
use json::{Object, WrongShape};
use users::{Caller, LoginRefused};

/// As of the Payment API: custom parameters may be many.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Requests that are read or waited for at one time: 16 MiB of bodies. More are told to come again.
const AT_ONCE_MAX: usize = 256;

/// What the pay connector needs.
pub struct ConnectorParts {
    /// The secure side.
    pub desk: Arc<dyn ConnectorDesk>,
    /// Who may.
    pub users: ConnectorUsers,
    /// Whose configurations say how.
    pub directory: Arc<Directory>,
}

struct Host {
    parts: ConnectorParts,
    places: Semaphore,
}

/// The pay connector.
pub fn connector_router(parts: ConnectorParts) -> Router {
    let host = Arc::new(Host { parts, places: Semaphore::new(AT_ONCE_MAX) });
    Router::new()
        .route("/charges", get(query).post(pay))
        .method_not_allowed_fallback(async || ConnectorRefusal::NotThisWay)
        .fallback(async || ConnectorRefusal::NothingHere)
        .layer(CatchPanicLayer::custom(|_| ConnectorRefusal::Unavailable.into_response()))
        .layer(middleware::from_fn(frame))
        .with_state(host)
}

async fn frame(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(NOT_KEPT));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Pays, or tells what became of the transaction if it came before.
async fn pay(State(host): State<Arc<Host>>, request: Request) -> Result<Response, ConnectorRefusal> {
    let caller = host.login(&request)?;
    let _place = host.places.try_acquire().map_err(|_| ConnectorRefusal::Busy)?;
    if !is_json(request.headers()) {
        return Err(ConnectorRefusal::NotJson);
    }
    let flow = host.flow(&caller).ok_or(ConnectorRefusal::Unavailable)?;
    let body = read_wiped(request.into_body(), BODY_BYTES_MAX).await?;
    let object = Object::parse(&body).map_err(|WrongShape| ConnectorRefusal::Malformed)?;
    let wanted = request::wanted(&object);
    let desk = &host.parts.desk;
    if let Ok(wanted) = &wanted {
        let key = caller.key(&wanted.id);
        // Before the card is looked at: what was right then may have expired since.
        if let Some(found) = desk.look(&key, Patience::None).await? {
            drop(body);
            if !answer::is_same(wanted, &found) {
                return Ok(answer::reused(&wanted.id));
            }
            let found = desk.look(&key, Patience::Whole).await?.unwrap_or(found);
            return Ok(told(wanted, &found));
        }
    }
    let (wanted, mut mistakes) = match wanted {
        Ok(wanted) => (Some(wanted), Vec::new()),
        Err(mistakes) => (None, mistakes),
    };
    let payment_data = request::payment_data(&object, wanted.as_ref(), flow, &mut mistakes);
    let card = request::card(&object, flow, desk.today(), &mut mistakes)
        .map_err(|request::NoMemory| ConnectorRefusal::Unavailable)?;
    // What was written is wiped before the bank is waited for.
    drop(body);
    match (wanted, payment_data, card) {
        (Some(wanted), Some(payment_data), Some(card)) if mistakes.is_empty() => {
            let (key, user) = (caller.key(&wanted.id), caller.user);
            let order = ConnectorOrder { key, method: wanted.method, payment_data, user };
            let found = desk.pay(order, card).await?;
            Ok(told(&wanted, &found))
        }
        (wanted, _, _) => Ok(answer::mistaken(wanted.as_ref().map(|wanted| wanted.id.as_str()), &mistakes)),
    }
}

/// What became of a transaction, now.
async fn query(State(host): State<Arc<Host>>, request: Request) -> Result<Response, ConnectorRefusal> {
    let caller = host.login(&request)?;
    let query = FormBody::of_query(request.uri().query().unwrap_or_default());
    let id = std::str::from_utf8(query.value("transaction_id")).unwrap_or_default();
    if id.is_empty() {
        return Err(ConnectorRefusal::NoId);
    }
    if let Err(mistake) = request::check_id(id) {
        return Ok(answer::mistaken(None, &[mistake]));
    }
    Ok(match host.parts.desk.look(&caller.key(id), Patience::None).await? {
        Some(found) => answer::of_transaction(id, &found),
        None => answer::not_found(id),
    })
}

fn told(wanted: &request::Wanted, found: &Found) -> Response {
    if answer::is_same(wanted, found) {
        answer::of_transaction(&wanted.id, found)
    } else {
        answer::reused(&wanted.id)
    }
}

impl Host {
    fn login(&self, request: &Request) -> Result<Caller, ConnectorRefusal> {
        let source = request.extensions().get::<Source>().copied();
        let now = self.parts.desk.tick();
        self.parts.users.login(request.headers(), source, now).map_err(|refused| {
            warn!(
                source = source.map(|Source(address)| tracing::field::display(address)),
                too_often = matches!(refused, LoginRefused::TooOften(_)),
                "a user of the pay connector failed to authenticate"
            );
            match refused {
                LoginRefused::Wrong => ConnectorRefusal::NotAllowed,
                LoginRefused::TooOften(wait_s) => ConnectorRefusal::TooManyLogins(wait_s),
            }
        })
    }

    fn flow(&self, caller: &Caller) -> Option<&PaymentFlow> {
        let account = self.parts.directory.account(&caller.account)?;
        account.configuration(caller.configuration).map(|configuration| &configuration.flow)
    }
}

impl Caller {
    fn key(&self, id: &str) -> TransactionKey {
        let (account, configuration) = (self.account.clone(), self.configuration);
        TransactionKey { account, configuration, id: id.to_owned() }
    }
}

/// `application/json`, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = essence.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// Why nothing was even looked for. Surely nothing was sent for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectorRefusal {
    NotAllowed,
    TooManyLogins(u64),
    NothingHere,
    NotThisWay,
    NotJson,
    TooLarge,
    TooSlow,
    Malformed,
    NoId,
    Busy,
    Unavailable,
}

impl From<BadBody> for ConnectorRefusal {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::TooLarge => Self::TooLarge,
            BadBody::Incomplete => Self::TooSlow,
        }
    }
}

impl From<ConnectorRefused> for ConnectorRefusal {
    fn from(refused: ConnectorRefused) -> Self {
        match refused {
            ConnectorRefused::Busy => Self::Busy,
            ConnectorRefused::Unavailable => Self::Unavailable,
        }
    }
}

impl IntoResponse for ConnectorRefusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::NotAllowed => (StatusCode::UNAUTHORIZED, "unauthorized", "wrong user or password"),
            Self::TooManyLogins(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failed_logins",
                "the password was wrong too often; try again later",
            ),
            Self::NothingHere => {
                (StatusCode::NOT_FOUND, "no_such_path", "transactions are posted to /charges")
            }
            Self::NotThisWay => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "post it, or get it"),
            Self::NotJson => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", "the Content-Type must be application/json")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is longer than 64 KiB"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "incomplete", "the body did not arrive whole"),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the body must be one JSON object, with each name once",
            ),
            Self::NoId => (StatusCode::BAD_REQUEST, "invalid_request", "transaction_id is missing"),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too much is under way; try again with the same transaction_id",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "not available just now; try again with the same transaction_id",
            ),
        };
        let mut response = answer::refusal(status, None, code, message);
        let headers = response.headers_mut();
        match self {
            Self::NotAllowed => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"pay connector\""));
            }
            Self::TooManyLogins(wait_s) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
            }
            Self::Busy | Self::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::NothingHere
            | Self::NotThisWay
            | Self::NotJson
            | Self::TooLarge
            | Self::TooSlow
            | Self::Malformed
            | Self::NoId => {}
        }
        response
    }
}
