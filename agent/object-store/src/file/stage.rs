//! The way of a body to stable storage: [`Staged`] → [`Verified`] → [`Durable`] → published. Each
//! step takes the one before it, so none can be left out. Dropped anywhere, nothing remains.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::volume::{Reservation, TempFile, VolumeIo};
use crate::checksum::{Algorithm, Checksum, Hashers};
use crate::error::StoreError;

/// Bodies up to this many bytes are written with their record in one call. Also how much is
/// gathered for one write of a larger body: large enough that a call costs little beside its
/// bytes, small enough that a thousand writers take no more than some hundred MiB.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// A body on its way into a file that has no name yet.
#[derive(Debug)]
pub(crate) struct Staged {
    io: Arc<VolumeIo>,
    temp: Option<TempFile>,
    buffer: Vec<u8>,
    written: u64,
    hashers: Hashers,
    _reservation: Reservation,
}

impl Staged {
    /// Begins on a volume. `expected_bytes` is kept free for it.
    pub(crate) fn new(
        io: Arc<VolumeIo>,
        algorithms: impl IntoIterator<Item = Algorithm>,
        expected_bytes: u64,
    ) -> Self {
        // The entity tag is the MD5; the CRC guards the body on disk.
        let own = [Algorithm::Md5, Algorithm::Crc64Nvme];
        Self {
            temp: None,
            buffer: Vec::new(),
            written: 0,
            hashers: Hashers::new(own.into_iter().chain(algorithms)),
            _reservation: io.reserve(expected_bytes),
            io,
        }
    }

    /// Takes in the next bytes.
    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> Result<(), StoreError> {
        for chunk in chunks {
            self.hashers.update(chunk);
            if self.buffer.is_empty() && chunk.len() >= CHUNK_BYTES {
                self.append(chunk)?;
                continue;
            }
            self.buffer.extend_from_slice(chunk);
            if self.buffer.len() > CHUNK_BYTES {
                let full = std::mem::take(&mut self.buffer);
                self.append(&full)?;
                self.buffer = full;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    fn append(&mut self, data: &[u8]) -> Result<(), StoreError> {
        let temp = match &self.temp {
            Some(temp) => temp,
            None => self.temp.insert(self.io.stage()?),
        };
        temp.write_at(data, self.written)?;
        self.written += u64::try_from(data.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Checks the whole body against what it should be.
    pub(crate) fn verify(self, expected: &[Checksum]) -> Result<Verified, StoreError> {
        let checksums = self.hashers.finish();
        for expected in expected {
            let computed = checksums.iter().find(|c| c.algorithm() == expected.algorithm());
            match computed {
                Some(computed) if computed == expected => {}
                Some(computed) => {
                    let (expected, computed) = (expected.clone(), computed.clone());
                    return Err(StoreError::ChecksumMismatch { expected, computed });
                }
                None => {
                    let what = format!("{} was not asked for", expected.algorithm());
                    return Err(StoreError::Body { source: what.into() });
                }
            }
        }
        let size = self.written + u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        Ok(Verified {
            io: self.io,
            temp: self.temp,
            buffer: self.buffer,
            written: self.written,
            size,
            checksums,
            _reservation: self._reservation,
        })
    }
}

/// A body that is what it should be.
#[derive(Debug)]
pub(crate) struct Verified {
    io: Arc<VolumeIo>,
    temp: Option<TempFile>,
    buffer: Vec<u8>,
    written: u64,
    size: u64,
    checksums: Vec<Checksum>,
    _reservation: Reservation,
}

impl Verified {
    /// An empty body, for a file that is all record.
    pub(crate) fn empty(io: &Arc<VolumeIo>) -> Self {
        Self {
            io: Arc::clone(io),
            temp: None,
            buffer: Vec::new(),
            written: 0,
            size: 0,
            checksums: Vec::new(),
            _reservation: io.reserve(0),
        }
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Checksums that were computed on the way, each once, in the order of their algorithms.
    pub(crate) fn checksums(&self, algorithms: &[Algorithm]) -> Vec<Checksum> {
        let wanted: BTreeSet<Algorithm> = algorithms.iter().copied().collect();
        wanted.into_iter().filter_map(|a| self.checksum(a).cloned()).collect()
    }

    fn checksum(&self, algorithm: Algorithm) -> Option<&Checksum> {
        self.checksums.iter().find(|c| c.algorithm() == algorithm)
    }

    /// MD5 of the body.
    pub(crate) fn md5(&self) -> [u8; 16] {
        let value = self.checksum(Algorithm::Md5).map(Checksum::value);
        value.and_then(|v| v.try_into().ok()).unwrap_or_default()
    }

    /// CRC-64/NVME of the body.
    pub(crate) fn crc(&self) -> u64 {
        self.checksum(Algorithm::Crc64Nvme).map_or(0, crc_number)
    }

    /// Brings a large body to stable storage before a latch is taken, so that others wait only for
    /// its record.
    pub(crate) fn flush_large(&self) -> Result<(), StoreError> {
        self.temp.as_ref().map_or(Ok(()), TempFile::sync)
    }

    /// Writes the record behind the body and brings all to stable storage.
    pub(crate) fn make_durable(mut self, tail: &[u8]) -> Result<Durable, StoreError> {
        let temp = match self.temp.take() {
            Some(temp) => temp,
            None => self.io.stage()?,
        };
        self.buffer.extend_from_slice(tail);
        temp.write_at(&self.buffer, self.written)?;
        temp.sync()?;
        Ok(Durable { temp })
    }
}

/// A whole file on stable storage that only lacks its name.
#[derive(Debug)]
pub(crate) struct Durable {
    temp: TempFile,
}

impl Durable {
    /// Gives it its name, durably.
    pub(crate) fn publish(self, path: &Path) -> Result<(), StoreError> {
        self.temp.publish(path)
    }
}

/// A CRC as a number.
pub(crate) fn crc_number(checksum: &Checksum) -> u64 {
    checksum.value().iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
