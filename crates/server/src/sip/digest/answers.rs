//! The answering side: our credentials, dialog by dialog.

use std::collections::{HashMap, VecDeque};

use super::{Algorithm, Credential, Fields, Question, response};

/// Answers remembered per dialog, so that a request sent again says the same. Requests under way at once:
/// one change, a few keys, a BYE.
const MAX_REMEMBERED: usize = 16;

/// What each dialog of ours was asked and answered; one entry per dialog that has a credential.
#[derive(Default)]
pub(in crate::sip) struct Answers {
    dialogs: HashMap<String, Dialog>,
}

struct Dialog {
    credential: Credential,
    challenge: Option<Challenge>,
    /// Answers given to this challenge.
    count: u32,
    /// Answers by the number of their request.
    given: VecDeque<(u32, Answer)>,
}

/// What to write into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Answer {
    /// Whether a proxy asked (407): `Proxy-Authorization`, not `Authorization`.
    pub(in crate::sip) is_proxy: bool,
    pub(in crate::sip) value: String,
}

/// A question we can answer.
struct Challenge {
    is_proxy: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// `qop=auth` was offered.
    counted: bool,
}

/// What to do with a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Reply {
    /// Send the request again; [`Answers::answer`] has the words. The realm that asks, and whether it only
    /// wants a fresh answer.
    Again { realm: String, stale: bool },
    /// There is no credential for this dialog.
    NoCredential,
    /// None of the challenges is one we can answer: another realm, or an algorithm we do not know.
    CannotAnswer,
    /// Our answer was wrong.
    Refused,
}

impl Reply {
    /// The name for logs.
    pub(in crate::sip) fn name(&self) -> &'static str {
        match self {
            Self::Again { .. } => "again",
            Self::NoCredential => "no_credential",
            Self::CannotAnswer => "cannot_answer",
            Self::Refused => "refused",
        }
    }
}

impl Answers {
    /// Answers for the dialog with this Call-ID from now on.
    pub(in crate::sip) fn begin(&mut self, call_id: &str, credential: Credential) {
        let dialog = Dialog { credential, challenge: None, count: 0, given: VecDeque::new() };
        self.dialogs.insert(call_id.to_owned(), dialog);
    }

    pub(in crate::sip) fn end(&mut self, call_id: &str) {
        self.dialogs.remove(call_id);
    }

    /// Takes the challenges in the answer to request number `sequence`.
    pub(in crate::sip) fn challenged<'a>(
        &mut self,
        call_id: &str,
        sequence: u32,
        is_proxy: bool,
        headers: impl Iterator<Item = &'a str>,
    ) -> Reply {
        let Some(dialog) = self.dialogs.get_mut(call_id) else { return Reply::NoCredential };
        let known = headers.filter_map(|header| Challenge::read(header, is_proxy));
        let ours = known.filter(|(challenge, _)| dialog.credential.answers(&challenge.realm));
        let Some((challenge, stale)) = ours.min_by_key(|(challenge, _)| challenge.algorithm) else {
            return Reply::CannotAnswer;
        };
        if !stale && dialog.given.iter().any(|(number, _)| *number == sequence) {
            return Reply::Refused;
        }
        let realm = challenge.realm.clone();
        if dialog.challenge.as_ref().is_none_or(|before| before.nonce != challenge.nonce) {
            dialog.count = 0;
        }
        dialog.challenge = Some(challenge);
        Reply::Again { realm, stale }
    }

    /// The answer for a request; the same for the same number,
    /// which an ACK and a CANCEL share with their INVITE. `cnonce` is random, and used if it is a new one.
    pub(in crate::sip) fn answer(
        &mut self,
        call_id: &str,
        sequence: u32,
        method: &str,
        uri: &str,
        cnonce: &str,
    ) -> Option<Answer> {
        let dialog = self.dialogs.get_mut(call_id)?;
        if let Some((_, answer)) = dialog.given.iter().find(|(number, _)| *number == sequence) {
            return Some(answer.clone());
        }
        if matches!(method, "ACK" | "CANCEL") {
            return None;
        }
        let challenge = dialog.challenge.as_ref()?;
        dialog.count += 1;
        let value = challenge.answer(&dialog.credential, dialog.count, method, uri, cnonce);
        let answer = Answer { is_proxy: challenge.is_proxy, value };
        if dialog.given.len() == MAX_REMEMBERED {
            dialog.given.pop_front();
        }
        dialog.given.push_back((sequence, answer.clone()));
        Some(answer)
    }
}

impl Challenge {
    /// The challenge, and whether it says `stale=true`.
    fn read(header: &str, is_proxy: bool) -> Option<(Self, bool)> {
        let fields = Fields::read(header)?;
        let counted = match fields.get("qop") {
            Some(list) if list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
            None => false,
        };
        let stale = fields.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        let challenge = Self {
            is_proxy,
            realm: fields.get("realm")?.to_owned(),
            nonce: fields.get("nonce")?.to_owned(),
            opaque: fields.get("opaque").map(str::to_owned),
            algorithm: Algorithm::read(fields.get("algorithm"))?,
            counted,
        };
        Some((challenge, stale))
    }

    fn answer(&self, credential: &Credential, count: u32, method: &str, uri: &str, cnonce: &str) -> String {
        let (algorithm, realm, nonce) = (self.algorithm, self.realm.as_str(), self.nonce.as_str());
        let count = format!("{count:08x}");
        let counted = self.counted.then_some((count.as_str(), cnonce));
        let question = Question { algorithm, realm, nonce, method, uri, counted };
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{}\", algorithm={}",
            credential.user,
            *response(credential, &question),
            algorithm.name()
        );
        if let Some((count, cnonce)) = counted {
            value.push_str(&format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque=\"{opaque}\""));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = r#"Digest realm="pbx", nonce="n1", algorithm=MD5, qop="auth,auth-int", opaque="o""#;
    const SHA: &str = r#"Digest realm="pbx", nonce="n1", algorithm=SHA-256, qop="auth""#;

    fn asked(credential: Credential, headers: &[&str]) -> (Answers, Reply) {
        let mut answers = Answers::default();
        answers.begin("call", credential);
        let reply = answers.challenged("call", 1, false, headers.iter().copied());
        (answers, reply)
    }

    fn again(stale: bool) -> Reply {
        Reply::Again { realm: "pbx".to_owned(), stale }
    }

    #[test]
    fn the_stronger_question_is_answered() {
        for order in [[MD5, SHA], [SHA, MD5]] {
            let (mut answers, reply) = asked(Credential::new("u", "p"), &order);
            assert_eq!(reply, again(false));
            let value = answers.answer("call", 2, "INVITE", "sip:a@b", "c").unwrap().value;
            assert!(value.contains("algorithm=SHA-256") && value.contains("nc=00000001"), "{value}");
        }
        let (mut answers, _) = asked(Credential::new("u", "p"), &[MD5]);
        let value = answers.answer("call", 2, "INVITE", "sip:a@b", "c").unwrap().value;
        assert!(value.contains("algorithm=MD5") && value.contains("opaque=\"o\""), "{value}");
    }

    #[test]
    fn a_request_sent_again_says_the_same_and_the_next_counts_on() {
        let (mut answers, _) = asked(Credential::new("u", "p"), &[SHA]);
        let first = answers.answer("call", 2, "INVITE", "sip:a@b", "c").unwrap();
        assert_eq!(answers.answer("call", 2, "INVITE", "sip:a@b", "d").unwrap(), first);
        assert_eq!(answers.answer("call", 2, "ACK", "sip:x@y", "d").unwrap(), first);
        assert!(answers.answer("call", 3, "INFO", "sip:a@b", "e").unwrap().value.contains("nc=00000002"));
        assert_eq!(answers.answer("call", 4, "CANCEL", "sip:a@b", "f"), None);
        assert_eq!(answers.answer("other", 2, "INVITE", "sip:a@b", "c"), None);
        for sequence in 10..100 {
            answers.answer("call", sequence, "INFO", "sip:a@b", "c").unwrap();
        }
        assert_eq!(answers.dialogs["call"].given.len(), MAX_REMEMBERED);
        answers.end("call");
        assert!(answers.dialogs.is_empty());
    }

    #[test]
    fn a_wrong_answer_is_not_given_twice_and_a_stale_one_is() {
        let (mut answers, _) = asked(Credential::new("u", "p"), &[SHA]);
        answers.answer("call", 2, "INVITE", "sip:a@b", "c").unwrap();
        assert_eq!(answers.challenged("call", 2, false, [SHA].into_iter()), Reply::Refused);
        let stale = SHA.replace("n1", "n2") + ", stale=true";
        assert_eq!(answers.challenged("call", 2, false, [stale.as_str()].into_iter()), again(true));
        let value = answers.answer("call", 3, "INVITE", "sip:a@b", "c").unwrap().value;
        assert!(value.contains("nonce=\"n2\"") && value.contains("nc=00000001"), "{value}");
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        let reply = |credential: Credential, header: &str| asked(credential, &[header]).1;
        let credential = || Credential::new("u", "p");
        assert_eq!(reply(credential().for_realm("pbx"), SHA), again(false));
        assert_eq!(reply(credential().for_realm("elsewhere"), SHA), Reply::CannotAnswer);
        assert_eq!(reply(credential(), &SHA.replace("SHA-256", "SHA-512-256")), Reply::CannotAnswer);
        assert_eq!(reply(credential(), &SHA.replace("\"auth\"", "\"auth-int\"")), Reply::CannotAnswer);
        assert_eq!(reply(credential(), "Basic realm=\"pbx\""), Reply::CannotAnswer);
        let mut nobody = Answers::default();
        assert_eq!(nobody.challenged("call", 1, false, [SHA].into_iter()), Reply::NoCredential);
    }
}
