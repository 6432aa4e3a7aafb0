//! One dialog of a call, and what is going on in it.

use std::sync::Arc;

use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::invitation::InviteAsyncResult;
use rsipstack::dialog::invite_dialog::InviteDialog;
use tokio::task::JoinHandle;

use super::{LegEvent, Stack};

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

/// The agent's, from its INVITE on.
pub(super) struct AgentLine {
    pub(super) line: Line,
    /// The INVITE under way; gone once it ended.
    pub(super) invite: Option<JoinHandle<InviteAsyncResult>>,
    pub(super) answered: bool,
}

/// One step of [`CallLegs::next`].
pub(super) enum Step {
    Customer(Option<DialogState>),
    Agent(Option<DialogState>),
    Invite(Result<InviteAsyncResult, tokio::task::JoinError>),
    Next(Box<Step>),
    Answer(Option<LegEvent>),
}

impl Line {
    pub(super) fn new(dialog: InviteDialog, events: DialogStateReceiver) -> Self {
        Self { dialog, events, last_ack: None, hanging_up: false, news: None }
    }
}

/// Lets an agent's dialog go; if its INVITE is still open, the stack cancels it when its task ends.
pub(super) fn drop_line(stack: &Arc<Stack>, agent: Option<AgentLine>) {
    let Some(agent) = agent else { return };
    let (stack, dialog) = (Arc::clone(stack), agent.line.dialog);
    let invite = agent.invite;
    if let Some(invite) = &invite {
        invite.abort();
    }
    tokio::spawn(async move {
        if let Some(invite) = invite {
            drop(invite.await);
        }
        // It may have been answered just now, too late for CANCEL, or before we could not use its answer.
        if !agent.line.hanging_up && dialog.state().is_confirmed() {
            drop(dialog.bye().await);
        }
        stack.forget(&dialog.id());
    });
}

pub(super) async fn agent_step(agent: &mut Option<AgentLine>) -> Step {
    let Some(AgentLine { line, invite, .. }) = agent else { return std::future::pending().await };
    let Some(task) = invite else { return Step::Agent(line.events.recv().await) };
    let ended = tokio::select! {
        biased;
        state = line.events.recv() => return Step::Agent(state),
        ended = task => ended,
    };
    *invite = None;
    Step::Invite(ended)
}
