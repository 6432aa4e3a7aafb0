//! A telephone of a few lines: SIP over UDP with one call, and an RTP port. It does what it is told, right or wrong.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

/// One end of a call.
pub(super) struct Phone {
    pub(super) rtp: UdpSocket,
    sip: UdpSocket,
    server: SocketAddr,
    name: String,
    call_id: String,
    /// `From` of our requests and `To` of theirs, with our tag; and the other way round.
    us: String,
    them: String,
    target: String,
    sequence: u32,
    version: u32,
    payload_types: &'static [u8],
    has_events: bool,
    direction: &'static str,
    /// Where the product wants our audio.
    pub(super) relay: Option<SocketAddr>,
    pub(super) stands: bool,
    pub(super) is_over: bool,
    /// Methods of the requests that came.
    pub(super) requests: Vec<String>,
    /// Packets that came, and when.
    pub(super) packets: Vec<(Instant, Vec<u8>)>,
}

impl Phone {
    pub(super) fn new(
        name: &str,
        server: SocketAddr,
        payload_types: &'static [u8],
        has_events: bool,
    ) -> Self {
        Self::with(name, server, socket(), socket(), payload_types, has_events)
    }

    /// One that is called, at the SIP socket that its address names.
    pub(super) fn answering(
        name: &str,
        server: SocketAddr,
        sip: UdpSocket,
        payload_types: &'static [u8],
        has_events: bool,
    ) -> Self {
        Self::with(name, server, sip, socket(), payload_types, has_events)
    }

    fn with(
        name: &str,
        server: SocketAddr,
        sip: UdpSocket,
        rtp: UdpSocket,
        payload_types: &'static [u8],
        has_events: bool,
    ) -> Self {
        for socket in [&sip, &rtp] {
            socket.set_nonblocking(true).unwrap();
        }
        let us = format!("<sip:{name}@{}>;tag=t{name}", sip.local_addr().unwrap());
        Self {
            rtp,
            sip,
            server,
            name: name.to_owned(),
            call_id: format!("crowd-{name}"),
            us,
            them: String::new(),
            target: String::new(),
            sequence: 0,
            version: 1,
            payload_types,
            has_events,
            direction: "sendrecv",
            relay: None,
            stands: false,
            is_over: false,
            requests: Vec::new(),
            packets: Vec::new(),
        }
    }

    /// Its SIP address.
    pub(super) fn uri(&self) -> String {
        format!("sip:{}@{}", self.name, self.sip.local_addr().unwrap())
    }

    pub(super) fn calls(&mut self, user: &str) {
        self.target = format!("sip:{user}@{}", self.server);
        self.them = format!("<{}>", self.target);
        self.invites();
    }

    /// A re-INVITE with these codecs and this direction.
    pub(super) fn offers(&mut self, payload_types: &'static [u8], direction: &'static str) {
        (self.payload_types, self.direction) = (payload_types, direction);
        self.version += 1;
        self.invites();
    }

    pub(super) fn holds(&mut self, direction: &'static str) {
        self.offers(self.payload_types, direction);
    }

    pub(super) fn sends_info(&mut self, key: char) {
        self.sequence += 1;
        let body = format!("Signal={key}\r\nDuration=100\r\n");
        self.requests_now("INFO", self.sequence, Some(("application/dtmf-relay", &body)));
    }

    pub(super) fn hangs_up(&mut self) {
        self.sequence += 1;
        self.requests_now("BYE", self.sequence, None);
    }

    pub(super) fn sends(&self, packet: &[u8]) {
        if let Some(relay) = self.relay {
            let _ = self.rtp.send_to(packet, relay);
        }
    }

    /// Takes whatever has come since.
    pub(super) fn looks(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.rtp.recv(&mut buffer) {
                Ok(length) => self.packets.push((Instant::now(), buffer[..length].to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP error of a port that is closed by now.
                Err(_) => {}
            }
        }
        while let Ok((length, from)) = self.sip.recv_from(&mut buffer) {
            if from != self.server {
                // A late packet of another desk, to a phone that had this port before.
                continue;
            }
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with("SIP/2.0 ") { self.answered(&message) } else { self.asked(&message) }
        }
    }

    fn invites(&mut self) {
        self.sequence += 1;
        let sdp = self.sdp();
        self.requests_now("INVITE", self.sequence, Some(("application/sdp", &sdp)));
    }

    fn answered(&mut self, message: &str) {
        let code: u16 = message[8..11].parse().unwrap();
        let cseq = field(message, "CSeq").unwrap();
        if code < 200 || !cseq.ends_with("INVITE") {
            self.is_over |= cseq.ends_with("BYE");
            return;
        }
        assert!(code < 300 || self.stands, "{}: the call was refused: {message}", self.name);
        self.them = field(message, "To").unwrap().to_owned();
        let number = cseq.split(' ').next().unwrap().parse().unwrap();
        if code < 300 {
            self.takes(message);
            self.stands = true;
        }
        self.requests_now("ACK", number, None);
    }

    fn asked(&mut self, message: &str) {
        let method = message.split(' ').next().unwrap();
        self.requests.push(method.to_owned());
        if method == "ACK" {
            self.stands = true;
            return;
        }
        if method == "INVITE" {
            self.them = field(message, "From").unwrap().to_owned();
            field(message, "Call-ID").unwrap().clone_into(&mut self.call_id);
            self.takes(message);
        }
        self.is_over |= method == "BYE";
        let body = if method == "INVITE" { self.sdp() } else { String::new() };
        let copied = message.lines().take_while(|line| !line.is_empty());
        let copied = copied.filter(|line| line.starts_with("Via:") || line.starts_with("Record-Route:"));
        let copied: String = copied.map(|line| format!("{line}\r\n")).collect();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let reply = format!(
            "SIP/2.0 200 OK\r\n{copied}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            field(message, "From").unwrap(),
            self.us,
            self.call_id,
            field(message, "CSeq").unwrap(),
            self.uri(),
            body.len()
        );
        let _ = self.sip.send_to(reply.as_bytes(), self.server);
    }

    /// Where they want requests and audio from now on.
    fn takes(&mut self, message: &str) {
        if let Some(contact) = field(message, "Contact") {
            contact.trim_matches(['<', '>']).clone_into(&mut self.target);
        }
        let line = message.lines().find_map(|line| line.strip_prefix("m=audio "));
        if let Some(port) = line.and_then(|line| line.split(' ').next()?.parse().ok()) {
            self.relay = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        }
    }

    fn requests_now(&self, method: &str, sequence: u32, body: Option<(&str, &str)>) {
        let here = self.sip.local_addr().unwrap();
        let (kind, body) = body.unwrap_or_default();
        let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let request = format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{}{method}{sequence};rport\r\n\
             Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {sequence} {method}\r\n\
             Contact: <{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.target,
            self.name,
            self.us,
            self.them,
            self.call_id,
            self.uri(),
            body.len()
        );
        let _ = self.sip.send_to(request.as_bytes(), self.server);
    }

    fn sdp(&self) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        let mut numbers: String = self.payload_types.iter().map(|number| format!(" {number}")).collect();
        let mut events = "";
        if self.has_events {
            numbers.push_str(" 101");
            events = "a=rtpmap:101 telephone-event/8000\r\n";
        }
        format!(
            "v=0\r\no=- 1 {} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP{numbers}\r\n{events}a={}\r\n",
            self.version, self.direction
        )
    }
}

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
