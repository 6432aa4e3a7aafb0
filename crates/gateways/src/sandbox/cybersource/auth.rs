//! Who asks: a JWT signed with the shared secret (HS256), or the older HTTP Signature
//! (developer.cybersource.com, "Authentication"; both as in their Python SDK 0.0.80).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hushpad_domain::time::Timestamp;
use ring::{digest, hmac};
use serde_json::Value;

use super::{CYBERSOURCE_KEY_ID, CYBERSOURCE_MERCHANT, CYBERSOURCE_SECRET};
use crate::sandbox::http::{Ask, text_at};
use crate::sandbox::ledger::start_of;

/// How far a clock may be off: CyberSource's own bound for the date of a signature.
const SKEW_S: i64 = 300;

/// No token is valid for longer.
const VALID_S: i64 = 120;

/// The hosts that a request may be signed for when it comes through somebody in between.
const OWN_HOSTS: [&str; 2] = ["apitest.cybersource.com", "api.cybersource.com"];

/// `None` where the request is not surely the merchant's.
pub(super) fn verify(ask: &Ask, now: Timestamp) -> Option<()> {
    match ask.header("authorization").strip_prefix("Bearer ") {
        Some(token) => verify_token(token, ask, now.as_seconds()),
        None => verify_signature(ask, now.as_seconds()),
    }
}

fn key() -> Option<hmac::Key> {
    Some(hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(CYBERSOURCE_SECRET).ok()?))
}

fn body_digest(ask: &Ask) -> String {
    STANDARD.encode(digest::digest(&digest::SHA256, &ask.body))
}

fn holds(condition: bool) -> Option<()> {
    condition.then_some(())
}

fn verify_token(token: &str, ask: &Ask, now_s: i64) -> Option<()> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (head, claims) = (json(head)?, json(claims)?);
    holds(head["alg"] == "HS256" && head["kid"] == CYBERSOURCE_KEY_ID)?;
    hmac::verify(&key()?, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let claim = |name: &str| text_at(&claims, &[name]).unwrap_or_default();
    holds(claim("iss") == CYBERSOURCE_MERCHANT && claim("v-c-merchant-id") == CYBERSOURCE_MERCHANT)?;
    holds(claim("v-c-jwt-version") == "2" && !claim("jti").is_empty())?;
    let (issued, expires) = (claims["iat"].as_i64()?, claims["exp"].as_i64()?);
    holds(issued <= now_s + SKEW_S && expires > now_s && (0..=VALID_S).contains(&(expires - issued)))?;
    holds(claim("request-method") == ask.method.as_str() && claim("request-resource-path") == ask.target())?;
    let host = claim("request-host");
    holds(host == ask.header("host") || OWN_HOSTS.contains(&host.as_ref()))?;
    if ask.is_get() {
        return Some(());
    }
    holds(claim("digestAlgorithm") == "SHA-256" && claim("digest") == body_digest(ask))
}

fn verify_signature(ask: &Ask, now_s: i64) -> Option<()> {
    let given = ask.header("signature");
    let part = |name: &str| {
        let start = given.find(&format!("{name}=\""))? + name.len() + 2;
        let rest = given.get(start..)?;
        rest.get(..rest.find('"')?)
    };
    holds(part("keyid")? == CYBERSOURCE_KEY_ID && part("algorithm")? == "HmacSHA256")?;
    holds(ask.header("v-c-merchant-id") == CYBERSOURCE_MERCHANT)?;
    let names: Vec<&str> = part("headers")?.split(' ').collect();
    let has = |name: &str| names.contains(&name);
    holds(has("host") && has("v-c-merchant-id") && (has("date") || has("v-c-date")))?;
    holds(has("request-target") || has("(request-target)"))?;
    let date = if has("v-c-date") { ask.header("v-c-date") } else { ask.header("date") };
    holds((seconds_of(date)? - now_s).abs() <= SKEW_S)?;
    if !ask.is_get() {
        holds(has("digest") && ask.header("digest") == format!("SHA-256={}", body_digest(ask)))?;
    }
    let target = format!("{} {}", ask.method.as_str().to_ascii_lowercase(), ask.target());
    let lines: Vec<String> = names
        .iter()
        .map(|name| match *name {
            "request-target" | "(request-target)" => format!("{name}: {target}"),
            name => format!("{name}: {}", ask.header(name)),
        })
        .collect();
    let signature = STANDARD.decode(part("signature")?).ok()?;
    hmac::verify(&key()?, lines.join("\n").as_bytes(), &signature).ok()
}

/// An HTTP date, such as `Mon, 23 Nov 2026 07:51:12 GMT` (RFC 9110, section 5.6.7).
fn seconds_of(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = date.split_once(", ")?;
    let [day, month, year, time, "GMT"] = date.split(' ').collect::<Vec<_>>()[..] else { return None };
    let month = u8::try_from(MONTHS.iter().position(|name| *name == month)? + 1).ok()?;
    let numbers: Vec<i64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hours, minutes, seconds] = numbers[..] else { return None };
    let days = day.parse::<i64>().ok()? - 1;
    let start = start_of((year.parse().ok()?, month)).as_seconds();
    Some(start + ((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use zeroize::Zeroizing;

    use super::*;

    /// The moment of the vectors: 2026-08-21T00:00:00Z.
    const NOW_S: i64 = 1_787_270_400;
    const BODY: &[u8] = b"{\"a\":1}";

    fn ask(headers: &[(&str, &str)], body: &[u8]) -> Ask {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        Ask {
            method: Method::POST,
            path: "/pts/v2/payments".to_owned(),
            query: String::new(),
            headers: map,
            body: Zeroizing::new(body.to_vec()),
        }
    }

    fn signed(text: &str) -> String {
        STANDARD.encode(hmac::sign(&key().unwrap(), text.as_bytes()))
    }

    fn with_signature(date: &str, body: &[u8]) -> Ask {
        let digest = format!("SHA-256={}", STANDARD.encode(digest::digest(&digest::SHA256, BODY)));
        let text = format!(
            "host: apitest.cybersource.com\ndate: {date}\nrequest-target: post /pts/v2/payments\ndigest: {digest}\nv-c-merchant-id: sandbox_merchant"
        );
        let signature = format!(
            "keyid=\"sandbox-key\", algorithm=\"HmacSHA256\", headers=\"host date request-target digest v-c-merchant-id\", signature=\"{}\"",
            signed(&text)
        );
        ask(
            &[
                ("host", "apitest.cybersource.com"),
                ("date", date),
                ("digest", &digest),
                ("v-c-merchant-id", "sandbox_merchant"),
                ("signature", &signature),
            ],
            body,
        )
    }

    fn is_verified(ask: &Ask) -> bool {
        verify(ask, Timestamp::from_micros(NOW_S * 1_000_000)).is_some()
    }

    #[test]
    fn a_signature_holds_for_its_body_and_its_time_only() {
        assert!(is_verified(&with_signature("Fri, 21 Aug 2026 00:00:00 GMT", BODY)));
        assert!(is_verified(&with_signature("Thu, 20 Aug 2026 23:55:01 GMT", BODY)));
        assert!(!is_verified(&with_signature("Thu, 20 Aug 2026 23:54:59 GMT", BODY)));
        assert!(!is_verified(&with_signature("Fri, 21 Aug 2026 00:00:00 GMT", b"{\"a\":2}")));
        assert!(!is_verified(&ask(&[], BODY)));
    }

    #[test]
    fn a_token_holds_for_its_request_and_for_two_minutes() {
        let token = |exp: i64, path: &str| {
            let head = URL_SAFE_NO_PAD.encode(r#"{"kid":"sandbox-key","alg":"HS256","typ":"JWT"}"#);
            let digest = STANDARD.encode(digest::digest(&digest::SHA256, BODY));
            let claims = serde_json::json!({
                "digest": digest, "digestAlgorithm": "SHA-256", "iat": exp - 120, "exp": exp,
                "request-method": "POST", "request-host": "apitest.cybersource.com",
                "request-resource-path": path, "iss": "sandbox_merchant", "jti": "x",
                "v-c-jwt-version": "2", "v-c-merchant-id": "sandbox_merchant",
            });
            let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
            let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key().unwrap(), signed.as_bytes()));
            ask(&[("authorization", &format!("Bearer {signed}.{signature}"))], BODY)
        };
        assert!(is_verified(&token(NOW_S + 120, "/pts/v2/payments")));
        assert!(!is_verified(&token(NOW_S, "/pts/v2/payments")));
        assert!(!is_verified(&token(NOW_S + 120, "/pts/v2/captures")));
        let mut other = token(NOW_S + 120, "/pts/v2/payments");
        other.body = Zeroizing::new(b"{}".to_vec());
        assert!(!is_verified(&other));
    }
}
