//! Between the digest and the stack: who callers are, and who we are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::rand::{SecureRandom as _, SystemRandom};
use rsipstack::sip::{
    HasHeaders, Header, HeadersExt, Method, ProxyAuthenticate, Request, Response, SipMessage, StatusCode,
    WwwAuthenticate,
};
use rsipstack::transaction::endpoint::MessageInspector;
use rsipstack::transport::SipAddr;

use super::digest::Credential;
use super::digest::answers::{Answers, Reply};
use super::digest::gate::{Asked, Gate, Verdict};
use super::headers::clean;
use super::{Counters, SipConfig, recording};

use crate::media::now_ms;

/// Asks callers that have to say who they are, and says who we are. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Identity {
    config: Arc<SipConfig>,
    counters: Arc<Counters>,
    gate: Arc<Mutex<Gate>>,
    answers: Arc<Mutex<Answers>>,
}

impl Identity {
    /// # Errors
    /// The system has no randomness to give.
    #[expect(clippy::disallowed_methods, reason = "the gate's secret is drawn once, where SIP starts")]
    pub(super) fn new(config: &Arc<SipConfig>, counters: &Arc<Counters>) -> anyhow::Result<Self> {
        let mut secret = [0; 32];
        let filled = SystemRandom::new().fill(&mut secret);
        filled.map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        Ok(Self {
            config: Arc::clone(config),
            counters: Arc::clone(counters),
            gate: Arc::new(Mutex::new(Gate::new(&secret))),
            answers: Arc::default(),
        })
    }

    /// The questions to answer this request with, if its sender has yet to say who it is.
    pub(super) fn questions(&self, peer: &str, request: &Request) -> Option<Vec<Header>> {
        let login = self.config.logins.iter().find(|login| login.peer == peer)?;
        let given = request.headers().iter().filter_map(|header| match header {
            Header::Authorization(value) => Some(value.value()),
            _ => None,
        });
        let user = request.uri.auth.as_ref().map_or("", |auth| &auth.user);
        let (method, hashes) = (request.method.to_string(), login.hashes);
        let asked = Asked { peer, method: &method, user, hashes };
        let mut gate = lock(&self.gate);
        let verdict = gate.judge(now_ms(), &asked, &login.credential, given);
        if verdict == Verdict::Known {
            return None;
        }
        if verdict == Verdict::Wrong {
            self.counters.count_wrong_login();
            tracing::info!(peer, reason = "wrong_login", "call refused");
        }
        let questions = gate.questions(now_ms(), peer, hashes, verdict == Verdict::Stale);
        let header = |value| Header::WwwAuthenticate(WwwAuthenticate::new(value));
        Some(questions.into_iter().map(header).collect())
    }

    /// Answers with this credential on the dialog with this Call-ID, until [`Identity::end`].
    pub(super) fn begin(&self, call_id: &str, credential: Credential) {
        lock(&self.answers).begin(call_id, credential);
    }

    pub(super) fn end(&self, call_id: &str) {
        lock(&self.answers).end(call_id);
    }

    /// The stack sends a request again when it understands the challenge, so it is shown one in the only
    /// words it knows; where there is nothing to say, an answer that ends the request and no dialog.
    fn challenged(&self, response: &mut Response) {
        let (Some(call_id), Some(cseq)) = (call_id(response), cseq(response)) else { return };
        let values = response.headers().iter().filter_map(|header| match header {
            Header::WwwAuthenticate(value) => Some(value.value()),
            Header::ProxyAuthenticate(value) => Some(value.value()),
            _ => None,
        });
        let is_proxy = response.status_code == StatusCode::ProxyAuthenticationRequired;
        let reply = lock(&self.answers).challenged(&call_id, cseq.0, is_proxy, values);
        if let Reply::Again { realm, once_more } = &reply {
            // It answers a request a second time only where its answer is said to be stale.
            let shown = format!("Digest realm=\"{}\", nonce=\"n\", stale={once_more}", clean(realm));
            let shown = if is_proxy {
                Header::ProxyAuthenticate(ProxyAuthenticate::new(shown))
            } else {
                Header::WwwAuthenticate(WwwAuthenticate::new(shown))
            };
            let headers = response.headers_mut();
            headers.retain(|header| {
                !matches!(header, Header::WwwAuthenticate(_) | Header::ProxyAuthenticate(_))
            });
            headers.push(shown);
            return;
        }
        let method = cseq.1.to_string();
        tracing::warn!(method, reply = reply.name(), "whom we call asks for a credential");
        response.status_code = StatusCode::TemporarilyUnavailable;
    }

    fn say_who_we_are(&self, request: &mut Request) {
        let is_ack = request.method == Method::Ack;
        if !is_ack && !request.headers().iter().any(is_answer) {
            return;
        }
        let (Some(call_id), Some((sequence, _))) = (call_id(request), cseq(request)) else { return };
        let (method, uri) = (request.method.to_string(), request.uri.to_string());
        let cnonce = uuid::Uuid::new_v4().simple().to_string();
        let answers = lock(&self.answers).answer(&call_id, sequence, &method, &uri, &cnonce);
        request.headers_mut().retain(|header| !is_answer(header));
        for answer in answers {
            request.headers_mut().push(if answer.is_to_proxy() {
                Header::ProxyAuthorization(answer.value.into())
            } else {
                Header::Authorization(answer.value.into())
            });
        }
    }
}

impl MessageInspector for Identity {
    fn before_send(&self, message: SipMessage, _to: Option<&SipAddr>) -> SipMessage {
        match message {
            SipMessage::Request(mut request) => {
                self.say_who_we_are(&mut request);
                recording::name_source(&mut request);
                SipMessage::Request(request)
            }
            SipMessage::Response(response) => SipMessage::Response(response),
        }
    }

    fn after_received(&self, message: SipMessage, _from: Option<&SipAddr>) -> SipMessage {
        match message {
            SipMessage::Response(mut response) => {
                let codes = [StatusCode::Unauthorized, StatusCode::ProxyAuthenticationRequired];
                if codes.contains(&response.status_code) {
                    self.challenged(&mut response);
                }
                SipMessage::Response(response)
            }
            SipMessage::Request(request) => SipMessage::Request(request),
        }
    }
}

fn is_answer(header: &Header) -> bool {
    matches!(header, Header::Authorization(_) | Header::ProxyAuthorization(_))
}

fn call_id(message: &impl HeadersExt) -> Option<String> {
    message.call_id_header().ok().map(|id| id.value().to_owned())
}

fn cseq(message: &impl HeadersExt) -> Option<(u32, Method)> {
    let header = message.cseq_header().ok()?;
    Some((header.seq().ok()?, header.method().ok()?))
}

/// Nothing under these locks can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
