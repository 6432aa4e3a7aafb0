//! Link codes: `*` and six digits that tie a call to an agent when nothing in the signalling does.
//!
//! The agent reads the code on the screen and keys it on the agent's own phone during the call, or sends the
//! call to `sip:*482913@…`. Only the agent's side counts: a customer must not choose whose screen a call opens
//! on, and could be told a code over the phone.
//!
//! A code lives minutes and works once. An agent has one at a time: asking again replaces it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

/// Digits behind the star: quick to key. Guessing is bounded below.
const DIGITS: usize = 6;
const SPACE: u32 = 1_000_000;
/// How long a code lives: an agent reads it off the screen and keys it at once.
const LIFE_MS: u64 = 5 * 60_000;
/// Codes at one time: a guess hits one in five hundred at the worst. More agents than that do not wait for a
/// call to be linked at the same moment.
const CODES_MAX: usize = 2_000;
/// Wrong codes keyed in one call, after which it does not listen any more.
const WRONG_PER_CALL: u8 = 3;
/// Wrong codes dialled by all peers together in a minute, after which none is taken until it is over.
const WRONG_DIALLED: u32 = 20;
const MINUTE_MS: u64 = 60_000;
/// Between two keys of one code.
const BETWEEN_KEYS_MS: u64 = 5_000;

/// The codes that are open.
#[derive(Default)]
pub(super) struct Codes(Mutex<State>);

#[derive(Default)]
struct State {
    /// By account and agent.
    open: HashMap<(String, String), Open>,
    wrong_dialled: u32,
    minute: u64,
}

struct Open {
    number: u32,
    until_ms: u64,
    told: watch::Sender<Option<Uuid>>,
}

/// A code that was asked for.
pub struct Issued {
    /// `*` and digits.
    pub code: String,
    /// When it ends, by the clock of [`now_ms`](crate::media::now_ms).
    pub until_ms: u64,
    linked: watch::Receiver<Option<Uuid>>,
}

impl Issued {
    /// Waits for the call that the code ties to its agent: its id, once it is answered. Nothing when the code ends
    /// another way.
    pub async fn linked(mut self) -> Option<Uuid> {
        self.linked.wait_for(Option::is_some).await.ok().and_then(|call| *call)
    }
}

/// Whom a code that was spent stands for. Dropped, the code has tied no call.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) account: String,
    pub(super) agent: String,
    told: watch::Sender<Option<Uuid>>,
}

impl Linked {
    /// The code has tied this call to its agent.
    pub(super) fn tell(self, call: Uuid) {
        self.told.send_replace(Some(call));
    }
}

impl Codes {
    /// A new code for the agent and when it ends; nothing when too many are open.
    pub(super) fn issue(
        &self,
        now_ms: u64,
        account: &str,
        agent: &str,
        mut chance: impl FnMut() -> u32,
    ) -> Option<Issued> {
        let mut state = self.lock();
        state.open.retain(|_, open| open.until_ms > now_ms);
        let agent = (account.to_owned(), agent.to_owned());
        state.open.remove(&agent);
        if state.open.len() >= CODES_MAX {
            return None;
        }
        // At most one in five hundred is taken, so this ends.
        let number = std::iter::repeat_with(|| chance() % SPACE)
            .take(64)
            .find(|number| state.open.values().all(|open| open.number != *number))?;
        let until_ms = now_ms.saturating_add(LIFE_MS);
        let (told, linked) = watch::channel(None);
        state.open.insert(agent, Open { number, until_ms, told });
        Some(Issued { code: format!("*{number:0width$}", width = DIGITS), until_ms, linked })
    }

    /// Spends a code that was keyed or referred to in a call of this account.
    pub(super) fn spend(&self, now_ms: u64, account: &str, code: &str) -> Option<Linked> {
        self.lock().spend(now_ms, Some(account), code)
    }

    /// Spends a code that was dialled.
    pub(super) fn spend_dialled(&self, now_ms: u64, code: &str) -> Option<Linked> {
        let mut state = self.lock();
        if now_ms / MINUTE_MS != state.minute {
            (state.minute, state.wrong_dialled) = (now_ms / MINUTE_MS, 0);
        }
        if state.wrong_dialled >= WRONG_DIALLED {
            return None;
        }
        let found = state.spend(now_ms, None, code);
        state.wrong_dialled += u32::from(found.is_none());
        found
    }

    /// Every change is one insertion or removal: whole even after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn spend(&mut self, now_ms: u64, account: Option<&str>, code: &str) -> Option<Linked> {
        let number: u32 = digits(code)?.parse().ok()?;
        let fits = |key: &(String, String), open: &Open| {
            open.number == number && open.until_ms > now_ms && account.is_none_or(|account| key.0 == account)
        };
        let key = self.open.iter().find(|(key, open)| fits(key, open)).map(|(key, _)| key.clone())?;
        let Open { told, .. } = self.open.remove(&key)?;
        Some(Linked { account: key.0, agent: key.1, told })
    }
}

/// Whether this is a code by its form.
pub(super) fn is_code(user: &str) -> bool {
    digits(user).is_some()
}

fn digits(code: &str) -> Option<&str> {
    code.strip_prefix('*').filter(|rest| rest.len() == DIGITS && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// The keys of one call that may become a code.
#[derive(Default)]
pub(super) struct CodeKeys {
    typed: String,
    last_ms: u64,
    wrong: u8,
}

impl CodeKeys {
    /// Takes a key; gives the code when it is whole.
    pub(super) fn key(&mut self, key: u8, at_ms: u64) -> Option<String> {
        if at_ms.saturating_sub(self.last_ms) > BETWEEN_KEYS_MS {
            self.typed.clear();
        }
        self.last_ms = at_ms;
        match key {
            b'*' => self.typed = "*".to_owned(),
            b'0'..=b'9' if !self.typed.is_empty() => self.typed.push(char::from(key)),
            _ => self.typed.clear(),
        }
        is_code(&self.typed).then(|| std::mem::take(&mut self.typed))
    }

    /// The code was wrong. Whether another one may be tried.
    pub(super) fn was_wrong(&mut self) -> bool {
        self.wrong += 1;
        self.wrong < WRONG_PER_CALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(account: &str, agent: &str) -> Option<String> {
        Some(format!("{account}/{agent}"))
    }

    fn whose(linked: Option<Linked>) -> Option<String> {
        linked.map(|linked| format!("{}/{}", linked.account, linked.agent))
    }

    #[test]
    fn a_code_works_once_in_its_account_and_in_its_time() {
        let codes = Codes::default();
        let issue = |now_ms| codes.issue(now_ms, "shop", "a", || 7_000_042).unwrap();
        let spend = |now_ms, account, code| whose(codes.spend(now_ms, account, code));
        let issued = issue(0);
        assert_eq!((issued.code.as_str(), issued.until_ms), ("*000042", LIFE_MS));
        assert_eq!(spend(1, "other", "*000042"), None);
        for wrong in ["000042", "*42", "*0000042", "*00004x", "*000043", ""] {
            assert_eq!(spend(1, "shop", wrong), None, "{wrong}");
        }
        assert_eq!(spend(1, "shop", "*000042"), agent("shop", "a"));
        assert_eq!(spend(1, "shop", "*000042"), None);
        issue(1);
        assert_eq!(spend(1 + LIFE_MS, "shop", "*000042"), None);
    }

    #[tokio::test]
    async fn who_asked_for_a_code_hears_what_became_of_it() {
        let codes = Codes::default();
        let issue = || codes.issue(0, "shop", "a", || 42).unwrap();
        let spend = || codes.spend(0, "shop", "*000042").unwrap();
        // Before anybody waits, and after.
        let (issued, call) = (issue(), Uuid::from_u128(7));
        spend().tell(call);
        assert_eq!(issued.linked().await, Some(call));
        let waiting = tokio::spawn(issue().linked());
        spend().tell(call);
        assert_eq!(waiting.await.unwrap(), Some(call));
        // The call that it was keyed in came to nothing; another code took its place.
        let issued = issue();
        drop(spend());
        assert_eq!(issued.linked().await, None);
        let issued = issue();
        let _next = issue();
        assert_eq!(issued.linked().await, None);
    }

    #[test]
    fn an_agent_has_one_code_and_no_two_agents_the_same() {
        let codes = Codes::default();
        let mut numbers = [1, 1, 2, 3].into_iter();
        let mut issue = |who| codes.issue(0, "shop", who, || numbers.next().unwrap()).unwrap().code;
        assert_eq!([issue("a"), issue("b"), issue("a")], ["*000001", "*000002", "*000003"]);
        assert!(codes.spend(0, "shop", "*000001").is_none());
    }

    #[test]
    fn codes_are_bounded_and_guessing_by_dialling_ends() {
        let codes = Codes::default();
        for n in 0..CODES_MAX {
            let number = u32::try_from(n).unwrap();
            assert!(codes.issue(0, "shop", &n.to_string(), || number).is_some());
        }
        assert!(codes.issue(0, "shop", "x", || 999_999).is_none());
        assert!(codes.issue(LIFE_MS, "shop", "x", || 999_999).is_some());
        for _ in 0..WRONG_DIALLED {
            assert!(codes.spend_dialled(LIFE_MS, "*123456").is_none());
        }
        assert!(codes.spend_dialled(LIFE_MS, "*999999").is_none());
        let dialled = codes.spend_dialled(LIFE_MS + MINUTE_MS, "*999999");
        assert_eq!(whose(dialled), agent("shop", "x"));
    }

    #[test]
    fn keys_make_a_code_from_its_star_on() {
        let mut keys = CodeKeys::default();
        let mut typed = |text: &str, pace_ms: u64| {
            let codes: Vec<_> =
                text.bytes().zip(1..).filter_map(|(key, n)| keys.key(key, n * pace_ms)).collect();
            keys.last_ms = 0;
            codes.join(" ")
        };
        assert_eq!(typed("12*3*482913", 100), "*482913");
        assert_eq!(typed("482913", 100), "");
        assert_eq!(typed("*48#2913", 100), "");
        assert_eq!(typed("*482913*000001", 100), "*482913 *000001");
        assert_eq!(typed("*482913", BETWEEN_KEYS_MS + 1), "");
        assert!(keys.was_wrong() && keys.was_wrong() && !keys.was_wrong());
    }
}
