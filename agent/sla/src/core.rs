//! What the tasks of a node's SLA share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_proofs::member::Commitment;
use alloy::sol_types::Eip712Domain;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::clock::{Clock, Offset, Whose, whose};
use crate::config::SlaConfig;
use crate::local::{Local, Unusable};
use crate::pace::Pace;
use crate::protocol::B256;
use crate::protocol::key::SigningKey;
use crate::protocol::parameters::Era;
use crate::status::{EraStatus, PeerStatus, SlaStatus};
use crate::view::NodeView;

/// Proofs that are made at once for all oracles together: each reads a group of 16 KiB and its way, and
/// tenants' requests use the same disks.
const PROVING: usize = 16;

/// The longest sleep: a clock that is set meanwhile is noticed after that.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// What the tasks share.
pub(crate) struct Core {
    pub(crate) config: SlaConfig,
    pub(crate) key: SigningKey,
    pub(crate) domain: Eip712Domain,
    /// Of the parameters.
    pub(crate) digest: B256,
    pub(crate) pace: Pace,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) local: Local,
    pub(crate) node: Arc<dyn NodeView>,
    pub(crate) status: watch::Sender<SlaStatus>,
    /// The last report that was made.
    pub(crate) latest: watch::Sender<Option<u64>>,
    /// Drawn by this process.
    pub(crate) instance: B256,
    /// SHA-256 of this process's certificate.
    pub(crate) certificate: B256,
    pub(crate) proving: Semaphore,
    /// The cut of the era that it is, shared by all oracles.
    pub(crate) cut: tokio::sync::Mutex<Option<(Era, Commitment)>>,
    offsets: Mutex<BTreeMap<String, Offset>>,
}

/// What a [`Core`] is made of, besides what it makes itself.
pub(crate) struct Parts {
    pub(crate) config: SlaConfig,
    pub(crate) key: SigningKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) local: Local,
    pub(crate) node: Arc<dyn NodeView>,
    pub(crate) status: watch::Sender<SlaStatus>,
    pub(crate) instance: B256,
    pub(crate) certificate: B256,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, key, clock, local, node, status, instance, certificate } = parts;
        let domain = config.parameters.domain();
        let digest = config.parameters.digest();
        let pace = Pace::new(config.node_id, &config.parameters);
        let (latest, proving) = (watch::Sender::new(None), Semaphore::new(PROVING));
        let cut = tokio::sync::Mutex::new(None);
        let offsets = Mutex::default();
        Self {
            config,
            key,
            domain,
            digest,
            pace,
            clock,
            local,
            node,
            status,
            latest,
            instance,
            certificate,
            proving,
            cut,
            offsets,
        }
    }

    /// The era that it is.
    pub(crate) fn era(&self) -> Option<Era> {
        self.config.parameters.era_at(self.clock.now_ms())
    }

    /// When an era ends, in milliseconds since 1970.
    pub(crate) fn end_ms(&self, era: Era) -> u64 {
        self.config.parameters.begin_ms(Era(era.0.saturating_add(1)))
    }

    /// The first era of the dispute window.
    pub(crate) fn disputes_from(&self) -> Era {
        let now = self.era().map_or(0, |era| era.0);
        Era(now.saturating_sub(self.config.dispute_eras))
    }

    /// Waits until the clock shows `at_ms`.
    pub(crate) async fn sleep_until_ms(&self, at_ms: u64) {
        loop {
            match at_ms.checked_sub(self.clock.now_ms()) {
                None | Some(0) => return,
                Some(left) => tokio::time::sleep(Duration::from_millis(left).min(SLEEP_MAX)).await,
            }
        }
    }

    /// Changes what is said of a peer.
    pub(crate) fn say(&self, peer: usize, change: impl FnOnce(&mut PeerStatus)) {
        self.status.send_modify(|status| {
            if let Some(peer) = status.peers.get_mut(peer) {
                change(peer);
            }
        });
    }

    /// Says what the spool has and what waits for each peer.
    pub(crate) async fn refresh(&self, peers: Arc<Vec<String>>) -> Result<(), Unusable> {
        let counted = self.local.with(move |memory| {
            let of = |peer: &String| {
                let cursor = memory.cursor(peer);
                (cursor, memory.pending(cursor))
            };
            (memory.status(), peers.iter().map(of).collect::<Vec<_>>())
        });
        let (spool, counts) = counted.await?;
        self.status.send_modify(|status| {
            status.spool = spool;
            for (peer, (delivered, pending)) in status.peers.iter_mut().zip(counts) {
                (peer.delivered, peer.pending) = (delivered, pending);
            }
        });
        Ok(())
    }

    /// Says which era it is, as long as it is told to.
    pub(crate) async fn keep_era(&self) {
        loop {
            let found = self.era().map(|era| {
                let begins = self.config.parameters.begin_ms(era);
                EraStatus { era, begins, ends: self.end_ms(era) }
            });
            self.status.send_if_modified(|status| {
                let changed = status.era != found;
                status.era = found;
                changed
            });
            let first = self.config.parameters.begin_ms(Era(0));
            self.sleep_until_ms(found.map_or(first, |era| era.ends)).await;
        }
    }

    /// Takes how far a peer's clock is off, and says whose clock is wrong.
    pub(crate) fn measured(&self, peer: usize, name: &str, offset: Offset) {
        self.say(peer, |peer| peer.clock_ahead_ms = Some(offset.ahead_ms));
        let all: Vec<Offset> = {
            let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
            offsets.insert(name.to_owned(), offset);
            offsets.values().copied().collect()
        };
        let ms = offset.ahead_ms;
        let words = match whose(&all) {
            Whose::Nobodys | Whose::Theirs => None,
            Whose::Ours => Some(
                "the clocks of most oracles are apart from the node's: the node's clock is wrong"
                    .to_owned(),
            ),
            Whose::Unclear => Some(
                "clocks of oracles are apart from the node's: too few to tell whose is wrong"
                    .to_owned(),
            ),
        };
        if matches!(whose(&all), Whose::Theirs) && whose(&[offset]) != Whose::Nobodys {
            warn!(
                peer = name,
                ahead_ms = ms,
                "an oracle's clock is wrong: most others agree with ours"
            );
        }
        let changed = self.status.send_if_modified(|status| {
            let changed = status.clock != words;
            status.clock.clone_from(&words);
            changed
        });
        match words {
            Some(words) if changed => warn!(peer = name, ahead_ms = ms, "{words}"),
            None if changed => info!("the node's clock agrees with its oracles again"),
            _ => {}
        }
    }

    /// The root over everything stored at the cut of an era: made once for all oracles.
    ///
    /// # Errors
    /// There is none now, in words.
    pub(crate) async fn cut(&self, era: Era) -> Result<Commitment, String> {
        let mut cut = self.cut.lock().await;
        if let Some((of, made)) = *cut
            && of == era
        {
            return Ok(made);
        }
        // An answer to a challenge of the era before may still be on its way.
        let keep_from = Era(era.0.saturating_sub(1));
        let made = self.node.cut(era, keep_from).await?;
        *cut = Some((era, made));
        Ok(made)
    }
}
