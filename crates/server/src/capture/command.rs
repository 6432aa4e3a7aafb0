//! What others ask of a session's task.

use std::time::Duration;

use hushpad_card::Card;
use hushpad_domain::challenge::Browser;
use hushpad_domain::link::LinkNo;
use hushpad_domain::page::AgentAction;
use hushpad_domain::ports::ActError;
use hushpad_payer::{PayRefused, Typing};
use tokio::sync::{mpsc, oneshot};

/// How long the page of an ended session can still be looked at.
const AFTER_THE_END: Duration = Duration::from_secs(120);

/// What is asked of a session.
pub(super) enum Command {
    /// The agent's page was opened.
    PageOpened,
    /// The agent does something.
    Act(AgentAction, oneshot::Sender<Result<(), ActError>>),
    /// The payer has opened this link.
    Looked(LinkNo, oneshot::Sender<()>),
    /// The payer types.
    Typed(LinkNo, Typing),
    /// The payer is back from the bank, with what the browser brought.
    Back(Vec<u8>, oneshot::Sender<()>),
    /// The payer pays. Boxed: an inbox has room for 32 of the largest command, and most sessions never see this one.
    Pay(Box<Payment>, oneshot::Sender<Result<(), PayRefused>>),
    /// The time of the session's link is over.
    LinkExpired,
    /// The session's link did not go to the payer.
    LinkNotSent,
}

/// A card that was typed into the page of a link.
pub(super) struct Payment {
    pub(super) link: LinkNo,
    /// Of which form.
    pub(super) round: u32,
    pub(super) card: Card,
    /// In which browser.
    pub(super) browser: Browser,
}

/// Keeps the last page for whoever looks again.
pub(super) async fn linger(mut inbox: mpsc::Receiver<Command>) {
    let over = tokio::time::sleep(AFTER_THE_END);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return,
            command = inbox.recv() => match command {
                Some(Command::Act(_, done)) => {
                    let _ = done.send(Err(ActError::Gone));
                }
                Some(Command::Pay(payment, done)) => {
                    drop(payment);
                    let _ = done.send(Err(PayRefused::NotNow));
                }
                Some(
                    Command::PageOpened
                    | Command::Looked(..)
                    | Command::Typed(..)
                    | Command::Back(..)
                    | Command::LinkExpired
                    | Command::LinkNotSent,
                ) => {}
                None => return,
            },
        }
    }
}
