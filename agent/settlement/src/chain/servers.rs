//! As many servers as are configured: one that is believed, or two that are compared.

use std::sync::Arc;

use agent_dial::Dialer;
use alloy::primitives::{Address, B256, Bytes};

use super::checked::Checked;
use super::http::{Server, UrlError};
use super::rpc::Rpc;
use super::{At, Chain, ChainError, Heads, Sent, Simulated};
use crate::call::Call;
use crate::outbox::Inclusion;

/// One server, or two.
#[derive(Debug, Clone)]
pub enum Servers {
    /// Whatever it says is believed.
    One(Rpc),
    /// What both say is believed.
    Two(Checked),
}

impl Servers {
    /// The servers at these URLs, reached by `dialer`.
    ///
    /// # Errors
    /// One is no URL of a server.
    pub fn new(
        first: &str,
        second: Option<&str>,
        tls: &Arc<rustls::ClientConfig>,
        dialer: &Dialer,
    ) -> Result<Self, UrlError> {
        let server = |url: &str| -> Result<Rpc, UrlError> {
            Ok(Rpc::new(Server::new(url, tls)?.dialled_by(dialer)))
        };
        let first = server(first)?;
        Ok(match second {
            None => Self::One(first),
            Some(second) => Self::Two(Checked::new(first, server(second)?)),
        })
    }
}

/// Asks whichever there are.
macro_rules! ask {
    ($servers:expr, $one:ident => $question:expr) => {
        match $servers {
            Servers::One($one) => $question.await,
            Servers::Two($one) => $question.await,
        }
    };
}

impl Chain for Servers {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        ask!(self, chain => chain.chain_id())
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        ask!(self, chain => chain.heads())
    }

    async fn tip_wei(&self) -> Result<u128, ChainError> {
        ask!(self, chain => chain.tip_wei())
    }

    async fn nonce(&self, of: Address, at: At) -> Result<u64, ChainError> {
        ask!(self, chain => chain.nonce(of, at))
    }

    async fn balance(&self, of: Address) -> Result<u128, ChainError> {
        ask!(self, chain => chain.balance(of))
    }

    async fn code(&self, of: Address) -> Result<Bytes, ChainError> {
        ask!(self, chain => chain.code(of))
    }

    async fn read(&self, to: Address, data: Bytes, at: At) -> Result<Bytes, ChainError> {
        ask!(self, chain => chain.read(to, data, at))
    }

    async fn simulate(&self, from: Address, call: &Call) -> Result<Simulated, ChainError> {
        ask!(self, chain => chain.simulate(from, call))
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Inclusion>, ChainError> {
        ask!(self, chain => chain.receipt(hash))
    }

    async fn known(&self, hash: B256) -> Result<bool, ChainError> {
        ask!(self, chain => chain.known(hash))
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        ask!(self, chain => chain.block_hash(number))
    }

    async fn send(&self, raw: &Bytes) -> Result<Sent, ChainError> {
        ask!(self, chain => chain.send(raw))
    }
}
