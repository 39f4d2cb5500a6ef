//! What a checkpoint promises, in a file of its own: fjall cannot tell that the end of its journal is
//! gone.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::of_io;
use crate::engine::index::IndexError;

const NAME: &str = "mark";
const TEMPORARY: &str = "mark.new";

/// The length of the digest at the end of the file.
const DIGEST: usize = blake3::OUT_LEN;

/// What the index has at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Mark {
    /// [`FORM`](crate::engine::entry::FORM) of its values.
    pub(in crate::engine) form: u32,
    /// The number of the last batch at the checkpoint.
    pub(in crate::engine) batches: u64,
    /// Numbers of batches that do not follow the one before in the journals.
    pub(in crate::engine) jumps: Vec<u64>,
}

impl Mark {
    /// The mark in a folder; none if there is none.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, IndexError> {
        let bytes = match fs::read(folder.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(of_io("read the mark of", &error)),
        };
        Self::decode(&bytes).map(Some)
    }

    /// Reads the bytes of the file.
    pub(in crate::engine) fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let parts = bytes.len().checked_sub(DIGEST).and_then(|at| bytes.split_at_checked(at));
        let (said, digest) = parts.ok_or_else(|| IndexError::damaged("its mark is too short"))?;
        if blake3::hash(said).as_bytes() != digest {
            return Err(IndexError::damaged("its mark is not what was written"));
        }
        postcard::from_bytes(said).map_err(IndexError::damaged)
    }

    /// The bytes of the file.
    pub(in crate::engine) fn encode(&self) -> Result<Vec<u8>, IndexError> {
        let mut bytes = postcard::to_allocvec(self).map_err(IndexError::damaged)?;
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        Ok(bytes)
    }

    /// Puts this in the place of the mark in a folder.
    pub(super) fn store(&self, folder: &Path) -> Result<(), IndexError> {
        replace(folder, &self.encode()?).map_err(|error| of_io("mark", &error))
    }

    /// Takes the mark away, so that the rest counts as not finished.
    pub(super) fn remove(folder: &Path) -> Result<(), IndexError> {
        match fs::remove_file(folder.join(NAME)) {
            Ok(()) => sync(folder),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|error| of_io("remove the mark of", &error))
    }
}

fn replace(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, folder.join(NAME))?;
    sync(folder)
}

/// Brings the names in a folder to stable storage.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
