//! One file of a group. Calls block.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::error::ExtentError;
use super::files::{changed, check, create_file, path, remove_path, sync_folder};
use super::geometry::{
    BLOCK, CELL_HEADER, CELL_STEP, EXTENT_HEADER, RowPlace, Span, block_at, block_length, blocks,
    sealed_length,
};
use super::header::{CellHeader, ExtentHeader, Kind};
use super::run::GroupId;
use crate::backend::{BackendFile, Done, Job};
use crate::buffer::Buffer;
use crate::device::{ANSWER_MAX, Device, LONG_MAX, SCAN_MAX};
use crate::io::Unfinished;
use crate::seal::{Spot, TAG};

/// Bytes that are opened on the caller's thread, at most: what takes some 100 µs.
const AT_ONCE: usize = 256 << 10;

/// Bytes that are searched for a cell's header at once.
const SEARCH: usize = 65_536;

/// An extent in use.
#[derive(Debug)]
pub struct Extent {
    device: Device,
    header: ExtentHeader,
    file: Arc<dyn BackendFile>,
}

/// Why a block cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not what was written there.
    Rotten,
    /// The extent ends before it.
    Short,
    /// The system gives an error.
    Unreadable,
    /// The header of its cell is not whole. Only scrubs see that; reading needs none.
    Header,
    /// The disk did not answer in time; nothing is said of the block.
    Late,
    /// Parity and data open, but do not fit together. Only scrubs see that.
    Disagrees,
}

impl Extent {
    /// Makes an extent with room for so many bytes. It is durable when this returns, under its name
    /// or, if it is to be `unfinished`, under one that counts for nothing yet.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(
        device: &Device,
        header: ExtentHeader,
        room: u64,
        unfinished: bool,
    ) -> Result<Self, ExtentError> {
        check(device)?;
        let path = path(device, header.group, header.shard, unfinished);
        if unfinished {
            remove_path(device, &path)?;
        }
        let file = create_file(device, &path)?;
        let header = ExtentHeader { incarnation: device.incarnation()?, ..header };
        let extent = Self { device: device.clone(), header, file: file.into() };
        let result = extent.begin(room, &path);
        if result.is_err() && device.fenced().is_none() {
            remove_path(device, &path)?;
        }
        result.map(|()| extent)
    }

    fn begin(&self, room: u64, path: &Path) -> Result<(), ExtentError> {
        self.changed("take room for", path, self.file.allocate(room))?;
        self.changed("write", path, self.file.write_at(&self.header.encode(), 0))?;
        self.changed("sync", path, self.file.sync_data())?;
        sync_folder(&self.device)
    }

    /// Opens an extent.
    ///
    /// # Errors
    /// It cannot be read, or is not a whole extent of this name.
    pub fn open(device: &Device, group: GroupId, shard: u8) -> Result<Self, ExtentError> {
        let path = path(device, group, shard, false);
        let failed = |operation| {
            let path = path.clone();
            move |source| ExtentError::Io { operation, path, source }
        };
        let file = device.backend().open(&path).map_err(failed("open"))?;
        let mut bytes = vec![0; usize::try_from(EXTENT_HEADER).unwrap_or_default()];
        match file.read_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ExtentError::Incomplete { path });
            }
            other => other.map_err(failed("read"))?,
        }
        let header = match ExtentHeader::decode(&bytes) {
            Ok(header) if (header.group, header.shard) == (group, shard) => header,
            Ok(_) => return Err(ExtentError::Misplaced { path }),
            Err(source) => return Err(ExtentError::Header { path, source }),
        };
        Ok(Self { device: device.clone(), header, file: file.into() })
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &ExtentHeader {
        &self.header
    }

    /// The volume it is on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    /// Seals the cell of a row and writes it.
    pub(crate) fn write_cell(
        &self,
        row: u32,
        place: RowPlace,
        payload: &[u8],
    ) -> Result<(), ExtentError> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let block = |block| {
            let start = block_start(block);
            payload.get(start..start + block_length(length, block) as usize)
        };
        let bytes = self.sealed_cell(row, place, length, block);
        self.write(bytes.as_ref(), place.at)
    }

    /// Writes a sealed cell. What is large goes past the kernel's cache: to copy it there takes more of the
    /// processor than all its checksums, and pushes out what is read often. What was packed is small
    /// and may be wanted soon.
    pub(crate) fn write(&self, cell: &[u8], at: u64) -> Result<(), ExtentError> {
        check(&self.device)?;
        let written = match self.header.kind {
            Kind::Packed => self.file.write_at(cell, at),
            Kind::Bulk => self.file.write_direct_at(cell, at),
        };
        self.changed("write", &self.path(), written)
    }

    /// The bytes of a cell with so much payload, as they are written; blocks that are not there do not open.
    pub(crate) fn sealed_cell<'a>(
        &self,
        row: u32,
        place: RowPlace,
        payload: u32,
        plain: impl Fn(u32) -> Option<&'a [u8]>,
    ) -> Buffer {
        let ExtentHeader { group, kind, shard, incarnation, .. } = self.header;
        let taken = usize::try_from(sealed_length(payload)).unwrap_or_default();
        let mut buffer = Buffer::aligned(taken, CELL_STEP as usize);
        let begin = buffer.bytes().len();
        let bytes = buffer.bytes();
        bytes.extend(CellHeader { group, kind, row, shard, length: place.length }.encode());
        for block in 0..blocks(payload) {
            let from = bytes.len();
            let length = block_length(payload, block) as usize;
            let plain = plain(block).filter(|plain| plain.len() == length);
            match plain {
                Some(plain) => bytes.extend_from_slice(plain),
                None => bytes.resize(from + length, 0),
            }
            let spot = Spot { incarnation, offset: block_at(place.at, block) };
            let sealed = bytes.get_mut(from..).unwrap_or_default();
            // A tag of zeros is right once in 2^128 times.
            let tag = plain.map_or([0; TAG], |_| self.device.sealer().seal(spot, sealed));
            bytes.extend_from_slice(&tag);
        }
        bytes.resize(begin + taken, 0);
        buffer
    }

    /// Brings all that was written to stable storage, without a thread that waits.
    pub(crate) async fn sync_soon(&self) -> Result<(), ExtentError> {
        check(&self.device)?;
        let path = || self.path();
        let done = self.device.perform(&self.file, Job::sync(), LONG_MAX, path).await?;
        let result = done.result.map_err(|failed| failed.source);
        self.changed("sync", &self.path(), result)?;
        // Another file's failed sync tells of a disk that forgets.
        check(&self.device)
    }

    /// Brings all that was written to stable storage. Blocks.
    pub(crate) fn sync(&self) -> Result<(), ExtentError> {
        check(&self.device)?;
        self.changed("sync", &self.path(), self.file.sync_data())?;
        // Another file's failed sync tells of a disk that forgets.
        check(&self.device)
    }

    /// Cuts it off behind what was written, gives up the room behind, and syncs.
    pub(crate) fn truncate(&self, end: u64) -> Result<(), ExtentError> {
        check(&self.device)?;
        self.changed("cut off", &self.path(), self.file.set_size(end))?;
        self.sync()
    }

    /// Gives a finished extent its name, in the place of an older one on this volume; durable when
    /// this returns.
    pub(crate) fn finish(&self) -> Result<(), ExtentError> {
        self.sync()?;
        let ExtentHeader { group, shard, .. } = self.header;
        let from = path(&self.device, group, shard, true);
        let to = path(&self.device, group, shard, false);
        self.changed("rename", &from, self.device.backend().rename(&from, &to))?;
        sync_folder(&self.device)
    }

    /// Removes an extent that was not finished.
    pub(crate) fn abandon(&self) -> Result<(), ExtentError> {
        let ExtentHeader { group, shard, .. } = self.header;
        remove_path(&self.device, &path(&self.device, group, shard, true))
    }

    /// The header of the cell at `at`; none if there is no whole one. Waits for the disk elsewhere.
    pub(crate) async fn cell_header(
        self: &Arc<Self>,
        at: u64,
    ) -> Result<Option<CellHeader>, Unfinished> {
        let on = Arc::clone(self);
        let read = move || on.cell_at(at);
        self.device.run(ANSWER_MAX, "read", || self.path(), read).await
    }

    /// The first whole header of a cell at `from` or behind it, as [`Extent::cell_header`].
    pub(crate) async fn next_cell_header(
        self: &Arc<Self>,
        from: u64,
    ) -> Result<Option<(u64, CellHeader)>, Unfinished> {
        let on = Arc::clone(self);
        let read = move || on.find_cell(from);
        self.device.run(SCAN_MAX, "read", || self.path(), read).await
    }

    /// The header of the cell at `at`; none if there is no whole one.
    pub(crate) fn cell_at(&self, at: u64) -> Option<CellHeader> {
        let mut bytes = [0; CELL_HEADER as usize];
        self.file.read_at(&mut bytes, at).ok()?;
        CellHeader::decode_for(&bytes, &self.header)
    }

    /// The first whole header of a cell at `from` or behind it.
    pub(crate) fn find_cell(&self, from: u64) -> Option<(u64, CellHeader)> {
        let size = self.file.size().ok()?;
        let mut at = from.next_multiple_of(u64::from(CELL_STEP));
        let mut bytes = vec![0; SEARCH + CELL_HEADER as usize];
        while at < size {
            let there = usize::try_from(size - at).unwrap_or(usize::MAX).min(bytes.len());
            let bytes = bytes.get_mut(..there)?;
            // What cannot be read holds none.
            if self.file.read_at(bytes, at).is_ok() {
                let places = (0..there.min(SEARCH)).step_by(CELL_STEP as usize);
                let mut found = places.filter_map(|place| {
                    let header = CellHeader::decode_for(bytes.get(place..)?, &self.header)?;
                    Some((at + place as u64, header))
                });
                if let Some(found) = found.next() {
                    return Some(found);
                }
            }
            at += SEARCH as u64;
        }
        None
    }

    /// Reads and opens blocks of the cell at `at`.
    pub(crate) async fn blocks(
        self: Arc<Self>,
        at: u64,
        payload: u32,
        span: Span,
    ) -> Vec<Result<Bytes, Fault>> {
        let count = (span.first..=span.last).count();
        let (device, path) = (self.device.clone(), || self.path());
        let job = |span: Span| {
            let memory = Buffer::of_any(span_length(payload, span));
            Job::read(memory, block_at(at, span.first))
        };
        let done = device.perform(&self.file, job(span), ANSWER_MAX, path).await;
        let Ok(Done { result, data }) = done else { return vec![Err(Fault::Late); count] };
        if result.is_ok() {
            if data.as_ref().len() <= AT_ONCE {
                return self.open_blocks(at, payload, span, data);
            }
            let extent = Arc::clone(&self);
            let open = device.io().run(move || extent.open_blocks(at, payload, span, data));
            return open.await.unwrap_or_else(|_| vec![Err(Fault::Late); count]);
        }
        // What fails may be one block of many.
        let mut found = Vec::with_capacity(count);
        for block in span.first..=span.last {
            let span = Span { first: block, last: block, ..span };
            let done = device.perform(&self.file, job(span), ANSWER_MAX, path).await;
            found.push(match done {
                Ok(Done { result: Ok(()), data }) => {
                    let opened = self.open_blocks(at, payload, span, data).pop();
                    opened.unwrap_or(Err(Fault::Short))
                }
                Ok(Done { result: Err(failed), .. }) => match failed.source.kind() {
                    io::ErrorKind::UnexpectedEof => Err(Fault::Short),
                    _ => Err(Fault::Unreadable),
                },
                Err(Unfinished) => Err(Fault::Late),
            });
        }
        found
    }

    /// As [`Extent::blocks`], if that needs no wait for the disk.
    pub(crate) fn cached_blocks(
        &self,
        at: u64,
        payload: u32,
        span: Span,
    ) -> Option<Vec<Result<Bytes, Fault>>> {
        let mut bytes = Buffer::of_any(span_length(payload, span));
        let cached = self.file.read_cached_at(bytes.bytes(), block_at(at, span.first));
        cached.then(|| self.open_blocks(at, payload, span, bytes))
    }

    fn open_blocks(
        &self,
        at: u64,
        payload: u32,
        span: Span,
        mut bytes: Buffer,
    ) -> Vec<Result<Bytes, Fault>> {
        let base = block_at(at, span.first);
        let range = |block: u32| {
            let from = usize::try_from(block_at(at, block) - base).unwrap_or(usize::MAX);
            (from, block_length(payload, block) as usize)
        };
        let mut opened = Vec::new();
        for block in span.first..=span.last {
            let (from, length) = range(block);
            let end = from.saturating_add(length).saturating_add(TAG);
            let spot = Spot { incarnation: self.header.incarnation, offset: block_at(at, block) };
            let whole = bytes
                .bytes()
                .get_mut(from..end)
                .is_some_and(|sealed| self.device.sealer().open(spot, sealed).is_ok());
            opened.push(whole);
        }
        let bytes = bytes.freeze();
        let cut = |(block, whole)| {
            let (from, length) = range(block);
            if whole { Ok(bytes.slice(from..from + length)) } else { Err(Fault::Rotten) }
        };
        (span.first..=span.last).zip(opened).map(cut).collect()
    }

    pub(super) fn path(&self) -> PathBuf {
        path(&self.device, self.header.group, self.header.shard, false)
    }

    fn changed<T>(
        &self,
        operation: &'static str,
        path: &Path,
        result: io::Result<T>,
    ) -> Result<T, ExtentError> {
        changed(&self.device, operation, path, result)
    }
}

fn block_start(block: u32) -> usize {
    block as usize * BLOCK as usize
}

fn span_length(payload: u32, span: Span) -> usize {
    let length =
        |block| if block <= span.last { block_length(payload, block) as usize + TAG } else { 0 };
    (span.first..=span.last).map(length).sum()
}
