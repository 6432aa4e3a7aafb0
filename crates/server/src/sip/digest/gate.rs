//! The asking side: who sends this INVITE?

use std::collections::BTreeMap;

use ring::hmac;

use super::{Algorithm, Credential, Fields, Hashes, Question, hex, response, same};

/// What we call the place that is asked for.
const REALM: &str = "hushpad";
/// How long a nonce may be used, in milliseconds: long enough for a telephone system to use it for a few
/// calls, short enough that an answer overheard is soon worth nothing.
const NONCE_LIFE_MS: u64 = 300_000;
/// Nonces whose count is remembered. Only who knows a password adds one; 4,096 in five minutes are 13 calls
/// a second, each with a nonce of its own. Beyond, the oldest go out of use.
const MAX_NONCES: usize = 4096;
/// Length of the sign on a nonce: 128 bits in hex.
const SIGN_LEN: usize = 32;

/// Asks, and judges the answers. Nothing is kept for those who do not know a password.
pub(in crate::sip) struct Gate {
    key: hmac::Key,
    serial: u32,
    /// The highest count seen on each nonce in use.
    counts: BTreeMap<Stamp, u32>,
    /// Nonces up to this one are out of use.
    floor: Stamp,
}

/// When a nonce was made, in milliseconds, and a number that no other has.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp(u64, u32);

/// What the gate saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Verdict {
    /// The sender knows the password.
    Known,
    /// No answer to a question of ours: ask.
    Unasked,
    /// The right answer to a question that is over: ask once more (`stale=true`).
    Stale,
    /// A wrong answer: ask once more, and count it.
    Wrong,
}

/// The request that is judged.
pub(in crate::sip) struct Asked<'a> {
    /// The peer it came from; nonces of one are nothing to another.
    pub(in crate::sip) peer: &'a str,
    pub(in crate::sip) method: &'a str,
    /// The user part of its Request-URI.
    pub(in crate::sip) user: &'a str,
    /// What was offered.
    pub(in crate::sip) hashes: Hashes,
}

impl Gate {
    /// `secret` signs the nonces; random, and new at every start.
    pub(in crate::sip) fn new(secret: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self { key, serial: 0, counts: BTreeMap::new(), floor: Stamp::default() }
    }

    /// The values of `WWW-Authenticate`, the preferred one first (RFC 8760 section 2.4).
    pub(in crate::sip) fn questions(
        &mut self,
        now_ms: u64,
        peer: &str,
        hashes: Hashes,
        stale: bool,
    ) -> Vec<String> {
        self.serial = self.serial.wrapping_add(1);
        let nonce = self.nonce(Stamp(now_ms, self.serial), peer);
        let stale = if stale { ", stale=true" } else { "" };
        let question = |algorithm: &Algorithm| {
            format!(
                "Digest realm=\"{REALM}\", nonce=\"{nonce}\"{stale}, algorithm={}, qop=\"auth\"",
                algorithm.name()
            )
        };
        hashes.algorithms().iter().map(question).collect()
    }

    /// Judges the values of `Authorization` in a request.
    pub(in crate::sip) fn judge<'a>(
        &mut self,
        now_ms: u64,
        asked: &Asked<'_>,
        credential: &Credential,
        headers: impl Iterator<Item = &'a str>,
    ) -> Verdict {
        let ours = |fields: &Fields<'_>| fields.get("realm") == Some(REALM);
        let Some(fields) = headers.filter_map(Fields::read).find(ours) else { return Verdict::Unasked };
        match self.judge_fields(now_ms, asked, credential, &fields) {
            Some(verdict) => verdict,
            None => Verdict::Wrong,
        }
    }

    /// Nothing where a field is missing or cannot be.
    fn judge_fields(
        &mut self,
        now_ms: u64,
        asked: &Asked<'_>,
        credential: &Credential,
        fields: &Fields<'_>,
    ) -> Option<Verdict> {
        let algorithm = Algorithm::read(fields.get("algorithm"))?;
        if !asked.hashes.algorithms().contains(&algorithm) {
            return None;
        }
        let (nonce, uri, count) = (fields.get("nonce")?, fields.get("uri")?, fields.get("nc")?);
        // Without a count an answer could be used again.
        if fields.get("qop") != Some("auth") || count.len() != 8 {
            return None;
        }
        let counted = Some((count, fields.get("cnonce")?));
        let question = Question { algorithm, realm: REALM, nonce, method: asked.method, uri, counted };
        let right = response(credential, &question);
        // Hex digits may come in either case; the comparison takes the same time either way.
        let given = fields.get("response")?.to_ascii_lowercase();
        let known = same(&right, &given) & same(&credential.user, fields.get("username")?);
        // Some name only the host there (RFC 3261 section 22.4 leaves room); who names a user, means it.
        let user = user_of(uri)?;
        if !known || !(user.is_empty() || user == asked.user) {
            return Some(Verdict::Wrong);
        }
        let count = u32::from_str_radix(count, 16).ok()?;
        Some(if self.takes(now_ms, asked.peer, nonce, count) { Verdict::Known } else { Verdict::Stale })
    }

    /// Whether the nonce is ours and fresh, and the count on it new.
    fn takes(&mut self, now_ms: u64, peer: &str, nonce: &str, count: u32) -> bool {
        let Some(stamp) = Stamp::read(nonce) else { return false };
        let oldest = Stamp(now_ms.saturating_sub(NONCE_LIFE_MS), 0);
        if !same(&self.nonce(stamp, peer), nonce) || stamp < oldest || stamp <= self.floor {
            return false;
        }
        self.counts = self.counts.split_off(&oldest);
        let highest = self.counts.entry(stamp).or_insert(0);
        if count <= *highest {
            return false;
        }
        *highest = count;
        if self.counts.len() > MAX_NONCES
            && let Some((forgotten, _)) = self.counts.pop_first()
        {
            self.floor = forgotten;
        }
        true
    }

    fn nonce(&self, stamp: Stamp, peer: &str) -> String {
        let text = format!("{:016x}{:08x}", stamp.0, stamp.1);
        let sign = hex(hmac::sign(&self.key, format!("{text}{peer}").as_bytes()).as_ref());
        format!("{text}{}", &sign[..SIGN_LEN])
    }
}

impl Stamp {
    fn read(nonce: &str) -> Option<Self> {
        let (at, serial) = (nonce.get(..16)?, nonce.get(16..24)?);
        Some(Self(u64::from_str_radix(at, 16).ok()?, u32::from_str_radix(serial, 16).ok()?))
    }
}

/// The user part of a SIP URI; empty if it has none.
fn user_of(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:"))?;
    Some(rest.split_once('@').map_or("", |(user, _)| user))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked { peer: "pbx", method: "INVITE", user: "agent1", hashes: Hashes::Both };

    fn credential() -> Credential {
        Credential::new("pbx-user", "pbx-password")
    }

    fn nonce_of(question: &str) -> &str {
        Fields::read(question).unwrap().get("nonce").unwrap()
    }

    /// What a caller with these would say.
    fn says(algorithm: Algorithm, credential: &Credential, nonce: &str, count: u32) -> String {
        let (count, uri) = (format!("{count:08x}"), "sip:agent1@192.0.2.1");
        let counted = Some((count.as_str(), "c"));
        let question = Question { algorithm, realm: REALM, nonce, method: "INVITE", uri, counted };
        format!(
            "Digest username=\"{}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{}\", \
             algorithm={}, qop=auth, nc={count}, cnonce=\"c\"",
            credential.user,
            *response(credential, &question),
            algorithm.name()
        )
    }

    fn judged(gate: &mut Gate, now_ms: u64, header: &str) -> Verdict {
        gate.judge(now_ms, &ASKED, &credential(), [header].into_iter())
    }

    #[test]
    fn who_knows_the_password_comes_in_by_either_algorithm() {
        let mut gate = Gate::new(&[7; 32]);
        assert_eq!(gate.judge(0, &ASKED, &credential(), std::iter::empty()), Verdict::Unasked);
        for algorithm in Algorithm::ALL {
            let questions = gate.questions(1000, "pbx", Hashes::Both, false);
            let name =
                |question: &String| Fields::read(question).unwrap().get("algorithm").unwrap().to_owned();
            assert_eq!(questions.iter().map(name).collect::<Vec<_>>(), ["SHA-256", "MD5"]);
            let header = says(algorithm, &credential(), nonce_of(&questions[0]), 1);
            assert_eq!(judged(&mut gate, 2000, &header), Verdict::Known);
        }
    }

    #[test]
    fn a_wrong_password_user_method_or_number_stays_outside() {
        let mut gate = Gate::new(&[7; 32]);
        let questions = gate.questions(0, "pbx", Hashes::Both, false);
        let nonce = nonce_of(&questions[0]);
        let wrong = says(Algorithm::Md5, &Credential::new("pbx-user", "guess"), nonce, 1);
        assert_eq!(judged(&mut gate, 0, &wrong), Verdict::Wrong);
        let wrong = says(Algorithm::Md5, &Credential::new("other", "pbx-password"), nonce, 1);
        assert_eq!(judged(&mut gate, 0, &wrong), Verdict::Wrong);
        let right = says(Algorithm::Sha256, &credential(), nonce, 1);
        let others = [
            Asked { method: "BYE", ..ASKED },
            Asked { user: "agent2", ..ASKED },
            Asked { hashes: Hashes::Md5, ..ASKED },
        ];
        for asked in others {
            let verdict = gate.judge(0, &asked, &credential(), [right.as_str()].into_iter());
            assert_eq!(verdict, Verdict::Wrong);
        }
        for (field, other) in [("qop=auth", "x=y"), ("nc=00000001", "nc=1"), ("SHA-256", "MD4")] {
            assert_eq!(judged(&mut gate, 0, &right.replace(field, other)), Verdict::Wrong, "{field}");
        }
        assert_eq!(judged(&mut gate, 0, &right.replace("hushpad", "elsewhere")), Verdict::Unasked);
        assert_eq!(judged(&mut gate, 0, &right), Verdict::Known);
    }

    #[test]
    fn an_answer_counts_once_and_for_a_while() {
        let mut gate = Gate::new(&[7; 32]);
        let questions = gate.questions(1000, "pbx", Hashes::Both, false);
        let nonce = nonce_of(&questions[0]);
        let second = says(Algorithm::Sha256, &credential(), nonce, 2);
        assert_eq!(judged(&mut gate, 1000, &second), Verdict::Known);
        assert_eq!(judged(&mut gate, 1000, &second), Verdict::Stale);
        let first = says(Algorithm::Sha256, &credential(), nonce, 1);
        assert_eq!(judged(&mut gate, 1000, &first), Verdict::Stale);
        let third = says(Algorithm::Sha256, &credential(), nonce, 3);
        assert_eq!(judged(&mut gate, 1001 + NONCE_LIFE_MS, &third), Verdict::Stale);
        assert!(
            gate.questions(0, "pbx", Hashes::Both, true)
                .iter()
                .all(|question| question.contains("stale=true"))
        );
    }

    #[test]
    fn a_nonce_of_another_peer_or_start_is_over() {
        let mut gate = Gate::new(&[7; 32]);
        let foreign = [
            gate.questions(0, "trunk", Hashes::Both, false),
            Gate::new(&[8; 32]).questions(0, "pbx", Hashes::Both, false),
        ];
        for questions in &foreign {
            let header = says(Algorithm::Md5, &credential(), nonce_of(&questions[0]), 1);
            assert_eq!(judged(&mut gate, 0, &header), Verdict::Stale);
        }
        let made_up = says(Algorithm::Md5, &credential(), "ü", 1);
        assert_eq!(judged(&mut gate, 0, &made_up), Verdict::Stale);
    }

    #[test]
    fn what_is_forgotten_cannot_be_used_again() {
        let mut gate = Gate::new(&[7; 32]);
        let questions = gate.questions(0, "pbx", Hashes::Both, false);
        let first = says(Algorithm::Md5, &credential(), nonce_of(&questions[0]), 1);
        assert_eq!(judged(&mut gate, 0, &first), Verdict::Known);
        for _ in 0..MAX_NONCES {
            let questions = gate.questions(0, "pbx", Hashes::Both, false);
            let next = says(Algorithm::Md5, &credential(), nonce_of(&questions[0]), 1);
            assert_eq!(judged(&mut gate, 0, &next), Verdict::Known);
        }
        assert_eq!(gate.counts.len(), MAX_NONCES);
        assert_eq!(judged(&mut gate, 0, &first), Verdict::Stale);
    }
}
