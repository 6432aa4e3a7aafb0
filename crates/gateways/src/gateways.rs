//! Every configured gateway: submitting attempts, and asking what became of them.

use std::collections::BTreeMap;
use std::time::Duration;

use hushpad_domain::attempt::{Attempt, GatewayAnswer, NotSent, Unknown};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::notification::Notification;
use hushpad_domain::time::Timestamp;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::breaker::Breaker;
use crate::caps::Caps;
use crate::config::{GatewayConfig, GatewayConfigError, Patience};
use crate::connector::{Connector, Parsed, ParsedQuery, STEPS_MAX, Step};
use crate::executor::{Exchange, Executor};
use crate::notification::NotificationError;
use crate::order::{Channel, Order, Source};
use crate::wire::{Reply, WireRequest};

/// The pause before the second try to reach a gateway; it doubles from try to try.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Long enough to be kind to a gateway that is starting, short enough for several tries within the patience.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Every configured gateway. Shared by all calls.
pub struct Gateways {
    executor: Executor,
    routes: BTreeMap<GatewayName, Route>,
    clock: Clock,
}

/// Where the wall clock is read, for requests that are signed with a time.
pub type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

impl Gateways {
    /// The gateways of a configuration, none of which needs the wall clock.
    ///
    /// # Errors
    /// The operator's mistake, with the gateway's name; [`GatewayConfigError::NoClock`] for a kind that needs
    /// [`Self::with_clock`].
    pub fn new(configs: Vec<GatewayConfig>) -> Result<Self, GatewayConfigError> {
        if let Some(config) = configs.iter().find(|config| config.kind.needs_clock()) {
            return Err(GatewayConfigError::NoClock { gateway: config.name.clone() });
        }
        Self::with_clock(configs, Box::new(|| Timestamp::from_micros(0)))
    }

    /// The gateways of a configuration.
    ///
    /// # Errors
    /// The operator's mistake, with the gateway's name.
    pub fn with_clock(configs: Vec<GatewayConfig>, clock: Clock) -> Result<Self, GatewayConfigError> {
        let executor = Executor::new().map_err(|_| GatewayConfigError::Tls)?;
        let mut routes = BTreeMap::new();
        for config in configs {
            let (name, patience) = (config.name.clone(), config.patience);
            let route = Route { connector: config.connector()?, patience, breaker: Breaker::default() };
            if routes.insert(name.clone(), route).is_some() {
                return Err(GatewayConfigError::Twice { gateway: name });
            }
        }
        Ok(Self { executor, routes, clock })
    }

    /// Opens a connection to every gateway, so that the first payment need not wait for handshakes. It is kept for
    /// less than a minute: see [`Self::warm`].
    pub async fn warm_all(&self) {
        for name in self.routes.keys() {
            self.warm(name).await;
        }
    }

    /// Opens a connection to a gateway unless one is there: for when a payment is near.
    pub async fn warm(&self, name: &GatewayName) {
        if let Some(route) = self.routes.get(name) {
            self.executor.warm(route.connector.home(), route.patience.connect).await;
        }
    }

    /// What the gateway can do; `None` when no gateway has this name.
    #[must_use]
    pub fn caps(&self, name: &GatewayName) -> Option<&Caps> {
        self.routes.get(name).map(|route| route.connector.caps())
    }

    /// Sends an attempt whose intent is committed. It is tried again only while surely no byte of a request
    /// that can take money was written, within the gateway's patience; after that never (G1).
    ///
    /// Dropping the future leaves the attempt unknown.
    pub async fn submit(&self, name: &GatewayName, order: &Order<'_>, source: &Source<'_>) -> Submission {
        let Some(route) = self.routes.get(name) else {
            return Submission::NotSent(NotSent::Unsupported);
        };
        if route.breaker.is_open(Instant::now()) {
            return Submission::NotSent(NotSent::BreakerOpen);
        }
        let submission = self.submit_on(route, order, source).await;
        match submission {
            Submission::NotSent(NotSent::Unreachable) => route.breaker.failed(Instant::now()),
            // Nothing was tried, so nothing is known of the gateway.
            Submission::NotSent(NotSent::Unsupported | NotSent::BreakerOpen) => {}
            Submission::Answered(_)
            | Submission::Challenged(_)
            | Submission::NotSent(NotSent::Refused)
            | Submission::Unknown(_) => {
                route.breaker.reached();
            }
        }
        tracing::info!(attempt.id = %order.attempt.id, gateway = %name, outcome = submission.word(), "submitted");
        submission
    }

    /// Asks the gateway what became of an attempt, by our reference. One try: the caller asks again.
    pub async fn ask(&self, name: &GatewayName, attempt: &Attempt) -> Asked {
        let Some(route) = self.routes.get(name) else { return Asked::NotKnown(NotKnown::NoGateway) };
        let until = Instant::now() + route.patience.whole;
        let mut step = Step::default();
        for _ in 0..STEPS_MAX {
            let request = route.connector.query(&step, attempt, self.now());
            let reply = match self.ask_once(route, request, until).await {
                Ok(reply) => reply,
                Err(not_known) => return Asked::NotKnown(not_known),
            };
            match route.connector.parse_query(&step, attempt, &reply) {
                ParsedQuery::Next(next) => step = next,
                ParsedQuery::Found(answer) => return Asked::Found(answer),
                ParsedQuery::NotFound => return Asked::NotFound,
                ParsedQuery::Indeterminate(reason) => return Asked::NotKnown(NotKnown::NoAnswer(reason)),
            }
        }
        Asked::NotKnown(NotKnown::NoAnswer(Unknown::Unreadable))
    }

    pub(crate) fn route(&self, name: &GatewayName) -> Option<&Route> {
        self.routes.get(name)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) async fn exchange(&self, route: &Route, request: WireRequest, until: Instant) -> Exchange {
        self.executor.exchange(request, route.patience.connect, until).await
    }

    /// One request that does no harm when it is repeated; `None` is a gateway that has no such request.
    pub(crate) async fn ask_once(
        &self,
        route: &Route,
        request: Option<WireRequest>,
        until: Instant,
    ) -> Result<Reply, NotKnown> {
        match self.exchange(route, request.ok_or(NotKnown::NoQuery)?, until).await {
            Exchange::NotWritten => Err(NotKnown::Unreachable),
            Exchange::Lost(reason) => Err(NotKnown::NoAnswer(reason)),
            Exchange::Reply(reply) => Ok(reply),
        }
    }

    /// Reads what a gateway told us, and verifies that it did. Nothing is done about it here.
    ///
    /// # Errors
    /// [`NotificationError`]: nothing of it is to be believed.
    pub fn notification(
        &self,
        name: &GatewayName,
        body: &[u8],
    ) -> Result<Vec<Notification>, NotificationError> {
        self.routes.get(name).ok_or(NotificationError::NoGateway)?.connector.notification(body)
    }

    async fn submit_on(&self, route: &Route, order: &Order<'_>, source: &Source<'_>) -> Submission {
        let masked = match source {
            Source::Keyed(card) => Some(card.masked()),
            Source::Stored(_) => None,
        };
        let until = Instant::now() + route.patience.whole;
        let mut step = route.connector.first_step(order, source);
        let mut exposure = Exposure::None;
        for _ in 0..STEPS_MAX {
            let reply = match self.run_step(route, &step, order, source, until, exposure).await {
                Ok(reply) => reply,
                Err(ended) => return ended,
            };
            let before = exposure;
            if route.connector.may_charge(&step) {
                exposure = Exposure::MayBeCharged;
            }
            match (route.connector.parse(&step, order, masked.as_ref(), &reply), before) {
                (Parsed::Next(next), _) => step = next,
                (Parsed::Answer(answer), _) => return Submission::Answered(withhold_echoes(answer, source)),
                (Parsed::Challenge(challenge), _) => return challenged(challenge, order, source),
                // Its own step was refused, but not the ones before.
                (Parsed::Refused, Exposure::MayBeCharged) => {
                    return Submission::Unknown(Unknown::GatewayError);
                }
                (Parsed::Refused, Exposure::None) => return Submission::NotSent(NotSent::Refused),
                (Parsed::Indeterminate(reason), _) => return exposure.failed(reason),
            }
        }
        exposure.failed(Unknown::Unreadable)
    }

    /// Sends one step, again and again while that can do no harm, and gives its reply or how it all ended.
    async fn run_step(
        &self,
        route: &Route,
        step: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        until: Instant,
        before: Exposure,
    ) -> Result<Reply, Submission> {
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(request) = route.connector.build(step, order, source, self.now()) else {
                return Err(match before {
                    Exposure::None => Submission::NotSent(NotSent::Unsupported),
                    Exposure::MayBeCharged => Submission::Unknown(Unknown::Unreadable),
                });
            };
            let lost = match self.exchange(route, request, until).await {
                Exchange::Reply(reply) => return Ok(reply),
                Exchange::Lost(reason) if route.connector.may_charge(step) => {
                    return Err(Submission::Unknown(reason));
                }
                Exchange::Lost(reason) => reason,
                Exchange::NotWritten => Unknown::ConnectionLost,
            };
            let again = Instant::now() + pause + jitter(order.attempt.id.0, pause);
            if again >= until {
                return Err(before.failed(lost));
            }
            sleep_until(again).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Whether a request that can take money was written.
#[derive(Clone, Copy)]
pub(crate) enum Exposure {
    None,
    MayBeCharged,
}

impl Exposure {
    /// How a submission ends that goes no further.
    pub(crate) fn failed(self, reason: Unknown) -> Submission {
        match self {
            Self::None => Submission::NotSent(NotSent::Unreachable),
            Self::MayBeCharged => Submission::Unknown(reason),
        }
    }
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// The gateway has decided.
    Answered(GatewayAnswer),
    /// The payer must go to the bank first.
    Challenged(Challenge),
    /// Surely nothing was charged: no byte was written, or the gateway refused before processing.
    NotSent(NotSent),
    /// It may have been charged: ask, and never send again.
    Unknown(Unknown),
}

impl Submission {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Challenged(_) => "challenged",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// What a gateway knows of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It had decided this.
    Found(GatewayAnswer),
    /// It knows no such reference. Final only once the attempt is older than [`Caps::settle_time`].
    NotFound,
    /// It is still not known: ask again.
    NotKnown(NotKnown),
}

/// Why asking did not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKnown {
    /// The gateway cannot be asked: the operator must look it up.
    NoQuery,
    /// No gateway has this name any more.
    NoGateway,
    /// No connection.
    Unreachable,
    /// No answer that could be understood.
    NoAnswer(Unknown),
}

pub(crate) struct Route {
    pub(crate) connector: Box<dyn Connector>,
    pub(crate) patience: Patience,
    pub(crate) breaker: Breaker,
}

/// Up to half of `pause`, by an id, so that many calls do not knock in one moment.
pub(crate) fn jitter(id: Uuid, pause: Duration) -> Duration {
    let [.., last] = id.into_bytes();
    pause / 2 * u32::from(last) / 256
}

/// By telephone nobody can be sent anywhere; and a challenge that echoes the number goes to no page (G5).
fn challenged(challenge: Challenge, order: &Order<'_>, source: &Source<'_>) -> Submission {
    let echoes = |source: &Source<'_>| match source {
        Source::Keyed(card) => card.read_number(|number| challenge.texts().any(|text| holds(text, number))),
        Source::Stored(_) => false,
    };
    match order.channel {
        Channel::Ecommerce(_) if !echoes(source) => Submission::Challenged(challenge),
        Channel::Ecommerce(_) | Channel::Moto => Submission::Unknown(Unknown::Unreadable),
    }
}

fn holds(text: &str, number: &[u8]) -> bool {
    text.as_bytes().windows(number.len().max(1)).any(|part| part == number)
}

/// A gateway must not echo the number; one that does gets its text dropped (G5).
fn withhold_echoes(mut answer: GatewayAnswer, source: &Source<'_>) -> GatewayAnswer {
    let Source::Keyed(card) = source else { return answer };
    let echoes = |text: &str| card.read_number(|number| holds(text, number));
    answer.result.retain(|_, value| !echoes(value));
    if echoes(&answer.gateway_reference) {
        answer.gateway_reference = String::new();
    }
    answer.stored = answer.stored.filter(|stored| !echoes(&stored.token));
    answer
}
