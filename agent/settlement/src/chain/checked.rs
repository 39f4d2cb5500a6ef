//! Two RPC servers, asked the same. What both say is believed; where they differ, neither is.
//!
//! One that lags is no liar: what it does not have yet is [`ChainError::Behind`], and asked again later.
//! Prices are no facts: of two the higher is taken, and of two balances the lower; caps bound what a liar can
//! make of it.

use alloy::primitives::{Address, B256, Bytes};

use super::{At, Block, Chain, ChainError, Heads, Sent, Simulated};
use crate::call::Call;
use crate::chain::rpc::Rpc;
use crate::outbox::Inclusion;

/// How many blocks one may lag behind the other: a minute of Base.
const LAG_MAX: u64 = 30;

/// Two RPC servers.
#[derive(Debug, Clone)]
pub struct Checked {
    pub(super) first: Rpc,
    pub(super) second: Rpc,
}

impl Checked {
    /// Two servers of different operators.
    #[must_use]
    pub fn new(first: Rpc, second: Rpc) -> Self {
        Self { first, second }
    }

    fn differ(&self, what: String) -> ChainError {
        ChainError::Differ { first: self.first.name(), second: self.second.name(), what }
    }

    fn behind(&self, first: bool, what: &'static str) -> ChainError {
        let server = if first { self.first.name() } else { self.second.name() };
        ChainError::Behind { server, what }
    }

    /// The one answer of both.
    pub(super) fn one<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        answers: (Result<T, ChainError>, Result<T, ChainError>),
    ) -> Result<T, ChainError> {
        let (first, second) = (answers.0?, answers.1?);
        match first == second {
            true => Ok(first),
            false => Err(self.differ(format!("{what}: {first:?}, {second:?}"))),
        }
    }

    /// Whether both have come as far as a block.
    async fn both_at(&self, number: u64) -> Result<(), ChainError> {
        let (first, second) = tokio::join!(self.first.heads(), self.second.heads());
        let what = "the block of a receipt";
        match (first?.latest.number < number, second?.latest.number < number) {
            (true, _) => Err(self.behind(true, what)),
            (_, true) => Err(self.behind(false, what)),
            (false, false) => Ok(()),
        }
    }
}

impl Chain for Checked {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.one("chain id", tokio::join!(self.first.chain_id(), self.second.chain_id()))
    }

    /// The lower of the two heads, if both have the same block there, and have the same finalized one.
    async fn heads(&self) -> Result<Heads, ChainError> {
        let (first, second) = tokio::join!(self.first.heads(), self.second.heads());
        let (first, second) = (first?, second?);
        let (low, high, low_is_first) = match first.latest.number <= second.latest.number {
            true => (first, second, true),
            false => (second, first, false),
        };
        if high.latest.number - low.latest.number > LAG_MAX {
            return Err(self.behind(low_is_first, "the newest block"));
        }
        let finalized = low.finalized.min(high.finalized);
        for number in [low.latest.number, finalized] {
            let hashes =
                tokio::join!(self.first.block_hash(number), self.second.block_hash(number));
            self.one(&format!("the hash of block {number}"), hashes)?;
        }
        let base_fee_wei = low.latest.base_fee_wei.max(high.latest.base_fee_wei);
        Ok(Heads {
            latest: Block { base_fee_wei, ..low.latest },
            safe: low.safe.min(high.safe),
            finalized,
        })
    }

    async fn tip_wei(&self) -> Result<u128, ChainError> {
        let (first, second) = tokio::join!(self.first.tip_wei(), self.second.tip_wei());
        Ok(first?.max(second?))
    }

    /// Of what is mined both must say the same; of what waits, the higher is safe: a nonce that is free is never
    /// one that is in use.
    async fn nonce(&self, of: Address, at: At) -> Result<u64, ChainError> {
        let answers = tokio::join!(self.first.nonce(of, at), self.second.nonce(of, at));
        match at {
            At::Pending => Ok(answers.0?.max(answers.1?)),
            At::Latest | At::Number(_) => self.one("an account's nonce", answers),
        }
    }

    async fn balance(&self, of: Address) -> Result<u128, ChainError> {
        let (first, second) = tokio::join!(self.first.balance(of), self.second.balance(of));
        Ok(first?.min(second?))
    }

    async fn code(&self, of: Address) -> Result<Bytes, ChainError> {
        let answers = tokio::join!(self.first.code(of), self.second.code(of));
        let (first, second) = (answers.0?, answers.1?);
        match first == second {
            true => Ok(first),
            false => Err(self.differ(format!("the code of {of}"))),
        }
    }

    async fn read(&self, to: Address, data: Bytes, at: At) -> Result<Bytes, ChainError> {
        let first = self.first.read(to, data.clone(), at);
        self.one("the answer of a contract", tokio::join!(first, self.second.read(to, data, at)))
    }

    /// Gas depends on the block: the higher is taken. Whether it reverts, and how, both must say.
    async fn simulate(&self, from: Address, call: &Call) -> Result<Simulated, ChainError> {
        let answers =
            tokio::join!(self.first.simulate(from, call), self.second.simulate(from, call));
        match (answers.0?, answers.1?) {
            (Simulated::Gas(first), Simulated::Gas(second)) => {
                Ok(Simulated::Gas(first.max(second)))
            }
            answers => self.one("what becomes of a call", (Ok(answers.0), Ok(answers.1))),
        }
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Inclusion>, ChainError> {
        let (first, second) = tokio::join!(self.first.receipt(hash), self.second.receipt(hash));
        match (first?, second?) {
            (Some(found), None) | (None, Some(found)) => {
                self.both_at(found.number).await?;
                // Both had come that far only just now, perhaps: one look more decides.
                let again = tokio::join!(self.first.receipt(hash), self.second.receipt(hash));
                self.one("a receipt", again)
            }
            both => self.one("a receipt", (Ok(both.0), Ok(both.1))),
        }
    }

    /// One that knows it is enough: sending it again does no harm, nor does not sending it.
    async fn known(&self, hash: B256) -> Result<bool, ChainError> {
        let (first, second) = tokio::join!(self.first.known(hash), self.second.known(hash));
        Ok(first? || second?)
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        let answers = tokio::join!(self.first.block_hash(number), self.second.block_hash(number));
        self.one(&format!("the hash of block {number}"), answers)
    }

    /// To both: one may hide it. Taken by one is taken.
    async fn send(&self, raw: &Bytes) -> Result<Sent, ChainError> {
        let (first, second) = tokio::join!(self.first.send(raw), self.second.send(raw));
        match (first, second) {
            (Ok(Sent::Waits), _) | (_, Ok(Sent::Waits)) => Ok(Sent::Waits),
            (Ok(sent), _) | (Err(_), Ok(sent)) => Ok(sent),
            (Err(error), Err(_)) => Err(error),
        }
    }
}
