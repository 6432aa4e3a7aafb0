//! The bank's own check of who is paying (3-D Secure): where the payer goes for it, and from where. Only a payment on
//! a page has one; by telephone nobody can go anywhere. Holds no card data.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::masked_card::MaskedCard;
use crate::time::Timestamp;

/// The longest URL of a challenge: what browsers and gateways agree on.
pub const URL_BYTES_MAX: usize = 2_048;
/// A challenge posts two or three fields; a form with more is none of ours.
pub const FIELDS_MAX: usize = 16;
/// A payer authentication request is about a kilobyte long, encoded.
pub const FIELD_BYTES_MAX: usize = 4_096;
/// Ids that a gateway needs to go on: the payment, its method, its customer, and one more.
pub const REFERENCES_MAX: usize = 4;
/// Adyen's `paymentData` is the longest of them.
pub const REFERENCE_BYTES_MAX: usize = 4_096;
/// How often the payer is sent to the bank in one attempt. A payer who comes back so often without having confirmed
/// has given up, or is no payer.
pub const VISITS_MAX: u8 = 5;
/// What a browser says of itself is cut here: EMV 3-D Secure takes no more (`browserUserAgent`, `browserAcceptHeader`).
const HEADER_CHARS_MAX: usize = 2_048;
/// A language tag (RFC 5646) is shorter.
const LANGUAGE_CHARS_MAX: usize = 35;

/// Where the payer's bank checks who is paying, and what the gateway needs to go on afterwards.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    url: String,
    fields: Vec<(String, String)>,
    reference: Vec<String>,
}

/// A gateway asked for a challenge that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoChallenge {
    /// Not `https:`, or with characters that no URL has. `http:` is for this host only: a simulator.
    #[error("the challenge's URL is none that a payer can be sent to")]
    Url,
    /// Longer, or more, than the bounds above.
    #[error("the challenge is too long")]
    TooLong,
}

impl Challenge {
    /// A challenge at `url`: a plain link, or a form that posts `fields`. `reference` is what the gateway calls the
    /// payment, in its connector's own order.
    ///
    /// # Errors
    /// [`NoChallenge`]: the payer is not sent there.
    pub fn new(
        url: String,
        fields: Vec<(String, String)>,
        reference: Vec<String>,
    ) -> Result<Self, NoChallenge> {
        if !is_safe_url(&url) {
            return Err(NoChallenge::Url);
        }
        let too_long = url.len() > URL_BYTES_MAX
            || fields.len() > FIELDS_MAX
            || fields.iter().any(|(name, value)| name.len().max(value.len()) > FIELD_BYTES_MAX)
            || reference.len() > REFERENCES_MAX
            || reference.iter().any(|id| id.len() > REFERENCE_BYTES_MAX);
        if too_long { Err(NoChallenge::TooLong) } else { Ok(Self { url, fields, reference }) }
    }

    /// Where to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is posted there; none means a plain link.
    #[must_use]
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// What the gateway calls the payment.
    #[must_use]
    pub fn reference(&self) -> &[String] {
        &self.reference
    }

    /// Every text in it, for those who look for what must not be there.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        std::iter::once(self.url.as_str()).chain(fields).chain(self.reference.iter().map(String::as_str))
    }
}

/// Its texts are the payer's and the bank's: nothing prints them.
impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}

/// One visit of the payer to the bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Where, and what for.
    pub challenge: Challenge,
    /// The card that is asked about, masked: it is gone when the payer comes back.
    pub card: Option<MaskedCard>,
    /// When the payer is waited for no longer.
    pub until: Timestamp,
    /// Which visit of the attempt it is, from 1 to [`VISITS_MAX`].
    pub no: u8,
}

/// What the gateway is told of the payer's browser, so that the bank can check who it is, and where the bank sends it
/// back to.
#[derive(Clone, PartialEq, Eq)]
pub struct Browser {
    /// The page's URL that takes the payer back. Who knows it may look at the payment.
    pub return_url: String,
    /// Its `User-Agent`.
    pub user_agent: String,
    /// Its `Accept`.
    pub accept: String,
    /// The first of its `Accept-Language`.
    pub language: String,
    /// From where it came, when that is known.
    pub address: Option<IpAddr>,
}

impl Browser {
    /// A browser that said nothing of itself.
    #[must_use]
    pub fn returning_to(return_url: String) -> Self {
        let (user_agent, accept, language) = ("unknown".to_owned(), "*/*".to_owned(), "en".to_owned());
        Self { return_url, user_agent, accept, language, address: None }
    }

    /// With what its headers say. What is longer than EMV 3-D Secure takes is cut, what is no visible text is left
    /// out.
    #[must_use]
    pub fn saying(mut self, user_agent: Option<&str>, accept: Option<&str>, languages: Option<&str>) -> Self {
        let plain = |text: Option<&str>, chars_max: usize| {
            let text = text?.chars().filter(|each| matches!(each, ' '..='~')).take(chars_max);
            Some(text.collect::<String>()).filter(|text| !text.is_empty())
        };
        let first = languages.and_then(|all| all.split([',', ';']).next()).map(str::trim);
        let tag = plain(first, LANGUAGE_CHARS_MAX)
            .filter(|tag| tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        self.user_agent = plain(user_agent, HEADER_CHARS_MAX).unwrap_or(self.user_agent);
        self.accept = plain(accept, HEADER_CHARS_MAX).unwrap_or(self.accept);
        self.language = tag.unwrap_or(self.language);
        self
    }

    /// Scheme, host and port of the page.
    #[must_use]
    pub fn origin(&self) -> &str {
        let url = &self.return_url;
        let host_at = url.find("://").map_or(0, |at| at + 3);
        url[host_at..].find('/').map_or(url.as_str(), |path_at| &url[..host_at + path_at])
    }
}

/// The return URL holds the payment link.
impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").finish_non_exhaustive()
    }
}

/// `https:`, or `http:` to this host, and nothing that could end an attribute or a header.
fn is_safe_url(url: &str) -> bool {
    let plain = url.bytes().all(|byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`' | b'{' | b'}')
    });
    let rest = url.strip_prefix("https://").map(|rest| (rest, false));
    let Some((rest, local_only)) = rest.or_else(|| Some((url.strip_prefix("http://")?, true))) else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    // No user and password, and no `;`, which would end a directive of the page's policy.
    let is_host = !host.is_empty() && !authority.contains(['@', ';', ',']);
    plain && is_host && (!local_only || is_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Result<Challenge, NoChallenge> {
        Challenge::new(url.to_owned(), Vec::new(), Vec::new())
    }

    #[test]
    fn a_payer_is_sent_to_https_only_and_to_this_host() {
        for url in [
            "https://acs.example/3ds?x=1&y=2",
            "https://acs.example:8443",
            "http://127.0.0.1:9/acs/1",
            "http://[::1]:9/acs",
            "http://localhost/acs",
        ] {
            assert!(at(url).is_ok(), "{url}");
        }
        for url in [
            "http://acs.example/",
            "http://127.0.0.1.acs.example/",
            "javascript:alert(1)",
            "https://",
            "https://user@acs.example/",
            "https://acs.example;script-src/",
            "https://acs.example/\"onload=",
            "https://acs.example/a b",
            "https://acs.example/\r\nX: y",
            "//acs.example/",
            "",
        ] {
            assert_eq!(at(url), Err(NoChallenge::Url), "{url}");
        }
    }

    #[test]
    fn a_challenge_is_bounded_and_is_not_printed() {
        let field = |length: usize| ("creq".to_owned(), "x".repeat(length));
        let new = |fields: Vec<(String, String)>, ids: usize| {
            Challenge::new("https://acs.example/".to_owned(), fields, vec!["id".to_owned(); ids])
        };
        assert!(new(vec![field(FIELD_BYTES_MAX); FIELDS_MAX], REFERENCES_MAX).is_ok());
        assert_eq!(new(vec![field(1); FIELDS_MAX + 1], 0), Err(NoChallenge::TooLong));
        assert_eq!(new(vec![field(FIELD_BYTES_MAX + 1)], 0), Err(NoChallenge::TooLong));
        assert_eq!(new(Vec::new(), REFERENCES_MAX + 1), Err(NoChallenge::TooLong));
        assert_eq!(
            at(&format!("https://acs.example/{}", "x".repeat(URL_BYTES_MAX))),
            Err(NoChallenge::TooLong)
        );
        let shown = format!("{:?}", at("https://acs.example/secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_browser_is_told_of_in_bounds() {
        let browser = Browser::returning_to("https://pay.example:8/pay/x/back".to_owned());
        assert_eq!(browser.origin(), "https://pay.example:8");
        let long = "x".repeat(5_000);
        let told = browser.clone().saying(Some(&long), Some("text/html\r\nx: y"), Some("de-AT,en;q=0.5"));
        assert_eq!(told.user_agent.len(), HEADER_CHARS_MAX);
        assert_eq!((told.accept.as_str(), told.language.as_str()), ("text/htmlx: y", "de-AT"));
        let nothing = browser.clone().saying(None, Some(""), Some("\"/><"));
        assert_eq!(nothing, browser);
        assert!(!format!("{nothing:?}").contains("pay/x"));
    }
}
