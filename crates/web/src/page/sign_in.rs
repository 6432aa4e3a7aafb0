//! `/sign-in`: the authorization endpoint (RFC 6749, 4.1; RFC 9700). An agent signs in by a plain form, and the browser goes
//! back to the client's page with a code.
//!
//! There is no session here and no cookie: each sign-in asks for the password, and leaves nothing in the browser but the
//! code in the address it goes to. Nothing is sent anywhere but to an address that was registered, compared
//! whole.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::response::{Html, IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, LOCATION, ORIGIN, RETRY_AFTER, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hushpad_domain::client::{ApiClient, SCOPE_GLOBALPCI};
use hushpad_domain::ids::{AccountId, AgentId, ClientId};
use tokio::sync::Semaphore;

use super::open::form_fields;
use super::refusal::PageRefusal;
use super::{PageHost, origin_of};
use crate::passwords::is_password;
use crate::rate::{Allowances, Exhausted};
use crate::sign_in::{Challenge, SignIn, issue_code};
use crate::{Source, WebParts};

/// Where it is, below the payment host.
pub(crate) const SIGN_IN_PATH: &str = "/sign-in";
/// Each parameter at its longest, and the password.
const FORM_BYTES_MAX: usize = 8 * 1024;
/// Longer than any state that a client needs; it comes back in an address.
const STATE_CHARS_MAX: usize = 512;
/// As the page's own fields have it.
const ENTRY_CHARS_MAX: usize = 128;
/// Hashes at one time: each takes 19 MiB and a core for 30 ms.
const HASHES_MAX: usize = 4;
/// How long a sign-in waits for its turn.
const HASH_PATIENCE: Duration = Duration::from_secs(5);
const WRONG: &str = "The agent id or the password is not right.";

/// What all sign-ins share.
pub(super) struct SignIns {
    per_agent_and_source: Allowances<(AccountId, AgentId, Option<IpAddr>)>,
    per_agent: Allowances<(AccountId, AgentId)>,
    per_source: Allowances<Option<IpAddr>>,
    places: Arc<Semaphore>,
}

impl SignIns {
    /// Wrong passwords: five at once for an agent from one place, then one in half a minute; twenty from one place; fifty
    /// for an agent from everywhere, so that many places together guess no faster than one a minute.
    pub(super) fn new() -> Self {
        Self {
            per_agent_and_source: Allowances::new(5, Duration::from_secs(30)),
            per_agent: Allowances::new(50, Duration::from_secs(60)),
            per_source: Allowances::new(20, Duration::from_secs(5)),
            places: Arc::new(Semaphore::new(HASHES_MAX)),
        }
    }
}

/// The parameters that a client's page sends along.
struct Asked {
    client: ApiClient,
    redirect_uri: String,
    state: Option<String>,
    wish: Result<Challenge, &'static str>,
}

/// Parameters, each at most once.
struct Parameters(Vec<(String, String)>);

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    style_url: &'a str,
    style_integrity: &'a str,
    action: &'a str,
    destination: &'a str,
    hidden: Vec<(&'static str, &'a str)>,
    agent: &'a str,
    mistake: Option<&'a str>,
}

/// Shows the form.
pub(super) async fn show(
    State(host): State<Arc<PageHost>>,
    RawQuery(query): RawQuery,
    method: Method,
) -> Result<Response, PageRefusal> {
    let query = query.unwrap_or_default();
    if query.len() > FORM_BYTES_MAX || !matches!(method, Method::GET | Method::HEAD) {
        return Err(PageRefusal::Malformed);
    }
    let parameters = serde_urlencoded::from_str(&query).map_err(|_| PageRefusal::Malformed)?;
    let asked = asked(&host.parts, &Parameters::new(parameters)?).await?;
    match &asked.wish {
        Ok(challenge) => Ok(page(&host, &asked, challenge, "", None, StatusCode::OK)),
        Err(error) => back(&host.parts, &asked, &[("error", error)]),
    }
}

/// Takes the form.
pub(super) async fn take(
    State(host): State<Arc<PageHost>>,
    request: Request,
) -> Result<Response, PageRefusal> {
    let source = request.extensions().get::<Source>().map(|source| source.0);
    let (head, body) = request.into_parts();
    if !is_own_form(&head.headers, &host.parts.settings.page_base_url) {
        return Err(PageRefusal::Forbidden);
    }
    let form = Parameters::new(form_fields(&head.headers, body, FORM_BYTES_MAX).await?)?;
    let parts = &host.parts;
    let asked = asked(parts, &form).await?;
    let challenge = match &asked.wish {
        Ok(challenge) => challenge,
        Err(error) => return back(parts, &asked, &[("error", error)]),
    };
    if form.get("do") == Some("cancel") {
        return back(parts, &asked, &[("error", "access_denied")]);
    }
    let entered = form.get("agent").unwrap_or_default().trim();
    let agent = AgentId(entered.to_owned());
    let password = form.get("password").unwrap_or_default();
    match check(&host, &asked.client.account, &agent, password, source).await? {
        Checked::Right => {}
        Checked::Wrong => {
            return Ok(page(&host, &asked, challenge, entered, Some(WRONG), StatusCode::UNAUTHORIZED));
        }
        Checked::TooMany(exhausted) => {
            let wait = format!("Too many wrong tries. Try again in {} seconds.", exhausted.retry_after_s);
            let mut response =
                page(&host, &asked, challenge, entered, Some(&wait), StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(exhausted.retry_after_s));
            return Ok(response);
        }
    }
    let sign_in = SignIn::new(parts, agent);
    let (client, uri) = (asked.client.id.clone(), asked.redirect_uri.clone());
    let code = issue_code(parts, client, uri, challenge.clone(), sign_in);
    tracing::info!(agent = %entered, client = %asked.client.id, "an agent signed in");
    back(parts, &asked, &[("code", &code)])
}

enum Checked {
    Right,
    Wrong,
    TooMany(Exhausted),
}

/// The same answer, after the same work, for a wrong password, an unknown agent, and one that was revoked.
async fn check(
    host: &PageHost,
    account: &AccountId,
    agent: &AgentId,
    password: &str,
    source: Option<IpAddr>,
) -> Result<Checked, PageRefusal> {
    let SignIns { per_agent_and_source, per_agent, per_source, places } = &host.sign_ins;
    let parts = &host.parts;
    let now = parts.world.now();
    let (whose, both) = ((account.clone(), agent.clone()), (account.clone(), agent.clone(), source));
    let allowed = per_source
        .check(&source, now)
        .and_then(|()| per_agent_and_source.check(&both, now))
        .and_then(|()| per_agent.check(&whose, now));
    if let Err(exhausted) = allowed {
        return Ok(Checked::TooMany(exhausted));
    }
    let login = parts.credentials.login(account, agent).await.map_err(|error| {
        tracing::error!(%error, "an agent's login cannot be read");
        PageRefusal::Unavailable
    })?;
    let login = login.filter(|login| login.revoked_on.is_none());
    let known = parts.directory.account(account).is_some_and(|account| account.knows(agent));
    let fits = agent.as_str().len() <= ENTRY_CHARS_MAX && password.len() <= 4 * ENTRY_CHARS_MAX;
    let hash = login.filter(|_| known && fits).map(|login| login.password_hash);
    let place = tokio::time::timeout(HASH_PATIENCE, Arc::clone(places).acquire_owned()).await;
    let Ok(Ok(place)) = place else { return Err(PageRefusal::Unavailable) };
    let (parts, password) = (Arc::clone(parts), password.to_owned());
    let hashing = tokio::task::spawn_blocking(move || {
        let right = is_password(&parts.keys, &password, hash.as_deref());
        drop(place);
        right
    });
    if hashing.await.map_err(|_| PageRefusal::Unavailable)? {
        return Ok(Checked::Right);
    }
    // A refused taking is the state that `check` sees next time.
    let _ = per_source.take(&source, now);
    let _ = per_agent_and_source.take(&both, now);
    let _ = per_agent.take(&whose, now);
    tracing::warn!(source = ?source, "an agent failed to sign in");
    Ok(Checked::Wrong)
}

/// Who asks, and where the answer goes. Until both are known, nothing is sent anywhere (RFC 6749, 4.1.2.1).
async fn asked(parts: &WebParts, parameters: &Parameters) -> Result<Asked, PageRefusal> {
    let id = parameters.get("client_id").ok_or(PageRefusal::SignInUnknown)?;
    let client = parts.clients.client(&ClientId(id.to_owned())).await.map_err(|error| {
        tracing::error!(%error, "the client store cannot be used");
        PageRefusal::Unavailable
    })?;
    let client = client.filter(|client| client.revoked_on.is_none()).ok_or(PageRefusal::SignInUnknown)?;
    let uri =
        parameters.get("redirect_uri").filter(|uri| client.redirect_uris.iter().any(|known| known == uri));
    let redirect_uri = uri.ok_or(PageRefusal::SignInUnknown)?.to_owned();
    let state = parameters.get("state").map(str::to_owned);
    let state_fits = state.as_ref().is_none_or(|state| state.len() <= STATE_CHARS_MAX);
    let challenge = parameters.get("code_challenge").and_then(Challenge::read);
    let wish = match (parameters.get("response_type"), challenge, parameters.get("code_challenge_method")) {
        _ if !state_fits => Err("invalid_request"),
        (Some("code"), Some(challenge), Some("S256")) => match parameters.get("scope") {
            Some(SCOPE_GLOBALPCI) | None => Ok(challenge),
            Some(_) => Err("invalid_scope"),
        },
        (Some("code") | None, _, _) => Err("invalid_request"),
        (Some(_), _, _) => Err("unsupported_response_type"),
    };
    Ok(Asked { client, redirect_uri, state: state.filter(|_| state_fits), wish })
}

impl Parameters {
    fn new(pairs: Vec<(String, String)>) -> Result<Self, PageRefusal> {
        let twice = pairs
            .iter()
            .enumerate()
            .any(|(at, (name, _))| pairs[..at].iter().any(|(earlier, _)| earlier == name));
        if twice { Err(PageRefusal::Malformed) } else { Ok(Self(pairs)) }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

fn page(
    host: &PageHost,
    asked: &Asked,
    challenge: &Challenge,
    agent: &str,
    mistake: Option<&str>,
    status: StatusCode,
) -> Response {
    let destination = origin_of(&asked.redirect_uri);
    let mut hidden = vec![
        ("response_type", "code"),
        ("client_id", asked.client.id.as_str()),
        ("redirect_uri", asked.redirect_uri.as_str()),
        ("code_challenge", challenge.text()),
        ("code_challenge_method", "S256"),
    ];
    hidden.extend(asked.state.as_deref().map(|state| ("state", state)));
    let style = &host.assets.style;
    let page = SignInPage {
        style_url: &style.url,
        style_integrity: &style.integrity,
        action: SIGN_IN_PATH,
        destination,
        hidden,
        agent,
        mistake,
    };
    let Ok(html) = page.render() else { return PageRefusal::Unavailable.into_response() };
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Browsers hold the redirect after a form to its policy too, so the way back is named.
    let policy = format!(
        "default-src 'none'; style-src '{}' {}; base-uri 'none'; form-action 'self' {destination}; \
         frame-ancestors 'none'",
        style.integrity, style.url
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Back to the client's page, with the state that it gave and our name (RFC 9207).
fn back(parts: &WebParts, asked: &Asked, answer: &[(&str, &str)]) -> Result<Response, PageRefusal> {
    let mut pairs = answer.to_vec();
    pairs.extend(asked.state.as_deref().map(|state| ("state", state)));
    pairs.push(("iss", &parts.settings.issuer));
    let query = serde_urlencoded::to_string(pairs).map_err(|_| PageRefusal::Unavailable)?;
    let joint = if asked.redirect_uri.contains('?') { '&' } else { '?' };
    let location = format!("{}{joint}{query}", asked.redirect_uri);
    let location = HeaderValue::from_str(&location).map_err(|_| PageRefusal::Unavailable)?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}

/// A form that was posted by our own page. A page that sends no referrer has the origin "null", so what the browser
/// says of the site counts where it says it.
fn is_own_form(headers: &HeaderMap, page_base_url: &str) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => {
            headers.get(ORIGIN).is_none_or(|origin| origin.as_bytes() == origin_of(page_base_url).as_bytes())
        }
    }
}
