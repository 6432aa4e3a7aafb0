//! Opening the page: two tokens in, one page with a handle out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use futures_util::StreamExt;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};
use hushpad_domain::account::AccountConfiguration;
use hushpad_domain::ids::ProviderSessionGuid;
use hushpad_domain::session::Session;
use serde_json::json;

use super::opening::{Handle, Tokens};
use super::refusal::PageRefusal;
use super::{PageHost, PagePath, origin_of, spent, view};
use crate::tokens::{PageId, PageTokenUse, check_page};

/// Two tokens of 600 characters fit many times.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// A form of a kilobyte over a bad line takes a second.
const FORM_TIME_OUT: Duration = Duration::from_secs(10);
/// The secure side has the page's state in memory; more than a moment means that it is stuck.
const STATE_TIME_OUT: Duration = Duration::from_secs(2);
/// After the session's own time the page stays for the resolver's answer to an unknown payment.
const AFTER_SESSION: Duration = Duration::from_secs(3600);
/// Names of the form fields and of the headers.
const ACCESS_NAME: &str = "x-bearer-token";
const REFRESH_NAME: &str = "x-refresh-token";

/// `/view/{guid}/framed`: in a frame of an allowed origin.
pub(super) async fn open_framed(
    State(host): State<Arc<PageHost>>,
    PagePath(guid): PagePath,
    request: Request,
) -> Result<Response, PageRefusal> {
    open(&host, guid, Shape::Framed, request).await
}

/// `/view/{guid}`: the same page as a window of its own, framed by nobody.
pub(super) async fn open_pop_up(
    State(host): State<Arc<PageHost>>,
    PagePath(guid): PagePath,
    request: Request,
) -> Result<Response, PageRefusal> {
    open(&host, guid, Shape::PopUp, request).await
}

/// How a page is opened.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// In a frame of an allowed origin.
    Framed,
    /// As a window of its own.
    PopUp,
}

/// What an opening brought along.
pub(super) struct Brought {
    pub(super) headers: HeaderMap,
    access: String,
    refresh: String,
    /// What its two tokens are worth.
    pub(super) tokens: Tokens,
}

async fn open(
    host: &PageHost,
    guid: ProviderSessionGuid,
    shape: Shape,
    request: Request,
) -> Result<Response, PageRefusal> {
    let page = PageId::Payment(guid);
    let Brought { headers, access, refresh, tokens } = brought(host, page, request).await?;
    let parts = &host.parts;
    let now = parts.world.now();
    let came = spent::Came { access: &access, refresh: &refresh };
    let session = open_session(host, guid).await?;
    let again = host.pages.knows(page);
    let tokens = spent::before(host, page, tokens, &came).await?;
    let configuration = configuration(host, &session)?;
    may_open(host, shape, configuration, &headers)?;
    let mut pages = parts.secure_side.watch(guid).await.ok_or(PageRefusal::Gone)?;
    let state = tokio::time::timeout(STATE_TIME_OUT, pages.next()).await;
    let state = state.map_err(|_| PageRefusal::Unavailable)?.ok_or(PageRefusal::Gone)?;
    let handle = Handle::new(parts.world.secret());
    let link_life = session.link().map_or(Duration::ZERO, |_| configuration.link_life);
    let until = now.plus(configuration.flow.session_time_out.max(link_life)).plus(AFTER_SESSION);
    host.pages.open(page, &tokens, handle, now, until)?;
    spent::note(host, &tokens, &came, again, until).await?;
    let opening = view::Opening {
        handle: &handle.text(),
        origins: &origins_json(configuration),
        session: session.guid,
    };
    let html = view::page(&state, &opening, &host.assets).ok_or(PageRefusal::Unavailable)?;
    respond(host, shape, configuration, html)
}

/// The tokens of an opening, checked for this page. Nothing is spent yet.
pub(super) async fn brought(host: &PageHost, page: PageId, request: Request) -> Result<Brought, PageRefusal> {
    // A HEAD request would spend a token and show nothing.
    if request.method() == Method::HEAD {
        return Err(PageRefusal::NotPosted);
    }
    let (head, body) = request.into_parts();
    let (access, refresh) = tokens(&head.headers, body).await?.ok_or(PageRefusal::TokensMissing)?;
    let parts = &host.parts;
    let now = parts.world.now();
    let check = |for_use, token: &str| check_page(&parts.keys, &parts.settings, now, page, for_use, token);
    let tokens = Tokens {
        access: check(PageTokenUse::Access, &access),
        refresh: check(PageTokenUse::Refresh, &refresh),
    };
    Ok(Brought { headers: head.headers, access, refresh, tokens })
}

/// The page, with the policy that its shape and its configuration ask for.
pub(super) fn respond(
    host: &PageHost,
    shape: Shape,
    configuration: &AccountConfiguration,
    html: String,
) -> Result<Response, PageRefusal> {
    let mut response = Html(html).into_response();
    let ancestors = match shape {
        Shape::Framed if exact_origins(configuration).next().is_some() => {
            exact_origins(configuration).collect::<Vec<_>>().join(" ")
        }
        Shape::Framed => "'none'".to_owned(),
        Shape::PopUp => "'none'".to_owned(),
    };
    let policy = HeaderValue::from_str(&host.assets.policy(&ancestors));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.map_err(|_| PageRefusal::Unavailable)?);
    Ok(response)
}

/// Both tokens: from the form, or from the headers as an embedded browser sends them.
async fn tokens(headers: &HeaderMap, body: Body) -> Result<Option<(String, String)>, PageRefusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let (Some(access), Some(refresh)) = (header(ACCESS_NAME), header(REFRESH_NAME)) {
        return Ok(Some((access, refresh)));
    }
    let form = form_fields(headers, body, FORM_BYTES_MAX).await?;
    let field = |wanted: &str| {
        let mut found = form.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.clone()),
            (_, Some(_)) | (None, None) => None,
        }
    };
    Ok(field(ACCESS_NAME).zip(field(REFRESH_NAME)))
}

/// The fields of a form of at most `limit` bytes; none when there is no form.
pub(super) async fn form_fields(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Vec<(String, String)>, PageRefusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(Vec::new());
    }
    let read = tokio::time::timeout(FORM_TIME_OUT, axum::body::to_bytes(body, limit)).await;
    let bytes = read.map_err(|_| PageRefusal::Malformed)?.map_err(|_| PageRefusal::Malformed)?;
    serde_urlencoded::from_bytes(&bytes).map_err(|_| PageRefusal::Malformed)
}

async fn open_session(host: &PageHost, guid: ProviderSessionGuid) -> Result<Session, PageRefusal> {
    let found = host.parts.sessions.provider_session(guid).await.map_err(|error| {
        tracing::error!(%error, "a page could not be opened");
        PageRefusal::Unavailable
    })?;
    let session = found.ok_or(PageRefusal::Unknown)?;
    if session.has_ended() { Err(PageRefusal::Gone) } else { Ok(session) }
}

fn configuration<'a>(host: &'a PageHost, session: &Session) -> Result<&'a AccountConfiguration, PageRefusal> {
    let account = host.parts.directory.account(&session.account);
    let configuration = account.and_then(|account| account.configuration(session.configuration));
    configuration.map(AsRef::as_ref).ok_or(PageRefusal::Gone)
}

/// A browser that says where the form was posted from must name an allowed origin or us, if it is to be framed. `null`
/// is what a page with `no-referrer` sends; the tokens and `frame-ancestors` hold then.
pub(super) fn may_open(
    host: &PageHost,
    shape: Shape,
    configuration: &AccountConfiguration,
    headers: &HeaderMap,
) -> Result<(), PageRefusal> {
    let (Shape::Framed, Some(origin)) = (shape, headers.get(ORIGIN)) else { return Ok(()) };
    let origin = origin.to_str().map_err(|_| PageRefusal::Forbidden)?;
    let allowed = origin == "null"
        || origin == origin_of(&host.parts.settings.page_base_url)
        || configuration.allowed_origins.iter().any(|allowed| allowed == origin);
    if allowed { Ok(()) } else { Err(PageRefusal::Forbidden) }
}

/// Exactly the configured origins. One that could end the directive or stand for many is left out.
fn exact_origins(configuration: &AccountConfiguration) -> impl Iterator<Item = &str> {
    let exact = |origin: &&String| {
        origin.contains("://")
            && !origin.contains(|c: char| ";,*'".contains(c) || c.is_whitespace() || !c.is_ascii())
    };
    configuration.allowed_origins.iter().filter(exact).map(String::as_str)
}

/// The same as a JSON array: whom the page's script may tell.
pub(super) fn origins_json(configuration: &AccountConfiguration) -> String {
    json!(exact_origins(configuration).collect::<Vec<_>>()).to_string()
}
