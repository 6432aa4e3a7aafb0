//! A request that was read whole, and an answer that is not yet written.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::wire::BODY_BYTES_MAX;

/// A request, read whole. Its body is wiped: it may hold a card.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Ask {
    /// # Errors
    /// The body is too long or ended early.
    pub(super) async fn read(request: ::http::Request<Incoming>) -> io::Result<Self> {
        let (head, mut incoming) = request.into_parts();
        let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX));
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let Some(data) = frame.data_ref() else { continue };
            if body.capacity() - body.len() < data.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            body.extend_from_slice(data);
        }
        Ok(Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
        })
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Method::POST
    }

    pub(super) fn is_get(&self) -> bool {
        self.method == Method::GET
    }

    /// A header that is text; empty where there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The path with its question, as it is signed.
    pub(super) fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// The path's parts between slashes, empty ones left out.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// A value of the query.
    pub(super) fn queried(&self, name: &str) -> Option<String> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&self.query).ok()?;
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The body as JSON; nothing at all is an empty object.
    pub(super) fn json(&self) -> Option<Value> {
        if self.body.is_empty() {
            return Some(json!({}));
        }
        serde_json::from_slice(&self.body).ok().filter(Value::is_object)
    }

    /// The body as a form; brackets stay in the names.
    pub(super) fn form(&self) -> BTreeMap<String, String> {
        serde_urlencoded::from_bytes(&self.body).unwrap_or_default()
    }

    /// What the request is, without card data: two requests with the same key must have the same.
    pub(super) fn print(&self) -> String {
        let mut told = match self.json() {
            Some(value) => masked(value).to_string(),
            None => format!("{:?}", masked_form(self.form())),
        };
        told.insert_str(0, &format!("{} {} ", self.method, self.target()));
        STANDARD.encode(digest::digest(&digest::SHA256, told.as_bytes()))
    }

    /// Whether the request has this user and password by HTTP Basic (RFC 7617).
    pub(super) fn is_basic(&self, user: &str, password: &str) -> bool {
        let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        self.header("authorization") == expected
    }
}

/// The names under which gateways have card numbers and codes.
const CARD_NAMES: [&str; 7] = ["number", "cardNumber", "cardnumber", "cvc", "cvv", "securityCode", "track2"];

/// A card number becomes its last four digits, a code nothing.
fn mask(name: &str, text: &str) -> Option<String> {
    let is_card = CARD_NAMES.iter().any(|known| name == *known || name.ends_with(&format!("[{known}]")));
    is_card.then(|| {
        text.get(text.len().saturating_sub(4)..).filter(|_| text.len() > 8).unwrap_or_default().to_owned()
    })
}

fn masked(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| match value.as_str().and_then(|text| mask(&name, text)) {
                    Some(masked) => (name, Value::String(masked)),
                    None => (name, masked(value)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(masked).collect()),
        other => other,
    }
}

fn masked_form(form: BTreeMap<String, String>) -> BTreeMap<String, String> {
    form.into_iter()
        .map(|(name, value)| match mask(&name, &value) {
            Some(masked) => (name, masked),
            None => (name, value),
        })
        .collect()
}

/// An answer, as it is kept for a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    pub(super) fn text(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn into_response(self) -> Response<Content> {
        let mut response = Response::new(Content::Whole(Some(Bytes::from(self.body))));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The bytes of an answer.
pub(super) enum Content {
    /// All at once.
    Whole(Option<Bytes>),
    /// So many letters.
    Flood(usize),
    /// As they come.
    Live(mpsc::Receiver<Bytes>),
}

/// How much of a flood is handed over at a time.
const FLOOD_CHUNK: &[u8] = &[b'x'; 16 * 1024];

/// An answer without end to speak of: 100 MB that look like the start of a JSON text.
pub(super) fn flood() -> Response<Content> {
    let mut response = Response::new(Content::Flood(100_000_000));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Body for Content {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Flood(0) => Poll::Ready(None),
            Self::Flood(left) => {
                let length = FLOOD_CHUNK.len().min(*left);
                *left -= length;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FLOOD_CHUNK[..length])))))
            }
            Self::Live(events) => events.poll_recv(context).map(|bytes| bytes.map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Flood(0))
    }

    fn size_hint(&self) -> SizeHint {
        let length = match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, Bytes::len),
            Self::Flood(left) => *left,
            Self::Live(_) => return SizeHint::default(),
        };
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

/// The text at a path of names in a JSON value; numbers are given as they are written.
pub(super) fn text_at<'v>(value: &'v Value, path: &[&str]) -> Option<std::borrow::Cow<'v, str>> {
    match at(value, path)? {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(flag) => Some(if *flag { "true" } else { "false" }.into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What is at a path of names in a JSON value.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name)).filter(|found| !found.is_null())
}
