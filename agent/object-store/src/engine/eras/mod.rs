//! Eras: at the cut of one, the node commits to everything it stores, and can prove of each object that
//! it belongs to it, however it changes afterwards.
//!
//! All objects are written down as they were at the cut, in the order of their names, with the tree over
//! them ([`pages`]), as an object of a bucket without a name: it lies in groups as other objects do, and
//! survives what they survive. They are read from one snapshot of the index, so nothing waits for it.

mod pages;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use agent_object_store_pool::io::Io;
use agent_proofs::member::{Commitment, Member, MemberProof, Node, beside};
use agent_proofs::{Content, ProofError};
use bytes::Bytes;
use futures::stream::try_unfold;

use self::pages::{PageAt, TRAILER, Trailer, Writer, lines, members, salt};
use super::core::{Core, index_error};
use super::entry::{BucketEntry, ObjectEntry, decode};
use super::error::EngineError;
use super::feed::Feed;
use super::index::{IndexError, Next, Snapshot};
use super::keys;
use super::read::{Piece, TRIES, is_moved};
use super::receive::{Received, receive};
use super::record::{BucketNo, Change};
use super::stored::{StoredAttributes, StoredChecksums, StoredObject};
use super::write::{detached, etag_of};
use crate::error::{BodyError, StoreError};
use crate::names::{Bucket, ObjectKey, UnixMillis};
use crate::object::Body;

/// Objects that are read from the index in one go, so that others get their turn.
const AT_ONCE: usize = 4096;

/// The commitment to everything that was stored at the cut of an era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EraRoot {
    /// The era.
    pub era: u64,
    /// When it was cut.
    pub at: UnixMillis,
    /// Root, objects and bytes.
    pub commitment: Commitment,
}

/// Which object of an era is meant.
enum Wanted<'a> {
    Named(&'a Bucket, &'a ObjectKey),
    /// That of one of all bytes, in the order of the objects.
    Byte(u64),
}

fn failed(error: ProofError) -> StoreError {
    StoreError::engine("prove an object of an era", EngineError::Proof(error))
}

/// The key that an era is kept under.
fn name(era: u64) -> Result<ObjectKey, StoreError> {
    let failed = |source| StoreError::Body { source: Box::new(source) as BodyError };
    ObjectKey::new(&format!("era/{era:016x}")).map_err(failed)
}

/// The era that is kept under a key of the index.
fn number(key: &[u8]) -> Option<u64> {
    let name = key.strip_prefix(keys::objects(BucketNo::OWN).as_slice())?.strip_prefix(b"era/")?;
    u64::from_str_radix(str::from_utf8(name).ok()?, 16).ok()
}

impl Core {
    /// Cuts an era: commits to everything that is stored now. Eras before `keep_from` are not needed any
    /// more. Of an era that was cut before, its commitment.
    ///
    /// # Errors
    /// It could not be written down; it is to be cut again then.
    pub(super) async fn cut_era(
        self: Arc<Self>,
        era: u64,
        keep_from: u64,
    ) -> Result<EraRoot, StoreError> {
        detached(async move {
            let _turn = self.cutting.lock().await;
            for old in self.eras()?.into_iter().filter(|old| *old < keep_from) {
                self.drop_era(old).await?;
            }
            if let Some(root) = self.era_root(era).await? {
                return Ok(root);
            }
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(|error| StoreError::Unavailable {
                reason: format!("the system gives no random numbers: {error}"),
            })?;
            let trailer = Arc::new(Mutex::new(None));
            let at = self.clock.now();
            let snapshot = self.index.snapshot().map_err(index_error)?;
            let cut = Cut::new(snapshot, Writer::new(secret), at).map_err(index_error)?;
            let body = Body::new(Box::pin(cut.stream(self.io, Arc::clone(&trailer))));
            let received =
                receive(Feed::new(body)?, &[], &self.bulk, &self.admission, self.io).await?;
            self.keep_era(era, received).await?;
            let trailer = *trailer.lock().unwrap_or_else(PoisonError::into_inner);
            let Trailer { commitment, .. } = trailer.ok_or(failed(ProofError::Malformed))?;
            Ok(EraRoot { era, at, commitment })
        })
        .await
    }

    /// The eras that are kept.
    fn eras(&self) -> Result<Vec<u64>, StoreError> {
        let (own, mut found) = (keys::objects(BucketNo::OWN), Vec::new());
        let visit = &mut |key: &[u8], _: &[u8]| {
            found.extend(number(key));
            if key.starts_with(&own) { Next::On } else { Next::Stop }
        };
        self.index.scan(&own, visit).map_err(index_error)?;
        Ok(found)
    }

    async fn keep_era(&self, era: u64, received: Received) -> Result<(), StoreError> {
        let key = name(era)?;
        let latch = self.key_latch(BucketNo::OWN, &key).await;
        let modified = self.clock.now();
        let failed = |source| StoreError::Body { source: Box::new(source) as BodyError };
        let etag = etag_of(&received).map_err(failed)?;
        let Received { size, content, inline, root, hold, admitted, .. } = received;
        let object = StoredObject {
            version: self.next_version(modified),
            etag,
            size,
            modified,
            attributes: StoredAttributes::default(),
            checksums: StoredChecksums::default(),
            parts: None,
            root,
        };
        let change = Change::Put { bucket: BucketNo::OWN, key, object, content };
        self.commit(change, &inline).await?;
        drop((latch, hold, admitted));
        Ok(())
    }

    async fn drop_era(&self, era: u64) -> Result<(), StoreError> {
        let key = name(era)?;
        let latch = self.key_latch(BucketNo::OWN, &key).await;
        let version = self.next_version(self.clock.now());
        self.commit(Change::Delete { bucket: BucketNo::OWN, key, version }, &[]).await?;
        drop(latch);
        Ok(())
    }

    /// The commitment of an era; none if it is not kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn era_root(&self, era: u64) -> Result<Option<EraRoot>, StoreError> {
        let Some(Trailer { at, commitment, .. }) = self.era_trailer(era).await? else {
            return Ok(None);
        };
        Ok(Some(EraRoot { era, at, commitment }))
    }

    /// Proves that an object belongs to an era; none if it does not, or the era is not kept.
    ///
    /// # Errors
    /// What is kept of it cannot be read.
    pub(super) async fn prove_member(
        &self,
        era: u64,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<MemberProof>, StoreError> {
        self.prove_wanted(era, &Wanted::Named(bucket, key)).await
    }

    /// The same of the object that has one of all bytes, in the order of the objects.
    ///
    /// # Errors
    /// As [`Core::prove_member`].
    pub(super) async fn prove_byte(
        &self,
        era: u64,
        byte: u64,
    ) -> Result<Option<MemberProof>, StoreError> {
        self.prove_wanted(era, &Wanted::Byte(byte)).await
    }

    async fn prove_wanted(
        &self,
        era: u64,
        wanted: &Wanted<'_>,
    ) -> Result<Option<MemberProof>, StoreError> {
        let Some(trailer) = self.era_trailer(era).await? else { return Ok(None) };
        let Trailer { secret, levels, commitment, top, .. } = trailer;
        let (mut page, mut position, mut before) = (top, 0_u64, 0_u64);
        // From the top, level by level; lowest first is the order of a proof.
        let mut ways: VecDeque<Vec<Node>> = VecDeque::new();
        for level in (0..levels).rev() {
            let Some(bytes) = self.era_page(era, page).await? else { return Ok(None) };
            if level > 0 {
                let lines = lines(&bytes, page.entries).map_err(failed)?;
                let nodes: Vec<Node> = lines.iter().map(|line| line.node).collect();
                let found = match wanted {
                    Wanted::Named(bucket, key) => {
                        let name = (bucket.as_str(), key.as_str());
                        let is_before = |(bucket, key): &(String, String)| {
                            (bucket.as_str(), key.as_str()) <= name
                        };
                        lines.partition_point(|line| is_before(&line.first)).checked_sub(1)
                    }
                    Wanted::Byte(byte) => holder(&nodes, *byte, &mut before),
                };
                let Some((index, line)) = found.and_then(|at| Some((at, lines.get(at)?))) else {
                    return Ok(None);
                };
                position = position * pages::FULL as u64 + index as u64;
                ways.push_front(beside(&nodes, index));
                page = line.page;
                continue;
            }
            let members = members(&bytes, page.entries).map_err(failed)?;
            let leaf = |member: &Member| member.leaf(&salt(&secret, member));
            let nodes: Vec<Node> =
                members.iter().map(leaf).collect::<Result<_, _>>().map_err(failed)?;
            let found = match wanted {
                Wanted::Named(bucket, key) => members.iter().position(|member| {
                    member.bucket == bucket.as_str() && member.key == key.as_str()
                }),
                Wanted::Byte(byte) => holder(&nodes, *byte, &mut before),
            };
            let Some((index, member)) = found.and_then(|at| Some((at, members.get(at)?))) else {
                return Ok(None);
            };
            position = position * pages::FULL as u64 + index as u64;
            ways.push_front(beside(&nodes, index));
            let proof = MemberProof {
                member: member.clone(),
                position,
                salt: salt(&secret, member),
                beside: ways.into_iter().flatten().collect(),
            };
            // What is given away holds.
            proof.verify(&commitment).map_err(failed)?;
            return Ok(Some(proof));
        }
        Ok(None)
    }

    async fn era_trailer(&self, era: u64) -> Result<Option<Trailer>, StoreError> {
        let at_end = |size: u64| size.saturating_sub(TRAILER)..size;
        let Some(bytes) = self.era_bytes(era, at_end).await? else { return Ok(None) };
        Trailer::read(&bytes).map(Some).map_err(failed)
    }

    async fn era_page(&self, era: u64, page: PageAt) -> Result<Option<Bytes>, StoreError> {
        self.era_bytes(era, |_| page.at..page.at.saturating_add(page.length.into())).await
    }

    /// Some bytes of what is kept of an era, by its size; none if it is not kept.
    async fn era_bytes(
        &self,
        era: u64,
        range: impl Fn(u64) -> std::ops::Range<u64>,
    ) -> Result<Option<Bytes>, StoreError> {
        let (key, mut last) = (name(era)?, None);
        for _ in 0..TRIES {
            let _reading = self.reads.begin();
            let Some(entry) = self.object_entry(BucketNo::OWN, &key)? else { return Ok(None) };
            let ObjectEntry { object, place, record } = entry;
            let piece = Piece::of(place, record, 0..object.size, object.root);
            let Some(piece) = piece else { return Ok(None) };
            let range = range(object.size);
            if range.end > object.size {
                return Err(failed(ProofError::Malformed));
            }
            match self.read_piece(&piece, &range).await {
                Err(error) if is_moved(&error) => last = Some(error),
                result => return result.map(Some),
            }
        }
        Err(last.unwrap_or(StoreError::Unavailable { reason: "it moves".to_owned() }))
    }
}

/// Which of some nodes has a byte, of which `before` count those in front of them.
fn holder(nodes: &[Node], byte: u64, before: &mut u64) -> Option<usize> {
    for (index, node) in nodes.iter().enumerate() {
        let end = before.checked_add(node.bytes)?;
        if byte < end {
            return Some(index);
        }
        *before = end;
    }
    None
}

/// A cut that is being written down.
struct Cut {
    snapshot: Box<dyn Snapshot>,
    writer: Writer,
    at: UnixMillis,
    /// Names and numbers of the buckets that are left, the present one first.
    buckets: VecDeque<(String, BucketNo)>,
    /// Where to go on in the index.
    next: Option<Vec<u8>>,
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Cut {
    fn new(
        snapshot: Box<dyn Snapshot>,
        writer: Writer,
        at: UnixMillis,
    ) -> Result<Self, IndexError> {
        let (mut buckets, mut damage) = (VecDeque::new(), None);
        snapshot.scan(keys::BUCKETS, &mut |key, value| {
            let Some(name) = keys::bucket_name(key) else { return Next::Stop };
            match decode::<BucketEntry>(value) {
                Ok(entry) => buckets.push_back((name.as_str().to_owned(), entry.number)),
                Err(error) => damage = Some(error),
            }
            Next::On
        })?;
        let cut = Self { snapshot, writer, at, buckets, next: None };
        damage.map_or(Ok(cut), Err)
    }

    /// The bytes to be kept; at their end, `trailer` is set.
    fn stream(
        self,
        io: Io,
        trailer: Arc<Mutex<Option<Trailer>>>,
    ) -> impl futures::Stream<Item = Result<Bytes, BodyError>> + Send {
        try_unfold(Some(self), move |cut| {
            let trailer = Arc::clone(&trailer);
            async move {
                let Some(mut cut) = cut else { return Ok(None) };
                let step = move || {
                    let is_over = cut.step()?;
                    if is_over {
                        let end = cut.writer.finish(cut.at).map_err(IndexError::damaged)?;
                        *trailer.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
                    }
                    let bytes = Bytes::from(std::mem::take(&mut cut.writer.out));
                    Ok::<_, IndexError>((bytes, (!is_over).then_some(cut)))
                };
                let step = io.run(step).await.map_err(|error| Box::new(error) as BodyError)?;
                step.map(Some).map_err(|error| Box::new(error) as BodyError)
            }
        })
    }

    /// Writes the next objects; says whether there are no more.
    fn step(&mut self) -> Result<bool, IndexError> {
        let mut left = AT_ONCE;
        while let Some((bucket, number)) = self.buckets.front() {
            let all = keys::objects(*number);
            let from = self.next.take().unwrap_or_else(|| all.clone());
            let (mut next, mut damage) = (None, None);
            let writer = &mut self.writer;
            self.snapshot.scan(&from, &mut |key, value| {
                let Some(name) = key.strip_prefix(all.as_slice()) else { return Next::Stop };
                if left == 0 {
                    next = Some(key.to_vec());
                    return Next::Stop;
                }
                left -= 1;
                let member = member(bucket, name, value);
                match member.and_then(|member| writer.push(member).map_err(IndexError::damaged)) {
                    Ok(()) => Next::On,
                    Err(error) => {
                        damage = Some(error);
                        Next::Stop
                    }
                }
            })?;
            if let Some(error) = damage {
                return Err(error);
            }
            if next.is_some() {
                self.next = next;
                return Ok(false);
            }
            self.buckets.pop_front();
        }
        Ok(true)
    }
}

/// An object of the index as a member.
fn member(bucket: &str, name: &[u8], value: &[u8]) -> Result<Member, IndexError> {
    let key = str::from_utf8(name).map_err(IndexError::damaged)?.to_owned();
    let ObjectEntry { object, .. } = decode(value)?;
    let StoredObject { version, size, parts, root, .. } = object;
    let content = Content { root, size, parts: parts.unwrap_or(0) };
    Ok(Member { bucket: bucket.to_owned(), key, version: version.number(), content })
}

#[cfg(test)]
mod tests;
