//! Writing objects.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;

use super::format::{self, ChecksumRecord, MultiRecord, NameHash, ObjectRecord};
use super::index::{Entry, Lookup, Phase, SlotNo};
use super::multi::Multi;
use super::shared::{Shared, blocking};
use super::stage::{CHUNK_BYTES, Staged, Verified};
use super::volume::VolumeIo;
use crate::checksum::{Algorithm, Checksum, ChecksumScope, Checksums};
use crate::conditions::WriteConditions;
use crate::error::StoreError;
use crate::names::{Bucket, ETag, ObjectKey};
use crate::object::{Attributes, Body, ObjectInfo};
use crate::store::PutRequest;

/// Bodies up to this many bytes are hashed where they are received: handing them to another thread
/// costs about as much as hashing them (about 1.5 ns a byte for MD5).
const INLINE_BYTES: u64 = 16 << 10;

/// A body that is taken in piece by piece, its length checked on the way.
#[derive(Debug)]
pub(crate) struct Feed {
    body: Body,
    received: u64,
}

/// Some bytes of a body.
#[derive(Debug)]
pub(crate) struct Batch {
    chunks: Vec<Bytes>,
    last: bool,
}

impl Feed {
    pub(crate) fn new(body: Body) -> Result<Self, StoreError> {
        match body.length {
            Some(length) if length > body.limit => Err(StoreError::TooLarge { limit: body.limit }),
            _ => Ok(Self { body, received: 0 }),
        }
    }

    /// Gathers about one chunk, or what there is up to the end.
    async fn batch(&mut self) -> Result<Batch, StoreError> {
        let (mut chunks, mut gathered) = (Vec::new(), 0);
        while gathered < CHUNK_BYTES {
            let Some(chunk) = self.body.stream.next().await else {
                self.check_end()?;
                return Ok(Batch { chunks, last: true });
            };
            let chunk = chunk.map_err(|source| StoreError::Body { source })?;
            self.received += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            gathered += chunk.len();
            if let Some(declared) = self.body.length.filter(|length| self.received > *length) {
                return Err(StoreError::LengthMismatch { declared, received: self.received });
            }
            if self.received > self.body.limit {
                return Err(StoreError::TooLarge { limit: self.body.limit });
            }
            chunks.push(chunk);
        }
        Ok(Batch { chunks, last: false })
    }

    fn check_end(&self) -> Result<(), StoreError> {
        match self.body.length {
            Some(declared) if declared != self.received => {
                Err(StoreError::LengthMismatch { declared, received: self.received })
            }
            _ => Ok(()),
        }
    }

    /// What the body must be, with the checksums that came behind it.
    fn expected(self) -> Result<Vec<Checksum>, StoreError> {
        let mut expected = self.body.expected;
        if let Some(trailer) = self.body.trailer {
            expected.extend(trailer().map_err(|source| StoreError::Body { source })?);
        }
        Ok(expected)
    }

    fn algorithms(&self, keep: &[Algorithm]) -> Vec<Algorithm> {
        let expected = self.body.expected.iter().map(Checksum::algorithm);
        expected.chain(keep.iter().copied()).collect()
    }

    /// Bytes to keep free: what was declared, or else what is at hand.
    fn wanted(&self) -> u64 {
        self.body.length.unwrap_or(self.received)
    }
}

/// Reads a body to its end onto a volume, hashing and writing on the way, and checks it. A large one
/// is on stable storage then, so that its publication, under a latch, only adds the record.
pub(crate) async fn receive(
    mut feed: Feed,
    keep: &[Algorithm],
    place: impl FnOnce(u64) -> Result<Arc<VolumeIo>, StoreError>,
) -> Result<Verified, StoreError> {
    let mut batch = feed.batch().await?;
    let io = place(feed.wanted())?;
    let mut staged = Staged::new(Arc::clone(&io), feed.algorithms(keep), feed.wanted());
    if batch.last && feed.received <= INLINE_BYTES {
        staged.write(&batch.chunks)?;
        return staged.verify(&feed.expected()?);
    }
    while !batch.last {
        // The next bytes come in while these are written.
        let chunks = std::mem::take(&mut batch.chunks);
        let turn = io.turn().await?;
        let write = blocking(move || {
            let done = staged.write(&chunks).map(|()| staged);
            drop(turn);
            done
        });
        let (written, next) = futures::future::join(write, feed.batch()).await;
        (staged, batch) = (written?, next?);
    }
    let expected = feed.expected()?;
    let turn = io.turn().await?;
    blocking(move || {
        staged.write(&batch.chunks)?;
        let verified = staged.verify(&expected)?;
        verified.flush_large()?;
        drop(turn);
        Ok(verified)
    })
    .await
}

/// An object that is about to be published.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) name: NameHash,
    pub(crate) attributes: Attributes,
    pub(crate) conditions: WriteConditions,
    pub(crate) etag: ETag,
    pub(crate) checksums: Checksums,
    pub(crate) slot: SlotNo,
    pub(crate) io: Arc<VolumeIo>,
    pub(crate) multi: Option<MultiRecord>,
}

impl Shared {
    pub(crate) async fn put(
        self: &Arc<Self>,
        request: PutRequest,
        body: Body,
    ) -> Result<ObjectInfo, StoreError> {
        let PutRequest { bucket, key, attributes, keep, conditions } = request;
        // Refused early where it can be; decided again when it is published.
        self.check_write(&bucket, &key, &conditions)?;
        let name = NameHash::of(&bucket, &key);
        let feed = Feed::new(body)?;
        let mut chosen = None;
        let verified = receive(feed, &keep, |wanted| {
            let present = self.read().present_slot(&bucket, &key);
            let (slot, io) = self.place(&name, present, wanted)?;
            chosen = Some((slot, Arc::clone(&io)));
            Ok(io)
        });
        let verified = verified.await?;
        let (slot, io) = chosen.ok_or(StoreError::Full { wanted: 0 })?;
        self.take_lease().await?;
        let gate = self.buckets.pass(&bucket).await;
        let latch = self.keys.lock(name.number()).await;
        let turn = io.turn().await?;
        let shared = Arc::clone(self);
        blocking(move || {
            let values = verified.checksums(&keep);
            let publication = Publication {
                bucket,
                key,
                name,
                attributes,
                conditions,
                etag: ETag::of_md5(verified.md5()),
                checksums: Checksums { scope: ChecksumScope::Whole, values },
                slot,
                io,
                multi: None,
            };
            let done = shared.publish(publication, verified);
            drop((turn, latch, gate));
            done
        })
        .await
    }

    /// Whether an object may be written as things are now.
    pub(crate) fn check_write(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &WriteConditions,
    ) -> Result<(), StoreError> {
        let index = self.read();
        index.bucket(bucket)?;
        if *conditions == WriteConditions::default() {
            return Ok(());
        }
        match index.lookup(bucket, key) {
            Lookup::Found(entry) => conditions.check(Some(&entry.etag)),
            Lookup::Absent => conditions.check(None),
            Lookup::Damaged(no) => Err(index.unreadable(no, bucket, key)),
            Lookup::Unknown => Err(index.unknown(key)),
        }
    }

    /// Publishes a verified body under its name. The caller holds the key's latch, the bucket's
    /// gate and a turn of the volume. Blocks.
    pub(crate) fn publish(
        &self,
        publication: Publication,
        verified: Verified,
    ) -> Result<ObjectInfo, StoreError> {
        let Publication {
            bucket,
            key,
            name,
            attributes,
            conditions,
            etag,
            checksums,
            slot,
            io,
            multi,
        } = publication;
        self.check_write(&bucket, &key, &conditions)?;
        let now = self.config.clock.now();
        // Under the latch: versions of a key grow in the order in which they are published.
        let version = self.write().next_version(now)?;
        let parts = multi.as_ref().map(|m| m.parts.as_slice());
        let size = parts.map_or(verified.size(), |p| p.iter().map(|slice| slice.size).sum());
        let part_count = parts.map(|p| u16::try_from(p.len()).unwrap_or(u16::MAX));
        let record = ObjectRecord {
            bucket,
            key,
            version,
            modified: now,
            etag,
            size,
            attributes,
            checksums: ChecksumRecord::from(&checksums),
            crc: multi.is_none().then(|| verified.crc()),
            multi,
        };
        let path = io.object_path(&name);
        let tail = format::encode_tail(&record, verified.size());
        let tail = tail.map_err(|e| io.damaged(&path, &e))?;
        verified.make_durable(&tail)?.publish(&path)?;
        let ObjectRecord { bucket, key, etag, attributes, multi, .. } = record;
        let entry = Entry {
            version,
            etag: etag.clone(),
            size,
            modified: now,
            slot,
            tail_len: u32::try_from(tail.len()).unwrap_or(u32::MAX),
            multi: multi.map(|m| Arc::new(Multi::new(Arc::clone(&io), m.upload))),
        };
        self.enter(&bucket, key, entry, &name);
        Ok(ObjectInfo {
            version,
            etag,
            size,
            modified: now,
            attributes,
            checksums,
            parts: part_count,
        })
    }

    /// Makes a published file the present version, and removes the one before it.
    fn enter(&self, bucket: &Bucket, key: ObjectKey, entry: Entry, name: &NameHash) {
        let new_slot = entry.slot;
        let (old, elsewhere) = {
            let mut index = self.write();
            index.clear_damaged(new_slot, name);
            let Some(old) = index.insert(bucket, key, entry) else { return };
            let elsewhere = (old.slot != new_slot).then(|| index.leave_stale(old.slot, name));
            (old, elsewhere.flatten())
        };
        if let Some(io) = elsewhere {
            // A failure fences that volume, so it is read in again before it counts; the new
            // version is safe either way.
            if io.hold().and_then(|_hold| io.remove(&io.object_path(name))).is_err() {
                return;
            }
        } else if old.slot != new_slot {
            return;
        }
        if let Some(multi) = &old.multi {
            multi.doom();
        }
    }
}

impl super::index::Index {
    /// A file on a volume is no longer the present one. Returns the volume if it can be removed at
    /// once; if the volume is being read in, that is done before it takes part.
    pub(crate) fn leave_stale(&mut self, no: SlotNo, name: &NameHash) -> Option<Arc<VolumeIo>> {
        if let Some(slot) = self.slot_mut(no)
            && let Phase::Attaching(io) = &slot.phase
        {
            let path = io.object_path(name);
            slot.stale.push(path);
        }
        self.writable(no)
    }
}
