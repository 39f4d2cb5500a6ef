//! What fails below the store.

use agent_object_store_pool::device::DeviceError;
use agent_object_store_pool::group::error::{CreateError, ExtentError, ReadError, WriteError};
use agent_object_store_pool::io::Unfinished;
use agent_object_store_pool::journal::JournalError;
use agent_proofs::ProofError;

use super::expand::NotCompressed;
use super::index::IndexError;
use super::record::NotARecord;
use super::standby::Unsettled;
use crate::error::StoreError;

/// What failed below the store.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A volume cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A group could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A group could not be written to.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An extent of a group failed.
    #[error(transparent)]
    Extent(#[from] ExtentError),
    /// A group could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Bytes that opened are no record: a fault of this program.
    #[error(transparent)]
    Record(#[from] NotARecord),
    /// Compressed content is damaged.
    #[error(transparent)]
    Compressed(#[from] NotCompressed),
    /// A proof cannot be made, or does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The standby of the index failed.
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

impl StoreError {
    /// Something below the store failed.
    pub(crate) fn engine(operation: &'static str, source: impl Into<EngineError>) -> Self {
        Self::Engine { operation, source: source.into() }
    }
}

/// An error and what caused it.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // A transparent error says what its cause says.
        if !words.ends_with(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        cause = error.source();
    }
    words
}
