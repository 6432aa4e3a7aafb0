//! Who may send on a leg (see the advisory CVE-2025-53399 for what happens when anybody may).

use std::net::SocketAddr;

/// A peer behind a NAT is decided on within this many packets.
const LEARNING_PACKETS: u8 = 5;

/// So many of them from one address settle it at once: more than half.
const MAJORITY: u8 = 3;

/// Decides which address packets of a leg may come from.
#[derive(Default)]
pub(super) struct Source {
    sdp: Option<SocketAddr>,
    rule: Rule,
}

#[derive(Default)]
enum Rule {
    /// Only from where the SDP says.
    #[default]
    AsSdp,
    /// The first packets decide.
    Learning { candidates: [Option<Candidate>; LEARNING_PACKETS as usize], packets: u8 },
    /// Decided: from here and nowhere else.
    Locked(SocketAddr),
}

#[derive(Clone, Copy)]
struct Candidate {
    address: SocketAddr,
    packets: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// It may turn out to be the peer; its packets do not count yet.
    Undecided,
    Foreign,
}

impl Source {
    /// Takes what the SDP says. What was learned stays as long as the address in the SDP does. `true` when
    /// the place the packets come from is no longer the one it was.
    pub(super) fn set(&mut self, sdp: Option<SocketAddr>, nat: bool) -> bool {
        let learns = !matches!(self.rule, Rule::AsSdp);
        let same_address = sdp.is_none() || sdp == self.sdp;
        if same_address && nat == learns {
            return false;
        }
        let moved = self.sdp.is_some() && !same_address;
        self.sdp = sdp.or(self.sdp);
        self.rule = if nat {
            Rule::Learning { candidates: [None; LEARNING_PACKETS as usize], packets: 0 }
        } else {
            Rule::AsSdp
        };
        moved
    }

    /// The address that was learned.
    pub(super) fn locked(&self) -> Option<SocketAddr> {
        match self.rule {
            Rule::Locked(address) => Some(address),
            Rule::AsSdp | Rule::Learning { .. } => None,
        }
    }

    /// Judges a packet that is RTP by its form.
    pub(super) fn judge(&mut self, from: SocketAddr) -> Verdict {
        let expected = match &mut self.rule {
            Rule::AsSdp => self.sdp,
            Rule::Locked(address) => Some(*address),
            // From where the SDP says: there is no NAT after all.
            Rule::Learning { .. } if self.sdp == Some(from) => {
                self.rule = Rule::Locked(from);
                Some(from)
            }
            Rule::Learning { candidates, packets } => {
                let Some(winner) = learn(candidates, packets, from) else {
                    return Verdict::Undecided;
                };
                self.rule = Rule::Locked(winner);
                Some(winner)
            }
        };
        if expected == Some(from) { Verdict::Accepted } else { Verdict::Foreign }
    }
}

fn learn(candidates: &mut [Option<Candidate>], packets: &mut u8, from: SocketAddr) -> Option<SocketAddr> {
    *packets += 1;
    let place =
        candidates.iter_mut().find(|place| place.is_none_or(|candidate| candidate.address == from))?;
    let candidate = place.get_or_insert(Candidate { address: from, packets: 0 });
    candidate.packets += 1;
    let settled = candidate.packets >= MAJORITY || *packets >= LEARNING_PACKETS;
    // Of equals the one that came first: `max_by_key` gives the last, so look from the end.
    let winner = candidates.iter().flatten().rev().max_by_key(|candidate| candidate.packets)?;
    settled.then_some(winner.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn learning() -> Source {
        let mut source = Source::default();
        source.set(Some(at(1)), true);
        source
    }

    #[test]
    fn without_nat_only_the_sdp_counts() {
        let mut source = Source::default();
        source.set(Some(at(1)), false);
        assert_eq!(source.judge(at(1)), Verdict::Accepted);
        for _ in 0..20 {
            assert_eq!(source.judge(at(2)), Verdict::Foreign);
        }
    }

    #[test]
    fn behind_a_nat_three_of_five_packets_decide_for_good() {
        let mut source = learning();
        let verdicts: Vec<_> = [2, 3, 2, 2].into_iter().map(|port| source.judge(at(port))).collect();
        assert_eq!(verdicts[..3], [Verdict::Undecided; 3]);
        assert_eq!(verdicts[3], Verdict::Accepted);
        assert_eq!(source.locked(), Some(at(2)));
        assert_eq!(source.judge(at(3)), Verdict::Foreign);
        assert_eq!(source.judge(at(1)), Verdict::Foreign);
    }

    #[test]
    fn five_packets_always_decide() {
        let mut source = learning();
        for port in 2..7 {
            source.judge(at(port));
        }
        assert_eq!(source.locked(), Some(at(2)));
    }

    #[test]
    fn a_packet_from_where_the_sdp_says_settles_it() {
        let mut source = learning();
        source.judge(at(2));
        assert_eq!(source.judge(at(1)), Verdict::Accepted);
        assert_eq!(source.judge(at(2)), Verdict::Foreign);
    }

    #[test]
    fn what_was_learned_outlives_a_repeated_sdp_and_a_hold_without_address() {
        let mut source = learning();
        for _ in 0..3 {
            source.judge(at(2));
        }
        assert!(!source.set(Some(at(1)), true));
        assert!(!source.set(None, true));
        assert!(!source.set(Some(at(1)), true));
        assert_eq!(source.locked(), Some(at(2)));
        assert!(source.set(Some(at(9)), true));
        assert_eq!(source.locked(), None);
    }
}
