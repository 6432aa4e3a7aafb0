//! The page's two files, each at an address that holds its hash, and the inventory of scripts.

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ring::digest;
use serde::Serialize;

const STYLE: &str = include_str!("../assets/pay.css");
const SCRIPT: &str = include_str!("../assets/pay.js");
/// PCI DSS 6.4.3 asks for a written reason.
const SCRIPT_REASON: &str = "First-party. Shows the card's brand and length while it is typed, tells the merchant's \
    agent how far the payer is (counts, no digits), and shows the outcome without a reload. The page works without it.";
/// A year; the address changes with the content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Both files, ready to be named in a page and its policy.
pub(crate) struct Assets {
    base_url: String,
    pub(crate) style: Asset,
    pub(crate) script: Asset,
}

/// One file.
pub(crate) struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
    hash: String,
    /// Its address below the origin.
    pub(crate) path: String,
    /// For `integrity` and for policies: `sha256-…`.
    pub(crate) integrity: String,
}

/// What the page loads and runs: PCI DSS 6.4.3 and 11.6.1. Compared with a release by `hushpad page-watch`.
#[derive(Serialize)]
pub(crate) struct Inventory<'a> {
    scripts: [InventoryLine<'a>; 1],
    styles: [InventoryLine<'a>; 1],
    content_security_policy: String,
}

#[derive(Serialize)]
struct InventoryLine<'a> {
    path: &'a str,
    integrity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Assets {
    /// `base_url` without a slash at its end.
    pub(crate) fn new(base_url: &str) -> Self {
        let asset = |name, content_type, text: &'static str| {
            let digest = digest::digest(&digest::SHA256, text.as_bytes());
            let hash = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]);
            let integrity = format!("sha256-{}", STANDARD.encode(digest.as_ref()));
            Asset { name, content_type, text, path: format!("/assets/{hash}/{name}"), hash, integrity }
        };
        Self {
            base_url: base_url.to_owned(),
            style: asset("pay.css", "text/css; charset=utf-8", STYLE),
            script: asset("pay.js", "text/javascript; charset=utf-8", SCRIPT),
        }
    }

    /// The policy of a page: our two files by address (which holds the hash) and the script by its hash too, our own
    /// origin, and nothing else. No browser takes a style sheet by hash alone, nor does every one take a script. `form_action` is where else a
    /// form may go: the bank's check, on the page that leads there.
    pub(crate) fn policy(&self, form_action: Option<&str>) -> String {
        let elsewhere = form_action.map(|origin| format!(" {origin}")).unwrap_or_default();
        format!(
            "default-src 'none'; script-src '{}' {base}{}; style-src {base}{}; connect-src 'self'; base-uri 'none'; \
             form-action 'self'{elsewhere}; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             report-uri /csp-report; report-to csp",
            self.script.integrity,
            self.script.path,
            self.style.path,
            base = self.base_url,
        )
    }

    pub(crate) fn inventory(&self) -> Inventory<'_> {
        Inventory {
            scripts: [InventoryLine {
                path: &self.script.path,
                integrity: &self.script.integrity,
                reason: Some(SCRIPT_REASON),
            }],
            styles: [InventoryLine {
                path: &self.style.path,
                integrity: &self.style.integrity,
                reason: None,
            }],
            content_security_policy: self.policy(None),
        }
    }

    /// The file with this hash and name.
    pub(crate) fn find(&self, hash: &str, name: &str) -> Option<Response> {
        let all = [&self.style, &self.script];
        let asset = all.into_iter().find(|asset| hash == asset.hash && name == asset.name)?;
        let headers =
            [(CONTENT_TYPE, HeaderValue::from_static(asset.content_type)), (CACHE_CONTROL, FOR_EVER)];
        Some((headers, asset.text).into_response())
    }
}
