//! What the actor does at each look: sees, decides, has the engine do it.

use std::time::Duration;

use agent_settlement::abi::reference::errors;
use agent_settlement::backend::icn_v5::Icn;
use agent_settlement::backend::reference::Reference;
use agent_settlement::backend::{
    ClaimOf, NodeStatus, Settlement as _, SignedBinding, Standing, Step, Unsigned,
};
use agent_settlement::call::Wanted;
use agent_settlement::chain::Chain as _;
use agent_settlement::chain::servers::Servers;
use agent_settlement::engine::event::{Moment, Notice};
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::Stage;
use agent_settlement::engine::{Engine, EngineError, Setup};
use agent_settlement::key::PayerKey;
use agent_settlement::outbox::Folder;
use agent_sla::protocol::B256;
use alloy::primitives::{Bytes, U256};
use provisioning_config::settlement::Gas;
use tracing::{error, info, warn};

use super::actor::{Actor, Backend, Unshown};
use super::book::{Claimed, Place};
use super::look::{self, Asked, LookError};
use super::plan::{self, Chain};
use super::words;
use crate::node::{since_1970, sla};
use crate::state::Identity;

/// How long an oracle has to show the node's place: the next one is asked then.
const ORACLE: Duration = Duration::from_secs(20);

impl Actor {
    /// One look: at the chain, at oracles; and what follows.
    pub(super) async fn look(&mut self) {
        let seen = match self.backend.clone() {
            Backend::Reference(backend) => self.see_reference(&backend).await,
            Backend::Icn(backend, number) => self.see_icn(&backend, number).await,
        };
        let now_ms = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = &seen {
            warn!(%error, "the chain was not seen");
        }
        let what = seen.as_ref().err().map(ToString::to_string);
        self.parts.node.settlement.send_modify(|known| {
            if what.is_none() {
                known.seen_ms = now_ms;
            }
            known.note(what, now_ms);
        });
    }

    async fn see_reference(&mut self, backend: &Reference<Servers>) -> Result<(), LookError> {
        let time_s = look::at_chain(&self.servers, self.parts.sla.chain).await?;
        let chain = look::reference(backend, self.parts.name, time_s).await?;
        self.status.seen = Some(words::seen(&chain.status, Some(&chain), self.parts.daemon));
        if self.memory.book.tidy(&chain.roots) {
            self.kept(self.memory.keep_book());
        }
        let newest = look::newest(backend, &chain).await?;
        match newest.filter(|newest| !self.memory.book.knows(newest)) {
            None => self.unshown = None,
            Some(newest) => self.ask_oracles(backend, &chain, newest.id).await,
        }
        self.chain = Some(chain.clone());
        let hp = self.parts.section.hp_account.into();
        self.mismatch = plan::mismatch(&chain, self.own, hp).map(|what| what.to_string());
        self.prepare(backend, &chain.status);
        self.open_engine(backend).await?;
        self.decide(backend, &chain);
        Ok(())
    }

    async fn see_icn(&mut self, backend: &Icn<Servers>, number: B256) -> Result<(), LookError> {
        look::at_chain(&self.servers, self.parts.sla.chain).await?;
        let (status, rewards) = look::icn(backend, number).await?;
        self.status.seen = Some(words::seen(&status, None, self.parts.daemon));
        let text = |amount: Option<U256>| amount.map(|amount| amount.to_string());
        self.status.amounts.claimable = text(rewards.claimable);
        self.status.amounts.paid = text(rewards.paid);
        let is_due = rewards.claimable.is_some_and(|claimable| claimable > U256::ZERO);
        let step = is_due.then(|| backend.claim(&ClaimOf::Nodes(vec![number])));
        let unsigned = step.into_iter().filter_map(|step| match step {
            Ok(Step::Hp(unsigned)) => Some(unsigned),
            Ok(Step::Ours(_)) | Err(_) => None,
        });
        self.show_unsigned(unsigned.collect());
        let waits = match is_due {
            true => "the HP's wallet has to sign the claim: icn-agent settlement unsigned",
            false => "there is nothing to be claimed",
        };
        self.status.waits = Some(waits.to_owned());
        Ok(())
    }

    /// Asks one oracle after the other until one shows the newest root as it is on chain.
    async fn ask_oracles(&mut self, backend: &Reference<Servers>, chain: &Chain, newest: u64) {
        let mut reasons = Vec::new();
        let (node, domain) = (self.parts.name, self.domain.clone());
        for oracle in self.oracles.clone() {
            let asked = look::ask(&oracle, backend, chain, node, &domain);
            let answer = tokio::time::timeout(ORACLE, asked).await;
            let reason = match answer.unwrap_or(Err(Asked::TooLate)) {
                Ok((place, settled)) => {
                    self.believed(&oracle.name, None);
                    let number = place.number;
                    if look::is_news(&self.memory.book, &place) {
                        info!(oracle = oracle.name, root = place.number, "a root with this node");
                        self.memory.book.take(place, &settled);
                        self.kept(self.memory.keep_book());
                    }
                    if number == newest {
                        self.unshown = None;
                        return;
                    }
                    format!("its newest is root {number}")
                }
                // The node is in none: nobody has to look.
                Err(Asked::Nothing) => continue,
                Err(Asked::Untrue(what)) => {
                    self.believed(&oracle.name, Some(what.to_string()));
                    what.to_string()
                }
                Err(error) => error.to_string(),
            };
            reasons.push(format!("{}: {reason}", oracle.name));
        }
        let looks = self.unshown.as_ref().map_or(0, |unshown| unshown.looks).saturating_add(1);
        let why = reasons.join("; ");
        self.unshown = (!why.is_empty()).then_some(Unshown { root: newest, looks, why });
    }

    /// What the HP has to sign so that the node is registered, and its key bound.
    fn prepare(&mut self, backend: &Reference<Servers>, status: &NodeStatus) {
        let label = match &self.parts.node.held.borrow().identity {
            Identity::Known(state) => sla::label(&state.node_id),
            Identity::Awaited(_) => None,
        };
        let mut steps = Vec::new();
        if status.standing == Standing::Unknown {
            steps.extend(label.map(|label| backend.register(label)));
        }
        let held = self.parts.node.binding.borrow().clone();
        if let Some(held) = held.filter(|_| status.daemon != Some(self.parts.daemon)) {
            let daemon = Bytes::copy_from_slice(&held.signature.0);
            steps.push(backend.bind(&SignedBinding { binding: held.message, daemon, hp: None }));
        }
        let unsigned = steps.into_iter().filter_map(|step| match step {
            Ok(Step::Hp(unsigned)) => Some(unsigned),
            Ok(Step::Ours(_)) | Err(_) => None,
        });
        self.show_unsigned(unsigned.collect());
    }

    fn show_unsigned(&self, unsigned: Vec<Unsigned>) {
        let shown: Vec<_> =
            unsigned.iter().map(|unsigned| words::unsigned(unsigned.form())).collect();
        self.parts.node.settlement.send_modify(|known| known.unsigned = shown);
    }

    /// Opens the engine where the node pays, has its key, and a volume for the outbox.
    async fn open_engine(&mut self, backend: &Reference<Servers>) -> Result<(), LookError> {
        let Some(gas) = self.parts.section.gas else { return Ok(()) };
        let held = self.parts.node.held.borrow().identity.clone();
        let key = match &held {
            Identity::Known(state) => state.gas_key.as_ref().map(|key| PayerKey::parse(&**key)),
            Identity::Awaited(_) => None,
        };
        let Some(Ok(key)) = key else {
            self.no_engine = Some(
                "there is no gas key yet: it is made once all disks of the node are there".into(),
            );
            return Ok(());
        };
        let balance_wei = self.servers.balance(key.address()).await?;
        self.paid_by(key.address(), Some(balance_wei));
        if self.engine.is_some() {
            return Ok(());
        }
        let place = match self.memory.outbox() {
            Ok(Some(place)) if self.failed.as_ref() != Some(&place) => place,
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {
                self.no_engine = Some(
                    "nothing is claimed: there is no volume that the outbox could be on".into(),
                );
                return Ok(());
            }
            Err(error) => {
                self.no_engine = Some(format!("nothing is claimed: {error}"));
                return Ok(());
            }
        };
        let setup =
            Setup { target: backend.network().target(), policy: policy(&gas), errors: errors() };
        let (folder, gas) = (Folder::new(&place), key.address());
        match Engine::open_or_begin(folder, self.servers.clone(), key, setup).await {
            Ok(engine) => {
                info!(folder = %place.display(), %gas, "claims are sent from here");
                (self.engine, self.no_engine) = (Some(engine), None);
            }
            Err(error) => {
                error!(%error, "claims cannot be sent");
                if matches!(error, EngineError::Outbox(_) | EngineError::Replay(_)) {
                    self.failed = Some(place);
                }
                self.no_engine = Some(format!("nothing is claimed: {error}"));
            }
        }
        Ok(())
    }

    /// Claims, or says why not.
    fn decide(&mut self, backend: &Reference<Servers>, chain: &Chain) {
        self.unpark(chain);
        let (gas, hp) = (self.parts.section.gas, self.parts.section.hp_account.into());
        // By the chain's clock: the node's own may be wrong, and what it says once is kept.
        let (open, now_s) = (self.open(), chain.time_s);
        let book = &self.memory.book;
        let place = match plan::claim(book, chain, self.own, hp, gas.as_ref(), &open, now_s) {
            Ok(place) => place.clone(),
            Err(wait) => {
                self.status.waits = Some(wait.to_string());
                return;
            }
        };
        self.status.waits = self.enqueue(backend, &place, now_s).err();
    }

    fn enqueue(
        &mut self,
        backend: &Reference<Servers>,
        place: &Place,
        now_s: u64,
    ) -> Result<(), String> {
        let no_engine = || "there is no outbox yet that a claim could be sent from".to_owned();
        let engine = self.engine.as_mut().ok_or_else(no_engine)?;
        let wanted = wanted(backend, place)?;
        let digest = wanted.digest;
        let seq = engine.enqueue(wanted).map_err(|error| error.to_string())?;
        info!(%seq, root = place.number, "a claim is on its way");
        self.memory.book.claimed(Claimed {
            digest,
            root: place.number,
            reward: place.reward(),
            at: now_s,
            transaction: None,
            is_final: false,
        });
        self.kept(self.memory.keep_book());
        Ok(())
    }

    /// What is parked though it was paid, by another's claim or a newer one: the engine sees that and is done with it.
    fn unpark(&mut self, chain: &Chain) {
        let Some(engine) = &mut self.engine else { return };
        let is_paid = |digest: B256| {
            let claims = &self.memory.book.claims;
            let claim = claims.iter().find(|claim| claim.digest == digest);
            claim.is_some_and(|claim| claim.reward <= chain.done.reward)
        };
        let entries = engine.state().open();
        let parked = entries.filter(|entry| matches!(entry.stage, Stage::Parked(_)));
        let paid: Vec<_> = parked
            .filter(|entry| is_paid(entry.intent.digest))
            .map(|entry| entry.intent.seq)
            .collect();
        for seq in paid {
            engine.unpark(seq);
            self.alarms.remove(&seq);
        }
    }

    /// Has the engine go on with what is open.
    pub(super) async fn tick(&mut self) {
        let now = Moment { ms: self.running_ms(), unix_s: since_1970().as_secs() };
        let Some(engine) = &mut self.engine else { return };
        let is_idle = |stage: &Stage| matches!(stage, Stage::Parked(_));
        if engine.state().open().all(|entry| is_idle(&entry.stage)) {
            return;
        }
        let report = match engine.tick(now).await {
            Ok(report) => report,
            Err(error) => {
                error!(%error, "claims cannot be sent any more");
                self.no_engine = Some(format!("nothing is claimed: {error}"));
                self.engine = None;
                self.failed = self.memory.outbox().ok().flatten();
                return;
            }
        };
        for error in &report.errors {
            warn!(%error, "a claim could not go on");
        }
        let mut is_changed = self.note_transactions();
        for notice in report.notices {
            is_changed |= self.noticed(notice);
        }
        if is_changed {
            self.kept(self.memory.keep_book());
        }
    }

    /// Takes over the hashes of what was signed; says whether one is another.
    fn note_transactions(&mut self) -> bool {
        let Some(engine) = &self.engine else { return false };
        let mut is_changed = false;
        for entry in engine.state().open() {
            let hash = entry.attempts.last().map(|signed| signed.hash);
            let claims = &mut self.memory.book.claims;
            let claim = claims.iter_mut().find(|claim| claim.digest == entry.intent.digest);
            if let (Some(claim), Some(hash)) = (claim, hash) {
                is_changed |= claim.transaction.replace(hash) != Some(hash);
            }
        }
        is_changed
    }

    /// Takes note of what the engine says; says whether the book changed.
    fn noticed(&mut self, notice: Notice) -> bool {
        match notice {
            Notice::Alarm(seq, alarm) => {
                warn!(%seq, %alarm, "a claim needs somebody");
                self.alarms.insert(seq, alarm.to_string());
                false
            }
            Notice::Mined { seq, .. } => {
                info!(%seq, "a claim is in a block");
                self.alarms.remove(&seq);
                false
            }
            Notice::Reorged { seq, .. } => {
                warn!(%seq, "the block of a claim vanished; it is sent again");
                false
            }
            Notice::Safe { .. } => false,
            Notice::Final { seq, digest, how } => {
                info!(%seq, ?how, "a claim is final");
                self.alarms.remove(&seq);
                let claims = &mut self.memory.book.claims;
                let claim = claims.iter_mut().find(|claim| claim.digest == digest);
                claim.is_some_and(|claim| !std::mem::replace(&mut claim.is_final, true))
            }
        }
    }
}

/// The call that claims by a root.
fn wanted(backend: &Reference<Servers>, place: &Place) -> Result<Wanted, String> {
    let what = ClaimOf::Leaf {
        id: place.number,
        root: place.root,
        leaf: place.leaf(),
        proof: place.proof.clone(),
    };
    match backend.claim(&what) {
        Ok(Step::Ours(wanted)) => Ok(wanted),
        Ok(Step::Hp(_)) => Err("the backend leaves claims to the HP".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn policy(gas: &Gas) -> Policy {
    let default = Policy::default();
    Policy {
        fee_cap_wei: gas.max_fee_wei,
        tip_cap_wei: default.tip_cap_wei.min(gas.max_fee_wei),
        day_budget_wei: gas.day_budget_wei,
        ..default
    }
}
