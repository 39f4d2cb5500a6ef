//! One RPC server.

use alloy::primitives::{Address, B256, Bytes, U64, U128};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::Server;
use super::{At, Block, Chain, ChainError, Heads, Sent, Simulated};
use crate::call::Call;
use crate::outbox::Inclusion;

/// One RPC server.
#[derive(Debug, Clone)]
pub struct Rpc(Server);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockAnswer {
    number: U64,
    hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U128>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptAnswer {
    transaction_hash: B256,
    block_hash: B256,
    block_number: U64,
    status: U64,
}

#[derive(Deserialize)]
struct Hashed {
    hash: B256,
}

fn tag(at: At) -> Value {
    match at {
        At::Latest => json!("latest"),
        At::Pending => json!("pending"),
        At::Number(number) => json!(U64::from(number)),
    }
}

impl Rpc {
    /// The server.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self(server)
    }

    /// What it is called in errors.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name()
    }

    pub(super) fn malformed(&self, method: &'static str, reason: impl ToString) -> ChainError {
        ChainError::Malformed { server: self.name(), method, reason: reason.to_string() }
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        let value = self.0.ask(method, params).await?;
        serde_json::from_value(value).map_err(|error| self.malformed(method, error))
    }

    async fn block(&self, which: Value) -> Result<Option<BlockAnswer>, ChainError> {
        self.ask("eth_getBlockByNumber", json!([which, false])).await
    }

    /// A block that there always is.
    async fn tagged(&self, which: &'static str) -> Result<BlockAnswer, ChainError> {
        let block = self.block(json!(which)).await?;
        block.ok_or_else(|| self.malformed("eth_getBlockByNumber", format!("no {which} block")))
    }
}

/// What a refusal to take a transaction means. Servers have words for it and no codes of their own: these are
/// those of geth (`core/txpool/errors.go`, `core/error.go`), which op-geth, reth and anvil use as well.
fn refusal(message: &str) -> Sent {
    let message = message.to_lowercase();
    let says = |words: &str| message.contains(words);
    if says("already known") || says("already imported") {
        Sent::Waits
    } else if says("nonce too low") {
        Sent::NonceUsed
    } else if says("underpriced")
        || says("max fee per gas less than block base fee")
        || says("fee too low")
    {
        Sent::Underpriced
    } else if says("insufficient funds") {
        Sent::NoFunds
    } else {
        Sent::Refused(message)
    }
}

impl Chain for Rpc {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask::<U64>("eth_chainId", json!([])).await.map(|id| id.to())
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        let finalized = self.tagged("finalized").await?.number.to();
        let safe = self.tagged("safe").await?.number.to();
        let latest = self.tagged("latest").await?;
        let latest = Block {
            number: latest.number.to(),
            hash: latest.hash,
            time: latest.timestamp.to(),
            base_fee_wei: latest.base_fee_per_gas.map(|fee| fee.to()),
        };
        match finalized <= safe && safe <= latest.number {
            true => Ok(Heads { latest, safe, finalized }),
            false => Err(self.malformed(
                "eth_getBlockByNumber",
                format!("finalized {finalized}, safe {safe}, latest {}", latest.number),
            )),
        }
    }

    async fn tip_wei(&self) -> Result<u128, ChainError> {
        self.ask::<U128>("eth_maxPriorityFeePerGas", json!([])).await.map(|fee| fee.to())
    }

    async fn nonce(&self, of: Address, at: At) -> Result<u64, ChainError> {
        self.ask::<U64>("eth_getTransactionCount", json!([of, tag(at)])).await.map(|n| n.to())
    }

    async fn balance(&self, of: Address) -> Result<u128, ChainError> {
        self.ask::<U128>("eth_getBalance", json!([of, "latest"])).await.map(|wei| wei.to())
    }

    async fn code(&self, of: Address) -> Result<Bytes, ChainError> {
        self.ask("eth_getCode", json!([of, "latest"])).await
    }

    async fn read(&self, to: Address, data: Bytes, at: At) -> Result<Bytes, ChainError> {
        self.ask("eth_call", json!([{ "to": to, "data": data }, tag(at)])).await
    }

    async fn simulate(&self, from: Address, call: &Call) -> Result<Simulated, ChainError> {
        let params = json!([{ "from": from, "to": call.to, "data": call.data }]);
        match self.ask::<U64>("eth_estimateGas", params).await {
            Ok(gas) => Ok(Simulated::Gas(gas.to())),
            Err(error) => match error.revert() {
                Some(data) => Ok(Simulated::Reverts(data)),
                None => Err(error),
            },
        }
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Inclusion>, ChainError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        let receipt: Option<ReceiptAnswer> = self.ask(METHOD, json!([hash])).await?;
        let Some(receipt) = receipt else { return Ok(None) };
        if receipt.transaction_hash != hash {
            return Err(self.malformed(METHOD, "it is of another transaction"));
        }
        Ok(Some(Inclusion {
            tx: hash,
            block: receipt.block_hash,
            number: receipt.block_number.to(),
            ok: receipt.status == U64::from(1),
        }))
    }

    async fn known(&self, hash: B256) -> Result<bool, ChainError> {
        const METHOD: &str = "eth_getTransactionByHash";
        match self.ask::<Option<Hashed>>(METHOD, json!([hash])).await? {
            None => Ok(false),
            Some(found) if found.hash == hash => Ok(true),
            Some(_) => Err(self.malformed(METHOD, "it is of another transaction")),
        }
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        let block = self.block(tag(At::Number(number))).await?;
        match block {
            Some(block) if block.number != U64::from(number) => {
                Err(self.malformed("eth_getBlockByNumber", "it is another block"))
            }
            block => Ok(block.map(|block| block.hash)),
        }
    }

    async fn send(&self, raw: &Bytes) -> Result<Sent, ChainError> {
        match self.ask::<B256>("eth_sendRawTransaction", json!([raw])).await {
            Ok(_) => Ok(Sent::Waits),
            Err(ChainError::Refused { message, .. }) => Ok(refusal(&message)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_servers_are_told_apart() {
        let cases = [
            ("already known", Sent::Waits),
            ("nonce too low: next nonce 3, tx nonce 2", Sent::NonceUsed),
            ("replacement transaction underpriced", Sent::Underpriced),
            ("max fee per gas less than block base fee", Sent::Underpriced),
            ("Insufficient funds for gas * price + value", Sent::NoFunds),
            ("txpool is full", Sent::Refused("txpool is full".to_owned())),
        ];
        for (words, sent) in cases {
            assert_eq!(refusal(words), sent, "{words}");
        }
    }
}
