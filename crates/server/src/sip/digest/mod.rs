//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 section 22), pure: time and secrets are given.
//!
//! [`gate::Gate`] asks callers who they are, [`answers::Answers`] tells the agents' side who we are. The
//! stack has a digest of its own, but it knows `SHA-256` by a wrong name, no list of `qop`, and one use of a
//! nonce, so it only carries what is made here.

pub(super) mod answers;
pub(super) mod gate;

use std::fmt;
use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Longest header of this kind read; real ones have about 400 bytes.
const MAX_HEADER_BYTES: usize = 2048;
/// Most fields of one header; RFC 7616 knows twelve.
const MAX_FIELDS: usize = 24;

/// A user name and a password for digest authentication. Neither is ever shown.
#[derive(Clone)]
pub struct Credential {
    user: String,
    password: Zeroizing<String>,
    realm: Option<String>,
}

impl Credential {
    /// A credential that answers whatever realm asks.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: Zeroizing::new(password.into()), realm: None }
    }

    /// Answers this realm only: nobody else gets so much as a hash made with the password.
    #[must_use]
    pub fn for_realm(self, realm: impl Into<String>) -> Self {
        Self { realm: Some(realm.into()), ..self }
    }

    fn answers(&self, realm: &str) -> bool {
        self.realm.as_ref().is_none_or(|ours| ours == realm)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(•)")
    }
}

/// Which hashes a caller is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hashes {
    /// SHA-256 and, for those who do not know it, MD5 (RFC 8760 section 2.4).
    #[default]
    Both,
    /// SHA-256 only.
    Sha256,
    /// MD5 only: some older systems give up when the first thing they are offered is unknown to them.
    Md5,
}

impl Hashes {
    fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Both => &Algorithm::ALL,
            Self::Sha256 => &[Algorithm::Sha256],
            Self::Md5 => &[Algorithm::Md5],
        }
    }
}

/// The hash; the first one is preferred (RFC 8760 section 2.3). The `-sess` forms are not in use in SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Sha256,
    Md5,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// Where none is named, it is MD5 (RFC 7616 section 3.3).
    fn read(name: Option<&str>) -> Option<Self> {
        let Some(name) = name else { return Some(Self::Md5) };
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    fn hash(self, parts: &[&str]) -> Zeroizing<String> {
        let text = Zeroizing::new(parts.join(":"));
        match self {
            Self::Sha256 => hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()),
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
        }
    }
}

/// Everything an answer is made of but the credential.
struct Question<'a> {
    algorithm: Algorithm,
    realm: &'a str,
    nonce: &'a str,
    method: &'a str,
    uri: &'a str,
    /// `nc` and `cnonce`, where `qop=auth` is used.
    counted: Option<(&'a str, &'a str)>,
}

/// The `response` field (RFC 7616 section 3.4.1).
fn response(credential: &Credential, question: &Question<'_>) -> Zeroizing<String> {
    let Question { algorithm, realm, nonce, method, uri, counted } = *question;
    let who = algorithm.hash(&[&credential.user, realm, &credential.password]);
    let what = algorithm.hash(&[method, uri]);
    match counted {
        Some((count, cnonce)) => algorithm.hash(&[&who, nonce, count, cnonce, "auth", &what]),
        None => algorithm.hash(&[&who, nonce, &what]),
    }
}

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    bytes.iter().fold(Zeroizing::new(String::with_capacity(bytes.len() * 2)), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(*text, "{byte:02x}");
        text
    })
}

/// The fields of a `Digest` header. Quoted values stay as they were written, since that is what both sides
/// hash.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    /// Nothing if it is another scheme, malformed or too long.
    fn read(header: &'a str) -> Option<Self> {
        let header = header.trim();
        if header.len() > MAX_HEADER_BYTES {
            return None;
        }
        let (scheme, mut rest) = header.split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut fields = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if rest.is_empty() {
                return Some(Self(fields));
            }
            if fields.len() == MAX_FIELDS {
                return None;
            }
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after.trim_start())?;
            fields.push((name.trim(), value));
            rest = after;
        }
    }

    /// Nothing if the field is missing or there twice.
    fn get(&self, name: &str) -> Option<&'a str> {
        let mut found = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, value) = found.next()?;
        found.next().is_none().then_some(*value)
    }
}

/// A value and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim(), &text[end..]));
    };
    let mut escaped = false;
    let end = quoted.char_indices().find_map(|(at, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        '"' => Some(at),
        _ => None,
    })?;
    Some((&quoted[..end], &quoted[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 section 3.9.1.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let credential = Credential::new("Mufasa", "Circle of Life");
        let question = |algorithm| Question {
            algorithm,
            realm: "http-auth@example.org",
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            method: "GET",
            uri: "/dir/index.html",
            counted: Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
        };
        assert_eq!(*response(&credential, &question(Algorithm::Md5)), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            *response(&credential, &question(Algorithm::Sha256)),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn a_credential_is_never_shown() {
        let credential = Credential::new("user-seen", "password-seen").for_realm("realm-seen");
        assert!(!format!("{credential:?}").contains("seen"));
    }

    #[test]
    fn fields_are_read_as_they_are_written() {
        let fields = Fields::read(r#"digest realm="a, \"b\"" ,nonce = "n=1",qop=auth,,stale=TRUE"#).unwrap();
        assert_eq!(fields.get("Realm"), Some(r#"a, \"b\""#));
        assert_eq!(fields.get("nonce"), Some("n=1"));
        assert_eq!((fields.get("qop"), fields.get("stale")), (Some("auth"), Some("TRUE")));
        assert_eq!(fields.get("opaque"), None);
        assert_eq!(Fields::read("Digest a=1, a=2").unwrap().get("a"), None);
        for wrong in ["", "Digest", "Basic a=b", "Digest a", "Digest a=\"b", "Digest a=\"\\"] {
            assert!(Fields::read(wrong).is_none(), "{wrong}");
        }
        assert!(Fields::read(&format!("Digest {}", "a=1,".repeat(MAX_FIELDS + 1))).is_none());
        assert!(Fields::read(&format!("Digest a={}", "x".repeat(MAX_HEADER_BYTES))).is_none());
    }
}
