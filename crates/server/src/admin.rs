//! The admin listener: health and metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hushpad_domain::ids::{AccountId, SessionGuid};
use hushpad_domain::ports::{Sessions, Webhooks, World};
use uuid::Uuid;

use crate::calls::Calls;
use crate::capture::SecureDesk;
use crate::log::Redactor;
use crate::metrics::Metrics;

/// What the admin pages read.
#[expect(missing_docs, reason = "the fields are parts of the server")]
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub calls: Calls,
    pub secure_side: SecureDesk,
    pub sessions: Arc<dyn Sessions>,
    pub webhooks: Arc<dyn Webhooks>,
    pub world: Arc<dyn World>,
    pub redactor: Redactor,
}

/// `/health/live`, `/health/ready`, `/metrics`.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(admin))
}

/// Ready when the store answers: without it no session can be opened.
async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let nobody = AccountId(String::new());
    match admin.sessions.session(&nobody, SessionGuid(Uuid::nil())).await {
        Ok(_) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    admin.metrics.live().calls.set(count(admin.calls.count()));
    admin.metrics.live().sessions.set(count(admin.secure_side.count()));
    let totals = admin.calls.totals();
    for (leg, sums) in [("customer", &totals.customer), ("agent", &totals.agent)] {
        let live = admin.metrics.live();
        live.set_rtp(leg, "expected", sums.expected());
        live.set_rtp(leg, "lost", sums.lost());
        live.set_rtp(leg, "rejected", sums.rejected());
        live.set_rtp(leg, "calls_with_jitter", sums.calls_with_jitter());
    }
    admin.metrics.live().redacted_lines.set(admin.redactor.hits());
    // Without the store the last numbers stand; that it is gone is told by `ready`.
    if let Ok(backlog) = admin.webhooks.backlog().await {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let now = admin.world.now();
        let age_s = backlog.oldest.map_or(0, |oldest| now.as_seconds() - oldest.as_seconds());
        admin.metrics.live().webhooks_due.set(number(backlog.due));
        admin.metrics.live().webhooks_dead.set(number(backlog.dead));
        admin.metrics.live().webhooks_oldest_s.set(age_s.max(0));
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], admin.metrics.text())
}
