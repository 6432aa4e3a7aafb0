//! The page's two files, each at an address that holds its hash: cached for ever, never mixed up.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ring::digest;

use super::PageHost;
use super::refusal::PageRefusal;

const STYLE: &str = include_str!("../../assets/page.css");
const SCRIPT: &str = include_str!("../../assets/page.js");
/// A year; the address changes with the content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Both files, ready to be named in a page and its policy.
pub(super) struct Assets {
    /// `page.css`
    pub(super) style: Asset,
    /// `page.js`
    pub(super) script: Asset,
}

/// One file.
pub(super) struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
    hash: String,
    /// Its full address.
    pub(super) url: String,
    /// For `integrity` and for policies: `sha256-…`.
    pub(super) integrity: String,
}

impl Assets {
    /// The files as served below this base URL.
    pub(super) fn new(page_base_url: &str) -> Self {
        let asset = |name, content_type, text: &'static str| {
            let digest = digest::digest(&digest::SHA256, text.as_bytes());
            let hash = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]);
            Asset {
                name,
                content_type,
                text,
                url: format!("{page_base_url}/assets/{hash}/{name}"),
                hash,
                integrity: format!("sha256-{}", STANDARD.encode(digest.as_ref())),
            }
        };
        Self {
            style: asset("page.css", "text/css; charset=utf-8", STYLE),
            script: asset("page.js", "text/javascript; charset=utf-8", SCRIPT),
        }
    }

    /// The policy of a page that these origins may frame: our two files, our own host, nothing else.
    pub(super) fn policy(&self, frame_ancestors: &str) -> String {
        format!(
            "default-src 'none'; script-src '{script_hash}' {script}; style-src '{style_hash}' {style}; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {frame_ancestors}; \
             require-trusted-types-for 'script'; trusted-types hushpad",
            script_hash = self.script.integrity,
            script = self.script.url,
            style_hash = self.style.integrity,
            style = self.style.url,
        )
    }
}

/// Serves one of the files.
pub(super) async fn asset(
    State(host): State<Arc<PageHost>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let all = [&host.assets.style, &host.assets.script];
    let named = |asset: &&Asset| {
        path.as_ref().is_ok_and(|Path((hash, name))| *hash == asset.hash && name == asset.name)
    };
    match all.into_iter().find(named) {
        Some(asset) => {
            let headers =
                [(CONTENT_TYPE, HeaderValue::from_static(asset.content_type)), (CACHE_CONTROL, FOR_EVER)];
            (headers, asset.text).into_response()
        }
        None => PageRefusal::Unknown.into_response(),
    }
}
