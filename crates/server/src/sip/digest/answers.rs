//! The answering side: our credentials, dialog by dialog.

use std::collections::{HashMap, VecDeque};

use super::{Algorithm, Credential, Fields, Question, response};

/// Answers remembered per dialog, so that a request sent again says the same. Requests under way at once:
/// one change, a few keys, a BYE.
const MAX_REMEMBERED: usize = 16;

/// Places that may ask on one dialog: the phone, and the proxies before it. The oldest is forgotten.
const MAX_CHALLENGES: usize = 4;

/// What each dialog of ours was asked and answered; one entry per dialog that has a credential.
#[derive(Default)]
pub(in crate::sip) struct Answers {
    dialogs: HashMap<String, Dialog>,
}

struct Dialog {
    credential: Credential,
    /// The newest of each asker: a proxy and the phone behind it may both ask (RFC 3261 section 22.3).
    challenges: VecDeque<Challenge>,
    /// Answers by the number of their request.
    given: VecDeque<(u32, Vec<Answer>)>,
}

/// What to write into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Answer {
    asker: Asker,
    pub(in crate::sip) value: String,
}

impl Answer {
    /// Whether a proxy asked (407): `Proxy-Authorization`, not `Authorization`.
    pub(in crate::sip) fn is_to_proxy(&self) -> bool {
        self.asker.is_proxy
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asker {
    is_proxy: bool,
    realm: String,
}

/// A question we can answer.
struct Challenge {
    asker: Asker,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// `qop=auth` was offered.
    counted: bool,
    /// Answers given to it.
    count: u32,
}

/// What to do with a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Reply {
    /// Send the request again; [`Answers::answer`] has the words. The realm that asks, and whether what was sent
    /// had an answer in it already: a stale one, or one to somebody else.
    Again { realm: String, once_more: bool },
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
        let dialog = Dialog { credential, challenges: VecDeque::new(), given: VecDeque::new() };
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
        let ours = known.filter(|(challenge, _)| dialog.credential.answers(&challenge.asker.realm));
        let Some((challenge, stale)) = ours.min_by_key(|(challenge, _)| challenge.algorithm) else {
            return Reply::CannotAnswer;
        };
        let given = dialog.given.iter().find(|(number, _)| *number == sequence);
        let answered = given.is_some_and(|(_, given)| given.iter().any(|one| one.asker == challenge.asker));
        if answered && !stale {
            return Reply::Refused;
        }
        let reply = Reply::Again { realm: challenge.asker.realm.clone(), once_more: given.is_some() };
        dialog.asked(challenge);
        reply
    }

    /// The answers for a request, one for each that asked; the same for the same number,
    /// which an ACK and a CANCEL share with their INVITE. `cnonce` is random, and used if it is a new one.
    pub(in crate::sip) fn answer(
        &mut self,
        call_id: &str,
        sequence: u32,
        method: &str,
        uri: &str,
        cnonce: &str,
    ) -> Vec<Answer> {
        let Some(dialog) = self.dialogs.get_mut(call_id) else { return Vec::new() };
        if let Some((_, answers)) = dialog.given.iter().find(|(number, _)| *number == sequence) {
            return answers.clone();
        }
        if matches!(method, "ACK" | "CANCEL") || dialog.challenges.is_empty() {
            return Vec::new();
        }
        let credential = &dialog.credential;
        let challenges = dialog.challenges.iter_mut();
        let answers: Vec<_> = challenges.map(|one| one.answer(credential, method, uri, cnonce)).collect();
        if dialog.given.len() == MAX_REMEMBERED {
            dialog.given.pop_front();
        }
        dialog.given.push_back((sequence, answers.clone()));
        answers
    }
}

impl Dialog {
    fn asked(&mut self, challenge: Challenge) {
        let known = self.challenges.iter_mut().find(|known| known.asker == challenge.asker);
        match known {
            // The same nonce counts on.
            Some(known) => {
                let count = if known.nonce == challenge.nonce { known.count } else { 0 };
                *known = Challenge { count, ..challenge };
            }
            None => {
                if self.challenges.len() == MAX_CHALLENGES {
                    self.challenges.pop_front();
                }
                self.challenges.push_back(challenge);
            }
        }
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
            asker: Asker { is_proxy, realm: fields.get("realm")?.to_owned() },
            nonce: fields.get("nonce")?.to_owned(),
            opaque: fields.get("opaque").map(str::to_owned),
            algorithm: Algorithm::read(fields.get("algorithm"))?,
            counted,
            count: 0,
        };
        Some((challenge, stale))
    }

    fn answer(&mut self, credential: &Credential, method: &str, uri: &str, cnonce: &str) -> Answer {
        self.count += 1;
        let (algorithm, realm, nonce) = (self.algorithm, self.asker.realm.as_str(), self.nonce.as_str());
        let count = format!("{:08x}", self.count);
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
        Answer { asker: self.asker.clone(), value }
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

    fn again(once_more: bool) -> Reply {
        Reply::Again { realm: "pbx".to_owned(), once_more }
    }

    /// The one answer to an INVITE or another request.
    fn only(answers: &mut Answers, sequence: u32, method: &str, cnonce: &str) -> Answer {
        let mut given = answers.answer("call", sequence, method, "sip:a@b", cnonce);
        assert_eq!(given.len(), 1);
        given.remove(0)
    }

    #[test]
    fn the_stronger_question_is_answered() {
        for order in [[MD5, SHA], [SHA, MD5]] {
            let (mut answers, reply) = asked(Credential::new("u", "p"), &order);
            assert_eq!(reply, again(false));
            let value = only(&mut answers, 2, "INVITE", "c").value;
            assert!(value.contains("algorithm=SHA-256") && value.contains("nc=00000001"), "{value}");
        }
        let (mut answers, _) = asked(Credential::new("u", "p"), &[MD5]);
        let value = only(&mut answers, 2, "INVITE", "c").value;
        assert!(value.contains("algorithm=MD5") && value.contains("opaque=\"o\""), "{value}");
    }

    #[test]
    fn a_request_sent_again_says_the_same_and_the_next_counts_on() {
        let (mut answers, _) = asked(Credential::new("u", "p"), &[SHA]);
        let first = only(&mut answers, 2, "INVITE", "c");
        assert_eq!(only(&mut answers, 2, "INVITE", "d"), first);
        assert_eq!(only(&mut answers, 2, "ACK", "d"), first);
        assert!(only(&mut answers, 3, "INFO", "e").value.contains("nc=00000002"));
        assert_eq!(answers.answer("call", 4, "CANCEL", "sip:a@b", "f"), []);
        assert_eq!(answers.answer("other", 2, "INVITE", "sip:a@b", "c"), []);
        for sequence in 10..100 {
            only(&mut answers, sequence, "INFO", "c");
        }
        assert_eq!(answers.dialogs["call"].given.len(), MAX_REMEMBERED);
        answers.end("call");
        assert!(answers.dialogs.is_empty());
    }

    #[test]
    fn a_wrong_answer_is_not_given_twice_and_a_stale_one_is() {
        let (mut answers, _) = asked(Credential::new("u", "p"), &[SHA]);
        only(&mut answers, 2, "INVITE", "c");
        assert_eq!(answers.challenged("call", 2, false, [SHA].into_iter()), Reply::Refused);
        let stale = SHA.replace("n1", "n2") + ", stale=true";
        assert_eq!(answers.challenged("call", 2, false, [stale.as_str()].into_iter()), again(true));
        let value = only(&mut answers, 3, "INVITE", "c").value;
        assert!(value.contains("nonce=\"n2\"") && value.contains("nc=00000001"), "{value}");
    }

    #[test]
    fn a_proxy_and_the_phone_behind_it_are_both_answered() {
        let mut answers = Answers::default();
        answers.begin("call", Credential::new("u", "p"));
        let proxy = SHA.replace("pbx", "proxy").replace("n1", "m1");
        let asks = |answers: &mut Answers, sequence, is_proxy, header: &str| {
            answers.challenged("call", sequence, is_proxy, [header].into_iter())
        };
        let said = |once_more, realm: &str| Reply::Again { realm: realm.to_owned(), once_more };
        assert_eq!(asks(&mut answers, 1, true, &proxy), said(false, "proxy"));
        assert!(only(&mut answers, 2, "INVITE", "c").is_to_proxy());
        assert_eq!(asks(&mut answers, 2, false, SHA), said(true, "pbx"));
        let both = answers.answer("call", 3, "INVITE", "sip:a@b", "c");
        let [to_proxy, to_phone] = both.as_slice() else { panic!("{both:?}") };
        assert!(to_proxy.is_to_proxy() && to_proxy.value.contains("nonce=\"m1\""), "{to_proxy:?}");
        assert!(to_proxy.value.contains("nc=00000002"), "{to_proxy:?}");
        assert!(!to_phone.is_to_proxy() && to_phone.value.contains("nc=00000001"), "{to_phone:?}");
        // Whoever asks twice found the answer wrong.
        assert_eq!(asks(&mut answers, 3, true, &proxy), Reply::Refused);
        assert_eq!(asks(&mut answers, 3, false, SHA), Reply::Refused);
        for n in 0..10 {
            asks(&mut answers, 3, true, &proxy.replace("proxy", &format!("proxy{n}")));
        }
        assert_eq!(answers.dialogs["call"].challenges.len(), MAX_CHALLENGES);
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
