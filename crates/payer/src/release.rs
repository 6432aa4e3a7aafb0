//! What the payer page of this release sends, so that a running one can be compared with it: PCI DSS 11.6.1.

use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, STRICT_TRANSPORT_SECURITY};

use crate::assets::{Asset, Assets};
use crate::page;
use crate::view;

/// The payer page of this release at one base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Headers of `/specimen`, with their values. All that stands between the payer's browser and foreign scripts.
    pub headers: Vec<(HeaderName, String)>,
    /// The body of `/specimen`.
    pub specimen: String,
    /// The body of `/inventory.json`.
    pub inventory: String,
    /// Its script, then its style sheet.
    pub files: Vec<ReleaseFile>,
    /// The elements that load them, as they stand in every page with a form.
    pub elements: Vec<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Its address below the origin.
    pub path: String,
    /// `sha256-…`, as in `integrity`.
    pub integrity: String,
}

/// What the payer page at this base URL (without a slash at its end) sends.
#[must_use]
pub fn release(base_url: &str) -> Release {
    let assets = Assets::new(base_url);
    let mut headers =
        vec![(CACHE_CONTROL, page::NOT_KEPT.to_owned()), (CONTENT_SECURITY_POLICY, assets.policy(None))];
    headers.extend(page::FIXED_HEADERS.map(|(name, value)| (name, value.to_owned())));
    if base_url.starts_with("https://") {
        headers.push((STRICT_TRANSPORT_SECURITY, page::STRICT_TRANSPORT_SECURITY.to_owned()));
    }
    let file = |asset: &Asset| ReleaseFile { path: asset.path.clone(), integrity: asset.integrity.clone() };
    let (script, style) = (file(&assets.script), file(&assets.style));
    let elements = vec![
        format!(r#"<script type="module" src="{}" integrity="{}"></script>"#, script.path, script.integrity),
        format!(r#"<link rel="stylesheet" href="{}" integrity="{}">"#, style.path, style.integrity),
    ];
    Release {
        headers,
        specimen: view::specimen(&assets),
        inventory: serde_json::to_string(&assets.inventory()).unwrap_or_default(),
        files: vec![script, style],
        elements,
    }
}
