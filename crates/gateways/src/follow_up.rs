//! What follows an answer, and undoing what has none.

use std::collections::BTreeMap;

use http::Method;
use hushpad_domain::attempt::{Attempt, NotSent, Unknown};
use hushpad_domain::ids::GatewayName;
use tokio::time::{Instant, sleep_until};

use crate::connector::{ParsedFollowUp, ParsedReversal, STEPS_MAX, Step};
use crate::executor::Exchange;
use crate::gateways::{FIRST_PAUSE, Gateways, NotKnown, PAUSE_MAX, Route, jitter};
use crate::order::FollowUp;
use crate::wire::Reply;

/// What became of a follow-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowUpSubmission {
    /// It is done.
    Done {
        /// The gateway's own reference of it.
        reference: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// The gateway has taken it, and says by notification if it fails.
    Accepted {
        /// The gateway's own reference of it.
        reference: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// The gateway will not do it: nothing has changed.
    Refused {
        /// Its own word for why.
        reason: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// Surely nothing was done.
    NotSent(NotSent),
    /// It may have been done. Ask; send it again only where [`crate::Caps::replay`] is safe.
    Unknown(Unknown),
}

impl FollowUpSubmission {
    fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// What a gateway knows of a follow-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedFollowUp {
    /// It is done.
    Done {
        /// The gateway's own reference of it.
        reference: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// The gateway has taken it, and is not through with it.
    Accepted {
        /// The gateway's own reference of it.
        reference: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// It was refused, or has failed: nothing has changed.
    Refused {
        /// Its own word for why.
        reason: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// It knows no such follow-up. Final only after [`crate::Caps::settle_time`].
    NotFound,
    /// It is still not known: ask again.
    NotKnown(NotKnown),
}

/// What became of undoing an attempt whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reversal {
    /// All that the attempt held or took is given back.
    Reversed,
    /// The gateway has taken it, and says by notification how it ended. Until then the attempt stays unknown.
    Accepted,
    /// The gateway has nothing of this reference. Final only after [`crate::Caps::settle_time`].
    NothingThere,
    /// It is still not known: [`NotKnown::NoQuery`] where the gateway cannot do this at all.
    NotKnown(NotKnown),
}

impl Gateways {
    /// Sends a follow-up whose intent is committed. It is tried again only while surely nothing that could act
    /// was written.
    ///
    /// The same follow-up, by its id, may be given again later only where [`crate::Caps::replay`] is safe for
    /// its age: then the gateway does it once, and tells.
    pub async fn follow_up(&self, name: &GatewayName, follow_up: &FollowUp<'_>) -> FollowUpSubmission {
        let Some(route) = self.route(name) else {
            return FollowUpSubmission::NotSent(NotSent::Unsupported);
        };
        if route.breaker.is_open(Instant::now()) {
            return FollowUpSubmission::NotSent(NotSent::BreakerOpen);
        }
        let submission = self.follow_up_on(route, follow_up).await;
        match &submission {
            FollowUpSubmission::NotSent(NotSent::Unreachable) => route.breaker.failed(Instant::now()),
            FollowUpSubmission::NotSent(NotSent::Unsupported | NotSent::BreakerOpen) => {}
            _ => route.breaker.reached(),
        }
        let kind = follow_up.kind;
        tracing::info!(operation.id = %follow_up.id, gateway = %name, ?kind, outcome = submission.word(), "follow-up");
        submission
    }

    /// Asks the gateway what became of a follow-up, by its id. One try: the caller asks again.
    pub async fn ask_follow_up(&self, name: &GatewayName, follow_up: &FollowUp<'_>) -> AskedFollowUp {
        let Some(route) = self.route(name) else { return AskedFollowUp::NotKnown(NotKnown::NoGateway) };
        let until = Instant::now() + route.patience.whole;
        let mut step = Step::default();
        for _ in 0..STEPS_MAX {
            let request = route.connector.query_follow_up(&step, follow_up, self.now());
            let reply = match self.ask_once(route, request, until).await {
                Ok(reply) => reply,
                Err(not_known) => return AskedFollowUp::NotKnown(not_known),
            };
            match route.connector.parse_query_follow_up(&step, follow_up, &reply) {
                ParsedFollowUp::Next(next) => step = next,
                ParsedFollowUp::Done { reference, result } => {
                    return AskedFollowUp::Done { reference, result };
                }
                ParsedFollowUp::Accepted { reference, result } => {
                    return AskedFollowUp::Accepted { reference, result };
                }
                ParsedFollowUp::Refused { reason, result } => {
                    return AskedFollowUp::Refused { reason, result };
                }
                ParsedFollowUp::NotProcessed => return AskedFollowUp::NotFound,
                ParsedFollowUp::Indeterminate(reason) => {
                    return AskedFollowUp::NotKnown(NotKnown::NoAnswer(reason));
                }
            }
        }
        AskedFollowUp::NotKnown(NotKnown::NoAnswer(Unknown::Unreadable))
    }

    /// Undoes an attempt by our reference, where the gateway can; whether it was charged does not matter then.
    /// One try: it may be repeated.
    pub async fn reverse_unknown(&self, name: &GatewayName, attempt: &Attempt) -> Reversal {
        let Some(route) = self.route(name) else { return Reversal::NotKnown(NotKnown::NoGateway) };
        let until = Instant::now() + route.patience.whole;
        let mut step = Step::default();
        for _ in 0..STEPS_MAX {
            let request = route.connector.reverse_unknown(&step, attempt, self.now());
            let reply = match self.ask_once(route, request, until).await {
                Ok(reply) => reply,
                Err(not_known) => return Reversal::NotKnown(not_known),
            };
            match route.connector.parse_reverse_unknown(&step, attempt, &reply) {
                ParsedReversal::Next(next) => step = next,
                ParsedReversal::Reversed => return Reversal::Reversed,
                ParsedReversal::Accepted => return Reversal::Accepted,
                ParsedReversal::NothingThere => return Reversal::NothingThere,
                ParsedReversal::Indeterminate(reason) => {
                    return Reversal::NotKnown(NotKnown::NoAnswer(reason));
                }
            }
        }
        Reversal::NotKnown(NotKnown::NoAnswer(Unknown::Unreadable))
    }

    async fn follow_up_on(&self, route: &Route, follow_up: &FollowUp<'_>) -> FollowUpSubmission {
        let until = Instant::now() + route.patience.whole;
        let mut step = Step::default();
        let mut exposure = Exposure::None;
        for _ in 0..STEPS_MAX {
            let before = exposure;
            let reply = match self.run_follow_up_step(route, &step, follow_up, until, &mut exposure).await {
                Ok(reply) => reply,
                Err(ended) => return ended,
            };
            match (route.connector.parse_follow_up(&step, follow_up, &reply), before) {
                (ParsedFollowUp::Next(next), _) => step = next,
                (ParsedFollowUp::Done { reference, result }, _) => {
                    return FollowUpSubmission::Done { reference, result };
                }
                (ParsedFollowUp::Accepted { reference, result }, _) => {
                    return FollowUpSubmission::Accepted { reference, result };
                }
                (ParsedFollowUp::Refused { reason, result }, _) => {
                    return FollowUpSubmission::Refused { reason, result };
                }
                (ParsedFollowUp::NotProcessed, Exposure::None) => {
                    return FollowUpSubmission::NotSent(NotSent::Refused);
                }
                (ParsedFollowUp::NotProcessed, Exposure::MayHaveActed) => {
                    return FollowUpSubmission::Unknown(Unknown::GatewayError);
                }
                (ParsedFollowUp::Indeterminate(reason), _) => return exposure.failed(reason),
            }
        }
        exposure.failed(Unknown::Unreadable)
    }

    /// Sends one step, again and again while that can do no harm, and gives its reply or how it all ended.
    async fn run_follow_up_step(
        &self,
        route: &Route,
        step: &Step,
        follow_up: &FollowUp<'_>,
        until: Instant,
        exposure: &mut Exposure,
    ) -> Result<Reply, FollowUpSubmission> {
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(request) = route.connector.follow_up(step, follow_up, self.now()) else {
                return Err(match exposure {
                    Exposure::None => FollowUpSubmission::NotSent(NotSent::Unsupported),
                    Exposure::MayHaveActed => FollowUpSubmission::Unknown(Unknown::Unreadable),
                });
            };
            let acts = request.method != Method::GET;
            let lost = match self.exchange(route, request, until).await {
                Exchange::Reply(reply) => {
                    if acts {
                        *exposure = Exposure::MayHaveActed;
                    }
                    return Ok(reply);
                }
                Exchange::Lost(reason) if acts => return Err(FollowUpSubmission::Unknown(reason)),
                Exchange::Lost(reason) => reason,
                Exchange::NotWritten => Unknown::ConnectionLost,
            };
            let again = Instant::now() + pause + jitter(follow_up.id.0, pause);
            if again >= until {
                return Err(exposure.failed(lost));
            }
            sleep_until(again).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Whether a request that can act was written.
#[derive(Clone, Copy)]
enum Exposure {
    None,
    MayHaveActed,
}

impl Exposure {
    fn failed(self, reason: Unknown) -> FollowUpSubmission {
        match self {
            Self::None => FollowUpSubmission::NotSent(NotSent::Unreachable),
            Self::MayHaveActed => FollowUpSubmission::Unknown(reason),
        }
    }
}
