//! The way of a body to stable storage: small ones stay in memory, to go into the record that names
//! them; large ones go to a group row by row, hashed and compressed on the way. Nothing is published here.

use std::sync::Arc;

use agent_object_store_pool::io::{Io, Unfinished};
use bytes::Bytes;
use futures::TryFutureExt as _;
use futures::future::try_join5;

use super::admission::{Admission, Admitted};
use super::bulk::{Bulk, Rows};
use super::compress::Compressing;
use super::feed::Feed;
use super::hold::Hold;
use super::record::{Content, InGroups};
use super::tree::{Tree, TreeHasher};
use crate::checksum::{Algorithm, Checksum, Hashers};
use crate::error::StoreError;

/// Objects up to this many bytes go into records. Above, a record's copies cost more than a stripe,
/// and a frame holds few of them.
pub(crate) const INLINE: usize = 256 << 10;

/// Bodies up to this many bytes are hashed where they are received: handing them to another thread
/// costs about as much (about 1.5 ns a byte for MD5).
const AT_ONCE: usize = 16 << 10;

/// Rows of a large body that are in memory at once: one is received, one hashed and compressed, to as much as
/// two, and two are written, of which the sealed cells and the parity take about as much again.
const ROWS: u64 = 8;

/// A body that was received whole, checked, and is on stable storage unless it is inline.
#[derive(Debug)]
pub(crate) struct Received {
    pub size: u64,
    pub content: Content,
    pub inline: Bytes,
    pub root: [u8; 32],
    /// For `inline`; held as long as that is used.
    pub admitted: Option<Admitted>,
    /// Keeps the groups that the content is in; dropped when a record names them.
    pub hold: Option<Arc<Hold>>,
    sums: Vec<Checksum>,
}

impl Received {
    /// The checksum by one of the algorithms that were asked for.
    pub(crate) fn sum(&self, algorithm: Algorithm) -> Option<&Checksum> {
        self.sums.iter().find(|sum| sum.algorithm() == algorithm)
    }

    /// The checksums by these algorithms.
    pub(crate) fn sums(&self, keep: &[Algorithm]) -> Vec<Checksum> {
        keep.iter().filter_map(|algorithm| self.sum(*algorithm)).cloned().collect()
    }
}

/// Everything that is computed over a body.
#[derive(Debug)]
struct Hashing {
    hashers: Hashers,
    tree: TreeHasher,
}

impl Hashing {
    fn new(algorithms: &[Algorithm]) -> Self {
        let algorithms = algorithms.iter().copied().chain([Algorithm::Md5]);
        Self { hashers: Hashers::new(algorithms), tree: TreeHasher::new() }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hashers.update(bytes);
        self.tree.update(bytes);
    }

    fn finish(self) -> (Vec<Checksum>, Tree) {
        (self.hashers.finish(), self.tree.finish())
    }
}

/// Memory that a body of so many bytes takes on its way in; of one that does not say, the most.
fn memory_for(length: Option<u64>, bulk: &Bulk) -> Result<u64, StoreError> {
    match length {
        Some(length) if length <= INLINE as u64 => Ok(length),
        length => {
            let most = ROWS * bulk.row_bytes()? as u64;
            // All of it, what it is compressed to, sealed cells and parity.
            Ok(length.map_or(most, |length| most.min(length.saturating_mul(4))))
        }
    }
}

/// Takes in a body, of which the checksums of `keep` are wanted as well as MD5.
///
/// # Errors
/// The body broke off or is not what it said, or it could not be written.
pub(crate) async fn receive(
    mut feed: Feed,
    keep: &[Algorithm],
    bulk: &Bulk,
    admission: &Admission,
    io: Io,
) -> Result<Received, StoreError> {
    let admitted = admission.write(memory_for(feed.length(), bulk)?).await?;
    let mut hashing = Hashing::new(&feed.algorithms(keep));
    let expected = usize::try_from(feed.expected_bytes()).unwrap_or(usize::MAX);
    let mut first = Vec::with_capacity(expected.min(INLINE + 1));
    feed.fill(&mut first, INLINE + 1).await?;
    if first.len() > INLINE {
        let received = receive_large(feed, first, hashing, bulk, io).await;
        drop(admitted);
        return received;
    }
    let (hashing, first) = if first.len() <= AT_ONCE {
        hashing.update(&first);
        (hashing, first)
    } else {
        let work = move || {
            hashing.update(&first);
            (hashing, first)
        };
        io.run(work).await.map_err(unfinished)?
    };
    let (sums, tree) = hashing.finish();
    check(&sums, &feed.expected()?)?;
    let content = Content::Inline(u32::try_from(first.len()).unwrap_or(u32::MAX));
    let size = first.len() as u64;
    let (inline, admitted) = (first.into(), Some(admitted));
    Ok(Received { size, content, inline, root: tree.root, admitted, hold: None, sums })
}

async fn receive_large(
    mut feed: Feed,
    first: Vec<u8>,
    hashing: Hashing,
    bulk: &Bulk,
    io: Io,
) -> Result<Received, StoreError> {
    let full = bulk.row_bytes()?;
    let mut rows = Rows::new(bulk);
    let mut compressing = Compressing::new(full);
    let mut ready = Vec::new();
    let Hashing { mut hashers, mut tree } = hashing;
    let (mut size, mut row) = (0, first);
    feed.fill(&mut row, full).await?;
    while !row.is_empty() {
        let is_last = row.len() < full;
        size += row.len() as u64;
        let row_bytes = Bytes::from(std::mem::take(&mut row));
        let (of_sums, of_tree) = (row_bytes.clone(), row_bytes.clone());
        let of_before = std::mem::take(&mut ready);
        let sums = io.run(move || {
            hashers.update(&of_sums);
            hashers
        });
        let leaves = io.run(move || {
            tree.update(&of_tree);
            tree
        });
        let compressed = io.run(move || {
            let ready = compressing.push(row_bytes);
            (compressing, ready)
        });
        let next = async {
            if is_last {
                return Ok(());
            }
            row.reserve_exact(full);
            feed.fill(&mut row, full).await
        };
        // A row is hashed and compressed while the one before is written and the next one received.
        (hashers, tree, (compressing, ready), (), ()) = try_join5(
            sums.map_err(unfinished),
            leaves.map_err(unfinished),
            compressed.map_err(unfinished),
            write_all(&mut rows, of_before),
            next,
        )
        .await?;
    }
    let (sums, tree) = (hashers.finish(), tree.finish());
    check(&sums, &feed.expected()?)?;
    write_all(&mut rows, ready).await?;
    // The tree stands behind the bytes.
    let leaves: Vec<u8> = tree.leaves.concat();
    let last = io.run(move || compressing.finish(&leaves));
    let (last, compressed) = last.await.map_err(unfinished)?;
    write_all(&mut rows, last).await?;
    let (runs, hold) = rows.sync().await?;
    let hold = Some(hold);
    let content = InGroups { runs, compressed }.written();
    let (inline, root) = (Bytes::new(), tree.root);
    Ok(Received { size, content, inline, root, admitted: None, hold, sums })
}

async fn write_all(rows: &mut Rows<'_>, ready: Vec<Bytes>) -> Result<(), StoreError> {
    for row in ready {
        rows.write(row).await?;
    }
    Ok(())
}

fn unfinished(error: Unfinished) -> StoreError {
    StoreError::engine("hash a body", error)
}

fn check(sums: &[Checksum], expected: &[Checksum]) -> Result<(), StoreError> {
    for wanted in expected {
        let found = sums.iter().find(|sum| sum.algorithm() == wanted.algorithm());
        match found {
            Some(found) if found == wanted => {}
            Some(found) => {
                let (expected, computed) = (wanted.clone(), found.clone());
                return Err(StoreError::ChecksumMismatch { expected, computed });
            }
            None => {
                let what = format!("{} was not asked for", wanted.algorithm());
                return Err(StoreError::Body { source: what.into() });
            }
        }
    }
    Ok(())
}
