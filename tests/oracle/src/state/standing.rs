//! Who speaks for a node: sessions of the instances of one daemon key.
//!
//! ```text
//!            open                     open by another instance: it takes the place
//!  Nobody ---------> Live{now, former} <---+
//!    ^                 |          |________|
//!    |                 | one of `former` opens or speaks again
//!    |   next era      v
//!    +------------- Frozen{era, first, second}: both are told, nobody is taken
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;

use agent_sla::protocol::B256;
use agent_sla::protocol::parameters::Era;

/// Former instances that are remembered. More than a daemon may open at once
/// ([`BURST`](crate::limits::BURST) requests), so that none is forgotten before it can speak again.
pub const FORMER_MAX: usize = 32;

/// One process of a node, as it showed itself last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Drawn by the process when it started.
    pub instance: B256,
    /// SHA-256 of the certificate that it shows.
    pub certificate: B256,
    /// From where.
    pub peer: SocketAddr,
}

/// Who speaks for a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// No session is open.
    #[default]
    Nobody,
    /// One is.
    Live {
        /// Who holds it.
        now: End,
        /// Who did before, the newest last.
        former: VecDeque<End>,
    },
    /// Two speak with one key.
    Frozen {
        /// In this era.
        era: Era,
        /// Where the one speaks from that came back.
        first: SocketAddr,
        /// Where the one speaks from that held the session.
        second: SocketAddr,
        /// All that held sessions.
        ends: Vec<End>,
    },
}

/// What comes of it when one speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It holds the session.
    Fine,
    /// It holds none.
    NoSession,
    /// Two speak with one key.
    Conflict {
        /// Where one speaks from.
        first: SocketAddr,
        /// Where the other does.
        second: SocketAddr,
        /// Whether that is found just now.
        is_new: bool,
    },
}

impl Standing {
    /// A session is opened.
    pub fn open(&mut self, era: Era, end: End) -> Heard {
        if let Some(known) = self.frozen(era) {
            return known;
        }
        match self {
            Self::Nobody | Self::Frozen { .. } => {
                *self = Self::Live { now: end, former: VecDeque::new() };
                Heard::Fine
            }
            Self::Live { now, .. } if now.instance == end.instance => {
                *now = end;
                Heard::Fine
            }
            Self::Live { former, .. }
                if former.iter().any(|known| known.instance == end.instance) =>
            {
                self.freeze(era, end.peer)
            }
            Self::Live { now, former } => {
                if former.len() >= FORMER_MAX {
                    former.pop_front();
                }
                former.push_back(std::mem::replace(now, end));
                Heard::Fine
            }
        }
    }

    /// A request comes with this certificate.
    pub fn speak(&mut self, era: Era, certificate: &B256, peer: SocketAddr) -> Heard {
        if let Some(known) = self.frozen(era) {
            return known;
        }
        match self {
            Self::Live { now, .. } if now.certificate == *certificate => {
                now.peer = peer;
                Heard::Fine
            }
            Self::Live { former, .. }
                if former.iter().any(|known| known.certificate == *certificate) =>
            {
                self.freeze(era, peer)
            }
            _ => Heard::NoSession,
        }
    }

    /// The certificates that lead here.
    #[must_use]
    pub fn certificates(&self) -> Vec<B256> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Live { now, former } => {
                former.iter().chain([now]).map(|end| end.certificate).collect()
            }
            Self::Frozen { ends, .. } => ends.iter().map(|end| end.certificate).collect(),
        }
    }

    /// Where the one that holds the session speaks from.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Live { now, .. } => Some(now.peer),
            Self::Nobody | Self::Frozen { .. } => None,
        }
    }

    /// What is known to be frozen; what was frozen in another era begins anew.
    fn frozen(&mut self, now: Era) -> Option<Heard> {
        match self {
            Self::Frozen { era, first, second, .. } if *era == now => {
                Some(Heard::Conflict { first: *first, second: *second, is_new: false })
            }
            Self::Frozen { .. } => {
                *self = Self::Nobody;
                None
            }
            Self::Nobody | Self::Live { .. } => None,
        }
    }

    fn freeze(&mut self, era: Era, first: SocketAddr) -> Heard {
        let Self::Live { now, former } = std::mem::take(self) else { return Heard::NoSession };
        let second = now.peer;
        let ends = former.into_iter().chain([now]).collect();
        *self = Self::Frozen { era, first, second, ends };
        Heard::Conflict { first, second, is_new: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(name: u8) -> End {
        End {
            instance: B256::repeat_byte(name),
            certificate: B256::repeat_byte(0x80 | name),
            peer: ([192, 0, 2, name], 1).into(),
        }
    }

    /// What an instance does.
    #[derive(Debug, Clone, Copy)]
    enum Does {
        Open(u8),
        Speak(u8),
        NextEra,
    }

    fn does() -> impl Strategy<Value = Does> {
        prop_oneof![
            4 => (0_u8..4).prop_map(Does::Open),
            4 => (0_u8..4).prop_map(Does::Speak),
            1 => Just(Does::NextEra),
        ]
    }

    /// Told from the whole history: who opened, in their order, since the last thaw. An instance that
    /// opens or speaks when it opened before, and another one opened since, is the second of two.
    fn expected(opened: &[u8], who: u8, opens: bool) -> Option<bool> {
        let last = opened.iter().rposition(|other| *other == who);
        match last {
            None => opens.then_some(false),
            Some(at) => Some(opened[at..].iter().any(|other| *other != who)),
        }
    }

    proptest! {
        #[test]
        fn two_are_found_in_whatever_order_they_speak(steps in prop::collection::vec(does(), 0..40)) {
            let (mut standing, mut era, mut frozen) = (Standing::default(), Era(0), false);
            let mut opened: Vec<u8> = Vec::new();
            for step in steps {
                let (who, opens) = match step {
                    Does::NextEra => {
                        era.0 += 1;
                        if frozen {
                            (frozen, opened) = (false, Vec::new());
                        }
                        continue;
                    }
                    Does::Open(who) => (who, true),
                    Does::Speak(who) => (who, false),
                };
                let heard = if opens {
                    standing.open(era, end(who))
                } else {
                    standing.speak(era, &end(who).certificate, end(who).peer)
                };
                if frozen {
                    let is_told = matches!(heard, Heard::Conflict { is_new: false, .. });
                    prop_assert!(is_told, "{:?}", heard);
                    continue;
                }
                match expected(&opened, who, opens) {
                    None => prop_assert_eq!(heard, Heard::NoSession),
                    Some(true) => {
                        let other = *opened.last().expect("another");
                        let (first, second) = (end(who).peer, end(other).peer);
                        prop_assert_eq!(heard, Heard::Conflict { first, second, is_new: true });
                        frozen = true;
                    }
                    Some(false) => {
                        prop_assert_eq!(heard, Heard::Fine);
                        if opens {
                            opened.push(who);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_restarted_node_takes_its_own_place() {
        let mut standing = Standing::default();
        for name in 0..100 {
            assert_eq!(standing.open(Era(1), end(name)), Heard::Fine);
            assert_eq!(standing.speak(Era(1), &end(name).certificate, end(name).peer), Heard::Fine);
        }
        assert_eq!(standing.certificates().len(), FORMER_MAX + 1);
    }

    #[test]
    fn an_instance_may_show_another_certificate() {
        let mut standing = Standing::default();
        standing.open(Era(1), end(1));
        let renewed = End { certificate: B256::ZERO, ..end(1) };
        assert_eq!(standing.open(Era(1), renewed), Heard::Fine);
        assert_eq!(standing.speak(Era(1), &end(1).certificate, end(1).peer), Heard::NoSession);
        assert_eq!(standing.peer(), Some(end(1).peer));
    }
}
