//! Reading objects.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::backend::BackendFile;
use super::format::{self, FormatError, NameHash, ObjectRecord, PartSlice};
use super::index::{Entry, Lookup};
use super::multi::Multi;
use super::shared::{Shared, blocking};
use super::stage::{CHUNK_BYTES, crc_number};
use super::volume::VolumeIo;
use crate::checksum::{Algorithm, Checksum, Checksums, Hasher};
use crate::conditions::ReadVerdict;
use crate::error::{BodyError, StoreError};
use crate::list::{After, ListEntry, ListPage, ListQuery, ObjectSummary, Step as ListStep, Walk};
use crate::names::Bucket;
use crate::object::{ByteStream, ObjectInfo, ObjectReader, ReadBody};
use crate::store::{GetRequest, ReadRange};

/// An object whose record was read.
struct Opened {
    io: Arc<VolumeIo>,
    file: Box<dyn BackendFile>,
    record: ObjectRecord,
    /// The whole body, if it came along with the record.
    body: Option<Bytes>,
    multi: Option<Arc<Multi>>,
}

impl Shared {
    pub(crate) async fn head(&self, request: &GetRequest) -> Result<ObjectInfo, StoreError> {
        let opened = self.open_object(request, false).await?;
        let info = info_of(&opened.record);
        check_conditions(request, &info)?;
        if let ReadRange::All = request.range {
            return Ok(info);
        }
        resolve(request.range, &opened.record)?;
        Ok(info)
    }

    pub(crate) async fn get(&self, request: &GetRequest) -> Result<ObjectReader, StoreError> {
        let opened = self.open_object(request, true).await?;
        let info = info_of(&opened.record);
        check_conditions(request, &info)?;
        let range = resolve(request.range, &opened.record)?;
        let body = match &opened.body {
            Some(whole) => ReadBody::Whole(slice(whole, &range)),
            None => ReadBody::Stream(stream(opened, &range)),
        };
        Ok(ObjectReader { info, range, body })
    }

    /// Opens the present version and reads its record, with the body when that is small.
    async fn open_object(
        &self,
        request: &GetRequest,
        with_body: bool,
    ) -> Result<Opened, StoreError> {
        let name = NameHash::of(&request.bucket, &request.key);
        let (entry, io) = self.locate(request)?;
        if let Ok(opened) = open(&name, entry, io, with_body).await {
            return Ok(opened);
        }
        // The object may just be being replaced or deleted: wait for that. Under the latch index
        // and volume agree.
        let latch = self.keys.lock(name.number()).await;
        let (entry, io) = self.locate(request)?;
        let opened = open(&name, entry, io, with_body).await;
        drop(latch);
        opened
    }

    fn locate(&self, request: &GetRequest) -> Result<(Entry, Arc<VolumeIo>), StoreError> {
        let (bucket, key) = (&request.bucket, &request.key);
        let index = self.read();
        index.bucket(bucket)?;
        let entry = match index.lookup(bucket, key) {
            Lookup::Found(entry) => entry,
            Lookup::Unknown => return Err(index.unknown(key)),
            Lookup::Damaged(no) => return Err(index.unreadable(no, bucket, key)),
            Lookup::Absent => {
                let (bucket, key) = (bucket.clone(), key.clone());
                return Err(StoreError::NoSuchKey { bucket, key });
            }
        };
        if let Some(version) = request.version.filter(|version| *version != entry.version) {
            let (bucket, key) = (bucket.clone(), key.clone());
            return Err(StoreError::NoSuchVersion { bucket, key, version });
        }
        let io = index.readable(entry.slot).ok_or_else(|| index.away(entry.slot, key))?;
        Ok((entry.clone(), io))
    }
}

async fn open(
    name: &NameHash,
    entry: Entry,
    io: Arc<VolumeIo>,
    with_body: bool,
) -> Result<Opened, StoreError> {
    let path = io.object_path(name);
    let turn = io.turn().await?;
    blocking(move || {
        let opened = open_file(&io, &path, entry, with_body);
        drop(turn);
        opened.map_err(|error| match error {
            // A write that failed may have left another version there.
            _ if io.fenced().is_some() => io.unavailable("failed and must be attached again"),
            FormatError::Read(error) => io.read_failed(&path, error),
            error => io.damaged(&path, &error),
        })
    })
    .await
}

fn open_file(
    io: &Arc<VolumeIo>,
    path: &Path,
    entry: Entry,
    with_body: bool,
) -> Result<Opened, FormatError> {
    let file = io.backend.open(path)?;
    let tail_len = usize::try_from(entry.tail_len).map_err(|_| FormatError::Length)?;
    let body_len = if entry.multi.is_some() { 0 } else { entry.size };
    let small = usize::try_from(body_len).ok().filter(|len| *len <= CHUNK_BYTES && with_body);
    let (from, skip) = if small.is_some() { (0, small.unwrap_or(0)) } else { (body_len, 0) };
    let mut bytes = vec![0; skip + tail_len];
    file.read_at(&mut bytes, from)?;
    let tail = format::decode_tail::<ObjectRecord>(&bytes)?;
    if tail.record.version != entry.version {
        return Err(FormatError::Name);
    }
    let whole = small.filter(|_| entry.multi.is_none()).map(|len| {
        bytes.truncate(len);
        Bytes::from(bytes)
    });
    if let (Some(whole), Some(crc)) = (&whole, tail.record.crc)
        && crc_number(&Checksum::of(Algorithm::Crc64Nvme, whole)) != crc
    {
        return Err(FormatError::Body);
    }
    Ok(Opened { io: Arc::clone(io), file, record: tail.record, body: whole, multi: entry.multi })
}

fn info_of(record: &ObjectRecord) -> ObjectInfo {
    let parts = record.multi.as_ref().map(|m| u16::try_from(m.parts.len()).unwrap_or(u16::MAX));
    ObjectInfo {
        version: record.version,
        etag: record.etag.clone(),
        size: record.size,
        modified: record.modified,
        attributes: record.attributes.clone(),
        checksums: Checksums::from(&record.checksums),
        parts,
    }
}

fn check_conditions(request: &GetRequest, info: &ObjectInfo) -> Result<(), StoreError> {
    match request.conditions.decide(&info.etag, info.modified) {
        ReadVerdict::Proceed => Ok(()),
        ReadVerdict::NotModified => Err(StoreError::NotModified { info: Box::new(info.clone()) }),
        ReadVerdict::Failed(condition) => Err(StoreError::PreconditionFailed { condition }),
    }
}

/// The bytes that a range stands for.
fn resolve(range: ReadRange, record: &ObjectRecord) -> Result<Range<u64>, StoreError> {
    let size = record.size;
    let outside = StoreError::RangeNotSatisfiable { size };
    match range {
        ReadRange::All => Ok(0..size),
        ReadRange::From(from) if from < size => Ok(from..size),
        ReadRange::Between(from, to) if from < size && from <= to => {
            Ok(from..to.saturating_add(1).min(size))
        }
        ReadRange::Last(count) if count > 0 && size > 0 => Ok(size.saturating_sub(count)..size),
        ReadRange::From(_) | ReadRange::Between(..) | ReadRange::Last(_) => Err(outside),
        ReadRange::Part(part) => match &record.multi {
            None if part.get() == 1 => Ok(0..size),
            None => Err(outside),
            Some(multi) => part_range(&multi.parts, usize::from(part.get())).ok_or(outside),
        },
    }
}

/// Where the n-th of some parts lies. Readers count the parts that are there from 1.
fn part_range(parts: &[PartSlice], n: usize) -> Option<Range<u64>> {
    let before = parts.get(..n.checked_sub(1)?)?;
    let from = before.iter().map(|slice| slice.size).sum();
    Some(from..from + parts.get(n - 1)?.size)
}

fn slice(whole: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).map_or(whole.len(), |at| at.min(whole.len()));
    whole.slice(at(range.start)..at(range.end))
}

/// A file that holds part of a body.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: Option<Box<dyn BackendFile>>,
    /// Bytes of it that are wanted.
    range: Range<u64>,
    /// The checksum of its body, and that as far as it was read; only when all of it is.
    crc: Option<(u64, Hasher)>,
}

/// A body that is being read.
#[derive(Debug)]
struct Reading {
    io: Arc<VolumeIo>,
    segments: VecDeque<Segment>,
    /// Keeps the parts from being removed.
    _multi: Option<Arc<Multi>>,
}

impl Reading {
    fn new(opened: Opened, wanted: &Range<u64>) -> Self {
        let Opened { io, file, record, multi, .. } = opened;
        let mut segments = VecDeque::new();
        let mut add = |path, file, at: u64, size: u64, crc| {
            let from = wanted.start.saturating_sub(at).min(size);
            let to = wanted.end.saturating_sub(at).min(size);
            if from < to {
                let whole = from == 0 && to == size;
                let crc = whole.then(|| (crc, Hasher::new(Algorithm::Crc64Nvme)));
                segments.push_back(Segment { path, file, range: from..to, crc });
            }
        };
        match (&record.multi, record.crc) {
            (Some(multi), _) => {
                let mut at = 0;
                for slice in &multi.parts {
                    let path = io.part_path(&multi.upload, slice.part);
                    add(path, None, at, slice.size, slice.crc);
                    at += slice.size;
                }
            }
            (None, crc) => {
                let path = io.object_path(&NameHash::of(&record.bucket, &record.key));
                add(path, Some(file), 0, record.size, crc.unwrap_or_default());
            }
        }
        Self { io, segments, _multi: multi }
    }

    /// Reads the next bytes. Blocks.
    fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(segment) = self.segments.front_mut() else { return Ok(None) };
        let file = match &mut segment.file {
            Some(file) => file,
            None => {
                let opened = self.io.backend.open(&segment.path);
                let opened = opened.map_err(|e| self.io.read_failed(&segment.path, e))?;
                segment.file.insert(opened)
            }
        };
        let left = usize::try_from(segment.range.end - segment.range.start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(CHUNK_BYTES)];
        let read = file.read_at(&mut bytes, segment.range.start);
        read.map_err(|e| self.io.read_failed(&segment.path, e))?;
        segment.range.start += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Some((_, hasher)) = &mut segment.crc {
            hasher.update(&bytes);
        }
        if segment.range.is_empty()
            && let Some(done) = self.segments.pop_front()
            && let Some((crc, hasher)) = done.crc
            && crc_number(&hasher.finish()) != crc
        {
            // The last bytes are held back, so the reader sees that the body is not whole.
            return Err(self.io.damaged(&done.path, &FormatError::Body));
        }
        Ok(Some(bytes.into()))
    }
}

type Step = Result<(Option<Bytes>, Reading), StoreError>;

/// Begins to read the next bytes.
fn ahead(mut reading: Reading) -> JoinHandle<Step> {
    tokio::spawn(async move {
        let turn = reading.io.turn().await?;
        blocking(move || {
            let bytes = reading.next();
            drop(turn);
            Ok((bytes?, reading))
        })
        .await
    })
}

/// A stream over the wanted bytes, which reads one chunk ahead.
fn stream(opened: Opened, wanted: &Range<u64>) -> ByteStream {
    let first = ahead(Reading::new(opened, wanted));
    Box::pin(futures::stream::unfold(Some(first), |step| async move {
        let step = step?.await.unwrap_or_else(|_| {
            let reason = "the process is ending".to_owned();
            Err(StoreError::Unavailable { reason })
        });
        match step {
            Ok((Some(bytes), reading)) => {
                let more = !reading.segments.is_empty();
                Some((Ok(bytes), more.then(|| ahead(reading))))
            }
            Ok((None, _)) => None,
            Err(error) => Some((Err(BodyError::from(error)), None)),
        }
    }))
}

impl Shared {
    pub(crate) fn list(&self, bucket: &Bucket, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.check_settled()?;
        let index = self.read();
        index.bucket(bucket)?;
        let mut page = ListPage::default();
        let Some(keys) = index.keys(bucket) else { return Ok(page) };
        let delimiter = query.delimiter.as_deref();
        let walk = Walk::new(keys, &query.prefix, delimiter, query.after.as_ref());
        if query.limit == 0 {
            return Ok(page);
        }
        for step in walk {
            if page.entries.len() == query.limit {
                page.next = page.entries.last().map(after);
                break;
            }
            page.entries.push(match step {
                ListStep::Folded(prefix) => ListEntry::Prefix(prefix.to_owned()),
                ListStep::Key(key, entry) => ListEntry::Object(ObjectSummary {
                    key: key.clone(),
                    version: entry.version,
                    etag: entry.etag.clone(),
                    size: entry.size,
                    modified: entry.modified,
                }),
            });
        }
        Ok(page)
    }
}

fn after(entry: &ListEntry) -> After {
    match entry {
        ListEntry::Object(object) => After::Key(object.key.to_string()),
        ListEntry::Prefix(prefix) => After::Prefix(prefix.clone()),
    }
}
