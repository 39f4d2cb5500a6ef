//! One step: what happened, and so what is to be done. Nothing here does it.

use alloy::primitives::{Bytes, keccak256};

use super::event::{Action, Alarm, Effect, Event, Found, Moment, Notice, Prepared};
use super::state::{Entry, Stage, State};
use crate::call::{Call, Seq, Wanted};
use crate::chain::Sent;
use crate::outbox::{Fee, Inclusion, Outcome, ParkReason, Purpose, Record, Signed};
use crate::revert::{Class, Revert};

/// Gas of a transaction that does nothing (EIP-2028: 21,000 for any transaction).
const FILLER_GAS: u64 = 21_000;

/// What is mined is looked at so many times more rarely than what waits: it takes minutes to become final.
const MINED_LOOK_UP_FACTOR: u64 = 5;

fn alarm(seq: Seq, alarm: Alarm) -> Action {
    Action::Tell(Notice::Alarm(seq, alarm))
}

impl State {
    /// Takes note of what happened, and says what is to be done.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        match event {
            Event::Tick { safe, finalized } => self.on_tick(now, safe, finalized),
            Event::Prepared(seq, prepared) => self.on_prepared(now, seq, prepared),
            Event::Refused(seq, refusal) => self.wait_with(now, seq, Alarm::Refused(refusal)),
            Event::Found(seq, found) => self.on_found(now, seq, &found),
            Event::Signed(signed) => self.on_signed(now, signed),
            Event::Sent(seq, sent) => self.on_sent(now, seq, sent),
            Event::Diagnosed(seq, revert) => self.on_reverted(now, seq, revert),
            Event::Failed(seq) => {
                self.wait(now, seq);
                self.prepare_next(now)
            }
        }
    }

    fn on_tick(&mut self, now: Moment, safe: u64, finalized: u64) -> Vec<Action> {
        // A server that was asked later may be behind: what was final stays final.
        (self.safe, self.finalized) = (self.safe.max(safe), self.finalized.max(finalized));
        let mut actions = Vec::new();
        for (seq, entry) in &mut self.open {
            let due = !entry.busy && now.ms >= entry.not_before;
            if due && !matches!(entry.stage, Stage::Queued | Stage::Parked(_)) {
                entry.busy = true;
                actions.push(Action::LookUp(*seq));
            }
        }
        actions.extend(self.prepare_next(now));
        actions
    }

    /// The next in the queue, if it may be given a nonce: one at a time.
    fn prepare_next(&mut self, now: Moment) -> Vec<Action> {
        let in_flight = self.open.values().filter(|entry| entry.in_flight()).count();
        if self.signing.is_some() || in_flight >= self.policy.in_flight_max {
            return Vec::new();
        }
        let due = |entry: &&mut Entry| {
            entry.stage == Stage::Queued && !entry.busy && now.ms >= entry.not_before
        };
        let Some(entry) = self.open.values_mut().find(due) else { return Vec::new() };
        entry.busy = true;
        self.signing = Some(entry.intent.seq);
        vec![Action::Prepare(entry.intent.seq)]
    }

    /// Does nothing for a while: longer each time.
    fn wait(&mut self, now: Moment, seq: Seq) {
        self.release(seq);
        if let Some(entry) = self.open.get_mut(&seq) {
            entry.failures = entry.failures.saturating_add(1);
            entry.not_before = now.ms.saturating_add(self.policy.wait_ms(entry.failures));
        }
    }

    fn release(&mut self, seq: Seq) {
        if self.signing == Some(seq) {
            self.signing = None;
        }
        if let Some(entry) = self.open.get_mut(&seq) {
            entry.busy = false;
        }
    }

    fn wait_with(&mut self, now: Moment, seq: Seq, why: Alarm) -> Vec<Action> {
        self.wait(now, seq);
        let mut actions = vec![alarm(seq, why)];
        actions.extend(self.prepare_next(now));
        actions
    }

    fn finish(&mut self, now: Moment, seq: Seq, how: Outcome) -> Vec<Action> {
        self.release(seq);
        let Some(entry) = self.open.get(&seq) else { return Vec::new() };
        let digest = entry.intent.digest;
        self.forget(seq);
        let mut actions = vec![
            Action::Persist(Record::Final { seq, how }),
            Action::Tell(Notice::Final { seq, digest, how }),
        ];
        actions.extend(self.prepare_next(now));
        actions
    }

    fn park(&mut self, now: Moment, seq: Seq, reason: ParkReason) -> Vec<Action> {
        self.release(seq);
        if let Some(entry) = self.open.get_mut(&seq) {
            entry.queue_again();
            entry.stage = Stage::Parked(reason.clone());
        }
        let mut actions = vec![
            Action::Persist(Record::Parked { seq, reason: reason.clone() }),
            alarm(seq, Alarm::Parked(reason)),
        ];
        actions.extend(self.prepare_next(now));
        actions
    }

    /// The contract refused it: before it was signed, or in a safe block.
    fn on_reverted(&mut self, now: Moment, seq: Seq, revert: Revert) -> Vec<Action> {
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        entry.reverts = entry.reverts.saturating_add(1);
        let times = entry.reverts;
        match revert.class {
            Class::Terminal => self.park(now, seq, ParkReason::Refused { revert }),
            Class::Retryable if times >= self.policy.reverts_max => {
                self.park(now, seq, ParkReason::KeepsReverting { times, revert })
            }
            Class::Retryable => {
                entry.queue_again();
                self.wait_with(now, seq, Alarm::Reverted(revert))
            }
        }
    }

    fn on_prepared(&mut self, now: Moment, seq: Seq, known: Prepared) -> Vec<Action> {
        match self.open.get(&seq) {
            Some(entry) if entry.stage == Stage::Queued => {
                if entry.intent.purpose == Purpose::Filler {
                    // A gap that is still there is found again, and filled at its own nonce.
                    return self.finish(now, seq, Outcome::NotNeeded);
                }
            }
            _ => {
                self.release(seq);
                return Vec::new();
            }
        }
        match known.effect {
            Effect::Safe => return self.finish(now, seq, Outcome::Another),
            Effect::Latest => {
                // It may vanish again; until it is safe nothing is known.
                self.wait(now, seq);
                return self.prepare_next(now);
            }
            Effect::No | Effect::Unknown => {}
        }
        let needed = match known.gas {
            Ok(needed) => needed,
            Err(revert) => return self.on_reverted(now, seq, revert),
        };
        let Some(gas) = self.policy.gas(needed) else {
            let limit = self.policy.gas_max;
            return self.park(now, seq, ParkReason::TooMuchGas { gas: needed, limit });
        };
        let own_next = self.own_next().unwrap_or(0);
        if let Some(why) = self.strangers(now, known.pending, own_next.max(known.mined)) {
            return self.wait_with(now, seq, why);
        }
        let (base_wei, tip_wei) = (known.prices.base_wei, known.prices.tip_wei);
        let Some(fee) = self.policy.fee(base_wei, tip_wei) else {
            let wei = base_wei.saturating_add(tip_wei);
            return self.wait_with(now, seq, Alarm::FeeCap { wei });
        };
        let l1_wei = known.l1_wei;
        let needs_wei = fee.max_wei.saturating_mul(u128::from(gas)).saturating_add(l1_wei);
        if known.balance_wei < needs_wei {
            let has_wei = known.balance_wei;
            return self.wait_with(now, seq, Alarm::NoFunds { has_wei, needs_wei });
        }
        if self.policy.budget(self.spent, now.day(), needs_wei).is_none() {
            return self.wait_with(now, seq, Alarm::Budget);
        }
        vec![Action::Sign { seq, nonce: known.pending.max(own_next), gas, fee, l1_wei }]
    }

    /// Transactions of the account that wait and are not ours are waited for, but not for ever.
    fn strangers(&mut self, now: Moment, pending: u64, ours: u64) -> Option<Alarm> {
        let count = pending.saturating_sub(ours);
        if count == 0 {
            self.strangers_since = None;
            return None;
        }
        let since = *self.strangers_since.get_or_insert(now.ms);
        let waited = now.ms.saturating_sub(since);
        (waited < self.policy.strangers_ms).then_some(Alarm::Strangers { count })
    }

    fn on_signed(&mut self, now: Moment, signed: Signed) -> Vec<Action> {
        let seq = signed.seq;
        if self.signing == Some(seq) {
            self.signing = None;
        }
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        (entry.busy, entry.since, entry.failures) = (true, now.ms, 0);
        let record = match entry.attempts.is_empty() {
            true => Record::Signed(signed.clone()),
            false => Record::Replaced(signed.clone()),
        };
        self.signed(signed);
        vec![Action::Persist(record), Action::Send(seq)]
    }

    fn on_sent(&mut self, now: Moment, seq: Seq, sent: Sent) -> Vec<Action> {
        self.release(seq);
        let (look_up_ms, replace_ms) = (self.policy.look_up_ms, self.policy.replace_ms);
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        if entry.in_flight() {
            entry.not_before = now.ms.saturating_add(look_up_ms);
            entry.stage = match sent {
                Sent::Waits => Stage::Waits,
                _ => Stage::Unsure,
            };
        }
        let mut actions = match sent {
            Sent::Waits | Sent::NonceUsed => Vec::new(),
            Sent::Underpriced => {
                // Its fee is raised when it is looked up next.
                entry.since = now.ms.saturating_sub(replace_ms);
                Vec::new()
            }
            Sent::NoFunds => self.wait_with(now, seq, Alarm::ServerSaysNoFunds),
            Sent::Refused(words) => self.wait_with(now, seq, Alarm::NotTaken(words)),
        };
        actions.extend(self.prepare_next(now));
        actions
    }

    fn on_found(&mut self, now: Moment, seq: Seq, found: &Found) -> Vec<Action> {
        self.release(seq);
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        if matches!(entry.stage, Stage::Queued | Stage::Parked(_)) {
            return Vec::new();
        }
        entry.failures = 0;
        entry.not_before = now.ms.saturating_add(self.policy.look_up_ms);
        let mut actions = match found.inclusion {
            Some(inclusion) => self.on_included(now, seq, inclusion),
            None => self.on_absent(now, seq, found),
        };
        actions.extend(self.prepare_next(now));
        actions
    }

    fn on_included(&mut self, now: Moment, seq: Seq, inclusion: Inclusion) -> Vec<Action> {
        let (safe, finalized) = (self.safe, self.finalized);
        let look_up_ms = self.policy.look_up_ms.saturating_mul(MINED_LOOK_UP_FACTOR);
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        let digest = entry.intent.digest;
        let mut actions = Vec::new();
        if entry.inclusion() != Some(inclusion) {
            entry.stage = Stage::Mined(inclusion);
            actions.push(Action::Persist(Record::Mined { seq, inclusion }));
            if inclusion.ok {
                actions.push(Action::Tell(Notice::Mined { seq, digest }));
            }
        }
        entry.not_before = now.ms.saturating_add(look_up_ms);
        if inclusion.number > safe {
            return actions;
        }
        if !inclusion.ok {
            entry.busy = true;
            actions.push(Action::Diagnose(seq));
            return actions;
        }
        if entry.stage != Stage::Safe(inclusion) {
            entry.stage = Stage::Safe(inclusion);
            actions.push(Action::Tell(Notice::Safe { seq, digest }));
        }
        if inclusion.number <= finalized {
            actions.extend(self.finish(now, seq, Outcome::Ours));
        }
        actions
    }

    /// None of its transactions is in a block.
    fn on_absent(&mut self, now: Moment, seq: Seq, found: &Found) -> Vec<Action> {
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        let mut actions = Vec::new();
        if entry.inclusion().is_some() {
            let digest = entry.intent.digest;
            (entry.stage, entry.since) = (Stage::Unsure, now.ms);
            actions.push(Action::Tell(Notice::Reorged { seq, digest }));
        }
        let Some(last) = entry.attempts.last().cloned() else {
            entry.queue_again();
            return actions;
        };
        if found.mined_safe > last.nonce {
            actions.extend(self.on_nonce_taken(now, seq, last.nonce, found.effect));
        } else if found.mined <= last.nonce {
            actions.extend(self.on_waiting(now, seq, &last, found));
        }
        actions
    }

    /// Another transaction has its nonce for good: none of those signed for it can ever be mined.
    fn on_nonce_taken(&mut self, now: Moment, seq: Seq, nonce: u64, effect: Effect) -> Vec<Action> {
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        match (entry.intent.purpose, effect) {
            (Purpose::Filler, _) => self.finish(now, seq, Outcome::NotNeeded),
            (Purpose::Wanted, Effect::Safe) => self.finish(now, seq, Outcome::Another),
            // It is not known yet, or there is nothing that shows it: the call is made again.
            (Purpose::Wanted, Effect::Latest) => Vec::new(),
            (Purpose::Wanted, Effect::No | Effect::Unknown) => {
                entry.queue_again();
                vec![alarm(seq, Alarm::NonceTaken { nonce })]
            }
        }
    }

    /// It can still be mined: it is sent again, or for a higher fee, or what is missing before it is filled.
    fn on_waiting(&mut self, now: Moment, seq: Seq, last: &Signed, found: &Found) -> Vec<Action> {
        if last.nonce > found.mined {
            let filled = self.fill_gap(now, found);
            if !filled.is_empty() {
                return filled;
            }
        } else {
            self.gap = None;
        }
        let (replace_ms, look_up_ms) = (self.policy.replace_ms, self.policy.look_up_ms);
        let Some(entry) = self.open.get_mut(&seq) else { return Vec::new() };
        let overdue = now.ms.saturating_sub(entry.since) >= replace_ms;
        let mut actions = Vec::new();
        if overdue && last.nonce == found.mined {
            let prices = found.prices;
            let raised = self.policy.raised(last.fee, prices.base_wei, prices.tip_wei);
            match raised.map(|fee| (fee, self.affords(seq, last, fee, now.day()))) {
                Some((fee, true)) => {
                    self.busy(seq);
                    let Signed { nonce, gas, l1_wei, .. } = *last;
                    return vec![Action::Sign { seq, nonce, gas, fee, l1_wei }];
                }
                Some((_, false)) => actions.push(alarm(seq, Alarm::Budget)),
                None => {
                    let wei = prices.base_wei.saturating_add(prices.tip_wei);
                    actions.push(alarm(seq, Alarm::FeeCap { wei }));
                }
            }
            // Said again, and tried again, after the same time.
            if let Some(entry) = self.open.get_mut(&seq) {
                entry.since = now.ms;
            }
        }
        let Some(entry) = self.open.get_mut(&seq) else { return actions };
        if found.known {
            entry.stage = Stage::Waits;
            entry.not_before = now.ms.saturating_add(look_up_ms);
        } else {
            entry.busy = true;
            actions.push(Action::Send(seq));
        }
        actions
    }

    fn busy(&mut self, seq: Seq) {
        if let Some(entry) = self.open.get_mut(&seq) {
            entry.busy = true;
        }
    }

    fn affords(&self, seq: Seq, last: &Signed, fee: Fee, day: u64) -> bool {
        let cost = fee.max_wei.saturating_mul(u128::from(last.gas)).saturating_add(last.l1_wei);
        let more = self.open.get(&seq).map(|entry| entry.cost_beyond(cost, last.nonce, day));
        more.is_some_and(|more| self.policy.budget(self.spent, day, more).is_some())
    }

    /// Nothing has the next nonce, and what we sent waits behind it: after a while a transaction to nobody, with nothing
    /// in it, takes that nonce. It can stand in nobody's way but that of a transaction that was lost.
    fn fill_gap(&mut self, now: Moment, found: &Found) -> Vec<Action> {
        let nonce = found.mined;
        // Another's transaction that waits with that nonce is none of ours to replace.
        if found.pending > nonce {
            self.gap = None;
            return Vec::new();
        }
        if self.open.values().any(|entry| entry.nonce() == Some(nonce)) || self.signing.is_some() {
            return Vec::new();
        }
        let since = match self.gap {
            Some((gap, since)) if gap == nonce => since,
            _ => now.ms,
        };
        self.gap = Some((nonce, since));
        if now.ms.saturating_sub(since) < self.policy.gap_ms {
            return Vec::new();
        }
        let prices = found.prices;
        let Some(fee) = self.policy.fee(prices.base_wei, prices.tip_wei) else {
            return Vec::new();
        };
        let cost = fee.max_wei.saturating_mul(u128::from(FILLER_GAS));
        if self.policy.budget(self.spent, now.day(), cost).is_none() {
            return Vec::new();
        }
        self.gap = None;
        let digest = keccak256(format!("filler {} {nonce}", self.next));
        // To the zero address, with no value: it moves nothing.
        let call = Call { to: Default::default(), data: Bytes::new(), probe: None };
        let (seq, persist) = self.intend(Wanted { digest, call }, Purpose::Filler);
        self.busy(seq);
        self.signing = Some(seq);
        // Its bytes are the fewest there are: what L1 takes of them is left out.
        let sign = Action::Sign { seq, nonce, gas: FILLER_GAS, fee, l1_wei: 0 };
        vec![persist, alarm(seq, Alarm::Gap { nonce }), sign]
    }
}
