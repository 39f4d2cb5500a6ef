//! What a spool needs of whatever keeps it: ordered keys, and changes that are there after a power cut.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A key with its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// A change: the value of a key, or that it goes.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Why a store did not do what it should. It is not used again after that.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// A call to the kernel failed.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Its files are not what they should be.
    #[error("the spool {path} is damaged: {why}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// Another process, or the one before, has it open.
    #[error("the spool {path} is open elsewhere: {why}")]
    Taken {
        /// Which.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

/// Ordered keys with values.
pub(crate) trait Store: Send {
    /// Shows every key with its value, in the order of the keys.
    fn each(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// The keys from `first` up to, but not with, `behind`, with their values, in order.
    fn range(&self, first: &[u8], behind: &[u8]) -> Result<Vec<Pair>, StoreError>;

    /// Makes changes. They are on stable storage when this returns.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;
}

/// A store that ends with the process.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Store for Memory {
    fn each(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.0.iter().for_each(|(key, value)| show(key, value));
        Ok(())
    }

    fn range(&self, first: &[u8], behind: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let found = self.0.range(first.to_vec()..behind.to_vec());
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
        Ok(())
    }
}
