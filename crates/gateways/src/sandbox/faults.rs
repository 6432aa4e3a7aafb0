//! What goes wrong on purpose: by a rule that was set, by chance with a seed, or by a magic amount.

use serde::{Deserialize, Serialize};

use super::format::Format;

/// More rules than this are refused; the oldest test has a handful.
const RULES_MAX: usize = 256;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Not processed: the connection is reset once the request is read.
    ResetBeforeCommit,
    /// Not processed, and never answered.
    NeverProcessed,
    /// Not processed: refused for being one too many, in the gateway's own words.
    Throttled,
    /// Not processed: status 503.
    Unavailable,
    /// Processed, and answered late.
    Slow {
        /// How late.
        delay_ms: u32,
    },
    /// Processed, and never answered.
    NeverAnswered,
    /// Processed, then the connection is reset.
    ResetAfterCommit,
    /// Processed, then status 500.
    ErrorAfterCommit,
    /// Processed, then bytes that are no HTTP.
    Garbage,
    /// Processed, then half of the answer.
    Truncated,
    /// Processed, then an answer of 256 KiB.
    TooLong,
    /// Processed, then an answer of 100 MB.
    Flood,
    /// Processed, and the answer comes twice.
    Twice,
    /// Processed, and the answer names another amount.
    OtherAmount,
    /// Processed, and the answer names another currency.
    OtherCurrency,
    /// Processed, then a web page with status 200.
    WebPage,
}

impl Fault {
    /// Whether nothing is processed.
    pub(super) fn is_before_commit(self) -> bool {
        matches!(self, Self::ResetBeforeCommit | Self::NeverProcessed | Self::Throttled | Self::Unavailable)
    }
}

/// A rule: these requests fail like this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// Only requests to this gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Format>,
    /// Only requests whose path holds this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only requests with this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// So many of them are left alone first.
    #[serde(default)]
    pub after: u32,
    /// For so many of them; then the rule is gone.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// Faults by chance: the same seed gives the same faults to the same sequence of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chaos {
    /// Where chance starts from.
    pub seed: u64,
    /// Of a hundred requests, so many fail.
    pub percent: u8,
    /// How they fail, one as likely as the other.
    pub faults: Vec<Fault>,
    /// Only requests that can move money fail, not questions.
    #[serde(default)]
    pub writes_only: bool,
}

/// All that shall go wrong.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    rules: Vec<Rule>,
    chaos: Option<Chaos>,
    drawn: u64,
}

impl FaultPlan {
    /// Adds a rule; `false` where there are too many.
    pub(super) fn add(&mut self, rule: Rule) -> bool {
        let has_room = self.rules.len() < RULES_MAX && rule.times > 0;
        if has_room {
            self.rules.push(rule);
        }
        has_room
    }

    pub(super) fn set_chaos(&mut self, chaos: Option<Chaos>) {
        self.chaos = chaos.filter(|chaos| !chaos.faults.is_empty());
        self.drawn = 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The fault of a request. The first rule that fits is used up by one.
    pub(super) fn take(&mut self, gateway: Format, method: &str, path: &str) -> Option<Fault> {
        let fits = |rule: &Rule| {
            rule.gateway.is_none_or(|wanted| wanted == gateway)
                && rule.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && rule.path.as_deref().is_none_or(|wanted| path.contains(wanted))
        };
        if let Some(index) = self.rules.iter().position(fits) {
            let rule = &mut self.rules[index];
            if rule.after > 0 {
                rule.after -= 1;
                return None;
            }
            rule.times -= 1;
            let fault = rule.fault;
            if rule.times == 0 {
                self.rules.remove(index);
            }
            return Some(fault);
        }
        let chaos = self.chaos.as_ref().filter(|chaos| !chaos.writes_only || method != "GET")?;
        self.drawn += 1;
        let chance = split_mix(chaos.seed.wrapping_add(self.drawn));
        if chance % 100 >= u64::from(chaos.percent) {
            return None;
        }
        let which = (chance / 100) % u64::try_from(chaos.faults.len()).ok()?;
        chaos.faults.get(usize::try_from(which).ok()?).copied()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): one well mixed number of a counter.
fn split_mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_waits_then_acts_then_goes() {
        let mut plan = FaultPlan::default();
        let rule =
            r#"{"fault":"slow","delay_ms":5,"gateway":"stripe","path":"/confirm","after":1,"times":2}"#;
        assert!(plan.add(serde_json::from_str(rule).unwrap()));
        let mut take = |gateway, path| plan.take(gateway, "POST", path);
        let slow = Some(Fault::Slow { delay_ms: 5 });
        assert_eq!(take(Format::Adyen, "/v72/payments/x/confirm"), None);
        let of_stripe: Vec<_> = (0..4).map(|_| take(Format::Stripe, "/v1/x/confirm")).collect();
        assert_eq!(of_stripe, [None, slow, slow, None]);
        assert!(plan.rules().is_empty());
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let drawn = |seed| {
            let mut plan = FaultPlan::default();
            let faults = vec![Fault::Garbage, Fault::ResetAfterCommit];
            plan.set_chaos(Some(Chaos { seed, percent: 30, faults, writes_only: false }));
            (0..100).map(|_| plan.take(Format::Generic, "POST", "/charges")).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let failed = drawn(7).iter().flatten().count();
        assert!((15..=45).contains(&failed), "{failed} of a hundred");
    }
}
