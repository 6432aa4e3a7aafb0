//! The Payment API's routes, and what surrounds every request: its id, its metrics, its refusal.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hushpad_domain::ids::ClientId;
use hushpad_domain::text::holds_card_number;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::WebParts;
use crate::error::ApiError;
use crate::rate::Allowances;
use crate::verified::VerifiedTokens;

mod caller;
mod calls;
mod charge;
mod client_proof;
mod cors;
mod create;
mod docs;
mod endpoint;
mod events;
mod idempotency;
mod json;
mod links;
mod list;
mod oauth;
mod openapi;
mod operations;
mod schemas;
mod status;
mod token;
mod webhooks;

pub use endpoint::Access;
use endpoint::{Endpoint, Repeat};
pub use openapi::{EndpointInfo, endpoint_list, openapi_document};
pub use status::status_body;

/// Both prefixes are in use by clients of the published API.
const PREFIXES: [&str; 3] = ["", "/globalpci", "/api"];
/// The published path of the token endpoint; clients write it in any case.
const TOKEN_PATH: &str = "/Auth/connect/token";
/// As long as two guids; longer ids come from nobody who means well.
const REQUEST_ID_CHARS_MAX: usize = 72;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the handlers share.
pub(crate) struct Api {
    parts: Arc<WebParts>,
    verified: VerifiedTokens,
    per_client: Allowances<ClientId>,
    rate_policy: Option<HeaderValue>,
    token_failures: token::Failures,
    followers: events::Followers,
}

/// The Payment API with its OAuth endpoint and its OpenAPI document.
pub fn api_router(parts: Arc<WebParts>) -> Router {
    let limits = parts.settings.limits;
    let per_client = Allowances::new(limits.client_burst, limits.client_refill);
    let api = Arc::new(Api {
        parts,
        verified: VerifiedTokens::default(),
        rate_policy: caller::rate_policy(&per_client),
        per_client,
        token_failures: token::Failures::new(),
        followers: events::Followers::default(),
    });
    let once = || middleware::from_fn_with_state(api.clone(), idempotency::once);
    let (mut open, mut guarded) = (Router::new(), Router::new());
    for Endpoint { path, access, repeat, handler, .. } in endpoints() {
        let handler = match repeat {
            Repeat::Harmless => handler,
            Repeat::OncePerKey => handler.route_layer(once()),
        };
        match access {
            Access::Public | Access::ClientSecret => open = open.route(path, handler),
            Access::Token => {
                for prefix in PREFIXES {
                    guarded = guarded.route(&format!("{prefix}{path}"), handler.clone());
                }
            }
        }
    }
    let router = guarded
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .route_layer(middleware::from_fn_with_state(api.clone(), caller::authorise))
        .merge(open)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .fallback(elsewhere)
        .layer(CatchPanicLayer::custom(|_| ApiError::Internal.into_response()))
        .layer(middleware::from_fn_with_state(api.clone(), frame))
        .with_state(api.clone());
    cors::around(router, &api.parts.settings.browser_origins)
}

/// Every endpoint there is. What is not in this list is not served.
fn endpoints() -> Vec<Endpoint> {
    [
        token::endpoints(),
        oauth::endpoints(),
        docs::endpoints(),
        create::endpoints(),
        charge::endpoints(),
        list::endpoints(),
        status::endpoints(),
        operations::endpoints(),
        links::endpoints(),
        events::endpoints(),
        calls::endpoints(),
        webhooks::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Handles what no route matches: the token endpoint in other spellings, and nothing else.
async fn elsewhere(state: State<Arc<Api>>, request: Request) -> Response {
    if !request.uri().path().eq_ignore_ascii_case(TOKEN_PATH) {
        return ApiError::NoSuchPath.into_response();
    }
    if request.method() != Method::POST {
        return ApiError::MethodNotAllowed.into_response();
    }
    token::issue(state, request).await
}

/// The id of a request, among its extensions.
#[derive(Clone)]
struct RequestId(String);

/// Around every request: gives it its id, renders its refusal, tells the metrics.
async fn frame(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let begun = api.parts.observer.request_begins();
    let changes = !request.method().is_safe();
    let route = Route::of(&request);
    let id = request_id(&api.parts, request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", id = %id);
    let mut response = next.run(request).instrument(span).await;
    if let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() {
        let headers = std::mem::take(response.headers_mut());
        response = error.problem(&id);
        response.headers_mut().extend(headers.into_iter().filter_map(|(name, value)| {
            // What the refusal says of itself wins; what was laid around it, such as RateLimit, stays.
            name.filter(|name| *name != CONTENT_TYPE && *name != http::header::CONTENT_LENGTH)
                .map(|name| (name, value))
        }));
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    tell(&id, route.name(), response.status(), changes);
    api.parts.observer.request_done(route.name(), response.status().as_u16(), begun);
    response
}

/// One line for each request that changes something or is refused; the others are too many.
fn tell(id: &str, route: &str, status: StatusCode, changes: bool) {
    let status = status.as_u16();
    if changes || status >= 400 {
        tracing::info!(request.id = id, route, status, "answered");
    } else {
        tracing::debug!(request.id = id, route, status, "answered");
    }
}

/// What metrics call a request: the route's pattern. Paths that match none share one name, so that metrics stay
/// bounded.
enum Route {
    Matched(MatchedPath),
    Named(&'static str),
}

impl Route {
    fn of(request: &Request) -> Self {
        if let Some(path) = request.extensions().get::<MatchedPath>() {
            return Self::Matched(path.clone());
        }
        let token = request.uri().path().eq_ignore_ascii_case(TOKEN_PATH);
        Self::Named(if token { TOKEN_PATH } else { "other" })
    }

    fn name(&self) -> &str {
        match self {
            Self::Matched(path) => path.as_str(),
            Self::Named(name) => name,
        }
    }
}

/// The caller's own id for the request when it is harmless, else a new one.
fn request_id(parts: &WebParts, headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    given
        .filter(|id| {
            (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
                && !holds_card_number(id)
        })
        .map_or_else(|| parts.world.guid().to_string(), str::to_owned)
}

/// Reads a whole body of at most `limit` bytes.
async fn read_body(body: Body, limit: usize) -> Result<bytes::Bytes, ApiError> {
    /// A body of 64 KiB over a bad line takes a second or two.
    const BODY_TIME_OUT: Duration = Duration::from_secs(10);
    let read = axum::body::to_bytes(body, limit);
    match tokio::time::timeout(BODY_TIME_OUT, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(ApiError::BodyTooLarge),
        Ok(Err(_)) => Err(ApiError::Malformed("the body ended early".into())),
        Err(_) => Err(ApiError::BodyTooSlow),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}
