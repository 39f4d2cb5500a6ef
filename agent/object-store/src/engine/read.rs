//! Reading objects.

use std::ops::Range;
use std::sync::Arc;

use agent_object_store_pool::group::reader::GroupReader;
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::journal::{JournalError, JournalPlace};
use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;

use super::admission::Admitted;
use super::apply::parts;
use super::compress::BLOCK;
use super::core::{Core, index_error};
use super::entry::{ObjectEntry, PartEntry, Place, RecordAt};
use super::error::EngineError;
use super::expand::Layout;
use super::reads::Reading;
use super::record;
use super::stored::DataRoot;
use crate::conditions::ReadVerdict;
use crate::error::{BodyError, StoreError};
use crate::object::{ByteStream, ObjectInfo, ObjectReader, ReadBody};
use crate::store::{GetRequest, ReadRange};

/// Ranges up to this many bytes are read before the answer begins.
const AT_ONCE: u64 = 1 << 20;

/// Blocks of a body that are read ahead of the client.
const AHEAD: usize = 8;

/// How often an object is looked up anew that was moved or replaced while it was read.
pub(super) const TRIES: usize = 4;

/// A version of an object, and what is wanted of it.
#[derive(Debug)]
pub(super) struct Located {
    pub info: ObjectInfo,
    pub root: DataRoot,
    pub range: Range<u64>,
    /// All of it: itself, or its parts.
    pub pieces: Vec<Piece>,
}

/// An answer in memory.
struct Whole {
    bytes: Bytes,
    _admitted: Admitted,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A part of an object's bytes, in one place.
#[derive(Debug)]
pub(super) struct Piece {
    pub source: Source,
    pub range: Range<u64>,
    pub root: DataRoot,
    /// Where the leaves of its tree stand, in the stored bytes; none if there are none.
    pub leaves_at: Option<u64>,
    /// If it is compressed.
    pub layout: Option<Layout>,
}

impl Piece {
    /// The bytes of an object or a part of this size; none if they are in parts.
    pub(super) fn of(
        place: Place,
        record: RecordAt,
        range: Range<u64>,
        root: DataRoot,
    ) -> Option<Self> {
        let plain = range.end - range.start;
        let (compressed, is_in_groups) = match (&place, &record) {
            (Place::Groups(groups), _) => (groups.compressed, true),
            (Place::Record, RecordAt::Packed(packed)) => (packed.compressed.map(u64::from), false),
            _ => (None, false),
        };
        let layout = compressed.map(|stored| Layout { plain, stored });
        let leaves_at = is_in_groups.then_some(compressed.unwrap_or(plain));
        let source = Source::of(place, record, plain)?;
        Some(Self { source, range, root, leaves_at, layout })
    }
}

/// Where bytes are read from.
#[derive(Debug)]
pub(super) enum Source {
    /// The content of a record; its copies.
    Journal(Vec<JournalPlace>),
    /// Runs of groups, one behind the other.
    Runs(Vec<Run>),
}

impl Source {
    /// Where the bytes of an object or a part of this size are; none if they are in parts.
    fn of(place: Place, record: RecordAt, size: u64) -> Option<Self> {
        match (place, record) {
            (Place::Record, RecordAt::Journal(copies)) => Some(Self::Journal(copies)),
            (Place::Record, RecordAt::Packed(packed)) => {
                Some(Self::Runs(vec![packed.content(size)]))
            }
            (Place::Groups(groups), _) => Some(Self::Runs(groups.runs)),
            (Place::Parts(_), _) => None,
        }
    }
}

impl Core {
    pub(super) async fn head(&self, request: &GetRequest) -> Result<ObjectInfo, StoreError> {
        Ok(self.locate(request)?.info)
    }

    pub(super) async fn get(
        self: Arc<Self>,
        request: &GetRequest,
    ) -> Result<ObjectReader, StoreError> {
        let mut last = None;
        for _ in 0..TRIES {
            let reading = self.reads.begin();
            let Located { info, range, pieces, .. } = self.locate(request)?;
            let wanted: Vec<Piece> =
                pieces.into_iter().filter_map(|piece| cut(piece, &range)).collect();
            let admitted = self.admission.read(self.memory_for(&range, &wanted)).await?;
            match Arc::clone(&self).read(&range, wanted, (reading, admitted)).await {
                Ok(body) => return Ok(ObjectReader { info, range, body }),
                Err(error) if is_moved(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(StoreError::Unavailable { reason: "it moves".to_owned() }))
    }

    /// The present version, the bytes that are wanted of it, and where they are.
    pub(super) fn locate(&self, request: &GetRequest) -> Result<Located, StoreError> {
        let (bucket, key) = (&request.bucket, &request.key);
        let number = self.bucket_entry(bucket)?.number;
        let Some(ObjectEntry { object, place, record }) = self.object_entry(number, key)? else {
            return Err(StoreError::NoSuchKey { bucket: bucket.clone(), key: key.clone() });
        };
        if let Some(version) = request.version.filter(|version| *version != object.version) {
            let (bucket, key) = (bucket.clone(), key.clone());
            return Err(StoreError::NoSuchVersion { bucket, key, version });
        }
        let root = object.root;
        let info = ObjectInfo::from(object);
        match request.conditions.decide(&info.etag, info.modified) {
            ReadVerdict::Proceed => {}
            ReadVerdict::NotModified => return Err(StoreError::NotModified { info: info.into() }),
            ReadVerdict::Failed(condition) => {
                return Err(StoreError::PreconditionFailed { condition });
            }
        }
        let pieces = match &place {
            Place::Parts(upload) => in_sequence(parts(&*self.index, upload).map_err(index_error)?),
            _ => Piece::of(place, record, 0..info.size, root).into_iter().collect(),
        };
        let range = resolve(request.range, info.size, info.parts.is_some(), &pieces)?;
        Ok(Located { info, root, range, pieces })
    }

    /// Memory that a range of an object takes on its way out.
    fn memory_for(&self, range: &Range<u64>, wanted: &[Piece]) -> u64 {
        let length = range.end - range.start;
        let is_compressed = wanted.iter().any(|piece| piece.layout.is_some());
        if length <= AT_ONCE {
            // What is compressed is read in whole blocks, and expanded.
            return length + if is_compressed { length + 4 * BLOCK as u64 } else { 0 };
        }
        // Reads go on where no volume takes writes.
        let row = self.bulk.row_bytes().map_or(AT_ONCE, |bytes| bytes as u64);
        // One row is sent, another is read, and what they are made from may be as much again.
        let rows = length.saturating_mul(2).min(4 * row);
        rows + if is_compressed { 2 * AT_ONCE } else { 0 }
    }

    async fn read(
        self: Arc<Self>,
        range: &Range<u64>,
        wanted: Vec<Piece>,
        held: (Reading, Admitted),
    ) -> Result<ReadBody, StoreError> {
        let length = range.end - range.start;
        match wanted.as_slice() {
            [] => return Ok(ReadBody::Whole(Bytes::new())),
            [piece] if length <= AT_ONCE => {
                let bytes = self.read_piece(piece, &piece.range).await?;
                let (_, admitted) = held;
                let whole = Whole { bytes, _admitted: admitted };
                return Ok(ReadBody::Whole(Bytes::from_owner(whole)));
            }
            _ => {}
        }
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            for piece in wanted {
                if let Err(error) = self.send_piece(&piece, &sender).await {
                    // The client may be gone.
                    let _ = sender.send(Err(Box::new(error) as BodyError)).await;
                    break;
                }
            }
            drop(held);
        });
        let body: ByteStream =
            Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)));
        Ok(ReadBody::Stream(body))
    }

    /// Sends bytes on; ends early where nobody takes them any more.
    async fn send_piece(
        &self,
        piece: &Piece,
        sender: &mpsc::Sender<Result<Bytes, BodyError>>,
    ) -> Result<(), StoreError> {
        if piece.layout.is_some() {
            return self.send_expanded(piece, sender).await;
        }
        let Source::Runs(runs) = &piece.source else {
            let bytes = self.read_piece(piece, &piece.range).await?;
            // The client may be gone.
            let _ = sender.send(Ok(bytes)).await;
            return Ok(());
        };
        for (reader, run) in self.runs(runs, &piece.range).await? {
            let failed = |source| StoreError::engine("read a group", EngineError::Read(source));
            let mut blocks = reader.stream(&run).map_err(failed)?;
            while let Some(block) = blocks.next().await {
                if sender.send(Ok(block.map_err(failed)?)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Bytes of a piece, counted from its start, in memory.
    pub(super) async fn read_piece(
        &self,
        piece: &Piece,
        range: &Range<u64>,
    ) -> Result<Bytes, StoreError> {
        match piece.layout {
            None => self.read_stored(&piece.source, range).await,
            Some(layout) => self.read_expanded(&piece.source, layout, range).await,
        }
    }

    /// Bytes of one place as they are stored, in memory.
    pub(super) async fn read_stored(
        &self,
        source: &Source,
        range: &Range<u64>,
    ) -> Result<Bytes, StoreError> {
        match source {
            Source::Journal(copies) => {
                let inline = self.read_record(copies).await?;
                let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
                let bounds = bounds.filter(|(_, end)| *end <= inline.len());
                let (start, end) = bounds.ok_or_else(|| {
                    StoreError::engine("read a record", EngineError::Record(record::NotARecord))
                })?;
                Ok(inline.slice(start..end))
            }
            Source::Runs(runs) => {
                let mut all = Vec::new();
                for (reader, run) in self.runs(runs, range).await? {
                    let bytes = reader.read(&run).await.map_err(|source| {
                        StoreError::engine("read a group", EngineError::Read(source))
                    })?;
                    all.push(bytes);
                }
                match all.as_slice() {
                    [only] => Ok(only.clone()),
                    _ => Ok(all.concat().into()),
                }
            }
        }
    }

    /// The inline bytes of a record, from the first copy that can be read.
    async fn read_record(&self, copies: &[JournalPlace]) -> Result<Bytes, StoreError> {
        let record = self.first_copy(copies).await?.ok_or_else(|| StoreError::Unavailable {
            reason: "the volumes that hold it are not here".to_owned(),
        })?;
        let failed = |error| StoreError::engine("read a record", EngineError::Record(error));
        let (change, inline) = record::decode(&record).map_err(failed)?;
        // Nobody compresses there: the bytes would be taken for what they are not.
        if change.content().is_some_and(|content| content.compressed_inline().is_some()) {
            return Err(failed(record::NotARecord));
        }
        Ok(inline)
    }

    /// The first copy of a record that can be read; none if the volumes of all are not here.
    pub(super) async fn first_copy(
        &self,
        copies: &[JournalPlace],
    ) -> Result<Option<Bytes>, StoreError> {
        let (mut failure, mut late) = (None, Vec::new());
        for (nth, place) in copies.iter().enumerate() {
            let Some(volume) = self.volumes.get(place.volume) else { continue };
            let is_last = nth + 1 == copies.len() && late.is_empty();
            let read = match is_last {
                true => volume.journal.read(*place).await,
                false => volume.journal.read_soon(*place).await,
            };
            match read {
                Ok(record) => return Ok(Some(record)),
                Err(JournalError::Late { .. }) => late.push((volume, *place)),
                // It stands elsewhere by now.
                Err(error @ JournalError::Gone { .. }) => failure = Some(error),
                Err(error) => {
                    tracing::warn!(volume = %place.volume, %error, "a copy cannot be read");
                    failure = failure.or(Some(error));
                }
            }
        }
        for (volume, place) in late {
            match volume.journal.read(place).await {
                Ok(record) => return Ok(Some(record)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let failed = |error| StoreError::engine("read a record", EngineError::Journal(error));
        failure.map_or(Ok(None), |error| Err(failed(error)))
    }

    /// The parts of some runs that hold a range of their bytes, each with its group.
    pub(super) async fn runs(
        &self,
        runs: &[Run],
        range: &Range<u64>,
    ) -> Result<Vec<(GroupReader, Run)>, StoreError> {
        let (mut found, mut start) = (Vec::new(), 0);
        for run in runs {
            let end = start + run.length;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                let reader = self.group(run.group).await?;
                let part = run.part(reader.shape(), from - start, to - from);
                found.push((reader, part));
            }
            start = end;
        }
        Ok(found)
    }

    async fn group(&self, group: GroupId) -> Result<GroupReader, StoreError> {
        self.groups.reader(group).await.ok_or_else(|| StoreError::Unavailable {
            reason: format!("too few volumes of group {group} are here"),
        })
    }
}

/// Whether bytes are no longer where the index said, as they stand elsewhere by now.
pub(super) fn is_moved(error: &StoreError) -> bool {
    match error {
        StoreError::Engine { source, .. } => {
            matches!(source, EngineError::Journal(JournalError::Gone { .. }))
        }
        // Its group may be gone.
        StoreError::Unavailable { .. } => true,
        _ => false,
    }
}

/// Parts by number become pieces one behind the other.
fn in_sequence(parts: Vec<PartEntry>) -> Vec<Piece> {
    let mut start = 0;
    let piece = |PartEntry { part, place, record, .. }: PartEntry| {
        let range = start..start + part.size;
        start = range.end;
        Piece::of(place, record, range, part.root)
    };
    parts.into_iter().filter_map(piece).collect()
}

/// What is wanted of a piece, its range counted from the piece's own start.
fn cut(piece: Piece, wanted: &Range<u64>) -> Option<Piece> {
    let (from, to) = (wanted.start.max(piece.range.start), wanted.end.min(piece.range.end));
    let start = piece.range.start;
    (from < to).then(|| Piece { range: from - start..to - start, ..piece })
}

/// The bytes that a range stands for.
fn resolve(
    range: ReadRange,
    size: u64,
    has_parts: bool,
    pieces: &[Piece],
) -> Result<Range<u64>, StoreError> {
    let outside = StoreError::RangeNotSatisfiable { size };
    match range {
        ReadRange::All => Ok(0..size),
        ReadRange::From(from) if from < size => Ok(from..size),
        ReadRange::Between(from, to) if from < size && from <= to => {
            Ok(from..to.saturating_add(1).min(size))
        }
        ReadRange::Last(count) if count > 0 && size > 0 => Ok(size.saturating_sub(count)..size),
        ReadRange::From(_) | ReadRange::Between(..) | ReadRange::Last(_) => Err(outside),
        ReadRange::Part(part) if !has_parts && part.get() == 1 => Ok(0..size),
        // Readers count the parts that are there from 1.
        ReadRange::Part(part) if has_parts => {
            let piece = usize::from(part.get()).checked_sub(1).and_then(|at| pieces.get(at));
            piece.map(|piece| piece.range.clone()).ok_or(outside)
        }
        ReadRange::Part(_) => Err(outside),
    }
}
