//! Session timers (RFC 4028): a call whose far end has vanished ends by itself.

use std::fmt;

use thiserror::Error;

/// The smallest session interval allowed, in seconds (RFC 4028 section 4).
pub const MIN_SE_S: u32 = 90;
/// The expiring side hangs up this much before the end, at most (RFC 4028 section 10), in seconds.
const EARLY_BYE_S: u32 = 32;

/// Who refreshes, in the roles of the request at hand (RFC 4028 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// The one that answers it.
    Uas,
}

/// The value of `Session-Expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The session interval, in seconds.
    pub expires_s: u32,
    /// Who refreshes, when it is said.
    pub refresher: Option<Refresher>,
}

impl SessionTimer {
    /// Reads a header value such as `1800;refresher=uas`; nothing if it has no number.
    #[must_use]
    pub fn read(value: &str) -> Option<Self> {
        let mut parts = value.split(';');
        let expires_s = parts.next()?.trim().parse().ok()?;
        let refresher = parts.find_map(|part| {
            let (name, who) = part.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("refresher") {
                return None;
            }
            match who.trim().to_ascii_lowercase().as_str() {
                "uac" => Some(Refresher::Uac),
                "uas" => Some(Refresher::Uas),
                _ => None,
            }
        });
        Some(Self { expires_s, refresher })
    }
}

impl fmt::Display for SessionTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expires_s)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// What a message says of session timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerFields {
    /// `Session-Expires`.
    pub session: Option<SessionTimer>,
    /// `Min-SE`, in seconds.
    pub min_se_s: Option<u32>,
    /// Whether `Supported` or `Require` names `timer`.
    pub supported: bool,
}

/// The interval asked for is below [`MIN_SE_S`]: answer 422 with `Min-SE` (RFC 4028 section 9).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the session interval is too small")]
pub struct IntervalTooSmall;

/// Decides on the timer of a request that we answer; `ours_s` is the longest interval we want, in seconds.
///
/// # Errors
/// [`IntervalTooSmall`], only when the sender knows session timers and so understands the refusal.
pub fn agree_as_server(asked: &TimerFields, ours_s: u32) -> Result<Option<SessionTimer>, IntervalTooSmall> {
    let ours_s = ours_s.max(MIN_SE_S);
    let Some(session) = asked.session else {
        // Nobody asked: we watch the far end ourselves when it can do without surprise.
        let refresher = Some(Refresher::Uas);
        return Ok(asked.supported.then_some(SessionTimer { expires_s: ours_s, refresher }));
    };
    if session.expires_s < MIN_SE_S && asked.supported {
        return Err(IntervalTooSmall);
    }
    let floor_s = asked.min_se_s.unwrap_or(0).max(MIN_SE_S);
    let refresher = match (asked.supported, session.refresher) {
        (false, _) => Refresher::Uas,
        (true, stated) => stated.unwrap_or(Refresher::Uac),
    };
    // We may shorten the interval, but not below what anybody on the path set (section 9).
    let expires_s = session.expires_s.min(ours_s.max(floor_s)).max(floor_s);
    Ok(Some(SessionTimer { expires_s, refresher: Some(refresher) }))
}

/// The timer of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// The far end does not know session timers.
    Off,
    /// We send a refresh at `next_ms`, and hang up at `end_ms` if none succeeds.
    Ours { interval_s: u32, next_ms: u64, end_ms: u64 },
    /// They refresh, or we hang up at `end_ms`.
    Theirs { interval_s: u32, end_ms: u64 },
}

impl Watch {
    /// After a 2xx of ours to a request of theirs.
    pub(super) fn as_server(agreed: Option<SessionTimer>, now_ms: u64) -> Self {
        agreed.map_or(Self::Off, |timer| match timer.refresher {
            Some(Refresher::Uas) => Self::ours(timer.expires_s, now_ms),
            Some(Refresher::Uac) | None => Self::theirs(timer.expires_s, now_ms),
        })
    }

    /// After a 2xx of theirs to a request of ours. Without the header nobody refreshes (section 7.2).
    pub(super) fn as_client(answered: &TimerFields, now_ms: u64) -> Self {
        answered.session.map_or(Self::Off, |timer| {
            let expires_s = timer.expires_s.max(MIN_SE_S);
            match timer.refresher {
                Some(Refresher::Uas) => Self::theirs(expires_s, now_ms),
                Some(Refresher::Uac) | None => Self::ours(expires_s, now_ms),
            }
        })
    }

    /// What to write into a request of ours on this leg.
    pub(super) fn asked(self) -> Option<SessionTimer> {
        match self {
            Self::Off => None,
            Self::Ours { interval_s, .. } => {
                Some(SessionTimer { expires_s: interval_s, refresher: Some(Refresher::Uac) })
            }
            Self::Theirs { interval_s, .. } => {
                Some(SessionTimer { expires_s: interval_s, refresher: Some(Refresher::Uas) })
            }
        }
    }

    /// When to look again.
    pub(super) fn deadline_ms(self) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Ours { next_ms, end_ms, .. } => Some(next_ms.min(end_ms)),
            Self::Theirs { end_ms, .. } => Some(end_ms),
        }
    }

    /// Whether the session is over.
    pub(super) fn is_over(self, now_ms: u64) -> bool {
        match self {
            Self::Off => false,
            Self::Ours { end_ms, .. } | Self::Theirs { end_ms, .. } => now_ms >= end_ms,
        }
    }

    /// Whether we should refresh now.
    pub(super) fn is_due(self, now_ms: u64) -> bool {
        matches!(self, Self::Ours { next_ms, .. } if now_ms >= next_ms)
    }

    /// Puts the next refresh off to `at_ms`; the end stays.
    pub(super) fn put_off(&mut self, at_ms: u64) {
        if let Self::Ours { next_ms, .. } = self {
            *next_ms = at_ms;
        }
    }

    fn ours(interval_s: u32, now_ms: u64) -> Self {
        let interval_ms = u64::from(interval_s) * 1000;
        let next_ms = now_ms.saturating_add(interval_ms / 2);
        Self::Ours { interval_s, next_ms, end_ms: now_ms.saturating_add(interval_ms) }
    }

    fn theirs(interval_s: u32, now_ms: u64) -> Self {
        let wait_s = interval_s.saturating_sub(EARLY_BYE_S.min(interval_s / 3));
        Self::Theirs { interval_s, end_ms: now_ms.saturating_add(u64::from(wait_s) * 1000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(value: &str, supported: bool) -> TimerFields {
        TimerFields { session: SessionTimer::read(value), min_se_s: None, supported }
    }

    #[test]
    fn headers_are_read_and_written() {
        let timer = SessionTimer::read(" 1800 ; Refresher=UAS").unwrap();
        assert_eq!(timer, SessionTimer { expires_s: 1800, refresher: Some(Refresher::Uas) });
        assert_eq!(timer.to_string(), "1800;refresher=uas");
        assert_eq!(SessionTimer::read("soon"), None);
        assert_eq!(SessionTimer::read("99999999999"), None);
    }

    #[test]
    fn the_answer_to_a_timer_follows_rfc_4028_table_2() {
        let agreed =
            |value, supported| agree_as_server(&asks(value, supported), 1800).unwrap().map(|t| t.to_string());
        assert_eq!(agreed("600", true).as_deref(), Some("600;refresher=uac"));
        assert_eq!(agreed("600;refresher=uas", true).as_deref(), Some("600;refresher=uas"));
        assert_eq!(agreed("7200;refresher=uac", true).as_deref(), Some("1800;refresher=uac"));
        assert_eq!(agreed("600", false).as_deref(), Some("600;refresher=uas"));
        assert_eq!(agreed("", true).as_deref(), Some("1800;refresher=uas"));
        assert_eq!(agreed("", false), None);
        assert_eq!(agree_as_server(&asks("60", true), 1800), Err(IntervalTooSmall));
        assert_eq!(agreed("60", false).as_deref(), Some("90;refresher=uas"));
    }

    #[test]
    fn the_interval_is_never_shortened_below_what_the_path_set() {
        let asked = TimerFields { min_se_s: Some(3600), ..asks("7200", true) };
        assert_eq!(agree_as_server(&asked, 1800).unwrap().unwrap().expires_s, 3600);
    }

    #[test]
    fn we_hang_up_a_little_before_a_silent_refresher_runs_out() {
        let answered = asks("90;refresher=uas", true);
        assert_eq!(Watch::as_client(&answered, 0).deadline_ms(), Some(60_000));
        let answered = asks("1800;refresher=uas", true);
        assert_eq!(Watch::as_client(&answered, 0).deadline_ms(), Some(1_768_000));
    }
}
