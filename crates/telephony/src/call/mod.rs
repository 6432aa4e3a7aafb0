//! One call of two legs as a back-to-back user agent (RFC 3261 section 6, RFC 7092).
//!
//! [`Call`] is pure: it takes an [`Input`] (what a dialog reported, or that time passed) and the time, and
//! gives [`Output`]s (what to say on a dialog, what the media plane must know, what happened). The SIP
//! transactions themselves (retransmission, matching, ACK) are the stack's business; a type of the stack
//! never comes in here.
//!
//! The caller leg is the dialog somebody opened with us, the callee leg is the one we open. Media is
//! anchored in the relay, so each leg negotiates for itself; a re-INVITE crosses over only when it changes
//! who may speak (hold).
//!
//! Usually the customer is the caller and an agent the callee; on a call that goes out it is the other way
//! round. [`Call`] is told, since only the customer's keys count in secure mode.
//!
//! Either phone may have its leg transferred by REFER, and somebody may take over a leg by an INVITE with
//! `Replaces`; in secure mode neither is done.
//!
//! In secure mode an INFO with a key becomes [`CallEvent::Key`] and goes nowhere else.

mod core;
mod dtmf;
mod media;
mod modify;
mod timer;
mod transfer;

use std::net::SocketAddr;

use crate::key::Key;
use crate::sdp::{Negotiated, Srtp};
use crate::srtp::KeySource;

pub use self::core::Call;
pub use dtmf::{Dtmf, MalformedDtmf};
pub use timer::{IntervalTooSmall, MIN_SE_S, Refresher, SessionTimer, TimerFields, agree_as_server};

/// One of the two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// Toward the caller: somebody opened this dialog with us.
    Caller,
    /// Toward the callee: we opened this dialog.
    Callee,
}

impl Leg {
    /// The leg across.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }

    /// The name for logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }
}

/// Bounds of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the callee is rung before the caller hears 480, in milliseconds.
    pub ring_time_out_ms: u64,
    /// How long an answered call may last, in milliseconds.
    pub max_duration_ms: u64,
    /// Session interval we ask for and allow at most (RFC 4028), in seconds; at least [`MIN_SE_S`].
    pub session_expires_s: u32,
}

/// What the media plane gave us for a call: where each side must send its audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// As the caller side sees us.
    pub caller: SocketAddr,
    /// As the callee side sees us.
    pub callee: SocketAddr,
}

/// What is wanted of SRTP on a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Plain RTP only.
    #[default]
    Off,
    /// SRTP when the far end has it.
    Optional,
    /// SRTP, or no call.
    Required,
}

impl Wish {
    /// With a key for the case.
    fn with(self, source: &mut KeySource) -> Srtp {
        match self {
            Self::Off => Srtp::Off,
            Self::Optional => Srtp::Optional(source.next_key()),
            Self::Required => Srtp::Required(source.next_key()),
        }
    }
}

/// What a call begins with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its bounds.
    pub limits: Limits,
    /// The leg whose keys count in secure mode.
    pub customer: Leg,
    /// Where we receive audio.
    pub addresses: Addresses,
    /// Ids for our `o=` lines, caller leg first (RFC 8866 section 5.2 wants them unique: random).
    pub session_ids: [u64; 2],
    /// What is wanted of SRTP, caller leg first.
    pub srtp: [Wish; 2],
    /// Where SRTP keys come from.
    pub keys: KeySource,
    /// What was agreed with [`agree_as_server`].
    pub timer: Option<SessionTimer>,
}

/// Names an in-dialog request that waits for our answer. Given by the adapter, unique within the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What happened on a dialog, or that time passed.
///
/// No `Debug`: the body of an INFO may be a card digit.
#[derive(Clone)]
pub enum Input<'a> {
    /// The callee leg rings: a provisional answer over 100, with early media where `sdp` is there.
    Progress {
        /// Its description.
        sdp: Option<&'a [u8]>,
    },
    /// The callee answered with 2xx.
    Answered {
        /// Its description.
        sdp: Option<&'a [u8]>,
        /// Its session timer.
        timer: TimerFields,
    },
    /// The callee leg's INVITE failed for good; 408 stands for no answer at all.
    Refused {
        /// The status code, 300 to 699.
        code: u16,
        /// `Min-SE` of a 422.
        timer: TimerFields,
    },
    /// The caller gave up before the answer (the stack has answered both CANCEL and INVITE).
    Cancelled,
    /// An ACK came for an answer of ours, with a description when we had made the offer.
    Acked {
        /// On which leg.
        leg: Leg,
        /// The answer to our offer.
        sdp: Option<&'a [u8]>,
    },
    /// The far end hung up (the stack has answered its BYE).
    Bye {
        /// On which leg.
        leg: Leg,
    },
    /// The dialog is gone without a BYE of theirs: no ACK, or no answer at all.
    Lost {
        /// Which leg.
        leg: Leg,
    },
    /// A re-INVITE or an UPDATE waits for our answer.
    Modify {
        /// On which leg.
        leg: Leg,
        /// Which request.
        request: RequestId,
        /// The offer in it.
        sdp: Option<&'a [u8]>,
        /// Whether it is an UPDATE (no ACK; without an offer it is only a refresh).
        update: bool,
        /// Its session timer.
        timer: TimerFields,
    },
    /// Our own re-INVITE was answered; 408 stands for no answer at all.
    ModifyAnswered {
        /// On which leg.
        leg: Leg,
        /// The status code, 200 to 699.
        code: u16,
        /// The answer to our offer.
        sdp: Option<&'a [u8]>,
        /// Its session timer.
        timer: TimerFields,
    },
    /// An INFO waits for our answer.
    Info {
        /// On which leg.
        leg: Leg,
        /// Which request.
        request: RequestId,
        /// Its Content-Type.
        content_type: &'a str,
        /// Its body: may be a card digit, never to be logged.
        body: &'a [u8],
    },
    /// An INFO that we passed on was answered across; 408 stands for no answer at all.
    InfoAnswered {
        /// The leg that sent the INFO first.
        leg: Leg,
        /// The request that waits for this answer.
        request: RequestId,
        /// The status code, 200 to 699.
        code: u16,
    },
    /// A REFER waits for our answer.
    Refer {
        /// On which leg.
        leg: Leg,
        /// Which request.
        request: RequestId,
        /// What the target's side wants of SRTP; nothing when it is nobody that we may call.
        allowed: Option<Wish>,
    },
    /// The next one answered with 2xx. One that comes too late is hung up by the adapter.
    TransferAnswered {
        /// Its description.
        sdp: Option<&'a [u8]>,
        /// Its session timer.
        timer: TimerFields,
    },
    /// The next one cannot be had; 408 stands for no answer at all.
    TransferRefused {
        /// The status code, 300 to 699.
        code: u16,
    },
    /// Somebody calls to take the place of whoever is on a leg, and may (RFC 3891).
    Replace {
        /// Whose place.
        leg: Leg,
        /// The offer.
        sdp: Option<&'a [u8]>,
        /// What was agreed with [`agree_as_server`].
        timer: Option<SessionTimer>,
        /// What is wanted of SRTP with the one who calls.
        srtp: Wish,
    },
    /// Secure mode begins or ends.
    Secure(bool),
    /// We end the call: the operator, or the program going down.
    HangUp,
    /// Time passed: [`Call::deadline_ms`] was reached.
    Time,
}

/// What to do now, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell the caller that it rings: 183 with `sdp`, else 180.
    Ring {
        /// Early media.
        sdp: Option<Vec<u8>>,
    },
    /// Answer the caller's INVITE with 200.
    Answer {
        /// Our answer, or our offer when the INVITE held none.
        sdp: Vec<u8>,
        /// `Session-Expires` to write.
        timer: Option<SessionTimer>,
    },
    /// Refuse the caller's INVITE.
    Reject {
        /// With which status code.
        code: u16,
    },
    /// Call the callee.
    Invite {
        /// Our offer.
        sdp: Vec<u8>,
        /// `Session-Expires` to write.
        timer: SessionTimer,
    },
    /// Give up calling the callee. A 200 that crosses is to be ended with BYE by the stack or by us.
    Cancel,
    /// Hang up one leg.
    Bye {
        /// Which leg.
        leg: Leg,
    },
    /// Send a re-INVITE and report [`Input::ModifyAnswered`].
    Modify {
        /// On which leg.
        leg: Leg,
        /// Our offer.
        sdp: Vec<u8>,
        /// `Session-Expires` to write.
        timer: Option<SessionTimer>,
    },
    /// Answer an in-dialog request.
    Respond {
        /// On which leg it came.
        leg: Leg,
        /// Which request.
        request: RequestId,
        /// The status code.
        code: u16,
        /// Our answer, or our offer when the request held none.
        sdp: Option<Vec<u8>>,
        /// `Session-Expires` to write, or `Min-SE` when `code` is 422.
        timer: Option<SessionTimer>,
    },
    /// Pass an INFO with a key on and report [`Input::InfoAnswered`]. Never given in secure mode.
    Info {
        /// The leg it came on; it goes to the other.
        from: Leg,
        /// The request that waits for the answer.
        request: RequestId,
        /// The key: written anew, not copied.
        dtmf: Dtmf,
    },
    /// Tell a phone how its REFER goes (RFC 3515 section 2.4.4).
    Notify {
        /// On which leg it is.
        leg: Leg,
        /// The status code of the call to the next one.
        code: u16,
        /// Whether nothing more is to be told.
        last: bool,
    },
    /// Call the next one, beside the leg that is transferred.
    InviteNext {
        /// Our offer.
        sdp: Vec<u8>,
        /// `Session-Expires` to write.
        timer: SessionTimer,
    },
    /// Give up calling the next one; a 200 that crosses is ended with BYE.
    CancelNext,
    /// Answer the next one's INVITE with 200.
    AnswerNext {
        /// Our answer, or our offer when the INVITE held none.
        sdp: Vec<u8>,
        /// `Session-Expires` to write.
        timer: Option<SessionTimer>,
    },
    /// Refuse the next one's INVITE.
    RejectNext {
        /// With which status code.
        code: u16,
    },
    /// The next one's dialog is this leg from now on.
    Adopt {
        /// Which leg.
        leg: Leg,
    },
    /// Tell the media plane what a leg agreed.
    SetLeg {
        /// Which leg.
        leg: Leg,
        /// What was agreed.
        agreed: Negotiated,
    },
    /// Something the rest of the program may want to know.
    Event(CallEvent),
}

/// What happened to the call as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// The callee's phone rings.
    Ringing,
    /// Both can speak.
    Answered,
    /// One side holds the other.
    Held {
        /// Who holds.
        by: Leg,
    },
    /// One side lets the other speak again.
    Resumed {
        /// Who held.
        by: Leg,
    },
    /// A leg leads to somebody else now.
    Transferred {
        /// Which leg.
        leg: Leg,
    },
    /// A key pressed by the customer, signalled by INFO in secure mode.
    Key(Key),
    /// The call is over: no output follows but the last words on the legs, given before this.
    Ended(EndReason),
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// One side hung up.
    HungUpBy(Leg),
    /// The caller gave up while it rang.
    Cancelled,
    /// Nobody answered within the ring time.
    NoAnswer,
    /// The callee's side refused with this status code.
    Refused(u16),
    /// The media could not be agreed.
    Media,
    /// A dialog was lost: no ACK, no answer, or unknown to the far end.
    Lost(Leg),
    /// The session timer of a leg ran out (RFC 4028 section 10).
    Expired(Leg),
    /// The longest time a call may last is over.
    TooLong,
    /// We ended it.
    HungUp,
}

impl EndReason {
    /// The name for logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HungUpBy(Leg::Caller) => "caller_hung_up",
            Self::HungUpBy(Leg::Callee) => "callee_hung_up",
            Self::Cancelled => "cancelled",
            Self::NoAnswer => "no_answer",
            Self::Refused(_) => "refused",
            Self::Media => "media",
            Self::Lost(Leg::Caller) => "caller_lost",
            Self::Lost(Leg::Callee) => "callee_lost",
            Self::Expired(_) => "session_expired",
            Self::TooLong => "too_long",
            Self::HungUp => "hung_up",
        }
    }
}

#[cfg(test)]
mod tests;
