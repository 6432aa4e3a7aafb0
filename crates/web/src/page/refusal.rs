//! The pages that say no. They may not be framed, and say nothing of the session.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};

use super::assets::Assets;

/// Why a page, or a request of an open page, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageRefusal {
    /// The form of the request is wrong.
    Malformed,
    /// No tokens came.
    TokensMissing,
    /// The tokens' time is over.
    TokensExpired,
    /// Tokens that are not ours or another session's, a wrong handle, or another site asking.
    Forbidden,
    /// The tokens were used more often than they may be.
    UsedUp,
    /// A sign-in for no client, or back to an address that was not registered.
    SignInUnknown,
    /// No such session.
    Unknown,
    /// The path is opened by another method.
    NotPosted,
    /// Not possible now; the page shows what is.
    NotNow,
    /// The page of a link code is over, or another has taken its place.
    LinkPageGone,
    /// The session is over, or not on this host any more.
    Gone,
    /// We cannot just now.
    Unavailable,
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage<'a> {
    style_url: &'a str,
    style_integrity: &'a str,
    title: &'a str,
    advice: &'a str,
}

impl PageRefusal {
    /// The one place where HTTP statuses of the payment host are decided.
    fn told(self) -> (StatusCode, &'static str, &'static str) {
        let again = "Close this window and start the payment again.";
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "This request could not be read", again),
            Self::TokensMissing => {
                (StatusCode::UNAUTHORIZED, "This page cannot be opened by its address alone", again)
            }
            Self::TokensExpired => (StatusCode::UNAUTHORIZED, "The time to open this page is over", again),
            Self::Forbidden => (StatusCode::FORBIDDEN, "This page cannot be opened from here", again),
            Self::UsedUp => (
                StatusCode::FORBIDDEN,
                "This page was opened too often",
                "For safety it is now closed. Check the payment's state before you start it again.",
            ),
            Self::SignInUnknown => (
                StatusCode::BAD_REQUEST,
                "This sign-in cannot be used",
                "The application that sent you here is not set up for it. Tell whoever looks after it.",
            ),
            Self::Unknown => (StatusCode::NOT_FOUND, "There is no such payment", again),
            Self::NotPosted => (
                StatusCode::METHOD_NOT_ALLOWED,
                "This page is opened in another way",
                "Open it from your own application.",
            ),
            Self::NotNow => (StatusCode::CONFLICT, "Not possible now", "See what the page shows."),
            Self::LinkPageGone => {
                (StatusCode::GONE, "This page is over", "Close this window and ask for a new code.")
            }
            Self::Gone => {
                (StatusCode::GONE, "This payment is over", "Your own application shows what became of it.")
            }
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The page is not available just now",
                "Try again in a moment.",
            ),
        }
    }

    /// The error page.
    pub(super) fn page(self, assets: &Assets) -> Response {
        let (status, title, advice) = self.told();
        let page = RefusalPage {
            style_url: &assets.style.url,
            style_integrity: &assets.style.integrity,
            title,
            advice,
        };
        let html = page.render().unwrap_or_else(|_| title.to_owned());
        let mut response = (status, Html(html)).into_response();
        let headers = response.headers_mut();
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        if let Ok(policy) = HeaderValue::from_str(&assets.policy("'none'")) {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Carries the refusal out to the frame around every request, which has the page's files.
impl IntoResponse for PageRefusal {
    fn into_response(self) -> Response {
        let mut response = self.told().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
