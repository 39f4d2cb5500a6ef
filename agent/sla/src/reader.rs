//! What anyone may read of an oracle, without a session: for nodes, for the tools of HPs, and for other oracles.

use std::sync::Arc;

use agent_dial::Dialer;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{CallError, Client, LARGE};
use crate::config::ConfigError;
use crate::exchange::{Place, Wire, anonymous};
use crate::protocol::messages::{Hello, Refusal};
use crate::protocol::parameters::{Era, Parameters};
use crate::protocol::settled::{KnownRoot, ROOTS_MAX, Settled, SignedBinding, UnboundedError};
use crate::protocol::signed::{SignatureError, Signed, SlaVote};
use crate::protocol::{Address, B256};

/// An oracle that is read from. One request at a time, over one connection that is made when it is needed.
#[derive(Clone)]
pub struct Reader {
    url: String,
    client: Client,
}

/// Why an oracle cannot be read from at all.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// Its URL is none.
    #[error(transparent)]
    Url(#[from] ConfigError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why nothing was read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// There is no good answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer is not what it may be.
    #[error("the answer of {url} is not taken: {why}")]
    Unbounded {
        /// Whose.
        url: String,
        /// What is wrong with it.
        why: UnboundedError,
    },
    /// A signature in the answer is another's.
    #[error("the answer of {url} is not taken: {why}")]
    Signature {
        /// Whose.
        url: String,
        /// What is wrong with it.
        why: SignatureError,
    },
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads from `https://host` with or without a port, which shows the certificate with this SHA-256.
    ///
    /// # Errors
    /// The URL is none, or TLS cannot be set up. Nothing is sent yet.
    pub fn new(name: &str, url: &str, certificate: B256) -> Result<Self, ReaderError> {
        Self::dialled_by(Dialer::default(), name, url, certificate)
    }

    /// As [`Reader::new`], reached by `dialer`: perhaps through a proxy.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn dialled_by(
        dialer: Dialer,
        name: &str,
        url: &str,
        certificate: B256,
    ) -> Result<Self, ReaderError> {
        let place = Place::of(name, url)?;
        let wire = Wire::new(place, anonymous(certificate)?, dialer);
        Ok(Self { url: url.to_owned(), client: Client::new(Arc::new(wire)) })
    }

    /// Where it reads.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Who the oracle is and what it goes by.
    ///
    /// # Errors
    /// There is no good answer.
    pub async fn hello(&self) -> Result<Hello, ReadError> {
        Ok(self.client.hello().await?)
    }

    /// A node in the newest root on chain; none where it is in no root. To be compared with the chain: an oracle may
    /// say anything.
    ///
    /// # Errors
    /// There is no good answer.
    pub async fn settled(&self, node: B256) -> Result<Option<Settled>, ReadError> {
        let Some(found) = self.find::<Settled>(format!("/v1/settled/{node}")).await? else {
            return Ok(None);
        };
        found.check(node).map_err(|why| self.unbounded(why))?;
        Ok(Some(found))
    }

    /// Roots that begin before an era, or the newest ones; the newest first, at most [`ROOTS_MAX`].
    ///
    /// # Errors
    /// There is no good answer.
    pub async fn roots(&self, before: Option<Era>) -> Result<Vec<KnownRoot>, ReadError> {
        let query = before.map_or_else(String::new, |era| format!("?before={era}"));
        let path = format!("/v1/roots{query}");
        let found: Vec<KnownRoot> = self.client.read(Method::GET, path).await?;
        let count = found.len();
        if count > ROOTS_MAX {
            let why = UnboundedError::Long { what: "roots", found: count, most: ROOTS_MAX };
            return Err(self.unbounded(why));
        }
        found.iter().try_for_each(KnownRoot::check).map_err(|why| self.unbounded(why))?;
        Ok(found)
    }

    /// The newest binding that a daemon gave the oracle; none where it gave none. That the daemon signed it, for this
    /// network, is verified; its HP, node and deadline are for who reads it to look at.
    ///
    /// # Errors
    /// There is no good answer, or the binding is not the daemon's.
    pub async fn binding(
        &self,
        daemon: Address,
        parameters: &Parameters,
    ) -> Result<Option<SignedBinding>, ReadError> {
        let path = format!("/v1/bindings/{daemon}");
        let Some(found) = self.find::<SignedBinding>(path).await? else { return Ok(None) };
        let named = found.message.daemonAddress;
        let verified = if named == daemon {
            found.verify(&parameters.domain(), daemon)
        } else {
            Err(SignatureError::Other { expected: daemon, found: named })
        };
        match verified {
            Ok(()) => Ok(Some(found)),
            Err(why) => Err(ReadError::Signature { url: self.url.clone(), why }),
        }
    }

    /// The oracle's votes on an era from behind a node on, unverified; empty where the era is not closed, or no node
    /// is left.
    ///
    /// # Errors
    /// There is no good answer.
    pub async fn votes(
        &self,
        era: Era,
        after: Option<B256>,
    ) -> Result<Vec<Signed<SlaVote>>, ReadError> {
        let behind = after.map_or_else(String::new, |node| format!("&after={node}"));
        Ok(self.client.read(Method::GET, format!("/v1/votes?era={era}{behind}")).await?)
    }

    /// Reads a form that oracles show to each other.
    ///
    /// # Errors
    /// There is no good answer.
    pub async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, ReadError> {
        Ok(self.client.read(Method::GET, path).await?)
    }

    /// Asks for what oracles do for each other.
    ///
    /// # Errors
    /// There is no good answer.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: String,
        form: &(impl Serialize + Sync),
    ) -> Result<T, ReadError> {
        Ok(self.client.post(path, form, LARGE).await?)
    }

    async fn find<T: DeserializeOwned>(&self, path: String) -> Result<Option<T>, ReadError> {
        match self.client.read(Method::GET, path).await {
            Ok(found) => Ok(Some(found)),
            Err(CallError::Refused { refusal: Refusal::Unknown { .. }, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn unbounded(&self, why: UnboundedError) -> ReadError {
        ReadError::Unbounded { url: self.url.clone(), why }
    }
}
