//! Which pages of others may read our answers in a browser (Fetch, "CORS protocol"): those of the origins that the operator
//! lists, for an application that signs its agent in with PKCE. No cookie counts here, so a page gains nothing by asking
//! in somebody's name: what it may do is what its token says.

use std::time::Duration;

use axum::Router;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::REQUEST_ID;
use super::caller::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::events::LAST_EVENT_ID;
use super::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED};

/// How long a browser remembers the answer: browsers keep none for longer than two hours.
const MAX_AGE: Duration = Duration::from_hours(1);

/// Around the whole API. Without origins it is as if there were no such protocol.
pub(super) fn around(router: Router, origins: &[String]) -> Router {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return router;
    }
    router.layer(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PUT])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, LAST_EVENT_ID, REQUEST_ID])
            .expose_headers([
                REQUEST_ID,
                RETRY_AFTER,
                WWW_AUTHENTICATE,
                RATE_LIMIT,
                RATE_LIMIT_POLICY,
                IDEMPOTENT_REPLAYED,
            ])
            .max_age(MAX_AGE),
    )
}
