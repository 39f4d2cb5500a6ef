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
        of: Address,
        blocks: Blocks,
    ) -> Result<Vec<Said<E>>, ChainError> {
        let Blocks { from, to } = blocks;
        let topics = [E::SIGNATURE_HASH];
        let (from_block, to_block) = (U64::from(from), U64::from(to));
        let asked = json!([
            { "address": of, "topics": topics, "fromBlock": from_block, "toBlock": to_block }
        ]);
        let answers: Vec<LogAnswer> = self.ask(METHOD, asked).await?;
        let read = |answer: LogAnswer| {
            let block: u64 = answer.block_number.to();
            let is_asked = answer.address == of && (from..=to).contains(&block) && !answer.removed;
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
        of: Address,
        blocks: Blocks,
    ) -> Result<Vec<Said<E>>, ChainError> {
        let answers = tokio::join!(self.first.said(of, blocks), self.second.said(of, blocks));
        self.one("what a contract said", answers)
    }
}
