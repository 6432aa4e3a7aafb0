//! The agent page's routes, and the headers that surround every answer of the payment host.
//!
//! ```text
//! form post with two tokens ──► opening.rs spends one ──► page with a handle in it
//! page's script ── X-Page-Handle ──► live.rs: the page as it changes     act.rs: what the agent does
//! ```
//! There is no cookie. The handle lives in the page's memory and goes in a header, so no other site can
//! make a browser send it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use hushpad_domain::ids::ProviderSessionGuid;
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use crate::WebParts;

mod act;
mod assets;
mod link;
mod live;
mod open;
mod opening;
mod refusal;
mod sign_in;
mod spent;
mod view;
mod words;

use assets::Assets;
use opening::{Handle, Pages};
use refusal::PageRefusal;
pub(crate) use sign_in::SIGN_IN_PATH;
use sign_in::SignIns;

/// The page proves itself with this header.
const PAGE_HANDLE: HeaderName = HeaderName::from_static("x-page-handle");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// For every answer that brings no policy of its own: it may load nothing and be framed by nobody.
const CSP_NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// The page needs none of the browser's powers.
const NO_POWERS: &str = "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), clipboard-write=(), \
    display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), microphone=(), midi=(), \
    payment=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=()";

/// What the handlers share.
pub(crate) struct PageHost {
    parts: Arc<WebParts>,
    pages: Pages,
    assets: Assets,
    live_pages: AtomicUsize,
    sign_ins: SignIns,
}

/// The agent page and the page of a link code: opening, live updates, actions; and their two files.
pub fn page_router(parts: Arc<WebParts>) -> Router {
    let assets = Assets::new(&parts.settings.page_base_url);
    let pages = Pages::new(parts.settings.limits.pages_max);
    let host = Arc::new(PageHost {
        parts,
        pages,
        assets,
        live_pages: AtomicUsize::new(0),
        sign_ins: SignIns::new(),
    });
    Router::new()
        .route("/view/{guid}/framed", get(open::open_framed).post(open::open_framed))
        .route("/view/{guid}", get(open::open_pop_up).post(open::open_pop_up))
        .route("/view/{guid}/live", get(live::live))
        .route("/view/{guid}/act", post(act::act))
        .route("/link/{guid}/framed", get(link::open_framed).post(link::open_framed))
        .route("/link/{guid}", get(link::open_pop_up).post(link::open_pop_up))
        .route("/link/{guid}/live", get(link::live))
        .route("/link/{guid}/act", post(link::act))
        .route(SIGN_IN_PATH, get(sign_in::show).post(sign_in::take))
        .route("/assets/{hash}/{name}", get(assets::asset))
        .method_not_allowed_fallback(async || PageRefusal::NotPosted)
        .fallback(async || PageRefusal::Unknown)
        .layer(CatchPanicLayer::custom(|_| PageRefusal::Unavailable.into_response()))
        .layer(middleware::from_fn_with_state(host.clone(), frame))
        .with_state(host)
}

/// Around every request: renders its refusal, lays the headers around it, tells the metrics.
async fn frame(State(host): State<Arc<PageHost>>, request: Request, next: Next) -> Response {
    let begun = host.parts.observer.request_begins();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("other", MatchedPath::as_str).to_owned();
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<PageRefusal>() {
        response = refusal.page(&host.assets);
    }
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.entry(CACHE_CONTROL).or_insert(fixed("no-store"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(fixed(CSP_NOTHING));
    headers.insert(REFERRER_POLICY, fixed("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(PERMISSIONS_POLICY, fixed(NO_POWERS));
    host.parts.observer.request_done(&route, response.status().as_u16(), begun);
    response
}

/// The provider session in a path; what is no guid is not there.
struct PagePath(ProviderSessionGuid);

impl<S: Send + Sync> FromRequestParts<S> for PagePath {
    type Rejection = PageRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageRefusal> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let guid = text.ok().and_then(|Path(text)| Uuid::try_parse(&text).ok());
        guid.map(|guid| Self(ProviderSessionGuid(guid))).ok_or(PageRefusal::Unknown)
    }
}

/// The handle of a request that our own page has sent.
fn page_handle(host: &PageHost, headers: &HeaderMap) -> Result<Handle, PageRefusal> {
    if !is_same_origin(headers, &host.parts.settings.page_base_url) {
        return Err(PageRefusal::Forbidden);
    }
    let text = headers.get(PAGE_HANDLE).and_then(|value| value.to_str().ok());
    text.and_then(Handle::from_text).ok_or(PageRefusal::Forbidden)
}

/// Browsers say where a request comes from; what they say must be us. Other callers say nothing, and are
/// held by the handle alone.
fn is_same_origin(headers: &HeaderMap, page_base_url: &str) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = headers.get(http::header::ORIGIN).map(HeaderValue::as_bytes);
    site.is_none_or(|site| site == b"same-origin")
        && origin.is_none_or(|origin| origin == origin_of(page_base_url).as_bytes())
}

/// `scheme://host:port` of a URL.
fn origin_of(url: &str) -> &str {
    let host_at = url.find("://").map_or(0, |at| at + 3);
    url[host_at..].find('/').map_or(url, |path_at| &url[..host_at + path_at])
}
