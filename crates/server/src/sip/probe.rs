//! A message read by everything that reads messages here, without a socket: what fuzzing needs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use hushpad_telephony::call::{Dtmf, agree_as_server};
use hushpad_telephony::g711::Law;
use hushpad_telephony::sdp::recording::Copies;
use hushpad_telephony::sdp::{Described, Srtp};
use hushpad_telephony::srtp::{MASTER_KEY_BYTES, MasterKey};
use rsipstack::dialog::DialogId;
use rsipstack::sip::{HeadersExt, Request, Response, SipMessage, ToTypedHeader, Transport, Uri};
use rsipstack::transaction::endpoint::MessageInspector;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transport::SipConnection;
use rsipstack::transport::stream::{SipCodec, SipCodecType};
use tokio_util::codec::Decoder;

use super::identity::Identity;
use super::{Counters, Credential, Hashes, Login, SipConfig, headers, incoming, refer, reliable, replaces};

/// The name of the one peer here.
const PEER: &str = "peer";
/// The form in which keys are passed on.
const RELAY: &str = "application/dtmf-relay";
/// The session interval we ask for, in seconds.
const EXPIRES_S: u32 = 1800;

/// What a recorder answers.
const RECORDED: Copies = Copies {
    addresses: [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2); 2],
    session_id: 1,
    srtp: [Srtp::Optional(MasterKey::new([7; MASTER_KEY_BYTES])); 2],
    first: Law::A,
};

/// Reads messages as the running stack does: the crate's parser and bookkeeping, then every header and body that
/// this program looks at. Nothing is kept of them, and nothing is sent.
pub struct Probe {
    identity: Identity,
}

impl Probe {
    /// A reader with one peer, which has a login, and one dialog that answers challenges.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new() -> anyhow::Result<Self> {
        let credential = Credential::new("carrier", "secret");
        let login =
            Login { peer: PEER.to_owned(), credential: credential.clone(), hashes: Hashes::default() };
        let config = SipConfig {
            listeners: vec![],
            advertised: None,
            peers: vec![],
            logins: vec![login],
            tls: None,
            max_calls: 1,
        };
        let identity = Identity::new(&Arc::new(config), &Arc::new(Counters::default()))?;
        Ok(Self { identity })
    }

    /// Reads a datagram. Whether it was a message.
    pub fn datagram(&self, bytes: &[u8], from: SocketAddr) -> bool {
        let Ok(message) = SipMessage::try_from(bytes) else { return false };
        self.message(message, from, Transport::Udp);
        true
    }

    /// Reads what comes over a stream, until it ends or stops to be SIP. How many messages there were.
    pub fn stream(&self, bytes: &[u8], from: SocketAddr) -> usize {
        let (mut buffer, mut codec, mut messages) = (BytesMut::from(bytes), SipCodec::new(), 0);
        while let Ok(Some(item)) = codec.decode(&mut buffer) {
            if let SipCodecType::Message(message) = item {
                self.message(message, from, Transport::Tcp);
                messages += 1;
            }
        }
        messages
    }

    fn message(&self, message: SipMessage, from: SocketAddr, transport: Transport) {
        // What is written must be readable: it is what others get.
        let written = message.to_bytes();
        drop(SipMessage::try_from(written.as_slice()));
        let Ok(message) = SipConnection::update_msg_received(message, from, transport) else { return };
        drop(SipConnection::get_destination(&message));
        match self.identity.after_received(message, None) {
            SipMessage::Request(request) => self.request(request),
            SipMessage::Response(response) => response_fields(&response),
        }
    }

    fn request(&self, request: Request) {
        for role in [TransactionRole::Server, TransactionRole::Client] {
            drop(TransactionKey::from_request(&request, role));
            drop(DialogId::try_from((&request, role)));
        }
        drop(self.identity.questions(PEER, &request));
        drop(headers::unknown_requirements(&request));
        let _ = reliable::is_required(&request);
        let _ = headers::max_forwards(&request);
        common_fields(&request, &request.body);
        let _ = agree_as_server(&headers::timer_fields(&request), EXPIRES_S);
        drop(refer::target(&request));
        for replaces in incoming::named_to_replace(&request) {
            drop(replaces::read(&replaces));
        }
        let _ = reliable::acknowledged(&request);
        drop(request.typed_contact_headers());
        if let Some(Ok(key)) = Dtmf::read(headers::content_type(&request), &request.body) {
            let written = key.write_relay().and_then(|body| Dtmf::read(RELAY, &body));
            assert!(key.key.is_none() || written == Some(Ok(key)), "a key is passed on as another one");
        }
        if let Ok(Some(user)) = Uri::try_from(request.uri.to_string()).map(|uri| uri.auth) {
            assert!(headers::clean(&user.user).is_ascii());
        }
        // Names us a recorder's source where `siprec` is required.
        drop(self.identity.before_send(SipMessage::Request(request), None));
    }
}

fn response_fields(response: &Response) {
    for role in [TransactionRole::Server, TransactionRole::Client] {
        drop(TransactionKey::from_response(response, role));
        drop(DialogId::try_from((response, role)));
    }
    common_fields(response, &response.body);
    drop(RECORDED.answered(&response.body));
    let _ = headers::timer_fields(response);
}

fn common_fields(message: &impl HeadersExt, body: &[u8]) {
    let _ = headers::sequence(message);
    drop(message.from_header().ok().and_then(|from| from.clone().typed().ok()));
    drop(message.to_header().ok().and_then(|to| to.tag().ok()));
    drop(message.call_id_header().map(ToString::to_string));
    if let Some(sdp) = headers::sdp_of(message, body) {
        let wanted = Srtp::Optional(MasterKey::new([7; MASTER_KEY_BYTES]));
        drop(Described::parse(&sdp, wanted));
    }
}
