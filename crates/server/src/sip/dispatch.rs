//! Every request that opens a transaction, sorted.

use std::sync::Arc;

use rsipstack::dialog::dialog::{Dialog, DialogState};
use rsipstack::sip::{Header, HeadersExt, Method, StatusCode};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::key::TransactionRole;
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::{Semaphore, mpsc};

use super::incoming::{IncomingCall, source};
use super::{MAX_MESSAGE_BYTES, Stack, headers};

/// Requests in hand per call allowed. Two legs, each with an INVITE, one change and a key or two under way.
const REQUESTS_PER_CALL: usize = 8;
/// Requests in hand however few calls are allowed: OPTIONS, refusals.
const REQUESTS_AT_LEAST: usize = 256;
/// Most header lines read; an INVITE over ten proxies has about sixty.
const MAX_HEADERS: usize = 256;
/// What a refused sender is asked to wait, in seconds.
pub(super) const RETRY_AFTER_S: &str = "10";
/// What a sender is asked to wait whose request came in the middle of something, in seconds.
const RETRY_SOON_S: &str = "1";

/// Takes requests from the stack and gives each to whom it concerns.
pub(super) struct Dispatcher {
    stack: Arc<Stack>,
    calls: mpsc::Sender<IncomingCall>,
    room: Arc<Semaphore>,
}

impl Dispatcher {
    pub(super) fn new(stack: Arc<Stack>, calls: mpsc::Sender<IncomingCall>) -> Self {
        let most = stack.config.max_calls.saturating_mul(REQUESTS_PER_CALL).max(REQUESTS_AT_LEAST);
        Self { stack, calls, room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))) }
    }

    pub(super) async fn run(self, mut requests: TransactionReceiver) {
        let this = Arc::new(self);
        loop {
            let request = tokio::select! {
                request = requests.recv() => request,
                () = this.stack.stopped() => None,
            };
            let Some(mut tx) = request else { return };
            let Ok(permit) = Arc::clone(&this.room).try_acquire_owned() else {
                this.stack.counters.count_overload();
                let wait = vec![Header::RetryAfter(RETRY_AFTER_S.into())];
                drop(tx.reply_with(StatusCode::ServiceUnavailable, wait, None).await);
                continue;
            };
            let this = Arc::clone(&this);
            tokio::spawn(async move {
                this.take(tx).await;
                drop(permit);
            });
        }
    }

    async fn take(&self, mut tx: Transaction) {
        let too_large = tx.original.body.len() > MAX_MESSAGE_BYTES
            || tx.original.headers.iter().take(MAX_HEADERS + 1).count() > MAX_HEADERS;
        if too_large {
            self.stack.counters.count_oversize();
            return answer(&mut tx, StatusCode::MessageTooLarge, vec![]).await;
        }
        let in_dialog = tx.original.to_header().is_ok_and(|to| matches!(to.tag(), Ok(Some(_))));
        if in_dialog {
            return self.in_dialog(tx).await;
        }
        match tx.original.method {
            Method::Invite => self.invite(tx).await,
            Method::Options if self.stack.is_draining() => {
                let wait = vec![Header::RetryAfter(RETRY_AFTER_S.into())];
                answer(&mut tx, StatusCode::ServiceUnavailable, wait).await;
            }
            Method::Options => {
                let described =
                    vec![headers::allow(), headers::supported(), Header::Accept("application/sdp".into())];
                answer(&mut tx, StatusCode::OK, described).await;
            }
            Method::Cancel | Method::Bye | Method::Update | Method::Info | Method::PRack | Method::Refer => {
                answer(&mut tx, StatusCode::CallTransactionDoesNotExist, vec![]).await;
            }
            _ => answer(&mut tx, StatusCode::MethodNotAllowed, vec![headers::allow()]).await,
        }
    }

    async fn invite(&self, mut tx: Transaction) {
        // A source that is no peer is dropped further on, without a word.
        if let Some(questions) = self.questions(&tx) {
            return answer(&mut tx, StatusCode::Unauthorized, questions).await;
        }
        let unknown = headers::unknown_requirements(&tx.original);
        if !unknown.is_empty() {
            let names = vec![Header::Unsupported(unknown.join(", ").into())];
            return answer(&mut tx, StatusCode::BadExtension, names).await;
        }
        let Some(call) = IncomingCall::read(Arc::clone(&self.stack), tx).await else { return };
        // The taker is never slow, so a full queue means that it is gone or swamped.
        if let Err(error) = self.calls.try_send(call) {
            self.stack.counters.count_overload();
            let (mpsc::error::TrySendError::Full(call) | mpsc::error::TrySendError::Closed(call)) = error;
            call.refuse_busy().await;
        }
    }

    /// What its sender is asked first, if it has yet to say who it is.
    fn questions(&self, tx: &Transaction) -> Option<Vec<Header>> {
        let peer = source(tx).and_then(|ip| self.stack.config.peer_of(ip))?;
        self.stack.identity.questions(&peer.name, &tx.original)
    }

    async fn in_dialog(&self, mut tx: Transaction) {
        let Some(mut dialog) = self.stack.dialogs.match_dialog(&tx) else {
            return self.no_dialog(tx).await;
        };
        let Dialog::Invite(invite) = &dialog else { return };
        if tx.original.method == Method::Invite && !headers::unknown_requirements(&tx.original).is_empty() {
            return answer(&mut tx, StatusCode::BadExtension, vec![]).await;
        }
        let kind = headers::content_type(&tx.original);
        let foreign_body = !tx.original.body.is_empty() && !kind.eq_ignore_ascii_case("application/sdp");
        if foreign_body && matches!(tx.original.method, Method::Invite | Method::Update) {
            let accept = vec![Header::Accept("application/sdp".into())];
            return answer(&mut tx, StatusCode::UnsupportedMediaType, accept).await;
        }
        // A REFER makes a call, like an INVITE; the dialog may be one that we began, with nobody's word.
        if tx.original.method == Method::Refer
            && let Some(questions) = self.questions(&tx)
        {
            return answer(&mut tx, StatusCode::Unauthorized, questions).await;
        }
        // The stack leaves these unanswered until the ACK has come.
        let early = invite.role() == TransactionRole::Server && !invite.state().is_confirmed();
        let waits_for_ack = matches!(invite.state(), DialogState::WaitAck(..));
        match tx.original.method {
            Method::Bye if early && !waits_for_ack => {
                // RFC 3261 section 15.1.2: the INVITE that waits is ended with 487.
                drop(invite.reject(Some(StatusCode::RequestTerminated), None));
                answer(&mut tx, StatusCode::OK, vec![]).await;
            }
            Method::Options if early => answer(&mut tx, StatusCode::OK, vec![headers::allow()]).await,
            Method::Info | Method::Update | Method::Invite | Method::Refer if early => {
                come_back(&mut tx).await
            }
            Method::PRack => {
                let code = self.stack.pracks.acknowledge(&invite.id().to_string(), &tx.original);
                answer(&mut tx, code, vec![]).await;
            }
            Method::Bye
            | Method::Options
            | Method::Info
            | Method::Update
            | Method::Invite
            | Method::Refer
            | Method::Ack => {
                if let Err(error) = dialog.handle(&mut tx).await {
                    tracing::debug!(%error, "a request in a dialog could not be handled");
                }
            }
            _ => answer(&mut tx, StatusCode::MethodNotAllowed, vec![headers::allow()]).await,
        }
    }

    /// The agent leg is known by its full id only once it is answered, so what comes before finds nothing.
    async fn no_dialog(&self, mut tx: Transaction) {
        let call_id = tx.original.call_id_header().map(|id| id.to_string()).unwrap_or_default();
        let is_early = tx.original.method == Method::Update
            && self
                .stack
                .dialogs
                .get_client_dialog_by_call_id(&call_id)
                .iter()
                .any(|d| d.state().can_cancel());
        if is_early {
            come_back(&mut tx).await;
        } else {
            answer(&mut tx, StatusCode::CallTransactionDoesNotExist, vec![]).await;
        }
    }
}

/// RFC 3311 section 5.2 and RFC 3261 section 14.2: later.
async fn come_back(tx: &mut Transaction) {
    answer(tx, StatusCode::ServerInternalError, vec![Header::RetryAfter(RETRY_SOON_S.into())]).await;
}

/// Answers; the transaction then repeats the answer by itself. Failing to send one is nobody's loss.
pub(super) async fn answer(tx: &mut Transaction, code: StatusCode, headers: Vec<Header>) {
    if let Err(error) = tx.reply_with(code, headers, None).await {
        tracing::debug!(%error, "an answer could not be sent");
    }
}
