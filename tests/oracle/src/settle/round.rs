//! Proposing a root, and judging one that is proposed.
//!
//! ```text
//! leader                                       the others
//!  | computes from all votes that it has         |
//!  | propose, sign = false --------------------> | same votes? same root? -> agreed, or what is in the way
//!  |   … votes that it lacks are fetched, and it begins anew …
//!  | signs, propose, sign = true --------------> | remembers it, then signs
//!  | <----------------------------- signatures   |
//!  | a quorum: remembers them, posts             |
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use agent_settlement::call::Wanted;
use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::settled::{EraRoot, RANGE_ERAS_MAX};
use agent_sla::protocol::signed::{Signature, Signed};
use agent_sla::protocol::{Address, B256};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::book::Root;
use super::compute::{Computed, Ledger, difference};
use super::follow::{kept, leaves, propose};
use super::replies::Replies;
use super::settler::{SettleError, Settler, Tip};
use super::verdict::quorum;
use super::verify::first_leaf;
use super::wire::{Asked, EVIDENCE_MAX, Objection, Proposal, Reply, RootProposal, SetName};
use crate::service::Vote;

/// So often a range is begun anew for votes that others had: once for each oracle of a set of ten, of whom each lacked
/// another's.
const ROUNDS_MAX: u32 = 10;

impl Settler {
    pub(super) fn quorum(&self) -> usize {
        quorum(self.parameters.oracles.len())
    }

    /// Proposes the next root, if it is this oracle's turn, and posts what a quorum signed.
    ///
    /// # Errors
    /// Something is not known now, or cannot be written.
    pub(super) async fn lead(&self) -> Result<(), SettleError> {
        let (Some(tip), Some(poster)) = (self.tip(), &self.poster) else { return Ok(()) };
        let (from, now) = (tip.base.from, self.clock.now_ms());
        let mut signed_to = None;
        for (digest, root) in self.book.on_top(tip.base.previous, from) {
            if root.signatures.len() < self.quorum() || self.net.is_cancelled(digest).await? {
                continue;
            }
            if let Some(wanted) = self.post(digest, &root.proposal.root, &root.signatures).await? {
                poster.want(wanted);
                signed_to = Some(root.proposal.root.toEra);
                break;
            }
        }
        let pace = self.config.pace;
        if pace.leader(&self.parameters, from, now) != Some(self.address()) {
            return Ok(());
        }
        let heard = |era| self.heard(era);
        let to = pace.last_era(&self.parameters, from, now, heard);
        // What waits to be posted may never be: a longer one is proposed once there are more eras.
        let Some(to) = to.filter(|to| signed_to.is_none_or(|signed| signed < *to)) else {
            return Ok(());
        };
        let Some((proposal, ledger)) = self.draft_of_some(&tip, to, signed_to).await? else {
            return Ok(());
        };
        let (digest, to) = (self.digest(&proposal.root), proposal.root.toEra);
        let leading = Some((digest, proposal.root.clone(), Arc::clone(&ledger)));
        *self.leading.lock().unwrap_or_else(PoisonError::into_inner) = leading;
        let replies = Replies::sort(self.ask_all(&proposal, false).await?);
        let is_agreed = replies.agreed + 1 >= self.quorum();
        self.adopt(&replies, &proposal, is_agreed).await?;
        let mut is_new = false;
        for (peer, objection) in replies.objections {
            info!(%peer, %objection, from, to, "a root is objected to");
            is_new |= self.learn(peer, objection).await?;
        }
        // With what it learned it begins anew at its next look, but not for ever: votes may come one by one.
        if !is_agreed || (is_new && self.has_another_round(from, to)) {
            return Ok(());
        }
        self.gather(digest, &proposal, &ledger).await
    }

    /// Takes over what others signed where the own draft comes to nothing, with the votes that it is made of.
    async fn adopt(
        &self,
        replies: &Replies,
        proposed: &Proposal,
        is_agreed: bool,
    ) -> Result<(), SettleError> {
        for (peer, ..) in &replies.signed {
            info!(%peer, is_agreed, "another root of the same eras is signed already");
        }
        let is_real = |peer, found: &Proposal, by| self.is_by(peer, &found.root, by);
        let adopted = {
            let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
            *adopted = replies.adopt(adopted.take(), proposed, is_agreed, is_real);
            adopted.clone()
        };
        let of = replies.signed.iter().find(|(_, found, _)| Some(found) == adopted.as_ref());
        let Some((peer, found, _)) = of else { return Ok(()) };
        for set in &found.sets {
            if self.store.named(&[*set])?.is_err() {
                self.get(*peer, set).await?;
            }
        }
        Ok(())
    }

    /// Whether a range may be begun anew once more.
    fn has_another_round(&self, from: u64, to: u64) -> bool {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        if rounds.0 != (from, to) {
            *rounds = ((from, to), 0);
        }
        rounds.1 += 1;
        rounds.1 <= ROUNDS_MAX
    }

    /// A draft up to an era, or, where a range can grow no more, up to one before in whose place a root can still come to be.
    /// None where there is none that is longer than what waits to be posted.
    async fn draft_of_some(
        &self,
        tip: &Tip,
        to: u64,
        signed_to: Option<u64>,
    ) -> Result<Option<(Proposal, Arc<Ledger>)>, SettleError> {
        let from = tip.base.from;
        let is_longest = to.saturating_sub(from).saturating_add(1) >= RANGE_ERAS_MAX;
        let least = if is_longest { from } else { to };
        for to in (least..=to).rev() {
            if signed_to.is_some_and(|signed| signed >= to) {
                break;
            }
            let Some((proposal, ledger)) = self.draft(tip, to).await? else {
                info!("it is still being read which votes are void; no root is proposed before");
                break;
            };
            let digest = self.digest(&proposal.root);
            let is_cancelled = self.net.is_cancelled(digest).await?;
            let other =
                self.book.signed(&proposal.root).is_some_and(|(signed, _)| signed != digest);
            let is_old = self.left_out(from, to).is_some_and(|voided| voided != proposal.voided);
            if !is_cancelled && !(is_longest && (other || is_old)) {
                return Ok(Some((proposal, ledger)));
            }
            info!(from, to, root = %digest, is_cancelled, "no root of these eras can come to be");
        }
        Ok(None)
    }

    /// What this oracle signed for eras on top of a root, unless that is cancelled: then its place is free again.
    async fn signed(&self, root: &EraRoot) -> Result<Option<(B256, Root)>, SettleError> {
        let Some((digest, found)) = self.book.signed(root) else { return Ok(None) };
        if self.net.is_cancelled(digest).await? {
            info!(root = %digest, "a root that was signed is cancelled; another may be signed for its eras");
            self.book.cancelled(digest, root.fromEra).await?;
            return Ok(None);
        }
        Ok(Some((digest, found)))
    }

    /// What is proposed for eras: what was signed for them before, else what others signed, else what all votes here
    /// come to that are not void. None while it is not known which are.
    async fn draft(
        &self,
        tip: &Tip,
        to: u64,
    ) -> Result<Option<(Proposal, Arc<Ledger>)>, SettleError> {
        let base = &tip.base;
        let is_of = |root: &EraRoot| {
            (root.fromEra, root.toEra, root.previous) == (base.from, to, base.previous)
        };
        let adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let adopted = match adopted.filter(|proposal| is_of(&proposal.root)) {
            Some(found) if self.net.is_cancelled(self.digest(&found.root)).await? => None,
            found => found,
        };
        let mut signed = None;
        for (_, Root { proposal, ours, .. }) in self.book.on_top(base.previous, base.from) {
            if ours.is_some() && is_of(&proposal.root) {
                signed = self.signed(&proposal.root).await?.map(|(_, root)| root.proposal);
            }
        }
        let earlier = signed.or(adopted);
        if let Some(proposal) = earlier
            && let Ok(sets) = self.store.named(&proposal.sets)?
        {
            let voided = proposal.voided.clone();
            let computed = self.compute(Arc::clone(base), to, sets, voided).await?;
            if difference(&computed.root, &proposal.root).is_none() {
                return Ok(Some((proposal, Arc::new(computed.ledger))));
            }
        }
        let Some(voided) = self.left_out(base.from, to) else { return Ok(None) };
        let sets = self.store.counting(base.from, to)?;
        let names = sets.iter().map(|set| self.store.name(set)).collect();
        let computing = self.compute(Arc::clone(base), to, sets, voided.clone());
        let Computed { root, ledger } = computing.await?;
        Ok(Some((Proposal { root, sets: names, voided }, Arc::new(ledger))))
    }

    /// Asks all peers at once. Who does not answer has said nothing.
    async fn ask_all(
        &self,
        proposal: &Proposal,
        sign: bool,
    ) -> Result<Vec<(Address, Reply)>, SettleError> {
        let message = RootProposal {
            root: self.digest(&proposal.root),
            sets: proposal.sets_digest(),
            tariff: self.config.tariff.digest(),
            sign,
        };
        let by = Signed::new(message, &self.parameters.domain(), &self.key)?;
        let evidence = self.evidence(&proposal.root)?;
        let asked = Arc::new(Asked { proposal: proposal.clone(), by, evidence });
        let mut asking = JoinSet::new();
        for (address, peer) in &self.config.peers {
            let (address, peer, asked) = (*address, peer.clone(), Arc::clone(&asked));
            asking.spawn(async move { (address, propose(&peer, &asked).await) });
        }
        let mut replies = Vec::new();
        while let Some(done) = asking.join_next().await {
            match done? {
                (peer, Ok(reply)) => replies.push((peer, reply)),
                (peer, Err(error)) => debug!(%peer, %error, "a peer does not answer a proposal"),
            }
        }
        Ok(replies)
    }

    /// Two votes of each oracle that voted twice on a node in these eras.
    fn evidence(&self, root: &EraRoot) -> Result<Vec<Vote>, SettleError> {
        let mut evidence = Vec::new();
        for era in (root.fromEra..=root.toEra).map(Era) {
            for oracle in &self.parameters.oracles {
                if evidence.len() + 2 <= EVIDENCE_MAX
                    && let Some((first, second)) = self.store.conflict(era, oracle)?
                {
                    evidence.extend([first, second]);
                }
            }
        }
        Ok(evidence)
    }

    /// Signs, and asks for the others' signatures; posts what a quorum signed.
    async fn gather(
        &self,
        digest: B256,
        proposal: &Proposal,
        ledger: &Ledger,
    ) -> Result<(), SettleError> {
        let root = &proposal.root;
        let ours = {
            let _one_after_the_other = self.gate.lock().await;
            match self.book.signed(root) {
                Some((signed, _)) if signed != digest => return Ok(()),
                Some((_, Root { ours: Some(ours), .. })) => ours,
                _ => self.sign(proposal, ledger).await?,
            }
        };
        let mut signatures = BTreeMap::from([(self.address(), ours)]);
        for (peer, reply) in self.ask_all(proposal, true).await? {
            match reply {
                Reply::Signed { signature } if self.is_by(peer, root, signature) => {
                    signatures.insert(peer, signature);
                }
                Reply::Signed { .. } => warn!(%peer, "a peer's signature of a root is not its own"),
                Reply::Agreed => warn!(%peer, "a peer agrees to a root and does not sign it"),
                Reply::Objects { objection } => {
                    info!(%peer, %objection, "a root is objected to");
                    self.learn(peer, objection).await?;
                }
            }
        }
        if signatures.len() < self.quorum() {
            warn!(count = signatures.len(), quorum = self.quorum(), "a root lacks signatures");
            return Ok(());
        }
        // As long as too few count, the others are asked again: one that was away may be back.
        let Some(wanted) = self.post(digest, root, &signatures).await? else { return Ok(()) };
        info!(root = %digest, from = root.fromEra, to = root.toEra, "a quorum signed a root");
        self.book.gathered(digest, root.fromEra, signatures).await?;
        if let Some(poster) = &self.poster {
            poster.want(wanted);
        }
        Ok(())
    }

    /// The post of a root with the signatures that count; none where these are too few.
    async fn post(
        &self,
        digest: B256,
        root: &EraRoot,
        signatures: &BTreeMap<Address, Signature>,
    ) -> Result<Option<Wanted>, SettleError> {
        let signatures = self.counting(signatures).await?;
        if signatures.len() < self.quorum() {
            warn!(root = %digest, count = signatures.len(), "too few signatures of a root count");
            return Ok(None);
        }
        Ok(Some(self.net.post(digest, root, signatures.values())))
    }

    /// Signatures without those of oracles that voted twice: the contract refuses a call that has one.
    pub(super) async fn counting(
        &self,
        signatures: &BTreeMap<Address, Signature>,
    ) -> Result<BTreeMap<Address, Signature>, SettleError> {
        let jailed = self.net.jailed(signatures.keys().copied()).await?;
        let counts = |oracle: &Address| !jailed.contains(oracle);
        let counting = signatures.iter().filter(|(oracle, _)| counts(oracle));
        Ok(counting.map(|(oracle, signature)| (*oracle, *signature)).collect())
    }

    fn is_by(&self, oracle: Address, root: &EraRoot, signature: Signature) -> bool {
        let signed = Signed { message: root.clone(), signature };
        signed.verify(&self.parameters.domain(), oracle).is_ok()
    }

    /// Takes what an objection shows; whether the next proposal is another for it.
    async fn learn(&self, peer: Address, objection: Objection) -> Result<bool, SettleError> {
        match objection {
            Objection::Lacks { set } => self.get(peer, &set).await,
            Objection::Equivocated { first, second } => {
                let (era, of) = (Era(first.message.era), first.message.oracleId);
                let is_known = self.store.conflict(era, &of)?.is_some();
                let both = vec![*first, *second];
                if let Err(error) = self.store.merge(era, of, both).await {
                    warn!(%peer, %error, "what should show two votes of an oracle does not");
                }
                Ok(!is_known && self.store.conflict(era, &of)?.is_some())
            }
            Objection::OtherBase { .. }
            | Objection::AlreadySigned { .. }
            | Objection::NotYet
            | Objection::OtherTariff { .. }
            | Objection::OtherVoids { .. }
            | Objection::Unavailable { .. }
            | Objection::Differs { .. }
            | Objection::Busy => Ok(false),
        }
    }

    /// Gets votes that a peer keeps; whether any are new.
    async fn get(&self, peer: Address, set: &SetName) -> Result<bool, SettleError> {
        let Some(reader) = self.config.peers.get(&peer) else { return Ok(false) };
        if !self.parameters.oracles.contains(&set.oracle) {
            return Ok(false);
        }
        let found = match kept(reader, set.era, set.oracle).await {
            Ok(found) => found,
            Err(error) => {
                debug!(%peer, %error, "votes that a peer keeps cannot be fetched");
                return Ok(false);
            }
        };
        match self.store.merge(Era(set.era), set.oracle, found).await {
            Ok(count) => Ok(count > 0),
            Err(super::votes::VotesError::Log(error)) => Err(error.into()),
            Err(error) => {
                warn!(%peer, %error, "votes that a peer keeps are not taken");
                Ok(false)
            }
        }
    }

    /// Judges a proposal of another oracle, and signs it if it is wanted and everything is equal here.
    ///
    /// # Errors
    /// Nobody of the oracles proposes it, or it is none.
    pub async fn propose(&self, asked: Asked) -> Result<Reply, Refusal> {
        let Asked { proposal, by, evidence } = asked;
        let bad = |reason: &str| Refusal::BadSignature { reason: reason.to_owned() };
        let signer = by.signer(&self.parameters.domain());
        let leader = signer.map_err(|error| bad(&error.to_string()))?;
        let digest = self.digest(&proposal.root);
        if !self.config.peers.contains_key(&leader) {
            return Err(bad("the proposal is of no other oracle of these parameters"));
        }
        if by.message.root != digest || by.message.sets != proposal.sets_digest() {
            return Err(bad("the proposal is not what was signed"));
        }
        let _one_after_the_other = self.gate.lock().await;
        for vote in evidence.into_iter().take(EVIDENCE_MAX) {
            // What is no vote of its oracle shows nothing; its leaving out is then objected to.
            if let Err(error) = self.witness(vote).await {
                warn!(%leader, %error, "what should show two votes of an oracle does not");
            }
        }
        let judged = self.judge(leader, digest, &proposal, &by.message).await;
        Ok(judged.unwrap_or_else(|error| {
            warn!(%error, "a proposal cannot be judged now");
            Reply::Objects { objection: Objection::Busy }
        }))
    }

    async fn judge(
        &self,
        leader: Address,
        digest: B256,
        proposal: &Proposal,
        asked: &RootProposal,
    ) -> Result<Reply, SettleError> {
        let objects = |objection| Ok(Reply::Objects { objection });
        let tariff = self.config.tariff.digest();
        if asked.tariff != tariff {
            return objects(Objection::OtherTariff { tariff });
        }
        let EraRoot { fromEra: from, toEra: to, previous, .. } = proposal.root;
        let is_base = |tip: &Tip| (tip.base.from, tip.base.previous) == (from, previous);
        if !self.tip().is_some_and(|tip| is_base(&tip)) {
            self.look().await?;
        }
        let Some(tip) = self.tip() else { return objects(Objection::Busy) };
        if !is_base(&tip) {
            let (from, previous) = (tip.base.from, tip.base.previous);
            return objects(Objection::OtherBase { from, previous });
        }
        let is_cast = self.clock.now_ms() >= self.config.pace.cast_ms(&self.parameters, to);
        if to < from || to - from >= RANGE_ERAS_MAX || !is_cast {
            return objects(Objection::NotYet);
        }
        match self.signed(&proposal.root).await? {
            Some((signed, Root { ours: Some(signature), .. })) if signed == digest => {
                return Ok(if asked.sign { Reply::Signed { signature } } else { Reply::Agreed });
            }
            Some((_, Root { ours: Some(signature), proposal, .. })) => {
                let proposal = Box::new(proposal);
                return objects(Objection::AlreadySigned { proposal, signature });
            }
            _ => {}
        }
        // What the leader read last may be newer than what was read here.
        if self.left_out(from, to).as_ref() != Some(&proposal.voided) {
            self.follow_voids().await?;
        }
        match self.left_out(from, to) {
            None => return objects(Objection::Busy),
            Some(voided) if voided != proposal.voided => {
                return objects(Objection::OtherVoids { voided });
            }
            Some(_) => {}
        }
        if let Some(objection) = self.same_votes(leader, proposal).await? {
            return objects(objection);
        }
        // Votes that neither the proposer names nor anybody here has yet are not to be lost.
        let (pace, now) = (self.config.pace, self.clock.now_ms());
        let is_ready = |era| pace.is_ready(&self.parameters, era, now, self.heard(era));
        if !(from..=to).all(is_ready) {
            return objects(Objection::NotYet);
        }
        let sets = match self.store.named(&proposal.sets)? {
            Ok(sets) => sets,
            Err(set) => return objects(Objection::Unavailable { set }),
        };
        let voided = proposal.voided.clone();
        let computed = self.compute(Arc::clone(&tip.base), to, sets, voided).await?;
        if let Some(first) = difference(&computed.root, &proposal.root) {
            let leaf = self.first_leaf(leader, &digest, &computed.ledger).await;
            let first = leaf.unwrap_or(first);
            warn!(%leader, first, "another root of the same votes is proposed; it is not signed");
            return objects(Objection::Differs { root: Box::new(computed.root), first });
        }
        if !asked.sign {
            return Ok(Reply::Agreed);
        }
        let signature = self.sign(proposal, &computed.ledger).await?;
        Ok(Reply::Signed { signature })
    }

    /// What stands against the votes that a proposal names: each must be here as it is named, and none that is here may
    /// be left out.
    async fn same_votes(
        &self,
        leader: Address,
        proposal: &Proposal,
    ) -> Result<Option<Objection>, SettleError> {
        let EraRoot { fromEra, toEra, .. } = proposal.root;
        let in_order = proposal.sets.windows(2).all(|pair| match pair {
            [one, next] => (one.era, one.oracle) < (next.era, next.oracle),
            _ => true,
        });
        for set in &proposal.sets {
            let era = Era(set.era);
            let is_ours = self.parameters.oracles.contains(&set.oracle);
            if !in_order || !is_ours || !(fromEra..=toEra).contains(&set.era) {
                return Ok(Some(Objection::Unavailable { set: *set }));
            }
            if self.store.named(&[*set])?.is_err() {
                self.get(leader, set).await?;
            }
            if let Some((first, second)) = self.store.conflict(era, &set.oracle)? {
                let (first, second) = (Box::new(first), Box::new(second));
                return Ok(Some(Objection::Equivocated { first, second }));
            }
        }
        for set in self.store.counting(fromEra, toEra)? {
            let name = self.store.name(&set);
            if !proposal.sets.contains(&name) {
                return Ok(Some(Objection::Lacks { set: name }));
            }
        }
        Ok(None)
    }

    /// The first leaf in which the leader's tree differs from ours, in words; none if that cannot be had.
    async fn first_leaf(&self, leader: Address, digest: &B256, ours: &Ledger) -> Option<String> {
        let theirs = leaves(self.config.peers.get(&leader)?, digest).await.ok()?;
        first_leaf(ours, &theirs)
    }
}
