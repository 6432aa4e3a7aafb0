//! A browser's and a back end's HTTP, small enough to see every byte: whatever a server answers is kept, to be
//! searched for card digits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::PATIENCE;

/// Every answer so far, heads and bodies.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The body, where the status is this one.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        let line = self.head.lines().find(|line| of(line))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

/// One request on its own connection; `None` where nobody answers.
pub(crate) fn try_send(
    seen: &Seen,
    server: SocketAddr,
    request: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text(server, request, headers, "close", body).as_bytes()).ok()?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).ok()?;
    seen.note(&raw);
    let split = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&raw[..split]).into_owned();
    let mut reply = Reply { status: status(&head)?, head, body: String::new() };
    let mut body = Vec::new();
    match reply.header("transfer-encoding") {
        Some(_) => drop(Chunks::new(&raw[split + 4..]).read_to_end(&mut body).ok()?),
        None => body.extend_from_slice(&raw[split + 4..]),
    }
    seen.note(&body);
    reply.body = String::from_utf8(body).ok()?;
    Some(reply)
}

/// One request on its own connection.
pub(crate) fn send(
    seen: &Seen,
    server: SocketAddr,
    request: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    try_send(seen, server, request, headers, body).unwrap_or_else(|| panic!("no answer to {request}"))
}

/// Reads server-sent events until the server ends them or `each` has enough.
pub(crate) fn events(
    seen: &Seen,
    server: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    mut each: impl FnMut(&str, &str) -> bool,
) {
    let Ok(mut stream) = TcpStream::connect(server) else { return };
    let request = text(server, &format!("GET {path}"), headers, "keep-alive", "");
    if stream.write_all(request.as_bytes()).is_err() {
        return;
    }
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(reader.read_line(&mut head), Ok(n) if n > 0) {
            return;
        }
    }
    seen.note(head.as_bytes());
    assert!(head.starts_with("HTTP/1.1 200 "), "no events at {path}: {head}");
    let mut name = String::new();
    for line in BufReader::new(Chunks::new(reader)).lines() {
        let Ok(line) = line else { return };
        seen.note(line.as_bytes());
        if let Some(value) = line.strip_prefix("event:") {
            value.trim().clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data:")
            && !each(&name, data.trim())
        {
            return;
        }
    }
}

/// `name=value&…`, escaped as a browser's form would be.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let pairs: Vec<_> = fields.iter().map(|(n, v)| format!("{}={}", escaped(n), escaped(v))).collect();
    pairs.join("&")
}

/// The content type of [`form`].
pub(crate) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
/// The content type of JSON.
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

fn text(server: SocketAddr, request: &str, headers: &[(&str, &str)], connection: &str, body: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{request} HTTP/1.1\r\nHost: {server}\r\nConnection: {connection}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn status(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

/// The body of a chunked message (RFC 9112, section 7.1).
struct Chunks<R> {
    inner: R,
    left: usize,
}

impl<R: BufRead> Chunks<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: 0 }
    }
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            while line.trim().is_empty() {
                line.clear();
                if self.inner.read_line(&mut line)? == 0 {
                    return Ok(0);
                }
            }
            let size = line.trim().split(';').next().unwrap_or_default();
            self.left = usize::from_str_radix(size, 16).map_err(std::io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let wanted = self.left.min(buffer.len());
        let read = self.inner.read(&mut buffer[..wanted])?;
        self.left -= read;
        Ok(read)
    }
}
