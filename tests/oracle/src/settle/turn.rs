//! Whose turn it is, and for which eras: pure.

use std::collections::BTreeSet;

use agent_sla::protocol::Address;
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::settled::RANGE_ERAS_MAX;

/// When roots are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Eras of a root, at least.
    pub eras_per_root: u64,
    /// From the end of an era until its votes are cast, in milliseconds.
    pub grace_ms: u64,
    /// How long votes are waited for from then on, in milliseconds.
    pub votes_within_ms: u64,
    /// How long each oracle has its turn, in milliseconds, before the next one takes over.
    pub takeover_ms: u64,
}

/// What is known of an era's votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// So many oracles' votes are there, or known to be worth nothing.
    pub oracles: usize,
    /// Whether any are.
    pub any: bool,
    /// Whether all of our own are.
    pub own: bool,
}

impl Pace {
    /// When the votes of an era are cast, in milliseconds since 1970.
    #[must_use]
    pub fn cast_ms(&self, parameters: &Parameters, era: u64) -> u64 {
        parameters.begin_ms(Era(era.saturating_add(1))).saturating_add(self.grace_ms)
    }

    fn due_ms(&self, parameters: &Parameters, era: u64) -> u64 {
        self.cast_ms(parameters, era).saturating_add(self.votes_within_ms)
    }

    /// Whether an era may be settled: its votes are cast, our own are all there, and the others' are or are not waited
    /// for any more.
    #[must_use]
    pub fn is_ready(&self, parameters: &Parameters, era: u64, now_ms: u64, heard: Heard) -> bool {
        let is_in = heard.oracles >= parameters.oracles.len();
        let is_cast = now_ms >= self.cast_ms(parameters, era);
        is_cast && heard.own && (is_in || now_ms >= self.due_ms(parameters, era))
    }

    /// The last era of the root that begins with `from`; none while it is not to be made.
    #[must_use]
    pub fn last_era(
        &self,
        parameters: &Parameters,
        from: u64,
        now_ms: u64,
        heard: impl Fn(u64) -> Heard,
    ) -> Option<u64> {
        let most = from.saturating_add(RANGE_ERAS_MAX);
        let (mut to, mut any) = (None, false);
        for era in from..most {
            let of = heard(era);
            if !self.is_ready(parameters, era, now_ms, of) {
                break;
            }
            any |= of.any;
            to = Some(era);
        }
        let count = to?.saturating_sub(from).saturating_add(1);
        // Eras that nobody voted on are worth no transaction of their own.
        let is_worth = (any && count >= self.eras_per_root) || count >= RANGE_ERAS_MAX;
        to.filter(|_| is_worth)
    }

    /// Whose turn it is to propose the root that begins with `from`: the first as soon as there is something to
    /// propose, the others one after the other when its last era is due.
    #[must_use]
    pub fn leader(&self, parameters: &Parameters, from: u64, now_ms: u64) -> Option<Address> {
        let oracles = &parameters.oracles;
        let least = from.saturating_add(self.eras_per_root.saturating_sub(1));
        let late = now_ms.saturating_sub(self.due_ms(parameters, least));
        let turn = late.checked_div(self.takeover_ms).unwrap_or(0);
        let count = u64::try_from(oracles.len()).unwrap_or(1).max(1);
        let place = from.wrapping_add(turn) % count;
        nth(oracles, place)
    }
}

fn nth(oracles: &BTreeSet<Address>, place: u64) -> Option<Address> {
    oracles.iter().nth(usize::try_from(place).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters {
            chain: 1,
            contract: Address::ZERO,
            genesis: 0,
            era_seconds: 20,
            samples: 1,
            oracles: (1..=3).map(Address::repeat_byte).collect(),
        }
    }

    const PACE: Pace =
        Pace { eras_per_root: 1, grace_ms: 5000, votes_within_ms: 10_000, takeover_ms: 4000 };

    const ALL: Heard = Heard { oracles: 3, any: true, own: true };
    const TWO: Heard = Heard { oracles: 2, ..ALL };
    const NONE: Heard = Heard { oracles: 0, any: false, own: true };

    #[test]
    fn an_era_waits_for_its_votes_and_not_for_ever() {
        let at = |now, heard| PACE.last_era(&parameters(), 7, now, |_| heard);
        // Era 7 ends at 160 s, is cast at 165 s and due at 175 s.
        assert_eq!(at(164_999, ALL), None);
        assert_eq!(at(165_000, ALL), Some(7));
        assert_eq!(at(174_999, TWO), None);
        assert_eq!(at(175_000, TWO), Some(7));
        assert_eq!(at(175_000, NONE), None, "nothing is worth a transaction");
        assert_eq!(at(185_000, ALL), Some(8), "all that is there goes in");
        assert_eq!(at(u64::MAX, NONE), Some(7 + RANGE_ERAS_MAX - 1));
    }

    #[test]
    fn an_era_is_not_ready_without_our_own_votes() {
        let at = |now, heard| PACE.is_ready(&parameters(), 7, now, heard);
        assert_eq!((at(164_999, ALL), at(165_000, ALL)), (false, true));
        assert_eq!((at(174_999, NONE), at(175_000, NONE)), (false, true));
        let without = Heard { own: false, ..ALL };
        assert_eq!((at(165_000, without), at(u64::MAX, without)), (false, false));
    }

    #[test]
    fn a_gap_ends_a_range_and_few_eras_wait() {
        let heard = |era| if era == 8 { TWO } else { ALL };
        assert_eq!(PACE.last_era(&parameters(), 7, 190_000, heard), Some(7));
        let slow = Pace { eras_per_root: 2, ..PACE };
        assert_eq!(slow.last_era(&parameters(), 7, 190_000, heard), None);
        assert_eq!(slow.last_era(&parameters(), 7, 195_000, heard), Some(8));
    }

    #[test]
    fn turns_go_round() {
        let at = |now| PACE.leader(&parameters(), 7, now).expect("an oracle");
        let oracle = Address::repeat_byte;
        assert_eq!((at(0), at(178_999)), (oracle(2), oracle(2)));
        assert_eq!((at(179_000), at(183_000), at(187_000)), (oracle(3), oracle(1), oracle(2)));
        assert_eq!(
            PACE.leader(&parameters(), 8, 0),
            Some(oracle(3)),
            "another begins with the next"
        );
    }
}
