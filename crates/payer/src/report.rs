//! What a browser refused to load or run on our page: PCI DSS 11.6.1.

use axum::body::Body;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tracing::warn;

/// A report names a directive and an address; browsers add a little around it.
const REPORT_BYTES_MAX: usize = 8 * 1024;
/// A report is written by whoever sends it: only so much of it is logged.
const WORD_CHARS_MAX: usize = 64;

/// Logs which directive was violated and what kind of thing was blocked. The page's address holds the link's code, so
/// no address is logged whole.
pub(crate) async fn log(body: Body) {
    let Ok(body) = Limited::new(body, REPORT_BYTES_MAX).collect().await else { return };
    let Ok(report) = serde_json::from_slice::<Value>(&body.to_bytes()) else { return };
    // Old form: one object; new form (Reporting API): a list with a body each.
    let old = report.get("csp-report");
    let new = report.as_array().and_then(|reports| reports.first()).and_then(|first| first.get("body"));
    let Some(report) = old.or(new) else { return };
    let word = |names: [&str; 2]| {
        let text = names.iter().find_map(|name| report.get(*name)).and_then(Value::as_str).unwrap_or("");
        let origin =
            text.split(['?', '#']).next().unwrap_or("").splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        origin.chars().filter(|c| c.is_ascii_graphic()).take(WORD_CHARS_MAX).collect::<String>()
    };
    warn!(
        directive = word(["effective-directive", "effectiveDirective"]),
        blocked = word(["blocked-uri", "blockedURL"]),
        "a browser refused something on the payer page"
    );
}
