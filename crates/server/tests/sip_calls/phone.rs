//! A phone of a few lines, for what SIPp cannot wait for or must not know.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::desk::PATIENCE;

/// Offered and answered by every phone here; a phone that speaks names its own port.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 9 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// A message that came, as text.
#[derive(Clone)]
pub(crate) struct Message(pub(crate) String);

impl Message {
    pub(crate) fn header(&self, name: &str) -> &str {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let line = self.0.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix));
        line.map(|line| line[prefix.len()..].trim()).unwrap_or_default()
    }

    pub(crate) fn is(&self, start: &str) -> bool {
        self.0.starts_with(start)
    }

    /// The answer to this request.
    fn answer(&self, code: &str, contact: SocketAddr, headers: &str, body: &str) -> String {
        let vias: Vec<_> = self.0.lines().filter(|line| line.starts_with("Via:")).collect();
        let to = self.header("To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=phone" };
        format!(
            "SIP/2.0 {code}\r\n{}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:phone@{contact}>\r\n\
             {headers}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            vias.join("\r\n"),
            self.header("From"),
            self.header("Call-ID"),
            self.header("CSeq"),
            body.len(),
        )
    }
}

/// One phone, one dialog.
pub(crate) struct Phone {
    socket: UdpSocket,
    server: SocketAddr,
    call_id: String,
    user: String,
    to: String,
    sequence: u32,
    media_port: u16,
}

impl Phone {
    pub(crate) async fn at(bind: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(bind).await.unwrap();
        let call_id = format!("phone-{}", socket.local_addr().unwrap().port());
        Self { socket, server, call_id, user: String::new(), to: String::new(), sequence: 0, media_port: 9 }
    }

    pub(crate) async fn options(&mut self) {
        self.request("OPTIONS", "", "").await;
    }

    /// Sends an INVITE to a user.
    pub(crate) async fn invite(&mut self, user: &str, sdp: Option<&str>) {
        self.user = user.to_owned();
        let sdp = sdp.map_or_else(|| self.sdp("sendrecv"), str::to_owned);
        self.request("INVITE", "Content-Type: application/sdp\r\n", &sdp).await;
    }

    /// Sends an INVITE that requires an extension.
    pub(crate) async fn requires(&mut self, extension: &str, user: &str) {
        self.user = user.to_owned();
        let headers = format!("Require: {extension}\r\nContent-Type: application/sdp\r\n");
        let sdp = self.sdp("sendrecv");
        self.request("INVITE", &headers, &sdp).await;
    }

    /// Sends an INVITE to a user, with more headers.
    pub(crate) async fn invites_with(&mut self, user: &str, headers: &str) {
        self.user = user.to_owned();
        let headers = format!("{headers}Content-Type: application/sdp\r\n");
        let sdp = self.sdp("sendrecv");
        self.request("INVITE", &headers, &sdp).await;
    }

    /// Where it is.
    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The ACK for the INVITE with this number.
    pub(crate) async fn acknowledges(&mut self, sequence: u32) {
        let now = std::mem::replace(&mut self.sequence, sequence);
        self.request("ACK", "", "").await;
        self.sequence = now;
    }

    /// A re-INVITE.
    pub(crate) async fn offers(&mut self, direction: &str) {
        let sdp = self.sdp(direction);
        self.request("INVITE", "Content-Type: application/sdp\r\n", &sdp).await;
    }

    /// Descriptions name this address from now on.
    pub(crate) fn speaks_at(&mut self, audio: SocketAddr) {
        self.media_port = audio.port();
    }

    fn sdp(&self, direction: &str) -> String {
        format!("{}a={direction}\r\n", SDP.replace("audio 9 ", &format!("audio {} ", self.media_port)))
    }

    /// Sends a request in the dialog, or the one that begins it.
    pub(crate) async fn request(&mut self, method: &str, headers: &str, body: &str) {
        if method != "ACK" {
            self.sequence += 1;
        }
        let (here, server, user) = (self.socket.local_addr().unwrap(), self.server, &self.user);
        let to = if self.to.is_empty() { format!("<sip:{user}@{server}>") } else { self.to.clone() };
        let (call_id, sequence) = (&self.call_id, self.sequence);
        let text = format!(
            "{method} sip:{user}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}{method}{sequence}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:customer@{here}>;tag=c1\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {sequence} {method}\r\nContact: <sip:customer@{here}>\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        self.raw(text.as_bytes()).await;
    }

    /// Sends a REFER in the dialog that this INVITE of ours to it began.
    pub(crate) async fn refers(&mut self, invite: &Message, target: &str) {
        self.asks(invite, "REFER", &format!("Refer-To: {target}\r\n")).await;
    }

    /// Keys one after the other by INFO; whoever is across answers each.
    pub(crate) async fn keys_in(&mut self, invite: &Message, keys: &str, across: &mut Self) {
        for key in keys.chars() {
            self.send_key(invite, key).await;
            let info = across.hears("INFO").await;
            across.answers(&info, "200 OK").await;
            self.hears_of("SIP/2.0 200", "INFO").await;
        }
    }

    /// A key by INFO in the dialog that this INVITE began, answered by the other end itself.
    pub(crate) async fn key_in(&mut self, invite: &Message, key: char) {
        self.send_key(invite, key).await;
        self.hears_of("SIP/2.0 200", "INFO").await;
    }

    async fn send_key(&mut self, invite: &Message, key: char) {
        let headers = "Content-Type: application/dtmf-relay\r\n";
        self.asks_with(invite, "INFO", headers, &format!("Signal={key}\r\nDuration=160\r\n")).await;
    }

    /// Sends a request in the dialog that this INVITE began.
    pub(crate) async fn asks(&mut self, invite: &Message, method: &str, headers: &str) {
        self.asks_with(invite, method, headers, "").await;
    }

    /// A re-INVITE in the dialog that this INVITE of ours to it began.
    pub(crate) async fn offers_in(&mut self, invite: &Message) {
        let sdp = self.sdp("sendrecv");
        self.asks_with(invite, "INVITE", "Content-Type: application/sdp\r\n", &sdp).await;
    }

    async fn asks_with(&mut self, invite: &Message, method: &str, headers: &str, body: &str) {
        self.sequence += 1;
        let (here, sequence, call_id) =
            (self.socket.local_addr().unwrap(), self.sequence, invite.header("Call-ID"));
        let uri = invite.header("Contact").trim_matches(['<', '>']);
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{method}{sequence}\r\n\
             Max-Forwards: 70\r\nFrom: {};tag=phone\r\nTo: {}\r\nCall-ID: {call_id}\r\n\
             CSeq: {sequence} {method}\r\nContact: <sip:phone@{here}>\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            invite.header("To"),
            invite.header("From"),
            body.len(),
        );
        self.raw(text.as_bytes()).await;
    }

    pub(crate) async fn raw(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).await.unwrap();
    }

    /// Calls and acknowledges the answer.
    pub(crate) async fn calls(&mut self, user: &str) {
        self.invite(user, None).await;
        let answer = self.hears("SIP/2.0 200").await;
        self.joins(&answer);
        self.request("ACK", "", "").await;
    }

    /// The text of an INVITE, one more every time.
    pub(crate) fn invitation(&self, user: &str, round: u32) -> String {
        let (here, server, call_id) = (self.socket.local_addr().unwrap(), self.server, &self.call_id);
        format!(
            "INVITE sip:{user}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}x{round}\r\n\
             Max-Forwards: 70\r\nFrom: \"A\" <sip:customer@{here}>;tag=c{round}\r\nTo: <sip:{user}@{server}>\r\n\
             Call-ID: {call_id}x{round}\r\nCSeq: 1 INVITE\r\nContact: <sip:customer@{here}>\r\n\
             Session-Expires: 1800;refresher=uac\r\nSupported: timer\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        )
    }

    /// Takes the tag of an answer: what follows is in the dialog.
    pub(crate) fn joins(&mut self, answer: &Message) {
        self.to = answer.header("To").to_owned();
    }

    /// Cancels the INVITE that was sent last.
    pub(crate) async fn cancel(&mut self) {
        let (here, server, user) = (self.socket.local_addr().unwrap(), self.server, &self.user);
        let (call_id, sequence) = (&self.call_id, self.sequence);
        let text = format!(
            "CANCEL sip:{user}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}INVITE{sequence}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:customer@{here}>;tag=c1\r\nTo: <sip:{user}@{server}>\r\nCall-ID: {call_id}\r\n\
             CSeq: {sequence} CANCEL\r\nContent-Length: 0\r\n\r\n"
        );
        self.raw(text.as_bytes()).await;
    }

    /// Sends an INFO with a key and gives the answer.
    pub(crate) async fn key(&mut self, key: char) -> Message {
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        self.request("INFO", "Content-Type: application/dtmf-relay\r\n", &body).await;
        self.hears("SIP/2.0").await
    }

    /// The next message that begins so; others are passed over.
    pub(crate) async fn hears(&self, start: &str) -> Message {
        let wait = async {
            loop {
                let message = self.next().await;
                if message.is(start) {
                    return message;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never heard {start}"))
    }

    pub(crate) async fn next(&self) -> Message {
        let mut bytes = vec![0; 65_536];
        let (len, _) = self.socket.recv_from(&mut bytes).await.unwrap();
        Message(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }

    pub(crate) fn heard_nothing(&self) -> bool {
        self.socket.try_recv_from(&mut [0; 16]).is_err()
    }

    pub(crate) async fn answers(&self, request: &Message, code: &str) {
        let described = code.starts_with("200") && request.is("INVITE");
        let body = if described { self.sdp("sendrecv") } else { String::new() };
        self.answers_with(request, code, "", &body).await;
    }

    /// 200 with a description of this direction.
    pub(crate) async fn answers_as(&self, request: &Message, direction: &str) {
        self.answers_with(request, "200 OK", "", &self.sdp(direction)).await;
    }

    pub(crate) async fn answers_with(&self, request: &Message, code: &str, headers: &str, body: &str) {
        let text = request.answer(code, self.socket.local_addr().unwrap(), headers, body);
        self.raw(text.as_bytes()).await;
    }

    /// Whether none of the messages still to be read begins so.
    pub(crate) fn never_heard(&self, start: &str) -> bool {
        let mut bytes = vec![0; 65_536];
        while let Ok((len, _)) = self.socket.try_recv_from(&mut bytes) {
            if bytes[..len].starts_with(start.as_bytes()) {
                return false;
            }
        }
        true
    }

    /// The next answer to a request of this method.
    pub(crate) async fn hears_of(&self, start: &str, method: &str) -> Message {
        loop {
            let message = self.hears(start).await;
            if message.header("CSeq").ends_with(method) {
                return message;
            }
        }
    }

    /// An agent's phone: answers everything, and keeps what it hears, until the BYE.
    pub(crate) async fn serves(self) -> Vec<Message> {
        let mut heard = Vec::new();
        let wait = async {
            loop {
                let message = self.next().await;
                heard.push(message.clone());
                if !message.is("ACK") && !message.is("SIP/2.0") {
                    self.answers(&message, "200 OK").await;
                }
                if message.is("BYE") {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE + Duration::from_secs(10), wait).await.expect("the agent hears a BYE");
        heard
    }
}
