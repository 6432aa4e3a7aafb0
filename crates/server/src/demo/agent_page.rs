//! The agent page without a browser: opened by a form post, followed over its event stream, worked by its own requests.
//!
//! It is no browser and does not act as one: it says nothing of where it comes from, and is held by the page's handle alone.

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use super::api::{OpenedSession, form_body};
use super::http::{EventStream, HttpError, open_events, send};

const FORM: &str = "application/x-www-form-urlencoded";
/// Stands for one typed key.
pub(super) const DOT: char = '●';
/// What proves that a request comes from the open page.
const HANDLE: &str = "x-page-handle";

/// Why the page does not work.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// There was no reply.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The page refused.
    #[error("the agent page answered {status} to {what}: {words}")]
    Refused {
        /// What was asked.
        what: String,
        /// HTTP status.
        status: u16,
        /// The page's words.
        words: String,
    },
    /// A request could not be made of what the page gave us.
    #[error("the agent page's address or handle cannot be used")]
    Address(#[from] http::Error),
    /// An event is not what the page's own script would understand.
    #[error("the agent page's event cannot be read: {0}")]
    Event(#[from] serde_json::Error),
    /// The page has no handle.
    #[error("the agent page carries no handle")]
    NoHandle,
    /// The page fell silent.
    #[error("the agent page's event stream ended")]
    Ended,
}

/// An open agent page.
#[derive(Debug)]
pub struct AgentPage {
    view: String,
    handle: String,
    live: EventStream,
}

/// What the page showed at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Shown {
    /// Where the payment stands: `entry`, `ready_to_pay`, `paying`, `unknown`, `declined`, `ended`.
    pub phase: String,
    /// What a screen reader is told.
    pub announce: String,
    fields: Vec<ShownField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct ShownField {
    field: String,
    status: String,
    typed: usize,
    words: String,
}

impl AgentPage {
    /// Opens the page as the shop's browser does, from the shop's origin.
    ///
    /// # Errors
    /// See [`PageError`].
    pub async fn open(session: &OpenedSession) -> Result<Self, PageError> {
        let form = [
            ("X-BEARER-TOKEN", session.agent_access_token.as_str()),
            ("X-REFRESH-TOKEN", session.agent_refresh_token.as_str()),
        ];
        let request = Request::post(&session.iframe_url).header(CONTENT_TYPE, FORM).body(form_body(&form))?;
        let reply = send(request).await?;
        if reply.status != 200 {
            return Err(refused("opening", reply.status, &reply.body));
        }
        let handle = attribute(&reply.body, "data-handle").ok_or(PageError::NoHandle)?;
        let view = session.iframe_url.trim_end_matches("/framed").to_owned();
        let request = Request::get(format!("{view}/live"))
            .header(HANDLE, &handle)
            .header(ACCEPT, "text/event-stream")
            .body(String::new())?;
        let live = open_events(request).await?;
        if live.status != 200 {
            return Err(refused("its event stream", live.status, ""));
        }
        Ok(Self { view, handle, live })
    }

    /// Presses one of the page's buttons.
    ///
    /// # Errors
    /// See [`PageError`].
    pub async fn act(&self, fields: &[(&str, &str)]) -> Result<(), PageError> {
        let request = Request::post(format!("{}/act", self.view))
            .header(HANDLE, &self.handle)
            .header(CONTENT_TYPE, FORM)
            .body(form_body(fields))?;
        let reply = send(request).await?;
        match reply.status {
            200..300 => Ok(()),
            status => Err(refused(&form_body(fields), status, &reply.body)),
        }
    }

    /// What the page shows next.
    ///
    /// # Errors
    /// See [`PageError`].
    pub async fn next(&mut self) -> Result<Shown, PageError> {
        loop {
            let event = self.live.next().await?.ok_or(PageError::Ended)?;
            if event.name == "state" {
                return Ok(serde_json::from_str(&event.data)?);
            }
        }
    }
}

impl Shown {
    /// How a field stands: `waiting`, `typing`, `valid`, `invalid`, `timed_out`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.field == name).map(|field| field.status.as_str())
    }

    /// The page line by line: what is announced, then each field that was begun, with a dot for every key.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let begun = self.fields.iter().filter(|field| field.status != "waiting");
        let line = |field: &ShownField| format!("{} {}", field.words, DOT.to_string().repeat(field.typed));
        std::iter::once(self.announce.trim().to_owned()).chain(begun.map(line)).collect()
    }
}

fn refused(what: &str, status: u16, body: &str) -> PageError {
    PageError::Refused { what: what.to_owned(), status, words: words(body).chars().take(200).collect() }
}

/// The first value of an attribute, whatever its element.
fn attribute(html: &str, name: &str) -> Option<String> {
    let start = html.find(&format!(" {name}="))? + name.len() + 2;
    let quote = html[start..].chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let value = html[start + 1..].split(quote).next()?;
    Some(plain(value))
}

/// The text of a fragment on one line, without what is only for scripts, styles and the eye.
fn words(html: &str) -> String {
    let mut text = String::new();
    for (n, piece) in html.split('<').enumerate() {
        let shown = if n == 0 { piece } else { piece.split_once('>').map_or("", |(_, shown)| shown) };
        let hidden = ["script", "style", "title"].iter().any(|tag| n > 0 && piece.starts_with(tag));
        if !hidden {
            text.push(' ');
            text.push_str(shown);
        }
    }
    plain(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(text: &str) -> String {
    let entities = [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&lt;", "<"),
        ("&#60;", "<"),
        ("&gt;", ">"),
        ("&#62;", ">"),
        ("&nbsp;", " "),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_its_handle_and_its_words() {
        let page = "<html><head><title>x</title></head><body class=\"a\" data-handle=\"h&amp;1\"><h1>Not\n now</h1></body>";
        assert_eq!(attribute(page, "data-handle").as_deref(), Some("h&1"));
        assert_eq!(attribute(page, "data-other"), None);
        assert_eq!(words(page), "Not now");
    }

    #[test]
    fn an_event_is_told_as_dots_and_words() {
        let data = r#"{"revision":4,"phase":"entry","announce":"Card number is being typed. ","html":{},"fields":[
            {"field":"card_number","status":"typing","typed":3,"length":16,"words":"Card number: typing, Visa."},
            {"field":"expiry","status":"waiting","typed":0,"length":4,"words":"Expiry: waiting."}]}"#;
        let shown: Shown = serde_json::from_str(data).unwrap();
        assert_eq!(
            (shown.phase.as_str(), shown.field("expiry"), shown.field("pan")),
            ("entry", Some("waiting"), None)
        );
        assert_eq!(shown.lines(), ["Card number is being typed.", "Card number: typing, Visa. ●●●"]);
    }
}
