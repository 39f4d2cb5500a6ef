//! Asking the chain what a step needs to know. All of one question is asked at the blocks of one tick.

use super::event::{Effect, Event, Found, Moment, Prepared, Prices};
use super::state::Entry;
use super::{Engine, StepError};
use crate::call::{Call, Seq};
use crate::chain::{At, Chain, ChainError, Heads, Simulated};
use crate::l1::{self, L1Fee};
use crate::outbox::{Backend, Inclusion, Signed};
use crate::preflight::{self, Contract, Facts, Refusal, Seen, Target};
use crate::revert::{Class, Revert, decode};

/// What is known of a chain and its contracts, as [`preflight::check`] wants it.
///
/// # Errors
/// The chain does not say.
pub async fn observe<C: Chain>(
    chain: &C,
    target: &Target,
    heads: &Heads,
) -> Result<Facts, ChainError> {
    let mut contracts = Vec::new();
    for contract in &target.contracts {
        contracts.push(look_at(chain, contract, heads).await?);
    }
    let number = chain.chain_id().await?;
    Ok(Facts { chain: number, block_time: heads.latest.time, contracts })
}

async fn look_at<C: Chain>(
    chain: &C,
    contract: &Contract,
    heads: &Heads,
) -> Result<Seen, ChainError> {
    let code = !chain.code(contract.address).await?.is_empty();
    let answer = match &contract.version {
        Some((question, _)) if code => {
            let at = At::Number(heads.latest.number);
            match chain.read(contract.address, question.clone(), at).await {
                Ok(answer) => Some(answer),
                Err(error) if error.revert().is_some() => None,
                Err(error) => return Err(error),
            }
        }
        _ => None,
    };
    Ok(Seen { code, answer })
}

impl<B: Backend, C: Chain> Engine<B, C> {
    fn open_entry(&self, seq: Seq) -> Result<&Entry, StepError> {
        self.state.get(seq).ok_or(StepError::Gone(seq))
    }

    /// How far the chain was at the last tick that knew.
    fn seen_heads(&self, seq: Seq) -> Result<Heads, StepError> {
        self.heads.ok_or(StepError::Gone(seq))
    }

    async fn prices(&self, heads: &Heads) -> Result<Prices, ChainError> {
        let base_wei = heads.latest.base_fee_wei.unwrap_or(0);
        Ok(Prices { base_wei, tip_wei: self.chain.tip_wei().await? })
    }

    pub(super) async fn prepare(&self, now: Moment, seq: Seq) -> Result<Event, StepError> {
        let heads = self.seen_heads(seq)?;
        let call = &self.open_entry(seq)?.intent.call;
        let payer = self.key.address();
        let balance_wei = self.chain.balance(payer).await?;
        let facts = observe(&self.chain, &self.setup.target, &heads).await?;
        let (target, skew_max_s) = (&self.setup.target, self.setup.policy.skew_max_s);
        let refusals = preflight::check(target, &facts, payer, balance_wei, now.unix_s, skew_max_s);
        let hp_pays = self.setup.policy.hp_pays;
        let stands = |refusal: &Refusal| !(hp_pays && *refusal == Refusal::PayerIsHp);
        if let Some(refusal) = refusals.into_iter().find(stands) {
            return Ok(Event::Refused(seq, refusal));
        }
        let gas = match self.chain.simulate(payer, call).await? {
            Simulated::Gas(gas) => Ok(gas),
            Simulated::Reverts(data) => Err(decode(&data, &self.setup.errors)),
        };
        let l1_wei = match gas {
            Ok(gas) => self.l1_wei(call, gas, heads.latest.number).await?,
            Err(_) => 0,
        };
        let prepared = Prepared {
            mined: self.chain.nonce(payer, At::Number(heads.latest.number)).await?,
            pending: self.chain.nonce(payer, At::Pending).await?,
            prices: self.prices(&heads).await?,
            balance_wei,
            effect: self.effect(call, &heads).await?,
            gas,
            l1_wei,
        };
        Ok(Event::Prepared(seq, prepared))
    }

    /// What to set aside for a call's data on L1, in wei.
    async fn l1_wei(&self, call: &Call, gas: u64, block: u64) -> Result<u128, ChainError> {
        let bytes = l1::sized(self.setup.target.chain, call, gas, self.setup.policy.fee_cap_wei);
        Ok(match l1::fee(&self.chain, &bytes, call, block).await? {
            L1Fee::Beside { wei } => wei.saturating_mul(l1::TIMES),
            // What is part of the gas is counted with it.
            L1Fee::Within { .. } | L1Fee::None => 0,
        })
    }

    /// Whether the contract shows that a call took effect, whoever made it.
    async fn effect(&self, call: &Call, heads: &Heads) -> Result<Effect, ChainError> {
        let Some(probe) = &call.probe else { return Ok(Effect::Unknown) };
        for (number, effect) in [(heads.safe, Effect::Safe), (heads.latest.number, Effect::Latest)]
        {
            match self.chain.read(probe.to, probe.data.clone(), At::Number(number)).await {
                // An answer without the word is that of a block before the contract.
                Ok(answer) if probe.met(&answer) == Some(true) => return Ok(effect),
                Ok(_) => {}
                Err(error) if error.revert().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Effect::No)
    }

    pub(super) async fn look_up(&self, seq: Seq) -> Result<Event, StepError> {
        let heads = self.seen_heads(seq)?;
        let entry = self.open_entry(seq)?;
        let payer = self.key.address();
        // The nonces are of the tick's blocks, the receipts of now: what used a nonce there has its receipt here.
        let inclusion = self.inclusion(&entry.attempts).await?;
        let known = match (inclusion, entry.attempts.last()) {
            (None, Some(last)) => self.chain.known(last.hash).await?,
            _ => true,
        };
        let mined = self.chain.nonce(payer, At::Number(heads.latest.number)).await?;
        let mined_safe = self.chain.nonce(payer, At::Number(heads.safe)).await?;
        let pending = self.chain.nonce(payer, At::Pending).await?;
        let effect = self.effect(&entry.intent.call, &heads).await?;
        let prices = self.prices(&heads).await?;
        let found = Found { inclusion, known, mined, mined_safe, pending, prices, effect };
        Ok(Event::Found(seq, found))
    }

    /// Where one of the transactions is, by its receipt and by the chain's own block at that height.
    async fn inclusion(&self, attempts: &[Signed]) -> Result<Option<Inclusion>, StepError> {
        for signed in attempts.iter().rev() {
            if let Some(found) = self.chain.receipt(signed.hash).await? {
                let block = self.chain.block_hash(found.number).await?;
                if block == Some(found.block) {
                    return Ok(Some(found));
                }
                // The chain changed between the two questions.
                let what = "the block of a receipt is not the one at its height";
                return Err(ChainError::Behind { server: "a server".to_owned(), what }.into());
            }
        }
        Ok(None)
    }

    pub(super) async fn diagnose(&self, seq: Seq) -> Result<Event, StepError> {
        let call = &self.open_entry(seq)?.intent.call;
        let revert = match self.chain.simulate(self.key.address(), call).await? {
            Simulated::Reverts(data) => decode(&data, &self.setup.errors),
            Simulated::Gas(_) => {
                let words = "it was refused then, and would not be now".to_owned();
                Revert { words, class: Class::Retryable }
            }
        };
        Ok(Event::Diagnosed(seq, revert))
    }
}
