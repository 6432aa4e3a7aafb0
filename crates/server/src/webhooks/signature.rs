//! Signatures as in Standard Webhooks (standardwebhooks.com, version 1): HMAC-SHA-256 over id, time and body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hushpad_domain::time::Timestamp;
use ring::hmac;
use thiserror::Error;
use zeroize::Zeroizing;

/// The headers that carry it.
pub const ID: &str = "webhook-id";
/// When it was sent, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The signatures, with a space between them.
pub const SIGNATURE: &str = "webhook-signature";

const PREFIX: &str = "whsec_";
/// What the standard allows, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How far a time may be off: what the standard's libraries take.
const TOLERANCE_S: i64 = 5 * 60;

/// A secret shared with a receiver. No `Debug`: nothing prints it.
pub struct SigningSecret(hmac::Key);

/// Why a delivery is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unverified {
    /// A header is missing or unreadable.
    #[error("webhook-id, webhook-timestamp and webhook-signature must be there")]
    Headers,
    /// The time is too far from now.
    #[error("webhook-timestamp is more than five minutes from now")]
    TooOld,
    /// No signature is by this secret.
    #[error("no signature is by this secret")]
    Signature,
}

impl SigningSecret {
    /// Reads `whsec_` and the secret's bytes in base64.
    ///
    /// # Errors
    /// What is wrong, without the secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "must be {PREFIX} and {} to {} bytes in base64: echo {PREFIX}$(openssl rand -base64 32)",
                SECRET_BYTES.start(),
                SECRET_BYTES.end()
            )
        };
        let encoded = text.strip_prefix(PREFIX).ok_or_else(wrong)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| wrong())?);
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(wrong());
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn sign(&self, id: &str, seconds: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
            context.update(part);
        }
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// The value of `webhook-signature`: one signature by each secret, so that a receiver may change its own at any time.
#[must_use]
pub fn sign(secrets: &[SigningSecret], id: &str, seconds: &str, body: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, seconds, body)).collect::<Vec<_>>().join(" ")
}

/// What a receiver does: checks time and signature of what came.
///
/// # Errors
/// [`Unverified`].
pub fn verify(
    secret: &SigningSecret,
    headers: &http::HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Unverified> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(seconds), Some(signatures)) = (header(ID), header(TIMESTAMP), header(SIGNATURE))
    else {
        return Err(Unverified::Headers);
    };
    let sent_on: i64 = seconds.parse().map_err(|_| Unverified::Headers)?;
    if now.as_seconds().saturating_sub(sent_on).saturating_abs() > TOLERANCE_S {
        return Err(Unverified::TooOld);
    }
    let expected = secret.sign(id, seconds, body);
    let same = |signature: &str| {
        bool::from(subtle::ConstantTimeEq::ct_eq(signature.as_bytes(), expected.as_bytes()))
    };
    if signatures.split(' ').any(same) { Ok(()) } else { Err(Unverified::Signature) }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    /// The example of the standard's own libraries.
    const EXAMPLE_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(text).unwrap()
    }

    fn sent(secrets: &[SigningSecret], body: &[u8]) -> HeaderMap {
        let signature = sign(secrets, "msg_1", "1614265330", body);
        let pairs = [(ID, "msg_1"), (TIMESTAMP, "1614265330"), (SIGNATURE, signature.as_str())];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_standards_example_comes_out() {
        let signature = sign(
            &[secret(EXAMPLE_SECRET)],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_changed_both_verify() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let headers = sent(&[secret(&other), secret(EXAMPLE_SECRET)], b"{}");
        for text in [other.as_str(), EXAMPLE_SECRET] {
            assert_eq!(verify(&secret(text), &headers, b"{}", at(1_614_265_330)), Ok(()));
        }
        let stranger = secret(&format!("whsec_{}", STANDARD.encode([8; 32])));
        let verdict = verify(&stranger, &headers, b"{}", at(1_614_265_330));
        assert_eq!(verdict, Err(Unverified::Signature));
    }

    #[test]
    fn another_body_time_or_id_does_not_verify() {
        let own = secret(EXAMPLE_SECRET);
        let headers = sent(&[secret(EXAMPLE_SECRET)], b"{}");
        assert_eq!(verify(&own, &headers, b"{ }", at(1_614_265_330)), Err(Unverified::Signature));
        for off in [-301, 301] {
            assert_eq!(verify(&own, &headers, b"{}", at(1_614_265_330 + off)), Err(Unverified::TooOld));
        }
        let mut other = headers.clone();
        other.insert(ID, "msg_2".parse().unwrap());
        assert_eq!(verify(&own, &other, b"{}", at(1_614_265_330)), Err(Unverified::Signature));
        other.remove(ID);
        assert_eq!(verify(&own, &other, b"{}", at(1_614_265_330)), Err(Unverified::Headers));
    }

    #[test]
    fn a_secret_says_what_it_must_look_like_and_is_not_quoted() {
        for text in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!", "whsec_AAAA"] {
            let error = SigningSecret::parse(text).err().unwrap();
            assert!(
                error.starts_with("must be whsec_") && (text.is_empty() || !error.contains(text)),
                "{error}"
            );
        }
    }
}
