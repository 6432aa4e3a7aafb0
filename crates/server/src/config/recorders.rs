//! The recorders of the config file: at most one per account, told by webhook or by SIP.

use std::collections::HashMap;
use std::net::IpAddr;

use hushpad_domain::ids::AccountId;

use super::check::{Mistakes, credential};
use super::webhooks::endpoint;
use super::{raw, secret};
use crate::calls::SipRecorder;
use crate::recorder::RecorderConfig;
use crate::sip::Peer;
use crate::webhooks::client;
use crate::webhooks::guard::Reach;
use crate::webhooks::signature::SigningSecret;

/// Secrets at one time: the old one and the new one.
const SECRETS: std::ops::RangeInclusive<usize> = 1..=2;

/// Reads the recorder of every account that has one with a webhook.
pub(super) fn recorders(mistakes: &mut Mistakes, accounts: &[raw::Account]) -> Vec<RecorderConfig> {
    let recorders = accounts.iter().enumerate().filter_map(|(index, account)| {
        let path = format!("accounts[{index}].recorder");
        let raw = account.recorder.as_ref().filter(|recorder| !is_sip(&recorder.url))?;
        recorder(mistakes, &path, account.id.clone(), raw)
    });
    recorders.collect()
}

/// Reads the recorder of every account that has one with a SIP address (SIPREC).
pub(super) fn sip_recorders(
    mistakes: &mut Mistakes,
    accounts: &[raw::Account],
    peers: &[Peer],
) -> HashMap<String, SipRecorder> {
    let mut found = HashMap::new();
    for (index, account) in accounts.iter().enumerate() {
        let Some(raw) = account.recorder.as_ref().filter(|recorder| is_sip(&recorder.url)) else { continue };
        let path = |name: &str| format!("accounts[{index}].recorder.{name}");
        // Answers are heard from peers only. A name is not looked up here.
        match host(&raw.url) {
            None => mistakes.add(&path("url"), "must be a SIP URI, such as \"sip:recorder@10.0.0.7:5060\""),
            Some(Some(ip)) if !peers.iter().any(|peer| peer.has(ip)) => {
                mistakes.add(&path("url"), "must be at an address of one of sip.peers");
            }
            Some(_) => {}
        }
        if !raw.secrets.is_empty() || raw.allow_http || raw.allow_private || raw.authorities.is_some() {
            mistakes.add(
                &path("url"),
                "is a SIP address, which takes no other setting of a recorder than credential",
            );
        }
        let credential =
            credential(mistakes, &format!("accounts[{index}].recorder"), raw.credential.as_ref());
        found.insert(account.id.clone(), SipRecorder { uri: raw.url.clone(), credential });
    }
    found
}

fn is_sip(url: &str) -> bool {
    url.starts_with("sip:") || url.starts_with("sips:")
}

/// The address in a SIP URI; `Some(None)` if it is a name.
fn host(url: &str) -> Option<Option<IpAddr>> {
    let (_, rest) = url.split_once(':')?;
    let rest = rest.split_once(';').map_or(rest, |(rest, _)| rest);
    let (_, at) = rest.split_once('@').filter(|(user, _)| !user.is_empty())?;
    let host = match at.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => at.split_once(':').map_or(at, |(host, _)| host),
    };
    (!host.is_empty()).then(|| host.parse().ok())
}

fn recorder(
    mistakes: &mut Mistakes,
    path: &str,
    account: String,
    raw: &raw::Recorder,
) -> Option<RecorderConfig> {
    let url = endpoint(mistakes, &format!("{path}.url"), &raw.url, raw.allow_http);
    if raw.credential.is_some() {
        mistakes
            .add(&format!("{path}.credential"), "is for a recorder with a SIP address; signals are signed");
    }
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

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn told(recorder: &str) -> String {
        let example = include_str!("../../../../hushpad.example.toml");
        let text = example.replace("# recorder.url = \"https://recorder.example.com/signals\"", recorder);
        Config::parse(&text).err().expect("the secrets' files are not there").to_string()
    }

    #[test]
    fn a_recorder_at_a_sip_address_is_at_a_peer_and_needs_nothing_else() {
        for fine in
            ["sip:recorder@10.0.0.7:5060", "sip:r@10.0.0.7;transport=tcp", "sip:r@recorder.example.com"]
        {
            assert!(!told(&format!("recorder.url = \"{fine}\"")).contains("recorder.url"), "{fine}");
        }
        for (wrong, why) in [
            ("recorder.url = \"sip:recorder@198.51.100.7\"", "sip.peers"),
            ("recorder.url = \"sip:10.0.0.7\"", "must be a SIP URI"),
            ("recorder.url = \"sip:r@10.0.0.7\"\nrecorder.allow_private = true", "takes no other"),
        ] {
            let told = told(wrong);
            assert!(told.contains("recorder.url") && told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_credential_is_for_a_sip_address_and_its_password_a_reference() {
        let credential = |url: &str, env: &str| {
            told(&format!(
                "recorder.url = \"{url}\"\n\
                 recorder.credential = {{ user = \"u\", password = {{ env = \"{env}\" }}, realm = \"r\" }}"
            ))
        };
        // Cargo sets it, for tests too.
        let set = "CARGO_MANIFEST_DIR";
        assert!(!credential("sip:recorder@10.0.0.7:5060", set).contains("recorder."));
        let missing = credential("sip:recorder@10.0.0.7:5060", "HUSHPAD_NOT_SET");
        assert!(missing.contains("accounts[0].recorder.credential.password"), "{missing}");
        let webhook = credential("https://recorder.example.com/signals", set);
        assert!(webhook.contains("accounts[0].recorder.credential:"), "{webhook}");
    }
}
