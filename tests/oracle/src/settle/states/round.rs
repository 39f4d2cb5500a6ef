//! Proposing changes of state, judging those that are proposed, and posting what a quorum signed.
//!
//! ```text
//! leader                                       the others
//!  | runs of verdicts, states on chain            |
//!  | remembers, signs                             |
//!  | POST /v1/states/propose ------------------>  | same root? same rules? due as it sees the chain?
//!  | <----------------------- signatures          | remembers, then signs
//!  | a quorum: remembers all, posts by the engine |
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_settlement::abi::reference::{NodeRegistry, StateChange};
use agent_settlement::call::{Call, Probe, Wanted};
use agent_settlement::chain::{At, Chain as _};
use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::{Signature, Signed};
use agent_sla::protocol::{Address, B256, U256};
use alloy::sol_types::{SolCall as _, SolStruct as _};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::super::compute::{Terms, without};
use super::super::follow::propose_changes;
use super::super::net::{Net, NetError};
use super::super::settler::{SettleError, Settler, Tip};
use super::States;
use super::rules::{Runs, Standing, State, extend};
use super::signed::Ours;
use super::wire::{
    AskedChanges, CHANGES_MAX, ChangeObjection, ChangeReply, StateProposal, changes_digest,
};

/// Where the number of changes stands in the answer to `nodeOf`: behind HP, state and time of exit.
const CHANGES_WORD: u16 = 3;

/// A change is taken in its era and the one behind it.
const ERAS_WANTED: u64 = 2;

/// How a node stands on chain.
async fn standing(net: &Net, registry: Address, node: B256) -> Result<Standing, NetError> {
    let question = NodeRegistry::nodeOfCall { nodeId: node };
    let found = net.ask_of(registry, &question, At::Latest).await?;
    Ok(Standing {
        state: State::of(found.state),
        is_leaving: found.exitAt != 0,
        changes: found.changes.to(),
    })
}

/// The call that makes a change. It happened where the node has so many changes, whoever posted it.
fn call(
    registry: Address,
    change: &StateChange,
    signatures: &BTreeMap<Address, Signature>,
) -> Call {
    let probe = Probe {
        to: registry,
        data: NodeRegistry::nodeOfCall { nodeId: change.nodeId }.abi_encode().into(),
        word: CHANGES_WORD,
        at_least: U256::from(change.sequence),
    };
    let signatures = signatures.values().map(|signature| signature.0.to_vec().into()).collect();
    let data = NodeRegistry::changeStateCall { change: change.clone(), signatures };
    Call { to: registry, data: data.abi_encode().into(), probe: Some(probe) }
}

impl Settler {
    /// Proposes changes of state, if it is this oracle's turn, and posts what a quorum signed.
    ///
    /// # Errors
    /// Something is not known now, or cannot be written.
    pub(in super::super) async fn lead_states(&self) -> Result<(), SettleError> {
        let (Some(states), Some(tip)) = (&self.states, self.tip()) else { return Ok(()) };
        let now = self.clock.now_ms();
        let (Some(Era(era)), Some(_)) = (self.parameters.era_at(now), &self.poster) else {
            return Ok(());
        };
        let gathered = states.changes.gathered(era.saturating_sub(1));
        for ours in &gathered {
            self.post_change(states, ours).await?;
        }
        if self.config.pace.leader(&self.parameters, tip.base.from, now) != Some(self.address()) {
            return Ok(());
        }
        self.follow_runs(states, &tip).await?;
        let is_gathered = |change: &StateChange| {
            let is_same = |ours: &Ours| {
                (ours.change.nodeId, ours.change.sequence) == (change.nodeId, change.sequence)
            };
            gathered.iter().any(is_same)
        };
        let mut due = self.due(states, &tip, era).await?;
        due.retain(|change| !is_gathered(change));
        let mut ours = Vec::with_capacity(due.len());
        for change in due {
            ours.extend(self.sign_change(states, change).await?);
        }
        if ours.is_empty() {
            return Ok(());
        }
        self.gather_changes(states, ours).await
    }

    /// Brings the runs to the newest root: from the root that they are at, else from as many eras back as count.
    async fn follow_runs(&self, states: &States, tip: &Tip) -> Result<(), SettleError> {
        let newest = tip.view.previous();
        let last = tip.base.from.saturating_sub(1);
        let open = self.open_eras(tip, last);
        let Some(voided) = self.left_out(0, last) else { return Err(SettleError::VoidsUnread) };
        let (known, before, is_same) = {
            let mut known = states.known();
            known.open = open;
            let before = self.left_out(0, known.last_era);
            (known.root, Arc::clone(&known.runs), before.as_ref() == Some(&known.voided))
        };
        if newest == known && is_same {
            return Ok(());
        }
        let (mut path, mut digest, mut runs) = (Vec::new(), newest, Runs::new());
        let count = u64::from(states.rules.longest()).saturating_add(u64::from(open));
        let least = last.saturating_sub(count);
        while let Some(root) = self.book.root(&digest) {
            let from = root.proposal.root.fromEra;
            digest = root.proposal.root.previous;
            path.push(root.proposal);
            // Where votes on earlier eras became void, all of them are looked at anew.
            if digest == known && known != B256::ZERO && is_same {
                runs = (*before).clone();
                break;
            }
            if from <= least {
                break;
            }
        }
        for proposal in path.into_iter().rev() {
            let Ok(sets) = self.store.named(&proposal.sets)? else {
                // Who was not there has no votes of it: its runs begin behind it.
                runs.clear();
                continue;
            };
            let root = &proposal.root;
            let Some(now) = self.left_out(root.fromEra, root.toEra) else {
                return Err(SettleError::VoidsUnread);
            };
            let (parameters, tariff) = (self.parameters.clone(), self.config.tariff.clone());
            let extending = tokio::task::spawn_blocking(move || {
                // What was void when it was made, and what is void now.
                let sets = without(without(sets, &proposal.voided), &now);
                let terms = Terms { parameters: &parameters, tariff: &tariff };
                let root = &proposal.root;
                extend(&mut runs, terms, (root.fromEra, root.toEra), &sets);
                runs
            });
            runs = extending.await?;
        }
        let mut known = states.known();
        known.reach(newest, runs, &states.rules);
        (known.last_era, known.voided) = (last, voided);
        Ok(())
    }

    /// So many eras up to the last one are of roots that can still be cancelled; all where that is not known.
    fn open_eras(&self, tip: &Tip, last: u64) -> u16 {
        let newest = tip.finals.checked_sub(1).and_then(|number| self.book.standing(number));
        let final_to = newest.and_then(|digest| self.book.root(&digest));
        let open = final_to.map(|root| last.saturating_sub(root.proposal.root.toEra));
        open.and_then(|open| u16::try_from(open).ok()).unwrap_or(u16::MAX)
    }

    /// The changes that are due, of some nodes at once.
    async fn due(
        &self,
        states: &States,
        tip: &Tip,
        now_era: u64,
    ) -> Result<Vec<StateChange>, SettleError> {
        let nodes = states.known().next(&states.rules);
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let latest = self.net.chain().heads().await.map_err(NetError::from)?.latest;
        let block_era = self.parameters.era_at(latest.time.saturating_mul(1000));
        // The contract takes the era of its block and the one before: it may lag behind this clock.
        let era = match block_era {
            Some(Era(block_era)) if block_era >= now_era => now_era,
            _ => now_era.saturating_sub(1),
        };
        let mut due = Vec::new();
        for node in nodes {
            let standing = standing(&self.net, states.registry, node).await?;
            let mut known = states.known();
            known.standing.insert(node, standing);
            let run = known.runs.get(&node).copied().unwrap_or_default();
            let next = states.rules.due(&standing, run, known.open);
            if let (Some(from), Some(to)) = (standing.state, next) {
                due.push(StateChange {
                    nodeId: node,
                    sequence: standing.changes.saturating_add(1),
                    from: from as u8,
                    to: to as u8,
                    era,
                    evidenceHash: tip.view.previous(),
                    configDigest: self.parameters.digest(),
                });
            }
        }
        due.truncate(CHANGES_MAX);
        Ok(due)
    }

    /// Signs a change, after that is on stable storage; none where another of that number was signed in that era, or
    /// another step down of the node in that era or by the same root: a node has time to return.
    async fn sign_change(
        &self,
        states: &States,
        change: StateChange,
    ) -> Result<Option<Ours>, SettleError> {
        let _one_after_the_other = self.gate.lock().await;
        if let Some(ours) = states.changes.signed(change.era, change.nodeId, change.sequence) {
            return Ok(Some(ours).filter(|ours| ours.change == change));
        }
        if states.changes.has_stepped(&change) {
            return Ok(None);
        }
        let signed = Signed::new(change.clone(), &self.parameters.domain(), &self.key)?;
        let signature = signed.signature;
        states.changes.sign(change.clone(), signature).await?;
        info!(
            node = %change.nodeId, from = change.from, to = change.to, era = change.era,
            "a change of a node's state is signed"
        );
        Ok(Some(Ours { change, signature, signatures: BTreeMap::new() }))
    }

    /// Asks for the others' signatures, and posts each change that a quorum signed.
    async fn gather_changes(&self, states: &States, ours: Vec<Ours>) -> Result<(), SettleError> {
        let changes: Vec<StateChange> = ours.iter().map(|ours| ours.change.clone()).collect();
        let (rules, domain) = (states.rules.digest(), self.parameters.domain());
        let message = StateProposal { changes: changes_digest(&changes), rules };
        let by = Signed::new(message, &domain, &self.key)?;
        let asked = Arc::new(AskedChanges { changes, by });
        let mut asking = JoinSet::new();
        for (address, peer) in &self.config.peers {
            let (address, peer, asked) = (*address, peer.clone(), Arc::clone(&asked));
            asking.spawn(async move { (address, propose_changes(&peer, &asked).await) });
        }
        let mut gathered: Vec<BTreeMap<Address, Signature>> =
            ours.iter().map(|ours| [(self.address(), ours.signature)].into()).collect();
        while let Some(done) = asking.join_next().await {
            let (peer, replies) = match done? {
                (peer, Ok(replies)) => (peer, replies),
                (peer, Err(error)) => {
                    debug!(%peer, %error, "a peer does not answer proposed changes of state");
                    continue;
                }
            };
            for ((ours, signatures), reply) in ours.iter().zip(&mut gathered).zip(replies) {
                let node = ours.change.nodeId;
                match reply {
                    ChangeReply::Signed { signature } => {
                        let signed = Signed { message: ours.change.clone(), signature };
                        match signed.verify(&domain, peer) {
                            Ok(()) => drop(signatures.insert(peer, signature)),
                            Err(error) => {
                                warn!(%peer, %node, %error, "a signature is not a peer's")
                            }
                        }
                    }
                    ChangeReply::Objects { objection } => {
                        info!(%peer, %node, %objection, "a change of state is objected to");
                    }
                }
            }
        }
        for (Ours { change, signature, .. }, signatures) in ours.into_iter().zip(gathered) {
            let counting = self.counting(&signatures).await?;
            if counting.len() < self.quorum() {
                continue;
            }
            states.changes.gather(change.clone(), counting.clone()).await?;
            let ours = Ours { change, signature, signatures: counting };
            self.post_change(states, &ours).await?;
        }
        Ok(())
    }

    /// Wants a change posted that a quorum signed, once, unless it happened.
    async fn post_change(&self, states: &States, ours: &Ours) -> Result<(), SettleError> {
        let Some(poster) = &self.poster else { return Ok(()) };
        let Ours { change, signatures, .. } = ours;
        let digest = change.eip712_signing_hash(&self.parameters.domain());
        let counting = self.counting(signatures).await?;
        if counting.len() < self.quorum() {
            return Ok(());
        }
        let wanted = Wanted { digest, call: call(states.registry, change, &counting) };
        let as_before = (change.era, wanted.call.data.clone());
        if !poster.was_dropped(&digest) && states.known().wanted.get(&digest) == Some(&as_before) {
            return Ok(());
        }
        let standing = standing(&self.net, states.registry, change.nodeId).await?;
        if standing.changes >= change.sequence {
            return Ok(());
        }
        info!(node = %change.nodeId, from = change.from, to = change.to, "a quorum signed a change of state");
        if poster.want(wanted) {
            let mut known = states.known();
            // Those of eras that the contract takes no more are signed anew.
            known.wanted.retain(|_, (era, _)| era.saturating_add(ERAS_WANTED) >= change.era);
            known.wanted.insert(digest, as_before);
        }
        Ok(())
    }

    /// Judges changes that another oracle proposes, and signs those that are due as it is seen here.
    ///
    /// # Errors
    /// Nobody of the oracles proposes them, or they are too many.
    pub async fn propose_changes(&self, asked: AskedChanges) -> Result<Vec<ChangeReply>, Refusal> {
        let AskedChanges { changes, by } = asked;
        let bad = |reason: &str| Refusal::BadSignature { reason: reason.to_owned() };
        let signer = by.signer(&self.parameters.domain());
        let leader = signer.map_err(|error| bad(&error.to_string()))?;
        if !self.config.peers.contains_key(&leader) {
            return Err(bad("the changes are proposed by no other oracle of these parameters"));
        }
        if changes.len() > CHANGES_MAX || by.message.changes != changes_digest(&changes) {
            return Err(bad("the changes are not what was signed, or too many"));
        }
        let mut replies = Vec::with_capacity(changes.len());
        for change in changes {
            let judged = self.judge_change(change, by.message.rules).await;
            replies.push(match judged {
                Ok(Ok(signature)) => ChangeReply::Signed { signature },
                Ok(Err(objection)) => ChangeReply::Objects { objection },
                Err(error) => {
                    warn!(%error, "a change of state cannot be judged now");
                    ChangeReply::Objects { objection: ChangeObjection::Busy }
                }
            });
        }
        Ok(replies)
    }

    async fn judge_change(
        &self,
        change: StateChange,
        rules: B256,
    ) -> Result<Result<Signature, ChangeObjection>, SettleError> {
        let Some(states) = self.states.as_ref().filter(|states| states.rules.digest() == rules)
        else {
            return Ok(Err(ChangeObjection::OtherRules));
        };
        let now = self.parameters.era_at(self.clock.now_ms());
        let is_now = |era: u64| now.is_some_and(|Era(now)| era == now || era + 1 == now);
        if !is_now(change.era) || change.configDigest != self.parameters.digest() {
            return Ok(Err(ChangeObjection::OtherEra));
        }
        let is_newest = |tip: &Tip| tip.view.previous() == change.evidenceHash;
        if !self.tip().is_some_and(|tip| is_newest(&tip)) {
            self.look().await?;
        }
        let Some(tip) = self.tip().filter(is_newest) else {
            let root = self.tip().map(|tip| tip.view.previous()).unwrap_or_default();
            return Ok(Err(ChangeObjection::OtherRoot { root }));
        };
        self.follow_runs(states, &tip).await?;
        let standing = standing(&self.net, states.registry, change.nodeId).await?;
        let (run, open) = {
            let known = states.known();
            (known.runs.get(&change.nodeId).copied().unwrap_or_default(), known.open)
        };
        let from = standing.state.map(|state| state as u8);
        let to = states.rules.due(&standing, run, open).map(|state| state as u8);
        let is_due = from == Some(change.from)
            && to == Some(change.to)
            && change.sequence == standing.changes.saturating_add(1);
        if !is_due {
            return Ok(Err(ChangeObjection::NotDue));
        }
        let ours = self.sign_change(states, change).await?;
        Ok(ours.map(|ours| ours.signature).ok_or(ChangeObjection::AlreadySigned))
    }
}
