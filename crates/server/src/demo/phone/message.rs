//! SIP messages as text (RFC 3261, section 7): just what a phone on loopback needs.
//!
//! Hand-written on purpose: the demo's phones share nothing with the server's SIP stack, so that a message
//! which only that stack would accept is noticed.

/// Largest datagram a phone reads: what fits an Ethernet frame several times over.
pub(super) const MAX_DATAGRAM: usize = 8 * 1024;
/// Most headers read from one message; more is not a message for a phone.
const MAX_HEADERS: usize = 64;

/// A SIP request or response.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) start: Start,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// The first line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Start {
    /// Method and request URI.
    Request { method: String, uri: String },
    /// Status code and reason phrase.
    Response { status: u16, reason: String },
}

impl Message {
    pub(super) fn request(method: &str, uri: &str) -> Self {
        let start = Start::Request { method: method.into(), uri: uri.into() };
        Self { start, headers: Vec::new(), body: String::new() }
    }

    /// A response with the headers RFC 3261, section 8.2.6.2 copies from the request; `to_tag` is added where the
    /// request had none.
    pub(super) fn response(request: &Self, status: u16, reason: &str, to_tag: &str) -> Self {
        let start = Start::Response { status, reason: reason.into() };
        let mut response = Self { start, headers: Vec::new(), body: String::new() };
        for (name, value) in &request.headers {
            match name.as_str() {
                "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route" => response.push(name, value),
                "To" if tag(value).is_none() => response.push(name, &format!("{value};tag={to_tag}")),
                "To" => response.push(name, value),
                _ => {}
            }
        }
        response
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The same message with one more header: for building in one expression.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.push(name, value);
        self
    }

    /// The same message with a body.
    pub(super) fn with_body(mut self, content_type: &str, body: String) -> Self {
        self.push("Content-Type", content_type);
        self.body = body;
        self
    }

    /// First value of a header, by its long name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a header that may be repeated or listed with commas.
    pub(super) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).flat_map(|(_, value)| split_list(value))
    }

    /// The request's method, or for a response the method it answers.
    pub(super) fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => {
                self.header("CSeq").and_then(|cseq| cseq.split_whitespace().nth(1)).unwrap_or("")
            }
        }
    }

    /// The branch of the topmost Via: the transaction (RFC 3261, section 17.1.3).
    pub(super) fn branch(&self) -> Option<&str> {
        parameter(self.list("Via").next()?, "branch")
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { status, reason } => format!("SIP/2.0 {status} {reason}\r\n"),
        };
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body));
        text.into_bytes()
    }

    /// Reads a datagram. `None` for anything that is not a SIP message.
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.splitn(3, ' ');
        let start = match (first.next()?, first.next()?, first.next()) {
            ("SIP/2.0", status, reason) => {
                Start::Response { status: status.parse().ok()?, reason: reason.unwrap_or("").into() }
            }
            (method, uri, Some("SIP/2.0")) => Start::Request { method: method.into(), uri: uri.into() },
            _ => return None,
        };
        let mut headers = Vec::new();
        for line in lines.take(MAX_HEADERS) {
            let (name, value) = line.split_once(':')?;
            headers.push((long_name(name.trim()), value.trim().to_owned()));
        }
        Some(Self { start, headers, body: body.to_owned() })
    }
}

/// The tag of a From or To value.
pub(super) fn tag(value: &str) -> Option<&str> {
    parameter(value.rsplit_once('>').map_or(value, |(_, parameters)| parameters), "tag")
}

/// The URI of a From, To or Contact value, without angle brackets.
pub(super) fn uri(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => value.split(';').next().unwrap_or(value),
    }
    .trim()
}

/// Host and port of a SIP URI where the host is an address.
pub(super) fn address(uri: &str) -> Option<std::net::SocketAddr> {
    let rest = uri.strip_prefix("sip:")?.split([';', '?']).next()?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    host.parse().ok().or_else(|| Some((host.parse::<std::net::IpAddr>().ok()?, 5060).into()))
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Splits at commas outside quotes and angle brackets.
fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let mut quoted = false;
    value
        .split(move |c| {
            match c {
                '"' => quoted = !quoted,
                '<' if !quoted => depth += 1,
                '>' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0 && !quoted
        })
        .map(str::trim)
}

/// Header names as this phone writes them; compact forms are RFC 3261, section 7.3.3.
fn long_name(name: &str) -> String {
    const NAMES: [(&str, &str); 12] = [
        ("v", "Via"),
        ("f", "From"),
        ("t", "To"),
        ("i", "Call-ID"),
        ("m", "Contact"),
        ("l", "Content-Length"),
        ("c", "Content-Type"),
        ("", "CSeq"),
        ("", "Record-Route"),
        ("", "Route"),
        ("", "Max-Forwards"),
        ("", "Require"),
    ];
    let is = |short: &str, long: &str| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short);
    NAMES.iter().find(|(short, long)| is(short, long)).map_or(name, |(_, long)| long).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:agent@127.0.0.1:5070 SIP/2.0\r\n\
        v: SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bKabc, SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKdef\r\n\
        f: \"Smith, J\" <sip:c@127.0.0.1>;tag=one\r\nT: <sip:agent@127.0.0.1>\r\ncall-id: 77\r\nCSEQ: 3 INVITE\r\n\
        Record-Route: <sip:a;lr>, <sip:b;lr>\r\nContent-Length: 4\r\n\r\nv=0\r\n";

    #[test]
    fn compact_names_lists_and_parameters_are_read() {
        let message = Message::parse(INVITE.as_bytes()).unwrap();
        assert_eq!(message.method(), "INVITE");
        assert_eq!(message.branch(), Some("z9hG4bKabc"));
        assert_eq!(message.header("From").and_then(tag), Some("one"));
        assert_eq!(message.list("Record-Route").collect::<Vec<_>>(), ["<sip:a;lr>", "<sip:b;lr>"]);
        assert_eq!(message.list("From").count(), 1, "a comma in a quoted name is no separator");
        assert_eq!(address("sip:agent@127.0.0.1:5070;ob"), Some(([127, 0, 0, 1], 5070).into()));
        assert_eq!(Message::parse(&message.to_bytes()).unwrap().method(), "INVITE");
    }

    #[test]
    fn a_response_carries_what_the_request_did_and_a_tag() {
        let request = Message::parse(INVITE.as_bytes()).unwrap();
        let response = Message::response(&request, 200, "OK", "two");
        assert_eq!(response.header("To").and_then(tag), Some("two"));
        assert_eq!(response.method(), "INVITE");
        assert_eq!(response.list("Via").count(), 2);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for datagram in [&b""[..], b"\r\n\r\n", b"\xff\xfe", b"HELLO\r\n\r\n", b"SIP/2.0 abc OK\r\n\r\n"] {
            assert!(Message::parse(datagram).is_none());
        }
    }
}
