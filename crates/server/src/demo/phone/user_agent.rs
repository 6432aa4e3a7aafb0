//! The phone's signalling: one call at a time, over UDP (RFC 3261). Pure: datagrams and times in, [`Output`] out.
//!
//! A call is placed or answered at once; the other side may change the media, put us on hold, send INFO, and
//! hang up. Registration, authentication, reliable provisionals and session timers are not here: the demo's
//! server knows the phones by address.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::dialog::{Dialog, GIVE_UP_MS, Pending};
use super::message::{Message, Start, tag, uri};
use super::session_description::{self as sdp, Remote};

/// Requests in flight: one INVITE or BYE, and INFOs at four keys a second for the eight seconds a stuck server may take.
const MAX_PENDING: usize = 40;
/// Answers kept so that a repeated request gets the same one again.
const MAX_ANSWERS: usize = 32;
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

/// What the phone must do.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    /// Send these bytes there.
    Send(SocketAddr, Vec<u8>),
    /// The audio is agreed, or agreed anew.
    Media(Remote),
    /// A SIP INFO came: on the agent's phone that would be a leak.
    InfoReceived,
    /// The call is over, and why, in words.
    Ended(String),
}

/// One phone's signalling.
#[derive(Debug)]
pub(super) struct UserAgent {
    sip: SocketAddr,
    rtp: SocketAddr,
    name: String,
    state: State,
    pending: Vec<Pending>,
    answers: VecDeque<(String, Vec<u8>)>,
    /// Makes tags, branches and Call-IDs unique over restarts; `count` makes them unique within one.
    seed: String,
    count: u64,
    outputs: Vec<Output>,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Our INVITE is out. `given_up`: the person hung up before an answer came.
    Calling {
        dialog: Dialog,
        invite: Message,
        provisional: bool,
        given_up: bool,
    },
    InCall {
        dialog: Dialog,
        last_step: LastStep,
    },
}

/// The end of the three-way handshake, which is ours to repeat.
#[derive(Debug)]
enum LastStep {
    /// We called: our ACK, sent again whenever the 200 comes again.
    Acknowledged(Vec<u8>),
    /// We answered: our 200, sent again until the ACK comes.
    Answered(Pending),
    Done,
}

impl UserAgent {
    /// A phone called `name`, at these two addresses. `seed` is unique to this start of the program.
    pub(super) fn new(name: &str, sip: SocketAddr, rtp: SocketAddr, seed: String) -> Self {
        Self {
            sip,
            rtp,
            name: name.to_owned(),
            state: State::Idle,
            pending: Vec::new(),
            answers: VecDeque::new(),
            seed,
            count: 0,
            outputs: Vec::new(),
        }
    }

    /// What is to be done since the last time this was asked.
    pub(super) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Calls `uri` through `peer`. Does nothing while a call is up.
    pub(super) fn call(&mut self, peer: SocketAddr, uri: &str, now_ms: u64) {
        if !self.is_idle() {
            return;
        }
        let local_tag = self.unique("tag");
        let dialog = Dialog {
            peer,
            call_id: self.unique("call"),
            local: format!("<sip:{}@{}>;tag={local_tag}", self.name, self.sip),
            remote: format!("<{uri}>"),
            target: uri.to_owned(),
            routes: Vec::new(),
            cseq: 1,
            sdp_version: 1,
        };
        let branch = self.unique("z9hG4bK");
        let invite = dialog
            .request("INVITE", self.sip, &branch)
            .with("Contact", &self.contact())
            .with("Allow", ALLOW)
            .with_body("application/sdp", sdp::describe(self.rtp, dialog.sdp_version, None));
        self.send_request(&invite, branch, peer, now_ms);
        self.state = State::Calling { dialog, invite, provisional: false, given_up: false };
    }

    /// Ends the call, or gives up calling.
    pub(super) fn hang_up(&mut self, now_ms: u64) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Calling { dialog, invite, provisional, .. } => {
                if provisional {
                    self.cancel(&dialog, &invite, now_ms);
                }
                self.state = State::Calling { dialog, invite, provisional, given_up: true };
            }
            State::InCall { mut dialog, .. } => {
                self.request_in_dialog("BYE", &mut dialog, None, now_ms);
                self.outputs.push(Output::Ended("hung up".into()));
            }
        }
    }

    /// Sends a key press as SIP INFO with a body of type `application/dtmf-relay`.
    pub(super) fn send_info(&mut self, key: char, duration_ms: u64, now_ms: u64) {
        let body = format!("Signal={key}\r\nDuration={duration_ms}\r\n");
        match std::mem::replace(&mut self.state, State::Idle) {
            State::InCall { mut dialog, last_step } => {
                self.request_in_dialog("INFO", &mut dialog, Some(("application/dtmf-relay", body)), now_ms);
                self.state = State::InCall { dialog, last_step };
            }
            other => self.state = other,
        }
    }

    /// Takes a datagram that came from `from`.
    pub(super) fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now_ms: u64) {
        let Some(message) = Message::parse(bytes) else { return };
        match message.start {
            Start::Request { .. } => self.request(from, &message, now_ms),
            Start::Response { status, .. } => self.response(from, &message, status, now_ms),
        }
    }

    /// Repeats what has waited too long, and gives up on what has waited far too long.
    pub(super) fn tick(&mut self, now_ms: u64) {
        let mut lost_invite = false;
        let outputs = &mut self.outputs;
        self.pending.retain_mut(|pending| {
            lost_invite |= pending.method == "INVITE" && pending.is_over(now_ms);
            outputs.extend(pending.repeat(now_ms).map(|bytes| Output::Send(pending.to, bytes)));
            !pending.is_over(now_ms)
        });
        if let State::InCall { last_step: LastStep::Answered(answer), .. } = &mut self.state {
            outputs.extend(answer.repeat(now_ms).map(|bytes| Output::Send(answer.to, bytes)));
            if answer.is_over(now_ms) {
                self.hang_up(now_ms);
            }
        }
        if lost_invite && matches!(self.state, State::Calling { .. }) {
            self.state = State::Idle;
            self.outputs.push(Output::Ended("nobody answered".into()));
        }
    }

    fn request(&mut self, from: SocketAddr, request: &Message, now_ms: u64) {
        let key = format!("{} {}", request.branch().unwrap_or(""), request.method());
        if let Some((_, bytes)) = self.answers.iter().find(|(known, _)| *known == key) {
            self.outputs.push(Output::Send(from, bytes.clone()));
            return;
        }
        let ours = self.is_ours(request);
        let has_to_tag = request.header("To").and_then(tag).is_some();
        match request.method() {
            "ACK" => {
                if ours && let State::InCall { last_step, .. } = &mut self.state {
                    *last_step = LastStep::Done;
                }
            }
            "OPTIONS" => self.answer(from, request, 200, "OK"),
            "INVITE" if request.header("Require").is_some() => {
                self.answer(from, request, 420, "Bad Extension")
            }
            "INVITE" if ours => self.offer_in_call(from, request, now_ms),
            "INVITE" if has_to_tag => self.answer(from, request, 481, "Call/Transaction Does Not Exist"),
            "INVITE" if self.is_idle() => self.ring(from, request, now_ms),
            "INVITE" => self.answer(from, request, 486, "Busy Here"),
            _ if !ours => self.answer(from, request, 481, "Call/Transaction Does Not Exist"),
            "UPDATE" => self.offer_in_call(from, request, now_ms),
            "INFO" => {
                self.answer(from, request, 200, "OK");
                self.outputs.push(Output::InfoReceived);
            }
            // The call was answered at once, so a CANCEL always comes too late: it is confirmed and changes nothing.
            "CANCEL" => self.answer(from, request, 200, "OK"),
            "BYE" => {
                self.answer(from, request, 200, "OK");
                self.state = State::Idle;
                self.outputs.push(Output::Ended("the other side hung up".into()));
            }
            _ => self.answer(from, request, 405, "Method Not Allowed"),
        }
    }

    /// A new call: rings and is answered at once.
    fn ring(&mut self, from: SocketAddr, invite: &Message, now_ms: u64) {
        let Some(remote) = sdp::read(&invite.body) else {
            return self.answer(from, invite, 488, "Not Acceptable Here");
        };
        let local_tag = self.unique("tag");
        let header = |name| invite.header(name).unwrap_or_default().to_owned();
        let dialog = Dialog {
            peer: from,
            call_id: header("Call-ID"),
            local: format!("{};tag={local_tag}", header("To")),
            remote: header("From"),
            target: uri(&header("Contact")).to_owned(),
            routes: invite.list("Record-Route").map(str::to_owned).collect(),
            cseq: 0,
            sdp_version: 1,
        };
        let ringing = Message::response(invite, 180, "Ringing", &local_tag).with("Contact", &self.contact());
        self.outputs.push(Output::Send(from, ringing.to_bytes()));
        let last_step = self.accept(from, invite, &dialog, &local_tag, &remote, now_ms);
        self.state = State::InCall { dialog, last_step };
        self.outputs.push(Output::Media(remote));
    }

    /// A re-INVITE or UPDATE: the media may have moved, or be on hold.
    fn offer_in_call(&mut self, from: SocketAddr, request: &Message, now_ms: u64) {
        if request.body.is_empty() && request.method() == "UPDATE" {
            return self.answer(from, request, 200, "OK");
        }
        let Some(remote) = sdp::read(&request.body) else {
            return self.answer(from, request, 488, "Not Acceptable Here");
        };
        let State::InCall { mut dialog, last_step } = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        dialog.sdp_version += 1;
        if let Some(contact) = request.header("Contact") {
            dialog.target = uri(contact).to_owned();
        }
        let accepted = self.accept(from, request, &dialog, "", &remote, now_ms);
        let last_step = if request.method() == "INVITE" { accepted } else { last_step };
        self.state = State::InCall { dialog, last_step };
        self.outputs.push(Output::Media(remote));
    }

    /// Sends 200 with our side of the media.
    fn accept(
        &mut self,
        from: SocketAddr,
        request: &Message,
        dialog: &Dialog,
        tag: &str,
        remote: &Remote,
        now_ms: u64,
    ) -> LastStep {
        let ok = Message::response(request, 200, "OK", tag)
            .with("Contact", &self.contact())
            .with("Allow", ALLOW)
            .with_body("application/sdp", sdp::describe(self.rtp, dialog.sdp_version, Some(remote)));
        let bytes = ok.to_bytes();
        self.remember(request, bytes.clone());
        self.outputs.push(Output::Send(from, bytes.clone()));
        LastStep::Answered(Pending::new(String::new(), "200", from, bytes, now_ms))
    }

    fn response(&mut self, from: SocketAddr, response: &Message, status: u16, now_ms: u64) {
        let branch = response.branch().unwrap_or_default().to_owned();
        let method = response.method().to_owned();
        let known = self.pending.iter().position(|p| p.branch == branch && p.method == method);
        match known {
            Some(index) if status < 200 => {
                if let Some(pending) = self.pending.get_mut(index).filter(|p| p.method == "INVITE") {
                    pending.again_at_ms = None;
                    // From here on only the other side's ring time-out ends the wait.
                    pending.give_up_at_ms = now_ms + 10 * GIVE_UP_MS;
                }
            }
            Some(index) => drop(self.pending.swap_remove(index)),
            None => {}
        }
        if method == "INVITE" {
            self.invite_response(from, response, status, now_ms);
        }
    }

    fn invite_response(&mut self, from: SocketAddr, response: &Message, status: u16, now_ms: u64) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Calling { dialog, invite, provisional, given_up }
                if invite.branch() == response.branch() =>
            {
                if status < 200 {
                    if given_up && !provisional {
                        self.cancel(&dialog, &invite, now_ms);
                    }
                    self.state = State::Calling { dialog, invite, provisional: true, given_up };
                } else if status < 300 {
                    self.answered(dialog, response, given_up, now_ms);
                } else {
                    self.acknowledge_refusal(from, &invite, response);
                    self.outputs.push(Output::Ended(format!("refused with status {status}")));
                }
            }
            State::InCall { dialog, last_step } => {
                if let LastStep::Acknowledged(ack) = &last_step
                    && status < 300
                    && response.header("Call-ID") == Some(&dialog.call_id)
                {
                    self.outputs.push(Output::Send(dialog.next_hop(), ack.clone()));
                }
                self.state = State::InCall { dialog, last_step };
            }
            other => self.state = other,
        }
    }

    /// Our call was answered.
    fn answered(&mut self, mut dialog: Dialog, ok: &Message, given_up: bool, now_ms: u64) {
        dialog.remote = ok.header("To").unwrap_or_default().to_owned();
        if let Some(contact) = ok.header("Contact") {
            dialog.target = uri(contact).to_owned();
        }
        dialog.routes = ok.list("Record-Route").map(str::to_owned).collect();
        dialog.routes.reverse();
        let branch = self.unique("z9hG4bK");
        let ack = dialog.request("ACK", self.sip, &branch).with("Contact", &self.contact()).to_bytes();
        self.outputs.push(Output::Send(dialog.next_hop(), ack.clone()));
        let remote = sdp::read(&ok.body);
        self.state = State::InCall { dialog, last_step: LastStep::Acknowledged(ack) };
        match remote {
            Some(remote) if !given_up => self.outputs.push(Output::Media(remote)),
            // Answered while giving up, or with media we cannot speak: the call is up, so it must be ended.
            _ => self.hang_up(now_ms),
        }
    }

    /// The ACK of a refusal belongs to the INVITE's own transaction (RFC 3261, section 17.1.1.3).
    fn acknowledge_refusal(&mut self, from: SocketAddr, invite: &Message, response: &Message) {
        let Start::Request { uri, .. } = &invite.start else { return };
        let copy = |message: &Message, name: &str| message.header(name).unwrap_or_default().to_owned();
        let ack = Message::request("ACK", uri)
            .with("Via", &copy(invite, "Via"))
            .with("Max-Forwards", "70")
            .with("From", &copy(invite, "From"))
            .with("To", &copy(response, "To"))
            .with("Call-ID", &copy(invite, "Call-ID"))
            .with("CSeq", &copy(invite, "CSeq").replace("INVITE", "ACK"));
        self.outputs.push(Output::Send(from, ack.to_bytes()));
    }

    fn cancel(&mut self, dialog: &Dialog, invite: &Message, now_ms: u64) {
        let branch = invite.branch().unwrap_or_default().to_owned();
        let cancel = dialog.request("CANCEL", self.sip, &branch);
        self.send_request(&cancel, branch, dialog.peer, now_ms);
    }

    fn request_in_dialog(
        &mut self,
        method: &str,
        dialog: &mut Dialog,
        body: Option<(&str, String)>,
        now_ms: u64,
    ) {
        dialog.cseq += 1;
        let branch = self.unique("z9hG4bK");
        let mut request = dialog.request(method, self.sip, &branch).with("Contact", &self.contact());
        if let Some((content_type, body)) = body {
            request = request.with_body(content_type, body);
        }
        self.send_request(&request, branch, dialog.next_hop(), now_ms);
    }

    fn send_request(&mut self, request: &Message, branch: String, to: SocketAddr, now_ms: u64) {
        let bytes = request.to_bytes();
        self.outputs.push(Output::Send(to, bytes.clone()));
        if self.pending.len() == MAX_PENDING {
            self.pending.remove(0);
        }
        self.pending.push(Pending::new(branch, request.method(), to, bytes, now_ms));
    }

    fn answer(&mut self, to: SocketAddr, request: &Message, status: u16, reason: &str) {
        let tag = self.unique("tag");
        let mut response = Message::response(request, status, reason, &tag).with("Allow", ALLOW);
        if let (420, Some(required)) = (status, request.header("Require")) {
            response.push("Unsupported", required);
        }
        let bytes = response.to_bytes();
        self.remember(request, bytes.clone());
        self.outputs.push(Output::Send(to, bytes));
    }

    fn remember(&mut self, request: &Message, bytes: Vec<u8>) {
        if self.answers.len() == MAX_ANSWERS {
            self.answers.pop_front();
        }
        let key = format!("{} {}", request.branch().unwrap_or(""), request.method());
        self.answers.push_back((key, bytes));
    }

    fn is_ours(&self, request: &Message) -> bool {
        let State::InCall { dialog, .. } = &self.state else { return false };
        request.header("Call-ID") == Some(&dialog.call_id)
            && (request.method() == "CANCEL" || request.header("To").and_then(tag) == tag(&dialog.local))
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.name, self.sip)
    }

    fn unique(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}{}{}", self.seed, self.count)
    }
}

#[cfg(test)]
mod tests;
