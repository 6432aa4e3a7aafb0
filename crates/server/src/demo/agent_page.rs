//! The agent page without a browser: opened by a form post, followed over its event stream, worked by its own requests.
//!
//! It reads the page as a browser would get it. What it says is taken from the text of the fragments; how things stand is
//! taken from the `data-state` summary that every fragment carries for scripts.

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, ORIGIN};
use serde_json::Value;

use super::api::{OpenedSession, form_body};
use super::http::{EventStream, HttpError, open_events, send};

const FORM: &str = "application/x-www-form-urlencoded";

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
    origin: String,
    handle: String,
    live: EventStream,
}

/// What the page showed at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The page's words, without mark-up.
    pub words: String,
    summary: Value,
}

impl AgentPage {
    /// Opens the page as the shop's browser does, from the shop's origin.
    ///
    /// # Errors
    /// See [`PageError`].
    pub async fn open(session: &OpenedSession, shop_origin: &str) -> Result<Self, PageError> {
        let form = [
            ("X-BEARER-TOKEN", session.agent_access_token.as_str()),
            ("X-REFRESH-TOKEN", session.agent_refresh_token.as_str()),
        ];
        let request = Request::post(&session.iframe_url)
            .header(CONTENT_TYPE, FORM)
            .header(ORIGIN, shop_origin)
            .header("Sec-Fetch-Site", "same-site")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "iframe")
            .body(form_body(&form))?;
        let reply = send(request).await?;
        if reply.status != 200 {
            return Err(refused("opening", reply.status, &reply.body));
        }
        let handle = attribute(&reply.body, "data-handle").ok_or(PageError::NoHandle)?;
        let view = session.iframe_url.trim_end_matches("/framed").to_owned();
        let origin = origin_of(&view).to_owned();
        let request = own_request(Request::get(format!("{view}/live")), &origin, &handle)
            .header(ACCEPT, "text/event-stream")
            .body(String::new())?;
        let live = open_events(request).await?;
        if live.status != 200 {
            return Err(refused("its event stream", live.status, ""));
        }
        Ok(Self { view, origin, handle, live })
    }

    /// Presses one of the page's buttons.
    ///
    /// # Errors
    /// See [`PageError`].
    pub async fn act(&self, fields: &[(&str, &str)]) -> Result<(), PageError> {
        let request = own_request(Request::post(format!("{}/act", self.view)), &self.origin, &self.handle)
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
                return Ok(Shown::read(&event.data));
            }
        }
    }
}

impl Shown {
    fn read(fragment: &str) -> Self {
        let summary = attribute(fragment, "data-state").unwrap_or_default();
        Self { words: words(fragment), summary: serde_json::from_str(&summary).unwrap_or_default() }
    }

    /// How a field stands, in the summary's words: `waiting`, `typing`, `valid` and so on.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.summary.get("fields")?.as_array()?;
        fields.iter().find(|field| field["field"] == name)?.get("status")?.as_str()
    }

    /// Where the payment stands, in the summary's word: `entry`, `ready_to_pay` and so on.
    #[must_use]
    pub fn phase(&self) -> &str {
        self.summary.get("phase").and_then(Value::as_str).unwrap_or("")
    }
}

/// What the browser adds to a request of the page's own script.
fn own_request(request: http::request::Builder, origin: &str, handle: &str) -> http::request::Builder {
    request
        .header("X-Page-Handle", handle)
        .header(ORIGIN, origin)
        .header("Sec-Fetch-Site", "same-origin")
        .header("Sec-Fetch-Mode", "cors")
        .header("Sec-Fetch-Dest", "empty")
}

fn refused(what: &str, status: u16, body: &str) -> PageError {
    PageError::Refused { what: what.to_owned(), status, words: words(body).chars().take(200).collect() }
}

fn origin_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    &url[..end]
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
    fn a_fragment_gives_its_words_and_its_summary() {
        let shown = Shown::read(
            "<main data-state=\"{&quot;phase&quot;:&quot;entry&quot;,&quot;fields&quot;:[{&quot;field&quot;:\
             &quot;expiry&quot;,&quot;status&quot;:&quot;typing&quot;}]}\"><h1>Card\n payment</h1><p>&bull;&amp;&#39;</p>\
             <script>no</script></main>",
        );
        assert_eq!(shown.words, "Card payment &bull;&'");
        assert_eq!(
            (shown.phase(), shown.field("expiry"), shown.field("pan")),
            ("entry", Some("typing"), None)
        );
    }

    #[test]
    fn an_address_gives_its_origin() {
        assert_eq!(origin_of("http://127.0.0.1:8081/view/1"), "http://127.0.0.1:8081");
        assert_eq!(origin_of("http://host"), "http://host");
    }
}
