//! The senders of payment links in the config file: per account, by text message and by e-mail.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use hushpad_domain::ids::AccountId;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};

use super::check::Mistakes;
use super::webhooks::endpoint;
use super::{raw, secret};
use crate::senders::SendersConfig;
use crate::senders::mail::{MailConfig, Security};
use crate::senders::sms::{SmsBody, SmsConfig, TakenIf};
use crate::senders::template::Template;
use crate::webhooks::client;
use crate::webhooks::guard::Reach;

/// TLS from the first byte (RFC 8314, section 7.3).
const PORT_TLS: u16 = 465;
/// Message submission (RFC 6409).
const PORT_SUBMISSION: u16 = 587;

/// Reads the senders of every account that has any.
pub(super) fn senders(mistakes: &mut Mistakes, accounts: &[raw::Account]) -> Vec<SendersConfig> {
    let mut senders = Vec::new();
    for (index, account) in accounts.iter().enumerate() {
        let path = format!("accounts[{index}]");
        let sms = account.sms.as_ref().and_then(|raw| sms(mistakes, &format!("{path}.sms"), raw));
        let mail = account.mail.as_ref().and_then(|raw| mail(mistakes, &format!("{path}.mail"), raw));
        if sms.is_some() || mail.is_some() {
            senders.push(SendersConfig { account: AccountId(account.id.clone()), sms, mail });
        }
    }
    senders
}

fn sms(mistakes: &mut Mistakes, path: &str, raw: &raw::Sms) -> Option<SmsConfig> {
    let url = endpoint(mistakes, &format!("{path}.url"), &raw.url, raw.allow_http);
    let mut headers = Vec::new();
    for (name, reference) in &raw.headers {
        let path = format!("{path}.headers.{name}");
        let text = mistakes.take(&path, secret::read(reference));
        headers.extend(text.and_then(|text| mistakes.take(&path, header_of(name, &text))));
    }
    if let Some((user, password)) = login(mistakes, path, raw.user.as_ref(), raw.password.as_ref()) {
        let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        headers.extend(mistakes.take(path, header_of(header::AUTHORIZATION.as_str(), &text)));
    }
    let body = match (&raw.form, &raw.json) {
        (Some(form), None) => {
            let fields = form.iter().map(|(name, value)| (name.clone(), Template::request(value)));
            Some(SmsBody::Form(fields.collect()))
        }
        (None, Some(json)) => mistakes.take(&format!("{path}.json"), json_of(json)).map(SmsBody::Json),
        (Some(_), Some(_)) | (None, None) => {
            mistakes.add(path, "must have form or json, one of the two");
            None
        }
    };
    let places = body.as_ref().is_none_or(|body| {
        let has = |place: &str| match body {
            SmsBody::Form(fields) => fields.iter().any(|(_, template)| template.has(place)),
            SmsBody::Json(template) => template.has(place),
        };
        (has("to") || has("to_digits")) && has("text")
    });
    if !places {
        mistakes.add(path, "must hold {to} or {to_digits}, and {text}, in its form or json");
    }
    let text = mistakes.take(&format!("{path}.text"), Template::message(&raw.text));
    let tls = authorities(mistakes, path, raw.authorities.as_ref())
        .and_then(|pem| mistakes.take(&format!("{path}.authorities"), client::tls(pem.as_deref())));
    let taken_if =
        raw.taken_if.as_ref().map(|raw| TakenIf { pointer: raw.pointer.clone(), equals: raw.equals.clone() });
    Some(SmsConfig {
        url: url?,
        headers,
        body: body?,
        text: text?,
        taken_if,
        reach: reach(raw.allow_private),
        tls: tls?,
    })
}

/// With its places filled, it must be JSON.
fn json_of(text: &str) -> Result<Template, String> {
    let template = Template::request(text);
    let filled = template.fill(crate::senders::template::Escape::Json, |_| "\"x\"");
    let read = serde_json::from_str::<serde_json::Value>(&filled);
    read.map(|_| template).map_err(|error| format!("is no JSON with its places filled: {error}"))
}

fn mail(mistakes: &mut Mistakes, path: &str, raw: &raw::Mail) -> Option<MailConfig> {
    let pem = authorities(mistakes, path, raw.authorities.as_ref());
    let parameters = || tls_parameters(&raw.host, pem.as_ref().and_then(Option::as_deref));
    let (security, usual_port) = match raw.security {
        raw::MailSecurity::Tls => (parameters().map(Security::Tls), PORT_TLS),
        raw::MailSecurity::Starttls => (parameters().map(Security::StartTls), PORT_SUBMISSION),
        raw::MailSecurity::None if !raw.allow_private => (
            Err("must be tls or starttls; none is for a relay in a private network".to_owned()),
            PORT_SUBMISSION,
        ),
        raw::MailSecurity::None => (Ok(Security::None), PORT_SUBMISSION),
    };
    let security = mistakes.take(&format!("{path}.security"), security);
    let from = raw.from.parse().map_err(|_| "must be a mail address, such as \"Shop <pay@shop.example>\"");
    let from = mistakes.take(&format!("{path}.from"), from.map_err(str::to_owned));
    let subject = mistakes.take(&format!("{path}.subject"), Template::subject(&raw.subject));
    let text = mistakes.take(&format!("{path}.text"), Template::message(&raw.text));
    let login = login(mistakes, path, raw.user.as_ref(), raw.password.as_ref());
    // Named and not read is a mistake that has been told.
    pem?;
    Some(MailConfig {
        host: raw.host.clone(),
        port: raw.port.unwrap_or(usual_port),
        security: security?,
        credentials: login.map(|(user, password)| Credentials::new(user, password)),
        from: from?,
        subject: subject?,
        text: text?,
        reach: reach(raw.allow_private),
    })
}

fn tls_parameters(host: &str, authorities: Option<&[u8]>) -> Result<TlsParameters, String> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(pem) = authorities {
        let certificate = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
        parameters = parameters.add_root_certificate(certificate);
    }
    parameters.build_rustls().map_err(|error| error.to_string())
}

/// User and password, both or neither.
fn login(
    mistakes: &mut Mistakes,
    path: &str,
    user: Option<&String>,
    password: Option<&raw::SecretRef>,
) -> Option<(String, String)> {
    match (user, password) {
        (Some(user), Some(reference)) => {
            let password = mistakes.take(&format!("{path}.password"), secret::read(reference))?;
            Some((user.clone(), password.to_string()))
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            mistakes.add(path, "must have user and password, both or neither");
            None
        }
    }
}

fn header_of(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::try_from(name).map_err(|_| "is no name of a header".to_owned())?;
    let mut value = HeaderValue::try_from(text).map_err(|_| "cannot be a header".to_owned())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The PEM text, if there is a file; `None` when it is named and cannot be read.
#[expect(clippy::option_option, reason = "not asked for, and asked for and wrong, are two things")]
fn authorities(
    mistakes: &mut Mistakes,
    path: &str,
    file: Option<&std::path::PathBuf>,
) -> Option<Option<Vec<u8>>> {
    let read = file.map(|file| std::fs::read(file).map_err(|error| format!("{}: {error}", file.display())));
    mistakes.take(&format!("{path}.authorities"), read.transpose())
}

fn reach(allow_private: bool) -> Reach {
    if allow_private { Reach::Private } else { Reach::Public }
}
