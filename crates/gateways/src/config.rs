//! The gateways as the operator configures them.

use std::fmt;
use std::time::Duration;

use hushpad_domain::ids::GatewayName;
use thiserror::Error;

use crate::adyen::{self, Adyen};
use crate::connector::Connector;
use crate::cybersource::{Auth, CyberSource, Settings};
use crate::endpoint::{Endpoint, EndpointError};
use crate::generic::Generic;
use crate::mpgs::Mpgs;
use crate::stripe::Stripe;
use crate::worldpay::{self, Worldpay};

/// One gateway, as the operator configures it.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Its name in account configurations.
    pub name: GatewayName,
    /// What it speaks.
    pub kind: GatewayKind,
    /// How long it may take.
    pub patience: Patience,
    /// How long after the intent a "not found" may still change. See [`crate::Caps::settle_time`].
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

    pub(crate) fn connector(self) -> Result<Box<dyn Connector>, GatewayConfigError> {
        let Self { name: gateway, kind, patience, settle_time, allow_plain_http } = self;
        if patience.connect.is_zero() || patience.whole.is_zero() {
            return Err(GatewayConfigError::NoPatience { gateway });
        }
        let endpoint = |url: &str| {
            Endpoint::parse(url, allow_plain_http)
                .map_err(|error| GatewayConfigError::Url { gateway: gateway.clone(), error })
        };
        let bad_key = || GatewayConfigError::Key { gateway: gateway.clone() };
        Ok(match kind {
            GatewayKind::Generic { url, operations_url, query_url, user, password } => {
                let operations = operations_url.map(|url| endpoint(&url)).transpose()?;
                let query_url = query_url
                    .map(|url| Endpoint::parse(&url, allow_plain_http))
                    .transpose()
                    .map_err(|error| GatewayConfigError::QueryUrl { gateway: gateway.clone(), error })?;
                let made =
                    Generic::new(endpoint(&url)?, operations, query_url, &user, &password, settle_time);
                Box::new(made.ok_or(GatewayConfigError::Credentials { gateway })?)
            }
            GatewayKind::CyberSource { url, merchant_id, key_id, secret, auth } => {
                let made = CyberSource::new(Settings {
                    base: endpoint(&url)?,
                    merchant_id: &merchant_id,
                    key_id: &key_id,
                    secret: &secret,
                    auth,
                    settle_time,
                });
                Box::new(made.ok_or_else(bad_key)?)
            }
            GatewayKind::Stripe { url, secret_key } => {
                Box::new(Stripe::new(endpoint(&url)?, &secret_key, settle_time).ok_or_else(bad_key)?)
            }
            GatewayKind::Adyen { url, merchant_account, api_key, hmac_key } => {
                let made = Adyen::new(adyen::Settings {
                    base: endpoint(&url)?,
                    merchant_account: &merchant_account,
                    api_key: &api_key,
                    hmac_key: hmac_key.as_deref(),
                    settle_time,
                });
                Box::new(made.ok_or_else(bad_key)?)
            }
            GatewayKind::Worldpay { url, entity, narrative, user, password } => {
                let made = Worldpay::new(worldpay::Settings {
                    base: endpoint(&url)?,
                    entity: &entity,
                    narrative: &narrative,
                    user: &user,
                    password: &password,
                    settle_time,
                });
                Box::new(made.ok_or_else(bad_key)?)
            }
            GatewayKind::Mpgs { url, merchant_id, password } => {
                let made = Mpgs::new(&endpoint(&url)?, &merchant_id, &password, settle_time);
                Box::new(made.ok_or_else(bad_key)?)
            }
        })
    }
}

/// What a gateway speaks, and how to get in.
#[derive(Clone)]
pub enum GatewayKind {
    /// The JSON of pay connectors: see [`crate::generic`].
    Generic {
        /// Where charges are posted.
        url: String,
        /// Where authorisations and what follows an answer are posted, if the gateway can.
        operations_url: Option<String>,
        /// Where attempts are looked up, if the gateway can.
        query_url: Option<String>,
        /// The user of HTTP Basic.
        user: String,
        /// The password of HTTP Basic.
        password: String,
    },
    /// CyberSource REST, also under other names: see [`crate::cybersource`].
    CyberSource {
        /// The host, such as `https://api.cybersource.com`.
        url: String,
        /// The merchant id.
        merchant_id: String,
        /// The id of the shared secret key.
        key_id: String,
        /// The shared secret key, in base64 as CyberSource gives it.
        secret: String,
        /// How requests are signed.
        auth: Auth,
    },
    /// Stripe: see [`crate::stripe`].
    Stripe {
        /// The host: `https://api.stripe.com`.
        url: String,
        /// The secret or restricted key.
        secret_key: String,
    },
    /// Adyen Checkout v72: see [`crate::adyen`].
    Adyen {
        /// Up to the version, such as `https://checkout-test.adyen.com/v72`.
        url: String,
        /// The merchant account.
        merchant_account: String,
        /// The API key.
        api_key: String,
        /// The key of its notifications, in hexadecimal; without it none is believed.
        hmac_key: Option<String>,
    },
    /// Access Worldpay, Card Payments v7: see [`crate::worldpay`].
    Worldpay {
        /// The host, such as `https://try.access.worldpay.com`.
        url: String,
        /// The entity that payments are billed to.
        entity: String,
        /// What the customer reads on the statement.
        narrative: String,
        /// The user of HTTP Basic.
        user: String,
        /// The password of HTTP Basic.
        password: String,
    },
    /// Mastercard Payment Gateway Services: see [`crate::mpgs`].
    Mpgs {
        /// The host, such as `https://eu-gateway.mastercard.com`.
        url: String,
        /// The merchant id, without `merchant.`.
        merchant_id: String,
        /// The API password.
        password: String,
    },
}

impl GatewayKind {
    /// Whether its requests are signed with a time, or its questions depend on it.
    #[must_use]
    pub fn needs_clock(&self) -> bool {
        match self {
            Self::Generic { .. } | Self::Adyen { .. } | Self::Worldpay { .. } | Self::Mpgs { .. } => false,
            Self::CyberSource { .. } | Self::Stripe { .. } => true,
        }
    }
}

impl GatewayKind {
    /// Whether both reach one merchant's account at one gateway, as far as their settings tell: then each takes the
    /// tokens of the other. Two keys of one Stripe account do not show that they are.
    #[must_use]
    pub fn is_same_merchant(&self, other: &Self) -> bool {
        self.merchant() == other.merchant()
    }

    /// What the gateway is, where it is, and who the merchant is there.
    fn merchant(&self) -> (&'static str, String, &str) {
        match self {
            Self::Generic { url, user, .. } => ("generic", host(url), user),
            Self::CyberSource { url, merchant_id, .. } => ("cybersource", host(url), merchant_id),
            Self::Stripe { url, secret_key } => ("stripe", host(url), secret_key),
            Self::Adyen { url, merchant_account, .. } => ("adyen", host(url), merchant_account),
            Self::Worldpay { url, user, .. } => ("worldpay", host(url), user),
            Self::Mpgs { url, merchant_id, .. } => ("mpgs", host(url), merchant_id),
        }
    }
}

/// `host:port` of a URL, written in one way; without the port that is its scheme's own.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest).to_ascii_lowercase();
    let own_port = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    authority.strip_suffix(own_port).map_or_else(|| authority.clone(), str::to_owned)
}

impl fmt::Debug for GatewayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generic { url, operations_url, query_url, user, password: _ } => f
                .debug_struct("Generic")
                .field("url", url)
                .field("operations_url", operations_url)
                .field("query_url", query_url)
                .field("user", user)
                .finish_non_exhaustive(),
            Self::CyberSource { url, merchant_id, key_id, secret: _, auth } => f
                .debug_struct("CyberSource")
                .field("url", url)
                .field("merchant_id", merchant_id)
                .field("key_id", key_id)
                .field("auth", auth)
                .finish_non_exhaustive(),
            Self::Stripe { url, secret_key: _ } => {
                f.debug_struct("Stripe").field("url", url).finish_non_exhaustive()
            }
            Self::Adyen { url, merchant_account, api_key: _, hmac_key: _ } => f
                .debug_struct("Adyen")
                .field("url", url)
                .field("merchant_account", merchant_account)
                .finish_non_exhaustive(),
            Self::Worldpay { url, entity, narrative, user, password: _ } => f
                .debug_struct("Worldpay")
                .field("url", url)
                .field("entity", entity)
                .field("narrative", narrative)
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Mpgs { url, merchant_id, password: _ } => f
                .debug_struct("Mpgs")
                .field("url", url)
                .field("merchant_id", merchant_id)
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
    /// A key or a name cannot be sent in a header, or a shared secret is not base64.
    #[error("gateway {gateway}: a key or merchant name is empty, holds control characters or is not base64")]
    Key {
        /// Which gateway.
        gateway: GatewayName,
    },
    /// The kind needs the wall clock, and there is none.
    #[error("gateway {gateway}: needs the wall clock")]
    NoClock {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::Gateways;

    fn config(name: &str, url: &str, user: &str) -> GatewayConfig {
        let kind = GatewayKind::Generic {
            url: url.to_owned(),
            operations_url: None,
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
    fn one_merchant_under_two_names_is_one() {
        let kind = |url: &str, user: &str| config("a", url, user).kind;
        let stripe = |key: &str| GatewayKind::Stripe {
            url: "https://pay.example".to_owned(),
            secret_key: key.to_owned(),
        };
        let shop = kind("https://pay.example/charges", "shop");
        assert!(shop.is_same_merchant(&kind("https://pay.example/v2?x", "shop")));
        assert!(shop.is_same_merchant(&kind("HTTPS://Pay.Example:443", "shop")));
        assert!(!shop.is_same_merchant(&kind("http://pay.example:443", "shop")));
        assert!(!shop.is_same_merchant(&kind("https://pay.example/charges", "other")));
        assert!(!shop.is_same_merchant(&kind("https://pay.example:444/charges", "shop")));
        assert!(!shop.is_same_merchant(&stripe("shop")));
        assert!(stripe("k").is_same_merchant(&stripe("k")) && !stripe("k").is_same_merchant(&stripe("l")));
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = || "hunter2".to_owned();
        let url = || "https://pay.example/".to_owned();
        let (merchant_id, key_id, merchant_account) =
            ("shop".to_owned(), "key".to_owned(), "shop".to_owned());
        for kind in [
            config("a", "https://pay.example/", "u").kind,
            GatewayKind::CyberSource { url: url(), merchant_id, key_id, secret: secret(), auth: Auth::Jwt },
            GatewayKind::Stripe { url: url(), secret_key: secret() },
            GatewayKind::Adyen { url: url(), merchant_account, api_key: secret(), hmac_key: Some(secret()) },
        ] {
            assert!(!format!("{kind:?}").contains("hunter2"));
        }
    }

    #[test]
    fn keys_that_cannot_be_sent_are_told() {
        let url = || "https://pay.example/".to_owned();
        let (merchant_id, key_id) = ("shop".to_owned(), "key".to_owned());
        for kind in [
            GatewayKind::CyberSource {
                url: url(),
                merchant_id,
                key_id,
                secret: "not base64".to_owned(),
                auth: Auth::Jwt,
            },
            GatewayKind::Stripe { url: url(), secret_key: String::new() },
            GatewayKind::Adyen {
                url: url(),
                merchant_account: "shop".to_owned(),
                api_key: "a\nb".to_owned(),
                hmac_key: None,
            },
        ] {
            let config = GatewayConfig::new(GatewayName("a".to_owned()), kind);
            let clock = Box::new(|| hushpad_domain::time::Timestamp::from_micros(0));
            let told = Gateways::with_clock(vec![config], clock).err();
            assert!(matches!(told, Some(GatewayConfigError::Key { .. })), "{told:?}");
        }
    }
}
