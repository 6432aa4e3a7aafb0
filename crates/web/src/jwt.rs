//! JSON Web Tokens of exactly one shape: JWS compact form (RFC 7515), Ed25519 (RFC 8037).
//!
//! Only we issue the tokens that we accept. So a token's header is not read, it is compared: it must be,
//! byte for byte, the header that we write. No other algorithm, no `none`, no `jku`, `x5u` or `jwk` can
//! get any further (RFC 8725, 3.1 and 3.11). Times are checked by the caller, who has the clock.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::signature::{self, Ed25519KeyPair, KeyPair};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

/// Ours have about 600 characters; longer ones are not worth a signature check.
const TOKEN_CHARS_MAX: usize = 4096;

/// A token that we did not issue, or that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the token is not ours")]
pub(crate) struct NotOurs;

/// A key that signs access tokens (`at+jwt`, RFC 9068), and checks them.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    key_id: String,
    /// The one header, encoded.
    header: String,
}

impl SigningKey {
    /// The key of this seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes are an Ed25519 seed");
        let key_hash = digest::digest(&digest::SHA256, pair.public_key().as_ref());
        let key_id = URL_SAFE_NO_PAD.encode(&key_hash.as_ref()[..9]);
        let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{key_id}"}}"#);
        Self { pair, key_id, header: URL_SAFE_NO_PAD.encode(header) }
    }

    /// A signed token with these claims.
    pub(crate) fn sign<C: Serialize>(&self, claims: &C) -> String {
        let claims = serde_json::to_vec(claims).expect("claims are structs of texts and numbers");
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// Whether the token's header is the one that this key writes.
    pub(crate) fn is_of(&self, token: &str) -> bool {
        token.split_once('.').is_some_and(|(header, _)| header == self.header)
    }

    /// Its public half (RFC 8037, section 2).
    pub(crate) fn public_jwk(&self) -> Value {
        let public = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.key_id, "x": public,
        })
    }

    /// The claims of a token that this key has signed. Its times are not looked at.
    ///
    /// # Errors
    /// [`NotOurs`] for everything else.
    pub(crate) fn verify<C: DeserializeOwned>(&self, token: &str) -> Result<C, NotOurs> {
        if token.len() > TOKEN_CHARS_MAX {
            return Err(NotOurs);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NotOurs)?;
        let (header, claims) = signed.split_once('.').ok_or(NotOurs)?;
        if header != self.header {
            return Err(NotOurs);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NotOurs)?;
        signature::UnparsedPublicKey::new(&signature::ED25519, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| NotOurs)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| NotOurs)?;
        serde_json::from_slice(&claims).map_err(|_| NotOurs)
    }
}

/// The claims of a client's assertion (RFC 7523) that this public key has signed: Ed25519, and nothing else.
///
/// # Errors
/// [`NotOurs`] for everything else. What the claims say is up to the caller.
pub(crate) fn verify_assertion<C: DeserializeOwned>(public: &[u8; 32], token: &str) -> Result<C, NotOurs> {
    #[derive(serde::Deserialize)]
    struct Header {
        alg: String,
    }
    if token.len() > TOKEN_CHARS_MAX {
        return Err(NotOurs);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(NotOurs)?;
    let (header, claims) = signed.split_once('.').ok_or(NotOurs)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| NotOurs);
    // The key is ours to know: of the header only the algorithm counts, and only to refuse others.
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| NotOurs)?;
    if header.alg != "EdDSA" {
        return Err(NotOurs);
    }
    signature::UnparsedPublicKey::new(&signature::ED25519, public)
        .verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| NotOurs)?;
    serde_json::from_slice(&decode(claims)?).map_err(|_| NotOurs)
}

/// The claims of a token, unverified: only to find out whose key to verify it with.
pub(crate) fn unverified_claims<C: DeserializeOwned>(token: &str) -> Option<C> {
    let claims = token.get(..TOKEN_CHARS_MAX.min(token.len()))?.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    #[test]
    fn what_is_signed_reads_back() {
        let token = key().sign(&("a", 1));
        assert_eq!(key().verify::<(String, u8)>(&token), Ok(("a".to_owned(), 1)));
    }

    #[test]
    fn other_keys_types_and_headers_are_refused() {
        let claims = URL_SAFE_NO_PAD.encode(r#"["a",1]"#);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        let signature = key().sign(&("a", 1)).rsplit('.').next().unwrap().to_owned();
        for token in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            SigningKey::from_seed(&[2; 32]).sign(&("a", 1)),
            format!("{}x", key().sign(&("a", 1))),
            "a".repeat(TOKEN_CHARS_MAX + 1),
        ] {
            assert_eq!(key().verify::<(String, u8)>(&token), Err(NotOurs), "{token}");
        }
    }

    #[test]
    fn one_changed_character_anywhere_is_refused() {
        let token = key().sign(&("a", 1));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(key().verify::<(String, u8)>(&changed), Err(NotOurs), "{at}");
        }
    }
}
