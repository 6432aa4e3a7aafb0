//! The routes, and the headers that surround every answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
    RETRY_AFTER, USER_AGENT, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hushpad_card::{FormRefusal, read_form};
use hushpad_domain::field::Field;
use hushpad_domain::page::InvalidReason;
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::warn;

use crate::assets::Assets;
use crate::form::FormBody;
use crate::links::{Form, LinkCode, LinkRefused, PayRefused, PaymentLinks, Sight, Source, Typing, Visitor};
use crate::throttle::Throttle;
use crate::{report, view};

/// The page needs none of the browser's powers.
const NO_POWERS: &str = "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), clipboard-write=(), \
    display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), microphone=(), midi=(), \
    payment=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=()";
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const REPORTING_ENDPOINTS: HeaderName = HeaderName::from_static("reporting-endpoints");
pub(crate) const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";
/// Of every page.
pub(crate) const NOT_KEPT: &str = "no-store";
/// On every answer, whatever it is.
pub(crate) const FIXED_HEADERS: [(HeaderName, &str); 5] = [
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (PERMISSIONS_POLICY, NO_POWERS),
    (REPORTING_ENDPOINTS, "csp=\"/csp-report\""),
];
/// More characters than a field takes.
const TYPED_MAX: u32 = 32;
/// What comes along when the payer is back from the bank: a token or two.
const BACK_BYTES_MAX: usize = 64 * 1024;

/// What the payer page needs.
pub struct PayerParts {
    /// The secure side.
    pub links: Arc<dyn PaymentLinks>,
    /// The page's public base URL, without a slash at its end.
    pub base_url: String,
}

struct PayerHost {
    parts: PayerParts,
    assets: Assets,
    throttle: Throttle,
}

/// The payer page.
pub fn payer_router(parts: PayerParts) -> Router {
    let assets = Assets::new(&parts.base_url);
    let host = Arc::new(PayerHost { parts, assets, throttle: Throttle::default() });
    Router::new()
        .route("/pay/{code}", get(look).post(pay))
        .route("/pay/{code}/state", get(state))
        .route("/pay/{code}/typing", post(typing))
        .route("/pay/{code}/back", get(back).post(back))
        .route("/specimen", get(specimen))
        // Browsers ask for one unasked; there is none.
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
        .route("/csp-report", post(csp_report))
        .route("/inventory.json", get(inventory))
        .route("/assets/{hash}/{name}", get(asset))
        .method_not_allowed_fallback(async || PayerRefusal::NotThisWay)
        .fallback(async || PayerRefusal::NothingHere)
        .layer(CatchPanicLayer::custom(|_| PayerRefusal::Unavailable.into_response()))
        .layer(middleware::from_fn_with_state(host.clone(), frame))
        .with_state(host)
}

/// Around every request: renders its refusal, lays the headers around it.
async fn frame(State(host): State<Arc<PayerHost>>, request: Request, next: Next) -> Response {
    let source = request.extensions().get::<Source>().copied();
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<PayerRefusal>() {
        response = refused(&host, refusal, source);
    }
    lay_headers(&host, response.headers_mut());
    response
}

/// The page of a refusal. Links that are none are counted.
fn refused(host: &PayerHost, refusal: PayerRefusal, source: Option<Source>) -> Response {
    let wait_s = match refusal {
        PayerRefusal::NoSuchLink => host.throttle.wrong(source, host.parts.links.tick()),
        _ => None,
    };
    let refusal = if wait_s.is_some() { PayerRefusal::TooManyWrongLinks } else { refusal };
    let (status, notice) = refusal.told();
    let mut response = (status, Html(view::notice(&host.assets, &notice))).into_response();
    if let Some(wait_s) = wait_s {
        warn!(
            source = source.map(|Source(address)| tracing::field::display(address)),
            "many wrong payment links"
        );
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_s));
    }
    response
}

fn lay_headers(host: &PayerHost, headers: &mut HeaderMap) {
    let fixed = HeaderValue::from_static;
    headers.entry(CACHE_CONTROL).or_insert(fixed(NOT_KEPT));
    if let Ok(policy) = HeaderValue::from_str(&host.assets.policy(None)) {
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
    }
    for (name, value) in FIXED_HEADERS {
        headers.insert(name, fixed(value));
    }
    if host.parts.base_url.starts_with("https://") {
        headers.insert(http::header::STRICT_TRANSPORT_SECURITY, fixed(STRICT_TRANSPORT_SECURITY));
    }
}

/// What the link shows now.
async fn look(
    State(host): State<Arc<PayerHost>>,
    LinkPath(code): LinkPath,
) -> Result<Response, PayerRefusal> {
    let sight = host.parts.links.look(&code).await?;
    Ok(show(&host, &code, StatusCode::OK, &sight, &[]))
}

/// Whether what the link shows may still change by itself.
async fn state(
    State(host): State<Arc<PayerHost>>,
    LinkPath(code): LinkPath,
) -> Result<Response, PayerRefusal> {
    let sight = host.parts.links.look(&code).await?;
    Ok(Json(json!({ "waits": matches!(sight, Sight::Processing(_)) })).into_response())
}

/// Takes the card. A redirect follows, so that a reload of what is seen then pays nothing.
async fn pay(
    State(host): State<Arc<PayerHost>>,
    LinkPath(code): LinkPath,
    request: Request,
) -> Result<Response, PayerRefusal> {
    from_our_page(&host, request.headers())?;
    let from = visitor(&request);
    let form = FormBody::read(request.into_body()).await.map_err(|_| PayerRefusal::BadForm)?;
    let Sight::Form(shown) = host.parts.links.look(&code).await? else { return Ok(see(&code)) };
    if form.number("round") != Some(shown.round) {
        return Ok(see(&code));
    }
    let read =
        read_form(&shown.fields, &shown.brands, host.parts.links.today(), |field| form.value_of(field));
    let card = match read {
        Ok(card) => card,
        Err(FormRefusal::Mistakes(mistakes)) => return Ok(mistaken(&host, &code, shown, &mistakes)),
        Err(FormRefusal::NoMemory) => return Err(PayerRefusal::Unavailable),
    };
    // What was written is wiped before the bank is waited for.
    drop(form);
    match host.parts.links.pay(&code, shown.round, card, from).await {
        Ok(()) | Err(PayRefused::NotNow) => Ok(see(&code)),
        Err(PayRefused::Link(refused)) => Err(refused.into()),
    }
}

/// How far the payer is.
async fn typing(
    State(host): State<Arc<PayerHost>>,
    LinkPath(code): LinkPath,
    request: Request,
) -> Result<Response, PayerRefusal> {
    from_our_page(&host, request.headers())?;
    let form = FormBody::read(request.into_body()).await.map_err(|_| PayerRefusal::BadForm)?;
    let field = std::str::from_utf8(form.value("field")).ok().and_then(Field::from_name);
    let typed =
        form.number("typed").filter(|typed| *typed <= TYPED_MAX).and_then(|typed| u8::try_from(typed).ok());
    let (Some(field), Some(typed)) = (field, typed) else { return Err(PayerRefusal::BadForm) };
    host.parts.links.typing(&code, Typing { field, typed }).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The payer is back from the bank. What came along, by query or form, goes to the gateway's connector.
async fn back(
    State(host): State<Arc<PayerHost>>,
    LinkPath(code): LinkPath,
    request: Request,
) -> Result<Response, PayerRefusal> {
    let query = request.uri().query().unwrap_or_default().as_bytes().to_vec();
    let body =
        axum::body::to_bytes(request.into_body(), BACK_BYTES_MAX).await.map_err(|_| PayerRefusal::BadForm)?;
    let came_along = if body.is_empty() { query } else { body.to_vec() };
    host.parts.links.back(&code, &came_along).await?;
    Ok(see(&code))
}

/// The form as this release draws it, without a bill and without a payee: what `hushpad page-watch` looks at.
async fn specimen(State(host): State<Arc<PayerHost>>) -> Response {
    Html(view::specimen(&host.assets)).into_response()
}

async fn csp_report(body: Body) -> StatusCode {
    report::log(body).await;
    StatusCode::NO_CONTENT
}

async fn inventory(State(host): State<Arc<PayerHost>>) -> Response {
    Json(host.assets.inventory()).into_response()
}

async fn asset(
    State(host): State<Arc<PayerHost>>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Response, PayerRefusal> {
    let found = path.ok().and_then(|Path((hash, name))| host.assets.find(&hash, &name));
    found.ok_or(PayerRefusal::NothingHere)
}

/// The form again, with what is wrong beside its field. What was written is not written back: the card is typed
/// again, as no copy of it was kept.
fn mistaken(host: &PayerHost, code: &LinkCode, form: Form, mistakes: &[(Field, InvalidReason)]) -> Response {
    show(host, code, StatusCode::UNPROCESSABLE_ENTITY, &Sight::Form(form), mistakes)
}

fn show(
    host: &PayerHost,
    code: &LinkCode,
    status: StatusCode,
    sight: &Sight,
    mistakes: &[(Field, InvalidReason)],
) -> Response {
    let path = format!("/pay/{}", code.text());
    let mut response = (status, Html(view::page(&host.assets, &path, sight, mistakes))).into_response();
    if let Sight::Challenge(_, challenge) = sight
        && let Ok(policy) = HeaderValue::from_str(&host.assets.policy(Some(origin_of(&challenge.url))))
    {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Who asks, as far as the request says.
fn visitor(request: &Request) -> Visitor {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Visitor {
        address: request.extensions().get::<Source>().map(|Source(address)| *address),
        user_agent: header(USER_AGENT),
        accept: header(ACCEPT),
        languages: header(ACCEPT_LANGUAGE),
    }
}

/// `303 See Other` to the link itself.
fn see(code: &LinkCode) -> Response {
    Redirect::to(&format!("/pay/{}", code.text())).into_response()
}

/// Browsers say where a form comes from; what they say must be us.
fn from_our_page(host: &PayerHost, headers: &HeaderMap) -> Result<(), PayerRefusal> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    // With `no-referrer`, some browsers write `null` for a form of our own; the Fetch header tells it then.
    let ours = |origin: &[u8]| origin == origin_of(&host.parts.base_url).as_bytes() || origin == b"null";
    let same = site.is_none_or(|site| site == b"same-origin") && origin.is_none_or(ours);
    // `null` alone proves nothing.
    let proven = origin != Some(b"null".as_slice()) || site.is_some();
    if same && proven && headers.contains_key(HOST) { Ok(()) } else { Err(PayerRefusal::NotFromHere) }
}

/// `scheme://host:port` of a URL.
fn origin_of(url: &str) -> &str {
    let host_at = url.find("://").map_or(0, |at| at + 3);
    url[host_at..].find('/').map_or(url, |path_at| &url[..host_at + path_at])
}

/// The code in a path. What is no code is not there.
struct LinkPath(LinkCode);

impl<S: Send + Sync> FromRequestParts<S> for LinkPath {
    type Rejection = PayerRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PayerRefusal> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        text.ok().and_then(|Path(text)| LinkCode::from_text(&text)).map(Self).ok_or(PayerRefusal::NoSuchLink)
    }
}

/// Why there is no page of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PayerRefusal {
    NoSuchLink,
    NothingHere,
    TooManyWrongLinks,
    NotThisWay,
    NotFromHere,
    BadForm,
    Unavailable,
}

impl PayerRefusal {
    fn told(self) -> (StatusCode, view::Notice) {
        let say = |status, title, advice| (status, view::Notice { title, advice });
        match self {
            Self::NoSuchLink | Self::NothingHere => say(
                StatusCode::NOT_FOUND,
                "There is no payment at this link",
                "Check that the link is whole. If it is, ask the merchant for a new one.",
            ),
            Self::TooManyWrongLinks => say(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many links were tried that are none",
                "Wait a little, and open the link that you were sent.",
            ),
            Self::NotThisWay => say(
                StatusCode::METHOD_NOT_ALLOWED,
                "This page is opened in another way",
                "Open the link that you were sent.",
            ),
            Self::NotFromHere => say(
                StatusCode::FORBIDDEN,
                "This form was not sent by our page",
                "Nothing was charged. Open the link that you were sent.",
            ),
            Self::BadForm => say(
                StatusCode::BAD_REQUEST,
                "The form did not arrive whole",
                "Nothing was charged. Open the link again.",
            ),
            Self::Unavailable => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "The page is not available just now",
                "Nothing was charged. Try again in a moment.",
            ),
        }
    }
}

impl From<LinkRefused> for PayerRefusal {
    fn from(refused: LinkRefused) -> Self {
        match refused {
            LinkRefused::NoSuchLink => Self::NoSuchLink,
            LinkRefused::Unavailable => Self::Unavailable,
        }
    }
}

/// Carries the refusal out to the frame around every request, which has the page's files.
impl IntoResponse for PayerRefusal {
    fn into_response(self) -> Response {
        let mut response = self.told().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
