//! What is asked of a store, and one that ends with the process.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A change: a key and its value, or none to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// The longest value in bytes: of what a store on a disk keeps together, 17 fill half of what that may have (128 KiB).
pub const VALUE_MAX: usize = 4 << 10;

/// Why a store did not do what it should. It is not to be used after that, but for [`StoreError::TooLong`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A call to the kernel failed.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Its files are not what they should be.
    #[error("the database in {path} is damaged: {why}")]
    Damaged {
        /// Its folder.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// A value is longer than one may be: none of the changes was made.
    #[error(
        "a value of {value} bytes under a key of {key} bytes was not written: at most {VALUE_MAX} fit, so it is to be kept in \
         pieces"
    )]
    TooLong {
        /// Bytes of the key.
        key: usize,
        /// Bytes of the value.
        value: usize,
    },
    /// Another process, or the one before, has it open.
    #[error("the database in {path} is open elsewhere: {why}")]
    Taken {
        /// Its folder.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

/// Ordered keys with values.
pub trait Store: Send {
    /// The value of a key.
    ///
    /// # Errors
    /// It could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows every key with its value, in the order of the keys.
    ///
    /// # Errors
    /// They could not be read.
    fn each(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// The keys from `first` up to, but not with, `behind`, with their values, in order.
    ///
    /// # Errors
    /// They could not be read.
    fn range(&self, first: &[u8], behind: &[u8]) -> Result<Vec<Pair>, StoreError>;

    /// Makes changes, all of them or none. They are on stable storage when this returns.
    ///
    /// # Errors
    /// What stands there is not known; or a value is longer than [`VALUE_MAX`], and what stood there still does.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Bytes that it takes.
    ///
    /// # Errors
    /// That could not be found out.
    fn size(&self) -> Result<u64, StoreError>;
}

/// That no value is too long.
pub(crate) fn check(changes: &[Change]) -> Result<(), StoreError> {
    let lengths =
        changes.iter().map(|(key, value)| (key.len(), value.as_ref().map_or(0, Vec::len)));
    match lengths.into_iter().find(|(_, value)| *value > VALUE_MAX) {
        Some((key, value)) => Err(StoreError::TooLong { key, value }),
        None => Ok(()),
    }
}

/// A store that ends with the process.
#[derive(Debug, Clone, Default)]
pub struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Store for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn each(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.0.iter().for_each(|(key, value)| show(key, value));
        Ok(())
    }

    fn range(&self, first: &[u8], behind: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let found = self.0.range(first.to_vec()..behind.to_vec());
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        check(&changes)?;
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
        Ok(())
    }

    fn size(&self) -> Result<u64, StoreError> {
        let bytes = self.0.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}
