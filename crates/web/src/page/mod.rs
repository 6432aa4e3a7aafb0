//! The agent page's routes.
use std::sync::Arc;

use axum::Router;

use crate::WebParts;

/// The agent page.
pub fn page_router(parts: Arc<WebParts>) -> Router {
    let _ = parts;
    Router::new()
}
