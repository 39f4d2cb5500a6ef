//! What contracts said in a range of blocks.

use alloy::primitives::{Address, B256, Bytes, U64};
use alloy::sol_types::SolEvent;
use serde::Deserialize;
use serde_json::json;

use super::ChainError;
use super::checked::Checked;
use super::rpc::Rpc;

/// How the method is called.
const METHOD: &str = "eth_getLogs";

/// One thing that a contract said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<E> {
    /// The number of its block.
    pub block: u64,
    /// The hash of its block.
    pub hash: B256,
    /// What.
    pub event: E,
}

/// A range of blocks, both of them in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// Which contract.
    pub of: Address,
    /// What the first indexed field may be: what else is said, by whomever and how often, is not answered.
    pub first: &'a [B256],
    /// Where.
    pub blocks: Blocks,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogAnswer {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    block_number: U64,
    block_hash: B256,
    #[serde(default)]
    removed: bool,
}

impl Rpc {
    /// What a contract said of one kind in a range of blocks, in their order.
    ///
    /// # Errors
    /// The server does not say; some refuse long ranges. Or what it says is not what was asked for.
    pub async fn said<E: SolEvent>(
        &self,
        question: Question<'_>,
    ) -> Result<Vec<Said<E>>, ChainError> {
        let Question { of, first, blocks: Blocks { from, to } } = question;
        let topics = json!([[E::SIGNATURE_HASH], first]);
        let (from_block, to_block) = (U64::from(from), U64::from(to));
        let asked = json!([
            { "address": of, "topics": topics, "fromBlock": from_block, "toBlock": to_block }
        ]);
        let answers: Vec<LogAnswer> = self.ask(METHOD, asked).await?;
        let read = |answer: LogAnswer| {
            let block: u64 = answer.block_number.to();
            let is_first = answer.topics.get(1).is_some_and(|topic| first.contains(topic));
            let is_there = answer.address == of && (from..=to).contains(&block);
            let is_asked = is_there && is_first && !answer.removed;
            if !is_asked {
                return Err(self.malformed(METHOD, format!("a log of block {block} is another")));
            }
            let event = E::decode_raw_log_validate(answer.topics, &answer.data);
            let event = event.map_err(|error| self.malformed(METHOD, error))?;
            Ok(Said { block, hash: answer.block_hash, event })
        };
        answers.into_iter().map(read).collect()
    }
}

impl Checked {
    /// What a contract said of one kind in a range of blocks, as both servers have it.
    ///
    /// # Errors
    /// One does not say, or they differ.
    pub async fn said<E: SolEvent + PartialEq + std::fmt::Debug>(
        &self,
        question: Question<'_>,
    ) -> Result<Vec<Said<E>>, ChainError> {
        let answers = tokio::join!(self.first.said(question), self.second.said(question));
        self.one("what a contract said", answers)
    }
}
