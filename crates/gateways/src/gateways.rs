//! Every configured gateway: submitting attempts, and asking what became of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, GatewayAnswer, NotSent, Unknown};
use hushpad_domain::ids::GatewayName;
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use crate::breaker::Breaker;
use crate::connector::{Caps, Connector, Order, Parsed, ParsedQuery};
use crate::endpoint::{Endpoint, EndpointError};
use crate::executor::{Exchange, Executor};
use crate::generic::Generic;

/// The pause before the second try to reach a gateway; it doubles from try to try.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Long enough to be kind to a gateway that is starting, short enough for several tries within the patience.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Every configured gateway. Shared by all calls.
pub struct Gateways {
    executor: Executor,
    routes: BTreeMap<GatewayName, Route>,
}

impl Gateways {
    /// The gateways of a configuration.
    ///
    /// # Errors
    /// The operator's mistake, with the gateway's name.
    pub fn new(configs: Vec<GatewayConfig>) -> Result<Self, GatewayConfigError> {
        let executor = Executor::new().map_err(|_| GatewayConfigError::Tls)?;
        let mut routes = BTreeMap::new();
        for config in configs {
            let name = config.name.clone();
            if routes.insert(name.clone(), Route::new(config)?).is_some() {
                return Err(GatewayConfigError::Twice { gateway: name });
            }
        }
        Ok(Self { executor, routes })
    }

    /// What the gateway can do; `None` when no gateway has this name.
    #[must_use]
    pub fn caps(&self, name: &GatewayName) -> Option<&Caps> {
        self.routes.get(name).map(|route| route.connector.caps())
    }

    /// Sends an attempt whose intent is committed. It is tried again only while surely no byte was written,
    /// within the gateway's patience; after that it is never sent again (G1).
    ///
    /// Dropping the future leaves the attempt unknown.
    pub async fn submit(&self, name: &GatewayName, order: &Order<'_>, card: &Card) -> Submission {
        let Some(route) = self.routes.get(name) else {
            return Submission::NotSent(NotSent::Unsupported);
        };
        if route.breaker.is_open(Instant::now()) {
            return Submission::NotSent(NotSent::BreakerOpen);
        }
        let submission = self.submit_on(route, order, card).await;
        match submission {
            Submission::NotSent(NotSent::Unreachable) => route.breaker.failed(Instant::now()),
            // Nothing was tried, so nothing is known of the gateway.
            Submission::NotSent(NotSent::Unsupported | NotSent::BreakerOpen) => {}
            Submission::Answered(_) | Submission::NotSent(NotSent::Refused) | Submission::Unknown(_) => {
                route.breaker.reached();
            }
        }
        tracing::info!(attempt.id = %order.attempt.id, gateway = %name, outcome = submission.word(), "submitted");
        submission
    }

    /// Asks the gateway what became of an attempt, by our reference. One try: the caller asks again.
    pub async fn ask(&self, name: &GatewayName, attempt: &Attempt) -> Asked {
        let Some(route) = self.routes.get(name) else { return Asked::NotKnown(NotKnown::NoGateway) };
        let Some(request) = route.connector.query(attempt) else {
            return Asked::NotKnown(NotKnown::NoQuery);
        };
        let until = Instant::now() + route.patience.whole;
        match self.executor.exchange(request, route.patience.connect, until).await {
            Exchange::NotWritten => Asked::NotKnown(NotKnown::Unreachable),
            Exchange::Lost(reason) => Asked::NotKnown(NotKnown::NoAnswer(reason)),
            Exchange::Reply(reply) => match route.connector.parse_query(attempt, &reply) {
                ParsedQuery::Found(answer) => Asked::Found(answer),
                ParsedQuery::NotFound => Asked::NotFound,
                ParsedQuery::Indeterminate(reason) => Asked::NotKnown(NotKnown::NoAnswer(reason)),
            },
        }
    }

    async fn submit_on(&self, route: &Route, order: &Order<'_>, card: &Card) -> Submission {
        let masked = card.masked();
        let until = Instant::now() + route.patience.whole;
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(request) = route.connector.build(order, card) else {
                return Submission::NotSent(NotSent::Unsupported);
            };
            match self.executor.exchange(request, route.patience.connect, until).await {
                Exchange::Reply(reply) => {
                    return match route.connector.parse(order.attempt, &masked, &reply) {
                        Parsed::Answer(answer) => Submission::Answered(withhold_echoes(answer, card)),
                        Parsed::Refused => Submission::NotSent(NotSent::Refused),
                        Parsed::Indeterminate(reason) => Submission::Unknown(reason),
                    };
                }
                Exchange::Lost(reason) => return Submission::Unknown(reason),
                Exchange::NotWritten => {}
            }
            let again = Instant::now() + pause + jitter(order.attempt, pause);
            if again >= until {
                return Submission::NotSent(NotSent::Unreachable);
            }
            sleep_until(again).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// The gateway has decided.
    Answered(GatewayAnswer),
    /// Surely nothing was charged: no byte was written, or the gateway refused before processing.
    NotSent(NotSent),
    /// It may have been charged: ask, and never send again.
    Unknown(Unknown),
}

impl Submission {
    fn word(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
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

/// One gateway, as the operator configures it.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Its name in account configurations.
    pub name: GatewayName,
    /// What it speaks.
    pub kind: GatewayKind,
    /// How long it may take.
    pub patience: Patience,
    /// How long after the intent a "not found" may still change. See [`Caps::settle_time`].
    pub settle_time: Duration,
    /// Whether `http:` may leave this host. Only for a network that is trusted whole.
    pub allow_plain_http: bool,
}

impl GatewayConfig {
    /// A gateway with the usual patience.
    #[must_use]
    pub fn new(name: GatewayName, kind: GatewayKind) -> Self {
        // A minute is three times the patience: what was still on its way has arrived or is lost.
        let settle_time = Duration::from_secs(60);
        Self { name, kind, patience: Patience::default(), settle_time, allow_plain_http: false }
    }
}

/// What a gateway speaks, and how to get in.
#[derive(Clone)]
pub enum GatewayKind {
    /// The JSON of pay connectors: see [`crate::generic`].
    Generic {
        /// Where charges are posted.
        url: String,
        /// Where attempts are looked up, if the gateway can.
        query_url: Option<String>,
        /// The user of HTTP Basic.
        user: String,
        /// The password of HTTP Basic.
        password: String,
    },
}

impl fmt::Debug for GatewayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generic { url, query_url, user, password: _ } => f
                .debug_struct("Generic")
                .field("url", url)
                .field("query_url", query_url)
                .field("user", user)
                .finish_non_exhaustive(),
        }
    }
}

/// How long a gateway may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For one connection: DNS, TCP and TLS.
    pub connect: Duration,
    /// For everything, all tries together: an agent and a customer wait for it.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(20) }
    }
}

/// A mistake in the configuration of a gateway. The operator's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GatewayConfigError {
    /// The URL for charges is wrong.
    #[error("gateway {gateway}: url {error}")]
    Url {
        /// Which gateway.
        gateway: GatewayName,
        /// What is wrong.
        error: EndpointError,
    },
    /// The URL for queries is wrong.
    #[error("gateway {gateway}: query_url {error}")]
    QueryUrl {
        /// Which gateway.
        gateway: GatewayName,
        /// What is wrong.
        error: EndpointError,
    },
    /// User or password cannot be sent by HTTP Basic (RFC 7617, section 2).
    #[error(
        "gateway {gateway}: user must not hold a colon or control characters, nor the password control characters"
    )]
    Credentials {
        /// Which gateway.
        gateway: GatewayName,
    },
    /// A gateway waits for nothing.
    #[error("gateway {gateway}: patience must be longer than zero")]
    NoPatience {
        /// Which gateway.
        gateway: GatewayName,
    },
    /// Two gateways have the same name.
    #[error("gateway {gateway} is there twice")]
    Twice {
        /// Which gateway.
        gateway: GatewayName,
    },
    /// TLS cannot be used at all.
    #[error("TLS is not available")]
    Tls,
}

struct Route {
    connector: Box<dyn Connector>,
    patience: Patience,
    breaker: Breaker,
}

impl Route {
    fn new(config: GatewayConfig) -> Result<Self, GatewayConfigError> {
        let GatewayConfig { name: gateway, kind, patience, settle_time, allow_plain_http } = config;
        if patience.connect.is_zero() || patience.whole.is_zero() {
            return Err(GatewayConfigError::NoPatience { gateway });
        }
        let connector = match kind {
            GatewayKind::Generic { url, query_url, user, password } => {
                let url = Endpoint::parse(&url, allow_plain_http)
                    .map_err(|error| GatewayConfigError::Url { gateway: gateway.clone(), error })?;
                let query_url = query_url
                    .map(|url| Endpoint::parse(&url, allow_plain_http))
                    .transpose()
                    .map_err(|error| GatewayConfigError::QueryUrl { gateway: gateway.clone(), error })?;
                Generic::new(url, query_url, &user, &password, settle_time)
                    .ok_or(GatewayConfigError::Credentials { gateway })?
            }
        };
        Ok(Self { connector: Box::new(connector), patience, breaker: Breaker::default() })
    }
}

/// Up to half of `pause`, by the attempt's id, so that many calls do not knock in one moment.
fn jitter(attempt: &Attempt, pause: Duration) -> Duration {
    let [.., last] = attempt.id.0.into_bytes();
    pause / 2 * u32::from(last) / 256
}

/// A gateway must not echo the number; one that does gets its text dropped (G5).
fn withhold_echoes(mut answer: GatewayAnswer, card: &Card) -> GatewayAnswer {
    let echoes = |text: &str| {
        card.read_number(|number| text.as_bytes().windows(number.len().max(1)).any(|part| part == number))
    };
    answer.result.retain(|_, value| !echoes(value));
    if echoes(&answer.gateway_reference) {
        answer.gateway_reference = String::new();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, url: &str, user: &str) -> GatewayConfig {
        let kind = GatewayKind::Generic {
            url: url.to_owned(),
            query_url: None,
            user: user.to_owned(),
            password: "hunter2".to_owned(),
        };
        GatewayConfig::new(GatewayName(name.to_owned()), kind)
    }

    #[test]
    fn a_mistake_in_the_configuration_is_told_with_its_gateway() {
        let told = |configs| Gateways::new(configs).map(|_| ()).unwrap_err().to_string();
        let good = || config("a", "https://pay.example/", "u");
        insta::assert_snapshot!(told(vec![config("a", "http://pay.example/", "u")]), @"gateway a: url must start with https://: http:// is for this host only");
        insta::assert_snapshot!(told(vec![config("a", "https://pay.example/", "u:v")]), @"gateway a: user must not hold a colon or control characters, nor the password control characters");
        insta::assert_snapshot!(told(vec![good(), good()]), @"gateway a is there twice");
        let mut hasty = good();
        hasty.patience.whole = Duration::ZERO;
        insta::assert_snapshot!(told(vec![hasty]), @"gateway a: patience must be longer than zero");
    }

    #[test]
    fn the_password_is_not_printed() {
        assert!(!format!("{:?}", config("a", "https://pay.example/", "u")).contains("hunter2"));
    }
}
