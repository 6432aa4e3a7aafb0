//! The webhooks of the config file: one per account configuration.

use hushpad_domain::ids::{AccountId, ConfigurationId};
use hushpad_domain::webhook::Receiver;
use hushpad_gateways::Endpoint;

use super::check::Mistakes;
use super::{raw, secret};
use crate::webhooks::WebhookConfig;
use crate::webhooks::client;
use crate::webhooks::guard::Reach;
use crate::webhooks::signature::SigningSecret;
use crate::webhooks::token::ClientCredentials;

/// Secrets at one time: the old one and the new one.
const SECRETS: std::ops::RangeInclusive<usize> = 1..=2;

/// Reads the webhook of every configuration that has one.
pub(super) fn webhooks(mistakes: &mut Mistakes, accounts: &[raw::Account]) -> Vec<WebhookConfig> {
    let mut webhooks = Vec::new();
    for (index, account) in accounts.iter().enumerate() {
        for (n, configuration) in account.configurations.iter().enumerate() {
            let Some(raw) = &configuration.webhook else { continue };
            let path = format!("accounts[{index}].configurations[{n}].webhook");
            let receiver = Receiver {
                account: AccountId(account.id.clone()),
                configuration: ConfigurationId(configuration.id),
            };
            webhooks.extend(webhook(mistakes, &path, receiver, raw));
        }
    }
    webhooks
}

fn webhook(
    mistakes: &mut Mistakes,
    path: &str,
    receiver: Receiver,
    raw: &raw::Webhook,
) -> Option<WebhookConfig> {
    let url = endpoint(mistakes, &format!("{path}.url"), &raw.url, raw.allow_http);
    if !SECRETS.contains(&raw.secrets.len()) {
        mistakes.add(&format!("{path}.secrets"), "must be one, or two while it is changed");
    }
    let secrets: Vec<SigningSecret> = raw
        .secrets
        .iter()
        .enumerate()
        .filter_map(|(n, reference)| {
            let secret = secret::read(reference).and_then(|text| SigningSecret::parse(&text));
            mistakes.take(&format!("{path}.secrets[{n}]"), secret)
        })
        .collect();
    let token = raw.oauth.as_ref().map(|oauth| {
        let url = endpoint(mistakes, &format!("{path}.oauth.token_url"), &oauth.token_url, raw.allow_http);
        let secret_path = format!("{path}.oauth.client_secret");
        let client_secret =
            mistakes.take(&secret_path, secret::read(&oauth.client_secret)).unwrap_or_default();
        let (client_id, scope) = (oauth.client_id.clone(), oauth.scope.clone());
        url.map(|url| (url, ClientCredentials { client_id, client_secret, scope }))
    });
    let authorities = raw
        .authorities
        .as_ref()
        .map(|path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())));
    let tls = authorities.transpose().and_then(|pem| client::tls(pem.as_deref()));
    let tls = mistakes.take(&format!("{path}.authorities"), tls);
    let reach = if raw.allow_private { Reach::Private } else { Reach::Public };
    // Asked for and wrong is a mistake that has been told: then there is no configuration at all.
    let token = match token {
        Some(token) => Some(token?),
        None => None,
    };
    Some(WebhookConfig { receiver, url: url?, secrets, token, reach, tls: tls? })
}

pub(super) fn endpoint(mistakes: &mut Mistakes, path: &str, url: &str, allow_http: bool) -> Option<Endpoint> {
    let endpoint = mistakes.take(path, Endpoint::parse(url, true).map_err(|error| error.to_string()))?;
    if !endpoint.tls && !allow_http {
        mistakes.add(path, "must start with https:// (allow_http = true takes http://)");
    }
    Some(endpoint)
}
