//! One dialog of a call, and what is going on in it.

use std::sync::Arc;

use hushpad_telephony::call::{Leg, TimerFields};
use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::invitation::InviteAsyncResult;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::StatusCode;
use rsipstack::transaction::key::TransactionRole;
use tokio::task::JoinHandle;

use super::{LegEvent, Stack, headers};

/// A dialog and the news from it.
pub(super) struct Line {
    pub(super) dialog: InviteDialog,
    pub(super) events: DialogStateReceiver,
    /// The CSeq of the last ACK told of; the stack reports the state, not the ACK.
    pub(super) last_ack: Option<u32>,
    /// Our BYE is under way; the dialog is forgotten when it is answered, so that one of theirs that
    /// crosses it still finds it.
    pub(super) hanging_up: bool,
    /// What is being told of a transfer.
    pub(super) news: Option<JoinHandle<()>>,
}

/// One end of a call, from its INVITE on.
pub(super) struct CallLine {
    pub(super) line: Line,
    /// The peer at the far end; nothing if its address is a name, which is not looked up.
    pub(super) peer: Option<String>,
    /// Our INVITE under way; gone once it ended.
    pub(super) invite: Option<JoinHandle<InviteAsyncResult>>,
    pub(super) answered: bool,
}

/// What happened on a line.
pub(super) enum LineStep {
    State(Option<DialogState>),
    Invite(Result<InviteAsyncResult, tokio::task::JoinError>),
}

/// One step of [`CallLegs::next`].
pub(super) enum Step {
    Leg(Leg, LineStep),
    Next(LineStep),
    Answer(Option<LegEvent>),
}

impl CallLine {
    /// They called us.
    pub(super) fn incoming(line: Line, peer: String) -> Self {
        Self { line, peer: Some(peer), invite: None, answered: true }
    }

    /// We call them.
    pub(super) fn outgoing(line: Line, peer: Option<String>, invite: JoinHandle<InviteAsyncResult>) -> Self {
        Self { line, peer, invite: Some(invite), answered: false }
    }

    pub(super) fn is_incoming(&self) -> bool {
        self.line.dialog.role() == TransactionRole::Server
    }
}

impl Line {
    pub(super) fn new(dialog: InviteDialog, events: DialogStateReceiver) -> Self {
        Self { dialog, events, last_ack: None, hanging_up: false, news: None }
    }
}

/// Lets a dialog that we opened go; if its INVITE is still open, the stack cancels it when its task ends.
pub(super) fn drop_line(stack: &Arc<Stack>, line: Option<CallLine>) {
    let Some(CallLine { line, invite, .. }) = line else { return };
    let (stack, dialog, hanging_up) = (Arc::clone(stack), line.dialog, line.hanging_up);
    if let Some(invite) = &invite {
        invite.abort();
    }
    tokio::spawn(async move {
        if let Some(invite) = invite {
            drop(invite.await);
        }
        // It may have been answered just now, too late for CANCEL, or before we could not use its answer.
        if !hanging_up && dialog.state().is_confirmed() {
            drop(dialog.bye().await);
        }
        stack.forget(&dialog.id());
    });
}

/// Waits for what happens on a line; for ever where there is none.
pub(super) async fn line_step(line: Option<&mut CallLine>) -> LineStep {
    let Some(CallLine { line, invite, .. }) = line else { return std::future::pending().await };
    let Some(task) = invite else { return LineStep::State(line.events.recv().await) };
    let ended = tokio::select! {
        biased;
        state = line.events.recv() => return LineStep::State(state),
        ended = task => ended,
    };
    *invite = None;
    LineStep::Invite(ended)
}

/// An INVITE that succeeded was told of by its dialog.
pub(super) fn invite_failed(ended: Result<InviteAsyncResult, tokio::task::JoinError>) -> Option<LegEvent> {
    match ended {
        Ok(Ok((_, Some(answer)))) if answer.status_code == StatusCode::OK => None,
        Ok(Ok((_, Some(answer)))) => {
            let timer = headers::timer_fields(&answer);
            Some(LegEvent::Refused(u16::from(answer.status_code), timer))
        }
        Ok(Ok((_, None)) | Err(_)) | Err(_) => Some(LegEvent::Refused(408, TimerFields::default())),
    }
}
