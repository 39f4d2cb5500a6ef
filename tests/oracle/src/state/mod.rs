//! What an oracle knows, in memory: nodes, their sessions, the eras that are not closed. Decides; writes
//! nothing. What it finds out comes back as a [`Record`] that is to be written.

mod node;
mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use agent_sla::protocol::messages::{Refusal, S3Access};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::{Address, B256};

pub use node::{CANARIES_MAX, Delivery, EraSummary, HISTORY_MAX, Node, ROOMS, ReportHead};
pub use standing::{End, FORMER_MAX, Heard, Standing};

use crate::record::{Canary, Record, Work};
use crate::tally::{Book, Phase};

/// Everything that is known.
#[derive(Debug, Default)]
pub struct State {
    nodes: HashMap<Address, Node>,
    /// Whose session a certificate belongs to.
    certificates: HashMap<B256, Address>,
    /// Which daemon speaks for a node.
    daemons: HashMap<B256, Address>,
    /// Eras that are not closed, and the last that are.
    pub books: BTreeMap<Era, Book>,
}

/// Who speaks, as a session binds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    /// The daemon.
    pub daemon: Address,
    /// The node that it speaks for.
    pub node: B256,
}

/// A request is turned down; the record, if there is one, has to be on stable storage first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// Why.
    pub refusal: Refusal,
    /// What was found out.
    pub record: Option<Box<Record>>,
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, record: None }
    }
}

/// A session that is to be opened; signature, certificate, clock and parameters are checked.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Who signed.
    pub daemon: Address,
    /// The node that it speaks for.
    pub node: B256,
    /// The process.
    pub end: End,
    /// How the oracle reads and writes.
    pub s3: Option<S3Access>,
}

impl State {
    /// Which daemon speaks for a node, unless the one that did is not admitted any more.
    ///
    /// # Errors
    /// The daemon speaks for another node, or another daemon speaks for this one.
    pub fn bind(
        &self,
        daemon: Address,
        node: B256,
        admitted: Option<B256>,
        is_admitted: impl Fn(&Address) -> bool,
    ) -> Result<(), Refusal> {
        if let Some(only) = admitted.filter(|only| *only != node) {
            let reason = format!("{daemon} is admitted for node {only}, not for {node}");
            return Err(Refusal::Malformed { reason });
        }
        let bound = self.nodes.get(&daemon).map(|known| known.id);
        if admitted.is_none()
            && let Some(other) = bound.filter(|other| *other != node)
        {
            let reason = format!("{daemon} speaks for node {other}, not for {node}");
            return Err(Refusal::Malformed { reason });
        }
        match self.daemons.get(&node).filter(|other| **other != daemon && is_admitted(other)) {
            None => Ok(()),
            Some(other) => {
                let reason =
                    format!("{other} speaks for node {node}: strike it off the list first");
                Err(Refusal::Malformed { reason })
            }
        }
    }

    /// Whether daemon and node are known to belong together.
    #[must_use]
    pub fn is_bound(&self, daemon: &Address, node: &B256) -> bool {
        self.nodes.get(daemon).is_some_and(|known| known.id == *node)
            && self.daemons.get(node) == Some(daemon)
    }

    /// A daemon speaks for a node from now on.
    pub fn known(&mut self, daemon: Address, node: B256, now_ms: u64) -> &mut Node {
        self.daemons.insert(node, daemon);
        let known = self.nodes.entry(daemon).or_insert_with(|| Node::new(node, now_ms));
        known.id = node;
        known
    }

    /// Opens a session. Gives the last report that there is.
    ///
    /// # Errors
    /// Two speak with one key.
    pub fn open(&mut self, opening: Opening, era: Era, now_ms: u64) -> Result<Option<u64>, Turned> {
        let Opening { daemon, node, end, s3 } = opening;
        if let Some((first, second)) = self.books.get(&era).and_then(|book| book.conflict(&node)) {
            let known = self.known(daemon, node, now_ms);
            if !matches!(known.standing, Standing::Frozen { era: frozen, .. } if frozen == era) {
                return Err(Refusal::Conflict { first, second }.into());
            }
        }
        if self.certificates.get(&end.certificate).is_some_and(|other| *other != daemon) {
            let reason = "the certificate belongs to the session of another daemon".to_owned();
            return Err(Refusal::Malformed { reason }.into());
        }
        let known = self.known(daemon, node, now_ms);
        known.bucket.take(now_ms).map_err(|retry_after_ms| Refusal::Busy { retry_after_ms })?;
        let before = known.standing.certificates();
        let heard = known.standing.open(era, end);
        let after = known.standing.certificates();
        if heard == Heard::Fine {
            known.s3 = s3;
            known.seen_at = now_ms;
        }
        let delivered = known.delivery.delivered;
        for gone in &before {
            self.certificates.remove(gone);
        }
        self.certificates.extend(after.into_iter().map(|certificate| (certificate, daemon)));
        self.heard(heard, daemon, era).map(|_| delivered)
    }

    /// Who speaks with this certificate.
    ///
    /// # Errors
    /// Nobody with a session; or two with one key, or one too often.
    pub fn speak(
        &mut self,
        certificate: &B256,
        peer: SocketAddr,
        era: Era,
        now_ms: u64,
    ) -> Result<Speaker, Turned> {
        let Some(daemon) = self.certificates.get(certificate).copied() else {
            return Err(Refusal::NoSession.into());
        };
        let Some(known) = self.nodes.get_mut(&daemon) else {
            return Err(Refusal::NoSession.into());
        };
        known.bucket.take(now_ms).map_err(|retry_after_ms| Refusal::Busy { retry_after_ms })?;
        let heard = known.standing.speak(era, certificate, peer);
        if heard == Heard::Fine {
            known.seen_at = now_ms;
        }
        if heard == Heard::NoSession {
            self.certificates.remove(certificate);
        }
        self.heard(heard, daemon, era)
    }

    fn heard(&mut self, heard: Heard, daemon: Address, era: Era) -> Result<Speaker, Turned> {
        let Some(known) = self.nodes.get(&daemon) else { return Err(Refusal::NoSession.into()) };
        let node = known.id;
        match heard {
            Heard::Fine => Ok(Speaker { daemon, node }),
            Heard::NoSession => Err(Refusal::NoSession.into()),
            Heard::Conflict { first, second, is_new } => {
                let (first, second) = (first.to_string(), second.to_string());
                let record = is_new.then(|| Record::Conflict {
                    node,
                    first: first.clone(),
                    second: second.clone(),
                });
                if let Some(record) = record.clone() {
                    self.apply(era, record);
                }
                let record = record.map(Box::new);
                Err(Turned { refusal: Refusal::Conflict { first, second }, record })
            }
        }
    }

    /// Ends what a daemon that is not admitted any more has open.
    pub fn dismiss(&mut self, daemon: &Address) {
        if let Some(known) = self.nodes.get_mut(daemon) {
            for certificate in known.standing.certificates() {
                self.certificates.remove(&certificate);
            }
            known.standing = Standing::Nobody;
            known.s3 = None;
        }
    }

    /// Takes a record of an era.
    pub fn apply(&mut self, era: Era, record: Record) {
        if let Record::Check { node, check } = &record
            && let Some(known) = self.daemons.get(node).and_then(|of| self.nodes.get_mut(of))
        {
            known.since_receipt.add(check);
            if check.work == Work::Put && check.passed {
                known.wrote(check.canary);
            }
        }
        if let Record::Receipt { node, .. } = &record
            && let Some(known) = self.daemons.get(node).and_then(|of| self.nodes.get_mut(of))
        {
            known.since_receipt = Default::default();
        }
        self.books.entry(era).or_default().apply(record);
    }

    /// A node of a daemon.
    #[must_use]
    pub fn node(&self, daemon: &Address) -> Option<&Node> {
        self.nodes.get(daemon)
    }

    /// A node of a daemon, to be changed.
    pub fn node_mut(&mut self, daemon: &Address) -> Option<&mut Node> {
        self.nodes.get_mut(daemon)
    }

    /// All daemons with their nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&Address, &Node)> {
        self.nodes.iter()
    }

    /// Those daemons in order.
    #[must_use]
    pub fn daemons(&self) -> BTreeSet<Address> {
        self.nodes.keys().copied().collect()
    }

    /// Keeps of a closed era what is shown of it, and forgets the one before.
    pub fn closed(&mut self, era: Era) {
        let Some(book) = self.books.get_mut(&era) else { return };
        book.phase = Phase::Closed;
        for (node, tally) in &book.nodes {
            let known = self.daemons.get(node).and_then(|of| self.nodes.get_mut(of));
            if let Some(known) = known {
                known.remember(EraSummary::of(era, tally));
            }
        }
        // The last closed one is kept, so that a late answer is told what became of its challenge.
        self.books.retain(|other, book| *other >= era || book.phase != Phase::Closed);
    }

    /// The canaries of a daemon's node that are there, the oldest first.
    #[must_use]
    pub fn canaries(&self, daemon: &Address) -> Vec<Canary> {
        self.nodes.get(daemon).map(|known| known.canaries.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
