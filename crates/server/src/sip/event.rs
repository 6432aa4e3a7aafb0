//! What happened on a leg, in the words of the call core.

use hushpad_telephony::call::{Input, Leg, RequestId, TimerFields};

/// Whom a REFER names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The user part, as in a number that is dialled.
    pub user: String,
    /// The call to take over at the target (RFC 3891), in an attended transfer.
    pub replaces: Option<String>,
}

/// What happened on a leg. The owned form of the dialog part of [`Input`].
///
/// No `Debug`: the body of an INFO may be a card digit.
pub enum LegEvent {
    /// See [`Input::Progress`].
    Progress(Option<Vec<u8>>),
    /// See [`Input::Answered`].
    Answered(Option<Vec<u8>>, TimerFields),
    /// See [`Input::Refused`].
    Refused(u16, TimerFields),
    /// See [`Input::Cancelled`].
    Cancelled,
    /// See [`Input::Acked`].
    Acked(Leg, Option<Vec<u8>>),
    /// See [`Input::Bye`].
    Bye(Leg),
    /// See [`Input::Lost`].
    Lost(Leg),
    /// See [`Input::Modify`].
    Modify {
        /// On which leg.
        leg: Leg,
        /// Which request.
        request: RequestId,
        /// The offer.
        sdp: Option<Vec<u8>>,
        /// Whether it is an UPDATE.
        update: bool,
        /// Its session timer.
        timer: TimerFields,
    },
    /// See [`Input::ModifyAnswered`].
    ModifyAnswered(Leg, u16, Option<Vec<u8>>, TimerFields),
    /// See [`Input::Info`].
    Info {
        /// On which leg.
        leg: Leg,
        /// Which request.
        request: RequestId,
        /// Its Content-Type.
        content_type: String,
        /// Its body.
        body: Vec<u8>,
    },
    /// See [`Input::InfoAnswered`].
    InfoAnswered(Leg, RequestId, u16),
    /// See [`Input::Refer`]; who decides whether the target is allowed sees it here.
    Refer {
        /// On which leg.
        leg: Leg,
        /// Which request.
        request: RequestId,
        /// Whom to call.
        target: Option<Target>,
    },
    /// See [`Input::TransferAnswered`].
    TransferAnswered(Option<Vec<u8>>, TimerFields),
    /// See [`Input::TransferRefused`].
    TransferRefused(u16),
}

impl LegEvent {
    /// As the call core takes it.
    #[must_use]
    pub fn as_input(&self) -> Input<'_> {
        match self {
            Self::Progress(sdp) => Input::Progress { sdp: sdp.as_deref() },
            Self::Answered(sdp, timer) => Input::Answered { sdp: sdp.as_deref(), timer: *timer },
            Self::Refused(code, timer) => Input::Refused { code: *code, timer: *timer },
            Self::Cancelled => Input::Cancelled,
            Self::Acked(leg, sdp) => Input::Acked { leg: *leg, sdp: sdp.as_deref() },
            Self::Bye(leg) => Input::Bye { leg: *leg },
            Self::Lost(leg) => Input::Lost { leg: *leg },
            Self::Modify { leg, request, sdp, update, timer } => Input::Modify {
                leg: *leg,
                request: *request,
                sdp: sdp.as_deref(),
                update: *update,
                timer: *timer,
            },
            Self::ModifyAnswered(leg, code, sdp, timer) => {
                Input::ModifyAnswered { leg: *leg, code: *code, sdp: sdp.as_deref(), timer: *timer }
            }
            Self::Info { leg, request, content_type, body } => {
                Input::Info { leg: *leg, request: *request, content_type, body }
            }
            Self::InfoAnswered(leg, request, code) => {
                Input::InfoAnswered { leg: *leg, request: *request, code: *code }
            }
            Self::Refer { leg, request, .. } => Input::Refer { leg: *leg, request: *request, allowed: None },
            Self::TransferAnswered(sdp, timer) => {
                Input::TransferAnswered { sdp: sdp.as_deref(), timer: *timer }
            }
            Self::TransferRefused(code) => Input::TransferRefused { code: *code },
        }
    }
}
