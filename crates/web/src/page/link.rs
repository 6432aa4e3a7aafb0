//! The page that shows a link code: `/link/{guid}`, framed or not. It is opened, headed and kept as the agent page is.
//!
//! The page of a session is there only when its call is ready, so the code has a page before that. It tells the window
//! that embeds it when the code has tied a call; then that window's application can ask for the session.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::response::Response;
use futures_util::{FutureExt, stream};
use http::StatusCode;
use http::request::Parts;
use hushpad_domain::account::AccountConfiguration;
use hushpad_domain::ids::{CallGuid, LinkPageGuid};
use hushpad_domain::time::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::act::FORM_BYTES_MAX;
use super::live::{LivePage, LivePages, tell};
use super::open::{Shape, brought, form_fields, may_open, origins_json, respond};
use super::opening::Handle;
use super::refusal::PageRefusal;
use super::view::StatusFragment;
use super::words::Tone;
use super::{PageHost, page_handle};
use crate::link_pages::{Code, LinkPage};
use crate::tokens::PageId;

/// The page in a path; what is no guid is not there.
pub(super) struct LinkPath(LinkPageGuid);

impl<S: Send + Sync> FromRequestParts<S> for LinkPath {
    type Rejection = PageRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageRefusal> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let guid = text.ok().and_then(|Path(text)| Uuid::try_parse(&text).ok());
        guid.map(|guid| Self(LinkPageGuid(guid))).ok_or(PageRefusal::LinkPageGone)
    }
}

/// `/link/{guid}/framed`: in a frame of an allowed origin.
pub(super) async fn open_framed(
    State(host): State<Arc<PageHost>>,
    LinkPath(guid): LinkPath,
    request: Request,
) -> Result<Response, PageRefusal> {
    open(&host, guid, Shape::Framed, request).await
}

/// `/link/{guid}`: the same page as a window of its own, framed by nobody.
pub(super) async fn open_pop_up(
    State(host): State<Arc<PageHost>>,
    LinkPath(guid): LinkPath,
    request: Request,
) -> Result<Response, PageRefusal> {
    open(&host, guid, Shape::PopUp, request).await
}

/// A page outlives no restart, so which tokens were spent is known without the store.
async fn open(
    host: &PageHost,
    guid: LinkPageGuid,
    shape: Shape,
    request: Request,
) -> Result<Response, PageRefusal> {
    let id = PageId::Link(guid);
    let brought = brought(host, id, request).await?;
    let now = host.parts.world.now();
    let page = find(host, guid)?;
    let configuration = configuration(host, &page)?;
    may_open(host, shape, configuration, &brought.headers)?;
    let handle = Handle::new(host.parts.world.secret());
    host.pages.open(id, &brought.tokens, handle, now, page.until)?;
    let code = page.code.borrow().clone();
    let shown = Shown::of(&code, now);
    let whole = WholePage {
        style_url: &host.assets.style.url,
        style_integrity: &host.assets.style.integrity,
        script_url: &host.assets.script.url,
        script_integrity: &host.assets.script.integrity,
        handle: &handle.text(),
        origins: &origins_json(configuration),
        agent: page.owner.agent.as_str(),
        html: &shown.fragments(),
    };
    respond(host, shape, configuration, whole.render().map_err(|_| PageRefusal::Unavailable)?)
}

/// `GET /link/{guid}/live`: the page as it changes, until the code has tied a call.
pub(super) async fn live(
    State(host): State<Arc<PageHost>>,
    LinkPath(guid): LinkPath,
    request: Request,
) -> Result<Response, PageRefusal> {
    let handle = page_handle(&host, request.headers())?;
    let seat = host.pages.take_seat(PageId::Link(guid), handle, host.parts.world.now())?;
    let page = find(&host, guid)?;
    let reader = Reader { host: Arc::clone(&host), code: page.code, until: page.until, told: None };
    let pages: LivePages = Box::pin(stream::unfold(reader, async |mut reader| {
        let page = reader.next().await?;
        Some((page, reader))
    }));
    Ok(tell(host, seat, pages))
}

/// `POST /link/{guid}/act`: another code.
pub(super) async fn act(
    State(host): State<Arc<PageHost>>,
    LinkPath(guid): LinkPath,
    request: Request,
) -> Result<StatusCode, PageRefusal> {
    let (head, body) = request.into_parts();
    let handle = page_handle(&host, &head.headers)?;
    host.pages.check(PageId::Link(guid), handle, host.parts.world.now())?;
    let form = form_fields(&head.headers, body, FORM_BYTES_MAX).await?;
    if !form.iter().any(|(name, value)| name == "action" && value == "code") {
        return Err(PageRefusal::Malformed);
    }
    let page = find(&host, guid)?;
    let shown = Shown::of(&page.code.borrow().clone(), host.parts.world.now());
    if matches!(shown.standing, Standing::Linked(_)) {
        return Err(PageRefusal::NotNow);
    }
    let code = host.parts.calls.link_code(&page.owner.account, &page.owner.agent);
    host.parts.link_pages.renew(guid, code.ok_or(PageRefusal::Unavailable)?);
    Ok(StatusCode::NO_CONTENT)
}

fn find(host: &PageHost, guid: LinkPageGuid) -> Result<LinkPage, PageRefusal> {
    host.parts.link_pages.find(guid, host.parts.world.now()).ok_or(PageRefusal::LinkPageGone)
}

fn configuration<'a>(host: &'a PageHost, page: &LinkPage) -> Result<&'a AccountConfiguration, PageRefusal> {
    let account = host.parts.directory.account(&page.owner.account);
    let found = account.and_then(|account| account.configuration(page.owner.configuration));
    found.map(AsRef::as_ref).ok_or(PageRefusal::LinkPageGone)
}

/// Where a code stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Waiting,
    Linked(CallGuid),
    Expired,
    /// It ended before its time: another one was asked for, or the call that it went into came to nothing.
    Replaced,
}

/// A code and where it stands.
#[derive(Clone, PartialEq, Eq)]
struct Shown {
    code: String,
    standing: Standing,
    /// How long it is still good.
    left: Duration,
}

impl Shown {
    fn of(code: &Code, now: Timestamp) -> Self {
        let left = between(now, code.expires_on);
        let standing = match (code.linked.clone().now_or_never(), left.is_zero()) {
            (Some(Some(call)), _) => Standing::Linked(call),
            (Some(None) | None, true) => Standing::Expired,
            (Some(None), false) => Standing::Replaced,
            (None, false) => Standing::Waiting,
        };
        Self { code: code.code.clone(), standing, left }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.code == other.code && self.standing == other.standing
    }

    fn page(&self) -> LivePage {
        let html = self.fragments();
        let (state, call) = match self.standing {
            Standing::Waiting => ("waiting", None),
            Standing::Linked(call) => ("linked", Some(call)),
            Standing::Expired => ("expired", None),
            Standing::Replaced => ("replaced", None),
        };
        let left_ms = matches!(self.standing, Standing::Waiting).then_some(self.left.as_millis());
        let data = json!({
            "revision": 0,
            "phase": state,
            "callGuid": call,
            "leftMs": left_ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            "announce": html.announce,
            "html": { "status": html.status, "code": html.code, "actions": html.actions },
            "fields": [],
        });
        LivePage { data: data.to_string(), is_last: call.is_some() }
    }

    fn fragments(&self) -> Fragments {
        let keys: Vec<char> = self.code.chars().collect();
        let named: Vec<String> =
            keys.iter().map(|key| if *key == '*' { "star".to_owned() } else { key.to_string() }).collect();
        let spoken = named.join(", ");
        let again = "Get a new code while the call is on.";
        let (tone, headline, advice) = match self.standing {
            Standing::Waiting => (
                Tone::Calm,
                "Key this code on your phone.",
                "In the call, one key after the other, the star first. Only your keys count, not the customer's.",
            ),
            Standing::Linked(_) => {
                (Tone::Good, "Linked: this is your call.", "You can take the payment now.")
            }
            Standing::Expired => (Tone::Warning, "The time of this code is over.", again),
            Standing::Replaced => (Tone::Warning, "This code does not count any more.", again),
        };
        let waiting = matches!(self.standing, Standing::Waiting);
        let status = StatusFragment { tone: tone.class(), headline, advice, notice: "" };
        let code = CodeFragment { shown: waiting, keys, spoken: &spoken };
        let actions = RenewFragment { shown: !matches!(self.standing, Standing::Linked(_)) };
        // Templates of texts cannot fail; an empty fragment would be the mildest harm.
        Fragments {
            status: status.render().unwrap_or_default(),
            code: code.render().unwrap_or_default(),
            actions: actions.render().unwrap_or_default(),
            announce: if waiting { format!("{headline} {spoken}") } else { format!("{headline} {advice}") },
        }
    }
}

/// Follows the page's code, and whatever takes its place.
struct Reader {
    host: Arc<PageHost>,
    code: watch::Receiver<Code>,
    /// The end of the page's time.
    until: Timestamp,
    told: Option<Shown>,
}

impl Reader {
    /// The page when it has changed; `None` when its time is over, or another page has taken its place.
    async fn next(&mut self) -> Option<LivePage> {
        loop {
            let code = self.code.borrow_and_update().clone();
            let now = self.host.parts.world.now();
            let page_left = between(now, self.until);
            if page_left.is_zero() {
                return None;
            }
            let shown = Shown::of(&code, now);
            if !self.told.as_ref().is_some_and(|told| told.is_same(&shown)) {
                let page = shown.page();
                self.told = Some(shown);
                return Some(page);
            }
            let ended = code.linked.peek().is_some();
            tokio::select! {
                changed = self.code.changed() => changed.ok()?,
                _ = code.linked, if !ended => {}
                () = tokio::time::sleep(shown.left), if shown.standing == Standing::Waiting => {}
                () = tokio::time::sleep(page_left) => {}
            }
        }
    }
}

/// Zero when it has passed.
fn between(now: Timestamp, then: Timestamp) -> Duration {
    let left_us = then.as_micros().saturating_sub(now.as_micros());
    Duration::from_micros(u64::try_from(left_us).unwrap_or(0))
}

#[derive(Template)]
#[template(path = "link_code.html")]
struct WholePage<'a> {
    style_url: &'a str,
    style_integrity: &'a str,
    script_url: &'a str,
    script_integrity: &'a str,
    handle: &'a str,
    /// The origins that hear of the code: a JSON array.
    origins: &'a str,
    agent: &'a str,
    html: &'a Fragments,
}

/// The parts of the page that change, as HTML.
struct Fragments {
    status: String,
    code: String,
    actions: String,
    announce: String,
}

/// The keys are for the eye; who hears the page hears each by its name.
#[derive(Template)]
#[template(path = "code.html")]
struct CodeFragment<'a> {
    shown: bool,
    keys: Vec<char>,
    spoken: &'a str,
}

#[derive(Template)]
#[template(path = "renew.html")]
struct RenewFragment {
    shown: bool,
}
