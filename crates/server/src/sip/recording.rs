//! Our dialog with a recorder (RFC 7866): we are the session recording client.

use std::sync::Arc;
use std::time::Duration;

use hushpad_telephony::siprec::CONTENT_TYPE;
use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::invitation::InviteOption;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::{Auth, HasHeaders, Header, Request, Response, Scheme, StatusCode, StatusCodeKind, Uri};
use tokio::task::JoinError;

use super::lines::{CallLine, Line, drop_line};
use super::{Credential, Stack, headers};

/// How long a recorder may take to answer; later than that it has missed what it was told.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// The option that a recorder must know (RFC 7866 section 11.1).
const OPTION: &str = "siprec";
/// The feature tag in our Contact: a source of recordings (RFC 7866 section 6.1.1).
const SOURCE: &str = "+sip.src";
/// The user part that we call a recorder from.
const USER: &str = "hushpad";

/// The recorder has not done what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// It refused, with this status code.
    Refused(u16),
    /// It did not answer in time, or cannot be reached.
    Unanswered,
}

/// A dialog with a recorder that took our INVITE. Dropping it forgets the dialog without a word.
pub struct RecordingLine {
    stack: Arc<Stack>,
    dialog: InviteDialog,
    events: DialogStateReceiver,
}

/// An INVITE under way; given up when it is dropped.
struct Inviting {
    stack: Arc<Stack>,
    line: Option<CallLine>,
}

impl Drop for Inviting {
    fn drop(&mut self) {
        drop_line(&self.stack, self.line.take());
    }
}

impl Stack {
    /// Asks the recorder at this SIP address to record, with the credential for one that asks who we are; gives its
    /// description too.
    ///
    /// # Errors
    /// It does not.
    pub async fn record(
        self: &Arc<Self>,
        uri: &str,
        credential: Option<Credential>,
        body: Vec<u8>,
    ) -> Result<(RecordingLine, Vec<u8>), NotRecorded> {
        let contact = self.contact(None);
        let caller = Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user: USER.to_owned(), password: None }),
            host_with_port: contact.host_with_port.clone(),
            ..Uri::default()
        };
        let call_id = uuid::Uuid::new_v4().to_string();
        let option = InviteOption {
            caller,
            callee: Uri::try_from(uri).map_err(|_| NotRecorded::Unanswered)?,
            content_type: Some(CONTENT_TYPE.to_owned()),
            offer: Some(body),
            contact,
            headers: Some(vec![headers::allow(), Header::Require(OPTION.into())]),
            call_id: Some(call_id.clone()),
            // As on the legs: what the stack makes of it is replaced on the way out.
            credential: credential.as_ref().map(|_| Default::default()),
            ..InviteOption::default()
        };
        let (sender, events) = self.dialogs.new_dialog_state_channel();
        if let Some(credential) = credential {
            self.identity.begin(&call_id, credential);
        }
        let begun = self.dialogs.do_invite_async(option, sender);
        let begun = begun.inspect_err(|_| self.identity.end(&call_id));
        let (dialog, invite) = begun.map_err(|_| NotRecorded::Unanswered)?;
        let line = CallLine::outgoing(Line::new(dialog, events), None, invite);
        Inviting { stack: Arc::clone(self), line: Some(line) }.answered().await
    }
}

impl Inviting {
    async fn answered(mut self) -> Result<(RecordingLine, Vec<u8>), NotRecorded> {
        let invite = self.line.as_mut().and_then(|line| line.invite.as_mut());
        let Some(invite) = invite else { return Err(NotRecorded::Unanswered) };
        let ended: Result<_, JoinError> =
            tokio::time::timeout(ANSWER_WAIT, invite).await.map_err(|_| NotRecorded::Unanswered)?;
        if let Some(line) = &mut self.line {
            line.invite = None;
        }
        let (_, answer) = ended.map_err(|_| NotRecorded::Unanswered)?.map_err(|_| NotRecorded::Unanswered)?;
        let sdp = described(answer.as_ref())?;
        let Some(CallLine { line, .. }) = self.line.take() else { return Err(NotRecorded::Unanswered) };
        let line = RecordingLine { stack: Arc::clone(&self.stack), dialog: line.dialog, events: line.events };
        Ok((line, sdp))
    }
}

impl RecordingLine {
    /// Tells the recorder how it is from now on; gives its description.
    ///
    /// # Errors
    /// It refuses, or does not answer: for it, all is as before.
    pub async fn change(&self, body: Vec<u8>) -> Result<Vec<u8>, NotRecorded> {
        let fields =
            vec![headers::allow(), Header::Require(OPTION.into()), Header::ContentType(CONTENT_TYPE.into())];
        let asked = self.dialog.reinvite(Some(fields), Some(body));
        let answer = tokio::time::timeout(ANSWER_WAIT, asked).await.map_err(|_| NotRecorded::Unanswered)?;
        described(answer.map_err(|_| NotRecorded::Unanswered)?.as_ref())
    }

    /// Answers what the recorder asks until it hangs up.
    pub async fn ended(&mut self) {
        while let Some(state) = self.events.recv().await {
            let (handle, code) = match state {
                DialogState::Terminated(..) => return,
                // An UPDATE without an offer only asks whether we are there. What is recorded, and when, is not
                // the recorder's to say.
                DialogState::Updated(_, request, handle)
                    if request.body.is_empty() && is_update(&request) =>
                {
                    (handle, StatusCode::OK)
                }
                DialogState::Updated(_, _, handle) => (handle, StatusCode::NotAcceptableHere),
                DialogState::Options(_, _, handle) => (handle, StatusCode::OK),
                DialogState::Info(_, _, handle)
                | DialogState::Refer(_, _, handle)
                | DialogState::Notify(_, _, handle)
                | DialogState::Message(_, _, handle)
                | DialogState::Publish(_, _, handle) => (handle, StatusCode::MethodNotAllowed),
                DialogState::Calling(_)
                | DialogState::Trying(_)
                | DialogState::Early(..)
                | DialogState::WaitAck(..)
                | DialogState::Confirmed(..) => continue,
            };
            drop(handle.respond(code, Some(vec![headers::allow()]), None).await);
        }
    }

    /// Ends the recording.
    pub async fn bye(self) {
        if let Err(error) = self.dialog.bye().await {
            tracing::debug!(%error, "a BYE to a recorder failed");
        }
    }
}

impl Drop for RecordingLine {
    fn drop(&mut self) {
        self.stack.forget(&self.dialog.id());
    }
}

/// Names what we are in the Contact of what we send to a recorder; the stack has no words for it.
pub(super) fn name_source(request: &mut Request) {
    if !headers::requires(request, OPTION) {
        return;
    }
    for header in request.headers_mut().iter_mut() {
        if let Header::Contact(contact) = header
            && !contact.value().contains(SOURCE)
        {
            let named = format!("{};{SOURCE}", contact.value());
            *header = Header::Contact(named.into());
        }
    }
}

fn is_update(request: &Request) -> bool {
    request.method == rsipstack::sip::Method::Update
}

/// The description in a 2xx.
fn described(answer: Option<&Response>) -> Result<Vec<u8>, NotRecorded> {
    let answer = answer.ok_or(NotRecorded::Unanswered)?;
    if answer.status_code.kind() != StatusCodeKind::Successful {
        return Err(NotRecorded::Refused(u16::from(answer.status_code.clone())));
    }
    // Without one there is nothing to send copies by: it counts as one that takes none.
    Ok(headers::sdp_of(answer, &answer.body).unwrap_or_default())
}
