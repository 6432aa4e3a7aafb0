//! A customer's INVITE, before we decide on it.

use std::net::IpAddr;
use std::sync::Arc;

use hushpad_telephony::call::{IntervalTooSmall, MIN_SE_S, SessionTimer, TimerFields, Wish, agree_as_server};
use rsipstack::sip::{HasHeaders, Header, HeadersExt, Method, Request, StatusCode, ToTypedHeader};
use rsipstack::transaction::transaction::Transaction;
use uuid::Uuid;

use super::dispatch::{RETRY_AFTER_S, answer};
use super::legs::{CallLegs, Calling};
use super::lines::{CallLine, Line};
use super::{Peer, SipError, Stack, headers};

/// Longest value of `X-Agent-Id` taken; agent ids have at most 64 characters.
const MAX_AGENT_HEADER: usize = 64;

/// A call that waits for our decision: one of the methods that take `self`.
pub struct IncomingCall {
    stack: Arc<Stack>,
    tx: Transaction,
    peer: Peer,
    dialled: String,
    caller: String,
    /// At least one.
    hops: u8,
    agent_header: Option<String>,
    /// The dialog that it is to take over (RFC 3891).
    replaces: Option<String>,
    offer: Option<Vec<u8>>,
    timer: TimerFields,
}

impl IncomingCall {
    /// Reads an INVITE; answers it itself if that cannot be done.
    pub(super) async fn read(stack: Arc<Stack>, mut tx: Transaction) -> Option<Self> {
        let peer = source(&tx).and_then(|ip| stack.config.peer_of(ip)).cloned();
        let Some(peer) = peer else {
            stack.counters.count_unknown_source();
            return None;
        };
        if tx.original.typed_contact_headers().map_or(true, |contacts| contacts.is_empty()) {
            answer(&mut tx, StatusCode::BadRequest, vec![]).await;
            return None;
        }
        // Counted on over both legs, so that a route that leads back to us comes to an end.
        let hops = headers::max_forwards(&tx.original);
        if hops == 0 {
            answer(&mut tx, StatusCode::TooManyHops, vec![]).await;
            return None;
        }
        let kind = headers::content_type(&tx.original);
        if !tx.original.body.is_empty() && !kind.eq_ignore_ascii_case("application/sdp") {
            let accept = vec![Header::Accept("application/sdp".into())];
            answer(&mut tx, StatusCode::UnsupportedMediaType, accept).await;
            return None;
        }
        let dialled =
            tx.original.uri.auth.as_ref().map(|auth| headers::clean(&auth.user)).unwrap_or_default();
        let from = tx.original.from_header().ok().and_then(|from| from.clone().typed().ok());
        let caller = from.and_then(|from| from.uri.auth).map(|auth| headers::clean(&auth.user));
        let agent_header = tx.original.headers().iter().find_map(|header| match header {
            Header::Other(name, value) if name.eq_ignore_ascii_case("X-Agent-Id") => Some(value.trim()),
            _ => None,
        });
        let agent_header =
            agent_header.filter(|id| !id.is_empty() && id.len() <= MAX_AGENT_HEADER).map(str::to_owned);
        let mut replaces = named_to_replace(&tx.original);
        if replaces.len() > 1 {
            // RFC 3891 section 3.
            answer(&mut tx, StatusCode::BadRequest, vec![]).await;
            return None;
        }
        let offer = headers::sdp_of(&tx.original, &tx.original.body);
        let timer = headers::timer_fields(&tx.original);
        Some(Self {
            stack,
            tx,
            peer,
            dialled,
            caller: caller.unwrap_or_default(),
            hops,
            agent_header,
            replaces: replaces.pop(),
            offer,
            timer,
        })
    }

    /// The name of the peer it comes from.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer.name
    }

    /// What the peer's media is to be sealed with.
    #[must_use]
    pub fn srtp(&self) -> Wish {
        self.peer.srtp
    }

    /// Whether the INVITE came encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        let transport = self.tx.connection.as_ref().map(|connection| connection.transport());
        transport == Some(rsipstack::sip::Transport::Tls)
    }

    /// Whether the peer sits behind a NAT.
    #[must_use]
    pub fn is_behind_nat(&self) -> bool {
        self.peer.nat
    }

    /// The user part that was dialled; empty if there is none.
    #[must_use]
    pub fn dialled(&self) -> &str {
        &self.dialled
    }

    /// The user part of its From; may be empty.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The value of `X-Agent-Id`.
    #[must_use]
    pub fn agent_header(&self) -> Option<&str> {
        self.agent_header.as_deref()
    }

    /// The dialog that it is to take over, as its sender names it.
    #[must_use]
    pub fn replaces(&self) -> Option<&str> {
        self.replaces.as_deref()
    }

    /// Whether it is to take the dialog over only while that one rings.
    #[must_use]
    pub fn replaces_early_only(&self) -> bool {
        let mut parts = self.replaces().unwrap_or_default().split(';').skip(1);
        parts.any(|part| part.trim().eq_ignore_ascii_case("early-only"))
    }

    /// The customer's description.
    #[must_use]
    pub fn offer(&self) -> Option<&[u8]> {
        self.offer.as_deref()
    }

    /// Decides on the session timer; `ours_s` is the longest interval we want, in seconds.
    ///
    /// # Errors
    /// Answer with [`IncomingCall::refuse_interval`].
    pub fn agree_timer(&self, ours_s: u32) -> Result<Option<SessionTimer>, IntervalTooSmall> {
        agree_as_server(&self.timer, ours_s)
    }

    /// 404: nobody is reached by what was dialled.
    pub async fn refuse_unknown(mut self) {
        answer(&mut self.tx, StatusCode::NotFound, vec![]).await;
    }

    /// 481: there is no such call to take over.
    pub async fn refuse_gone(mut self) {
        answer(&mut self.tx, StatusCode::CallTransactionDoesNotExist, vec![]).await;
    }

    /// 491: something else goes on in that call.
    pub async fn refuse_pending(mut self) {
        answer(&mut self.tx, StatusCode::RequestPending, vec![]).await;
    }

    /// 486: what it is to take over only while it rings was answered (RFC 3891 section 3).
    pub async fn refuse_answered(mut self) {
        answer(&mut self.tx, StatusCode::BusyHere, vec![]).await;
    }

    /// 403: this peer may not take that call over.
    pub async fn refuse_forbidden(mut self) {
        answer(&mut self.tx, StatusCode::Forbidden, vec![]).await;
    }

    /// 488: the offer cannot be used.
    pub async fn refuse_media(mut self) {
        answer(&mut self.tx, StatusCode::NotAcceptableHere, vec![]).await;
    }

    /// 422: the session interval is too small.
    pub async fn refuse_interval(mut self) {
        let least = vec![Header::MinSE(MIN_SE_S.to_string().into())];
        answer(&mut self.tx, StatusCode::SessionIntervalTooSmall, least).await;
    }

    /// 503: no room, or going down.
    pub async fn refuse_busy(mut self) {
        let wait = vec![Header::RetryAfter(RETRY_AFTER_S.into())];
        answer(&mut self.tx, StatusCode::ServiceUnavailable, wait).await;
    }

    /// Takes the call: 100 goes out, and the caller's dialog begins.
    ///
    /// # Errors
    /// The INVITE cannot make a dialog; it has been answered with 400.
    pub async fn accept(self, call: Uuid) -> Result<CallLegs, SipError> {
        let stack = Arc::clone(&self.stack);
        let (line, calling) = self.open().await?;
        Ok(CallLegs::new(stack, call, line, calling))
    }

    /// 100 goes out, and a dialog begins.
    pub(super) async fn open(mut self) -> Result<(CallLine, Calling), SipError> {
        let (events, received) = self.stack.dialogs.new_dialog_state_channel();
        let contact = Some(self.stack.contact(self.tx.connection.as_ref()));
        let made = self.stack.dialogs.get_or_create_server_invite(&self.tx, events, None, contact);
        let dialog = match made {
            Ok(dialog) => dialog,
            Err(error) => {
                answer(&mut self.tx, StatusCode::BadRequest, vec![]).await;
                return Err(error.into());
            }
        };
        let mut driven = dialog.clone();
        let mut tx = self.tx;
        debug_assert!(tx.original.method == Method::Invite);
        tokio::spawn(async move {
            if let Err(error) = driven.handle(&mut tx).await {
                tracing::debug!(%error, "an INVITE could not be handled to its end");
            }
        });
        let calling = Calling { user: self.caller, hops: self.hops - 1 };
        Ok((CallLine::incoming(Line::new(dialog, received), self.peer.name), calling))
    }
}

pub(super) fn named_to_replace(invite: &Request) -> Vec<String> {
    let values = invite.headers().iter().filter_map(|header| match header {
        Header::Replaces(value) => Some(value.value().to_owned()),
        _ => None,
    });
    values.collect()
}

pub(super) fn source(tx: &Transaction) -> Option<IpAddr> {
    let address = tx.connection.as_ref()?.get_remote_addr()?;
    address.get_socketaddr().ok().map(|address| address.ip())
}
