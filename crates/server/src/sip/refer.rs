//! REFER in a dialog (RFC 3515): whom it names, and what its sender is told.

use std::time::Duration;

use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::{HasHeaders, Header, Request, StatusCode, Uri};
use tokio::task::JoinHandle;

use super::{Target, headers};

/// How long a phone may take to answer a NOTIFY before its dialog ends; it only informs.
const NOTIFY_WAIT: Duration = Duration::from_secs(2);
/// How long the news may go on, in seconds: longer than any phone rings.
const NEWS_EXPIRE_S: u32 = 180;
/// Longest `Replaces` taken over; a Call-ID and two tags have about 150 characters.
const MAX_REPLACES: usize = 400;

/// Whom to call; nothing if the REFER names nobody, more than one, or asks for something else than a call.
pub(super) fn target(request: &Request) -> Option<Target> {
    let mut values = request.headers().iter().filter_map(|header| match header {
        Header::ReferTo(value) => Some(value.value()),
        _ => None,
    });
    let (value, None) = (values.next()?, values.next()) else { return None };
    let uri = match value.split_once('<') {
        Some((_, rest)) => rest.split_once('>')?.0,
        None => value.split_once(';').map_or(value, |(uri, _)| uri),
    };
    let (uri, fields) = uri.split_once('?').unwrap_or((uri, ""));
    if uri.split(';').skip(1).any(is_another_method) {
        return None;
    }
    let user = Uri::try_from(uri.trim()).ok()?.auth?.user;
    let user = Some(headers::clean(&user)).filter(|user| !user.is_empty())?;
    let replaces = fields
        .split('&')
        .filter_map(|field| field.split_once('='))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("replaces").then(|| unescaped(value)));
    match replaces {
        Some(None) => None,
        Some(replaces) => Some(Target { user, replaces }),
        None => Some(Target { user, replaces: None }),
    }
}

fn is_another_method(param: &str) -> bool {
    let method = param.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("method"));
    method.is_some_and(|(_, method)| !method.eq_ignore_ascii_case("INVITE"))
}

/// A header value without its escapes; nothing if it holds what has no place in a `Replaces`.
fn unescaped(value: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let byte = u8::from_str_radix(after.get(..2)?, 16).ok()?;
        text.push(char::from(byte));
        rest = &after[2..];
    }
    text.push_str(rest);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~()<>:\\\"/[]?{}@;=".contains(c);
    (text.len() <= MAX_REPLACES && text.chars().all(fits)).then_some(text)
}

/// Sends a NOTIFY after the one before it.
pub(super) fn notify(
    dialog: InviteDialog,
    before: Option<JoinHandle<()>>,
    code: u16,
    last: bool,
) -> JoinHandle<()> {
    let state = if last {
        "terminated;reason=noresource".to_owned()
    } else {
        format!("active;expires={NEWS_EXPIRE_S}")
    };
    let fields = vec![
        Header::Event("refer".into()),
        Header::SubscriptionState(state.into()),
        Header::ContentType("message/sipfrag;version=2.0".into()),
    ];
    let body = format!("SIP/2.0 {}\r\n", StatusCode::from(code)).into_bytes();
    tokio::spawn(async move {
        said(before).await;
        drop(tokio::time::timeout(NOTIFY_WAIT, dialog.notify(Some(fields), Some(body))).await);
    })
}

/// Waits until the news is told.
pub(super) async fn said(news: Option<JoinHandle<()>>) {
    if let Some(news) = news {
        drop(news.await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(fields: &str) -> Option<Target> {
        let text = format!(
            "REFER sip:hushpad@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n\
             From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@192.0.2.2>;tag=2\r\nCall-ID: 1\r\nCSeq: 2 REFER\r\n\
             {fields}Content-Length: 0\r\n\r\n"
        );
        target(&Request::try_from(text.as_bytes()).unwrap())
    }

    fn user(value: &str) -> Option<String> {
        named(&format!("Refer-To: {value}\r\n")).map(|target| target.user)
    }

    #[test]
    fn a_refer_names_one_user() {
        for value in ["<sip:agent2@pbx>", "\"A\" <sip:agent2@pbx;method=INVITE>;x=y", "sip:agent2@pbx;x=y"] {
            assert_eq!(user(value).as_deref(), Some("agent2"), "{value}");
        }
        for value in ["<sip:pbx>", "<sip:agent2@pbx;method=BYE>", "<tel:1", ""] {
            assert_eq!(user(value), None, "{value}");
        }
        assert_eq!(named(""), None);
        assert_eq!(named("Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@b>\r\n"), None);
    }

    #[test]
    fn an_attended_one_names_a_call_too() {
        let replaces = |value: &str| {
            named(&format!("Refer-To: <sip:a@b?Replaces={value}>\r\n")).map(|target| target.replaces)
        };
        let call = "12%40h%3Bto-tag%3D1%3Bfrom-tag%3D2";
        assert_eq!(replaces(call), Some(Some("12@h;to-tag=1;from-tag=2".to_owned())));
        for wrong in ["a%0D%0ARoute:x", "a%2", "a%zz", "a%C3%BC", &"a".repeat(MAX_REPLACES + 1)] {
            assert_eq!(replaces(wrong), None, "{wrong}");
        }
    }
}
