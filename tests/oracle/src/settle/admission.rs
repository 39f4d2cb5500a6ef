//! Whom the chain admits: daemons that `NodeRegistry` knows as a node's key. Asked beside the list, remembered, and asked
//! again in turn. Where the chain does not answer, what was known last counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_settlement::abi::reference::NodeRegistry;
use agent_settlement::chain::At;
use agent_sla::protocol::{Address, B256};
use tracing::{info, warn};

use super::net::{Net, NetError};
use crate::setup::ADMITTED_MAX;

/// Strangers that wait for an answer at once, and that were turned away and are remembered.
const STRANGERS_MAX: usize = 1024;

/// Daemons that are asked about in one look, three questions each: 100,000 take an hour.
const ASKED_AT_ONCE: usize = 64;

/// The states of a node that is at work: healthy to slashing (`NodeRegistry.State`).
const AT_WORK: std::ops::RangeInclusive<u8> = 1..=4;

/// Whether a daemon is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    /// It is; for that node alone, where one is named.
    For(Option<B256>),
    /// It is not.
    No,
    /// It is being asked about.
    NotYet,
}

#[derive(Debug, Default)]
struct Known {
    nodes: BTreeMap<Address, B256>,
    /// Who is in no registry; whoever asks again is asked about again.
    turned: BTreeSet<Address>,
    wanted: BTreeSet<Address>,
    /// Where the round of those that are known goes on.
    next: Option<Address>,
}

/// What is known of the registry.
#[derive(Debug)]
pub struct Admission {
    registry: Address,
    known: Mutex<Known>,
}

impl Admission {
    /// Asks this registry.
    #[must_use]
    pub fn new(registry: Address) -> Self {
        Self { registry, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a daemon is admitted, as far as is known. Who is not known is asked about at the next look.
    #[must_use]
    pub fn find(&self, daemon: &Address) -> Admits {
        let mut known = self.known();
        if let Some(node) = known.nodes.get(daemon) {
            return Admits::For(Some(*node));
        }
        if known.turned.remove(daemon) {
            return Admits::No;
        }
        if known.wanted.len() < STRANGERS_MAX {
            known.wanted.insert(*daemon);
        }
        Admits::NotYet
    }

    /// Takes what the registry says of a daemon: its node, or none.
    fn take(&self, daemon: Address, found: Option<B256>) {
        let mut known = self.known();
        known.wanted.remove(&daemon);
        let before = known.nodes.get(&daemon).copied();
        match found {
            Some(node) if before.is_some() || known.nodes.len() < ADMITTED_MAX => {
                known.nodes.insert(daemon, node);
            }
            Some(_) => warn!(%daemon, "more than {ADMITTED_MAX} daemons; it is not admitted"),
            None => {
                known.nodes.remove(&daemon);
                known.turned.insert(daemon);
                while known.turned.len() > STRANGERS_MAX {
                    known.turned.pop_first();
                }
            }
        }
        if before != found {
            info!(%daemon, node = ?found, "what the registry says of a daemon changed");
        }
    }

    /// Whom to ask about now: who waits, and some of those that are known, in turn.
    fn next(&self) -> Vec<Address> {
        let mut known = self.known();
        let mut asked: Vec<Address> = known.wanted.iter().take(ASKED_AT_ONCE).copied().collect();
        let after = known.next.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let room = ASKED_AT_ONCE.saturating_sub(asked.len());
        let again = known.nodes.range((after, std::ops::Bound::Unbounded)).take(room);
        let again: Vec<Address> = again.map(|(daemon, _)| *daemon).collect();
        known.next = if again.len() < room { None } else { again.last().copied() };
        asked.extend(again);
        asked
    }

    /// Asks about some daemons in an era.
    ///
    /// # Errors
    /// The chain does not say; what was known stays.
    pub(super) async fn refresh(&self, net: &Net, era: u64) -> Result<(), NetError> {
        for daemon in self.next() {
            let found = self.ask(net, daemon, era).await?;
            self.take(daemon, found);
        }
        Ok(())
    }

    async fn ask(&self, net: &Net, daemon: Address, era: u64) -> Result<Option<B256>, NetError> {
        let at = self.registry;
        let question = NodeRegistry::nodeOfDaemonCall { daemon };
        let node = net.ask_of(at, &question, At::Latest).await?;
        if node == B256::ZERO {
            return Ok(None);
        }
        let question = NodeRegistry::daemonAtCall { nodeId: node, era };
        let key = net.ask_of(at, &question, At::Latest).await?;
        let question = NodeRegistry::nodeOfCall { nodeId: node };
        let state = net.ask_of(at, &question, At::Latest).await?.state;
        Ok((key == daemon && AT_WORK.contains(&state)).then_some(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAEMON: Address = Address::repeat_byte(7);
    const NODE: B256 = B256::repeat_byte(8);

    #[test]
    fn a_stranger_waits_for_the_registry_and_is_then_admitted_or_not() {
        let admission = Admission::new(Address::ZERO);
        assert_eq!(admission.find(&DAEMON), Admits::NotYet);
        assert_eq!(admission.next(), [DAEMON]);
        admission.take(DAEMON, None);
        assert_eq!((admission.next(), admission.find(&DAEMON)), (Vec::new(), Admits::No));
        assert_eq!(admission.find(&DAEMON), Admits::NotYet, "who asks again is asked about again");
        admission.take(DAEMON, Some(NODE));
        assert_eq!(admission.find(&DAEMON), Admits::For(Some(NODE)));
        assert_eq!(admission.next(), [DAEMON], "and so is who is known");
        assert_eq!(admission.find(&DAEMON), Admits::For(Some(NODE)), "no answer changes nothing");
        admission.take(DAEMON, None);
        assert_eq!(admission.find(&DAEMON), Admits::No);
    }

    #[test]
    fn all_are_asked_about_in_turn_and_strangers_are_bounded() {
        let admission = Admission::new(Address::ZERO);
        let daemon = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let mut bytes = [0; 20];
            (bytes[0], bytes[1]) = (high, low);
            Address::from(bytes)
        };
        (0..100).for_each(|number| admission.take(daemon(number), Some(NODE)));
        let (first, second, third) = (admission.next(), admission.next(), admission.next());
        assert_eq!((first.len(), second.len()), (64, 36));
        assert_eq!(first, third, "the round begins anew");
        for number in 200..5000 {
            assert_eq!(admission.find(&daemon(number)), Admits::NotYet);
        }
        assert_eq!(admission.known().wanted.len(), STRANGERS_MAX);
    }
}
