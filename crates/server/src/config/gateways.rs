//! The gateways of the config file: each kind has settings of its own.

use std::time::Duration;

use hushpad_domain::ids::GatewayName;
use hushpad_gateways::{GatewayConfig, GatewayKind};

use super::check::Mistakes;
use super::{raw, secret};

/// Reads every gateway. `test_mode` also takes `http:`.
pub(super) fn gateways(mistakes: &mut Mistakes, raw: &[raw::Gateway], test_mode: bool) -> Vec<GatewayConfig> {
    let mut gateways = Vec::new();
    for (index, gateway) in raw.iter().enumerate() {
        let path = |name: &str| format!("gateways[{index}].{name}");
        if gateway.name.is_empty() || raw[..index].iter().any(|other| other.name == gateway.name) {
            mistakes.add(&path("name"), "must be there and be used once");
        }
        let urls = [
            ("url", Some(gateway.url.as_str())),
            ("operations_url", gateway.operations_url.as_deref()),
            ("query_url", gateway.query_url.as_deref()),
        ];
        for (name, url) in urls {
            let taken = |url: &str| url.starts_with("https://") || (test_mode && url.starts_with("http://"));
            if !url.is_none_or(taken) {
                mistakes.add(&path(name), "must be an https URL (http is taken in test mode only)");
            }
        }
        if gateway.time_out_s == 0 || gateway.settle_time_s < gateway.time_out_s {
            mistakes.add(&path("settle_time_s"), "must not be less than time_out_s, which must be above 0");
        }
        let kind = Settings { mistakes, raw: gateway, index }.kind();
        let mut config = GatewayConfig::new(GatewayName(gateway.name.clone()), kind);
        config.patience.whole = Duration::from_secs(gateway.time_out_s);
        config.settle_time = Duration::from_secs(gateway.settle_time_s);
        config.allow_plain_http = test_mode;
        gateways.push(config);
    }
    gateways
}

/// The settings of one gateway, and where what is missing is told.
struct Settings<'a> {
    mistakes: &'a mut Mistakes,
    raw: &'a raw::Gateway,
    index: usize,
}

impl Settings<'_> {
    fn kind(mut self) -> GatewayKind {
        let raw = self.raw;
        let url = raw.url.clone();
        match raw.kind {
            raw::GatewayKind::Generic => GatewayKind::Generic {
                url,
                operations_url: raw.operations_url.clone(),
                query_url: raw.query_url.clone(),
                user: self.text("user", raw.user.as_ref()),
                password: self.secret("password", raw.password.as_ref()),
            },
            raw::GatewayKind::Cybersource => GatewayKind::CyberSource {
                url,
                merchant_id: self.text("merchant_id", raw.merchant_id.as_ref()),
                key_id: self.text("key_id", raw.key_id.as_ref()),
                secret: self.secret("secret", raw.secret.as_ref()),
                auth: raw.auth,
            },
            raw::GatewayKind::Stripe => {
                GatewayKind::Stripe { url, secret_key: self.secret("secret", raw.secret.as_ref()) }
            }
            raw::GatewayKind::Adyen => GatewayKind::Adyen {
                url,
                merchant_account: self.text("merchant_account", raw.merchant_account.as_ref()),
                api_key: self.secret("secret", raw.secret.as_ref()),
                hmac_key: raw.hmac_key.as_ref().map(|key| self.secret("hmac_key", Some(key))),
            },
            raw::GatewayKind::Worldpay => GatewayKind::Worldpay {
                url,
                entity: self.text("entity", raw.entity.as_ref()),
                narrative: self.text("narrative", raw.narrative.as_ref()),
                user: self.text("user", raw.user.as_ref()),
                password: self.secret("password", raw.password.as_ref()),
            },
            raw::GatewayKind::Mpgs => GatewayKind::Mpgs {
                url,
                merchant_id: self.text("merchant_id", raw.merchant_id.as_ref()),
                password: self.secret("password", raw.password.as_ref()),
            },
        }
    }

    fn text(&mut self, name: &str, value: Option<&String>) -> String {
        if value.is_none() {
            self.mistakes.add(&self.path(name), "is missing: this kind of gateway needs it");
        }
        value.cloned().unwrap_or_default()
    }

    fn secret(&mut self, name: &str, reference: Option<&raw::SecretRef>) -> String {
        let path = self.path(name);
        match reference {
            Some(reference) => {
                let text = self.mistakes.take(&path, secret::read(reference));
                text.map(|text| text.to_string()).unwrap_or_default()
            }
            None => {
                self.mistakes.add(&path, "is missing: this kind of gateway needs it");
                String::new()
            }
        }
    }

    fn path(&self, name: &str) -> String {
        format!("gateways[{}].{name}", self.index)
    }
}
