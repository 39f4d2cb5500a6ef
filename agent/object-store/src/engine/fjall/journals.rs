//! Proves fjall's journals before fjall reads them. Left alone, fjall 3.1
//!
//! - ends a journal at the first byte that makes no sense, and goes on with the next journal, so that
//!   earlier batches are lost and later ones kept;
//! - refuses to open where the power was cut while blocks of the last journal were being written out
//!   in another order;
//! - believes sequence numbers, which no checksum covers: its threads panic later.
//!
//! A journal (form 3) is a row of batches, then zeros; numbers are little-endian:
//!
//! ```text
//! batch  1 u8 · items u32 · sequence number u64 · item … · 3 u8 · xxh3 of the items u64 · "FJL" 3
//! item   2 u8 · kind u8 · compression u8, 0 · keyspace u64 · key length u16 · value length u32,
//!        twice · key · value
//! ```

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::{NUMBER, of_io};
use crate::engine::index::IndexError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const UNCOMPRESSED: u8 = 0;
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];

/// Sequence numbers with the highest bit have another meaning.
const SEQUENCE_MAX: u64 = u64::MAX >> 1;

/// Read at a time: journals have 64 MB.
const BUFFER_BYTES: usize = 256 << 10;

/// A batch that stands whole in a journal.
pub(super) struct Found {
    sequence: u64,
    number: u64,
}

/// Proves the journals of a store: each batch whole, none missing between two but at `jumps`. What
/// was being written when the power was cut is taken off the last journal. The number of the last
/// batch, if there is one.
///
/// # Errors
/// A journal is damaged, or cannot be read.
pub(super) fn prove(store: &Path, jumps: &[u64]) -> Result<Option<u64>, IndexError> {
    let mut journals = list(store)?.into_iter().peekable();
    let mut last: Option<Found> = None;
    while let Some((id, path)) = journals.next() {
        let io = |error| of_io("read a journal of", &error);
        let mut journal = Journal::open(&path).map_err(io)?;
        let mut end = 0;
        while let Some(found) = journal.batch().map_err(io)? {
            let follows = last.as_ref().is_none_or(|last| {
                let next = last.number.checked_add(1) == Some(found.number);
                let jump = found.number > last.number && jumps.contains(&found.number);
                last.sequence < found.sequence && (next || jump)
            });
            if !follows || found.sequence > SEQUENCE_MAX {
                let reason = format!("batch {} in journal {id} is out of its turn", found.number);
                return Err(IndexError::damaged(reason));
            }
            last = Some(found);
            end = journal.at;
        }
        if is_zero(&path, end).map_err(io)? {
            continue;
        }
        if journals.peek().is_some() {
            // It was brought to stable storage before the next was begun.
            return Err(IndexError::damaged(format!("journal {id} is damaged at byte {end}")));
        }
        tracing::info!(journal = id, end, "the end of the index's journal was not whole");
        let file = File::options().write(true).open(&path).map_err(io)?;
        file.set_len(end).and_then(|()| file.sync_all()).map_err(io)?;
    }
    Ok(last.map(|found| found.number))
}

/// The journals of a store in their order, none missing between two.
fn list(store: &Path) -> Result<Vec<(u64, PathBuf)>, IndexError> {
    let io = |error| of_io("list the journals of", &error);
    let mut journals = Vec::new();
    for entry in fs::read_dir(store).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| IndexError::damaged("it has a strange file"))?;
        let Some(id) = name.strip_suffix(".jnl") else { continue };
        let id: u64 = id.parse().map_err(IndexError::damaged)?;
        if !entry.file_type().map_err(io)?.is_file() {
            return Err(IndexError::damaged("a journal is no file"));
        }
        journals.push((id, entry.path()));
    }
    journals.sort();
    let mut pairs = journals.iter().zip(journals.iter().skip(1));
    match pairs.find(|((one, _), (next, _))| one.checked_add(1) != Some(*next)) {
        Some(((id, _), _)) => Err(IndexError::damaged(format!("no journal behind {id}"))),
        None => Ok(journals),
    }
}

/// Only zeros stand from `at` on.
fn is_zero(path: &Path, at: u64) -> io::Result<bool> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            length if buffer.iter().take(length).any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// A journal that is read from its beginning.
pub(super) struct Journal {
    reader: BufReader<File>,
    pub(super) at: u64,
    length: u64,
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { reader: BufReader::with_capacity(BUFFER_BYTES, file), at: 0, length })
    }

    /// The next batch; none if there stands no whole one.
    pub(super) fn batch(&mut self) -> io::Result<Option<Found>> {
        match self.whole_batch() {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn whole_batch(&mut self) -> io::Result<Option<Found>> {
        let [START] = self.take()? else { return Ok(None) };
        let items = u32::from_le_bytes(self.take()?);
        let sequence = u64::from_le_bytes(self.take()?);
        let mut digest = Xxh3::new();
        let mut number = None;
        for _ in 0..items {
            let Some(found) = self.item(&mut digest)? else { return Ok(None) };
            number = found.or(number);
        }
        let [END] = self.take()? else { return Ok(None) };
        let whole = self.take()? == digest.digest().to_le_bytes() && self.take()? == TRAILER;
        Ok(number.filter(|_| whole).map(|number| Found { sequence, number }))
    }

    /// Reads an item: what it says of the batch's number, if anything; none if it is none.
    fn item(&mut self, digest: &mut Xxh3) -> io::Result<Option<Option<u64>>> {
        let head: [u8; 21] = self.take()?;
        digest.update(&head);
        let [ITEM, _, UNCOMPRESSED, lengths @ ..] = &head else { return Ok(None) };
        let [.., k0, k1, a0, a1, a2, a3, b0, b1, b2, b3] = lengths;
        let key = u16::from_le_bytes([*k0, *k1]);
        let value = u32::from_le_bytes([*a0, *a1, *a2, *a3]);
        let fits = u64::from(value) <= self.length.saturating_sub(self.at);
        if !fits || value != u32::from_le_bytes([*b0, *b1, *b2, *b3]) {
            return Ok(None);
        }
        let key = self.bytes(u64::from(key))?;
        let value = self.bytes(u64::from(value))?;
        digest.update(&key);
        digest.update(&value);
        let number = (key == NUMBER).then(|| <[u8; 8]>::try_from(value).ok()).flatten();
        Ok(Some(number.map(u64::from_le_bytes)))
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(length).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}
