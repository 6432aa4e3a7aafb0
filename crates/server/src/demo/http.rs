//! The demo's HTTP client: what a shop's back end would have in any language. Plain HTTP to loopback, one request per
//! connection, everything bounded.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Largest reply body read, and largest event: the Payment API's replies are a few KiB, the agent page some tens.
const MAX_BODY: usize = 1024 * 1024;
/// How long a whole exchange may take: longer than the server's own patience with a gateway.
const WITHIN: Duration = Duration::from_secs(40);

/// Why there was no reply.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address in the request cannot be called.
    #[error("not an http address: {0}")]
    Address(String),
    /// The connection failed.
    #[error("the server cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    /// The exchange broke off.
    #[error("the exchange broke off: {0}")]
    Exchange(#[from] hyper::Error),
    /// The body broke off, or was too long.
    #[error("the reply's body broke off or was too long: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no reply within {} seconds", WITHIN.as_secs())]
    TimedOut,
}

/// A whole reply.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body as text; what is no UTF-8 is replaced.
    pub body: String,
}

/// Sends a request whose URI is absolute, and reads the whole reply.
///
/// # Errors
/// When there is no whole reply in time.
pub async fn send(request: Request<String>) -> Result<Reply, HttpError> {
    let exchange = async {
        let (response, _connection) = start(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(HttpError::Body)?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Reply { status: head.status.as_u16(), body })
    };
    tokio::time::timeout(WITHIN, exchange).await.map_err(|_| HttpError::TimedOut)?
}

/// Opens a `text/event-stream`.
///
/// # Errors
/// When there is no reply in time.
pub async fn open_events(request: Request<String>) -> Result<EventStream, HttpError> {
    let (response, connection) =
        tokio::time::timeout(WITHIN, start(request)).await.map_err(|_| HttpError::TimedOut)??;
    let status = response.status().as_u16();
    Ok(EventStream { status, body: response.into_body(), unread: Vec::new(), _connection: connection })
}

/// A stream of server-sent events. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    /// HTTP status; anything but 200 carries no events.
    pub status: u16,
    body: Incoming,
    unread: Vec<u8>,
    _connection: Connection,
}

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// The `event` field, `message` where there is none.
    pub name: String,
    /// The `data` lines, joined.
    pub data: String,
}

impl EventStream {
    /// The next event; `None` when the server ended the stream.
    ///
    /// # Errors
    /// When the stream broke off, or an event is too long.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, HttpError> {
        loop {
            if let Some(event) = take_event(&mut self.unread) {
                if !event.data.is_empty() {
                    return Ok(Some(event));
                }
                continue;
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => self.unread.extend(frame?.data_ref().unwrap_or(&Bytes::new())),
            }
            if self.unread.len() > MAX_BODY {
                return Err(HttpError::Body("an event is too long".into()));
            }
        }
    }
}

/// Cuts the first whole event off the bytes read (WHATWG HTML, section 9.2.6).
fn take_event(unread: &mut Vec<u8>) -> Option<ServerEvent> {
    let end = unread.windows(2).position(|pair| pair == b"\n\n")?;
    let block: Vec<u8> = unread.drain(..end + 2).collect();
    let mut event = ServerEvent { name: "message".into(), data: String::new() };
    for line in String::from_utf8_lossy(&block).lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.name = value.to_owned(),
            "data" => {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    Some(event)
}

/// The task that carries a connection; it ends with its owner.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn start(request: Request<String>) -> Result<(Response<Incoming>, Connection), HttpError> {
    let (mut head, body) = request.into_parts();
    let bad = || HttpError::Address(head.uri.to_string());
    if head.uri.scheme_str() != Some("http") {
        return Err(bad());
    }
    let authority = head.uri.authority().ok_or_else(bad)?.clone();
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong on the connection shows in the exchange.
    let connection = Connection(tokio::spawn(async move { drop(connection.await) }));
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let path: Uri = path.parse().map_err(|_| bad())?;
    let host_header = authority.as_str().parse().map_err(|_| bad())?;
    head.headers.insert(http::header::HOST, host_header);
    head.uri = path;
    let response = sender.send_request(Request::from_parts(head, Full::new(Bytes::from(body)))).await?;
    Ok((response, connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_where_they_end() {
        let mut unread = b": hello\n\nevent: state\nid: 4\ndata: {\"a\":\ndata: 1}\n\ndata: ha".to_vec();
        assert_eq!(take_event(&mut unread).unwrap().data, "");
        let state = ServerEvent { name: "state".into(), data: "{\"a\":\n1}".into() };
        assert_eq!(take_event(&mut unread), Some(state));
        assert_eq!(take_event(&mut unread), None);
        unread.extend(b"lf\n\n");
        assert_eq!(
            take_event(&mut unread).unwrap(),
            ServerEvent { name: "message".into(), data: "half".into() }
        );
    }

    #[tokio::test]
    async fn only_plain_http_is_called() {
        for uri in ["https://127.0.0.1/", "/relative", "ftp://x/"] {
            let request = Request::get(uri).body(String::new()).unwrap();
            assert!(matches!(send(request).await, Err(HttpError::Address(_))), "{uri}");
        }
    }
}
