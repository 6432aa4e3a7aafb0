//! The recorders of the config file: at most one per account.

use hushpad_domain::ids::AccountId;

use super::check::Mistakes;
use super::webhooks::endpoint;
use super::{raw, secret};
use crate::recorder::RecorderConfig;
use crate::webhooks::client;
use crate::webhooks::guard::Reach;
use crate::webhooks::signature::SigningSecret;

/// Secrets at one time: the old one and the new one.
const SECRETS: std::ops::RangeInclusive<usize> = 1..=2;

/// Reads the recorder of every account that has one.
pub(super) fn recorders(mistakes: &mut Mistakes, accounts: &[raw::Account]) -> Vec<RecorderConfig> {
    let recorders = accounts.iter().enumerate().filter_map(|(index, account)| {
        let path = format!("accounts[{index}].recorder");
        recorder(mistakes, &path, account.id.clone(), account.recorder.as_ref()?)
    });
    recorders.collect()
}

fn recorder(
    mistakes: &mut Mistakes,
    path: &str,
    account: String,
    raw: &raw::Recorder,
) -> Option<RecorderConfig> {
    let url = endpoint(mistakes, &format!("{path}.url"), &raw.url, raw.allow_http);
    if !SECRETS.contains(&raw.secrets.len()) {
        mistakes.add(&format!("{path}.secrets"), "must be one, or two while it is changed");
    }
    let secrets = raw.secrets.iter().enumerate().filter_map(|(n, reference)| {
        let secret = secret::read(reference).and_then(|text| SigningSecret::parse(&text));
        mistakes.take(&format!("{path}.secrets[{n}]"), secret)
    });
    let secrets = secrets.collect();
    let authorities = raw
        .authorities
        .as_ref()
        .map(|path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())));
    let tls = authorities.transpose().and_then(|pem| client::tls(pem.as_deref()));
    let tls = mistakes.take(&format!("{path}.authorities"), tls)?;
    let reach = if raw.allow_private { Reach::Private } else { Reach::Public };
    Some(RecorderConfig { account: AccountId(account), url: url?, secrets, reach, tls })
}
