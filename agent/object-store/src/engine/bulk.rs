//! Groups that are being filled: bulk ones with the bytes of large objects, packed ones with records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_object_store_pool::group::error::{CreateError, WriteError};
use agent_object_store_pool::group::geometry::{EXTENT_HEADER, RowPlace, Shape};
use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::group::set::Groups;
use agent_object_store_pool::group::writer::{GroupWriter, NewGroup};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};

use super::apply::get;
use super::core::index_error;
use super::entry::{GroupEntry, encode};
use super::error::EngineError;
use super::hold::{Hold, InUse};
use super::index::{Batch, Index, IndexError};
use super::keys;
use super::publish::Publisher;
use super::volumes::Volumes;
use crate::error::StoreError;

/// Groups that are filled side by side: enough that uploads do not wait for each other's syncs, few
/// enough that the rows of one lie together.
const OPEN: usize = 4;

/// How often a row is tried on another group: each failure has fenced a volume or filled a group.
const TRIES: usize = 8;

/// Rows of one body that are written at once.
const AHEAD: usize = 2;

/// The groups of one kind that are being filled.
#[derive(Debug)]
pub(crate) struct Bulk {
    volumes: Volumes,
    groups: Arc<Groups>,
    publisher: Publisher,
    kind: Kind,
    extent: u64,
    open: Mutex<Vec<GroupWriter>>,
    in_use: InUse,
    /// Held while a group is made.
    making: tokio::sync::Mutex<()>,
}

impl Bulk {
    pub(crate) fn new(
        volumes: Volumes,
        groups: Arc<Groups>,
        publisher: Publisher,
        kind: Kind,
        extent: u64,
    ) -> Self {
        Self {
            volumes,
            groups,
            publisher,
            kind,
            extent,
            open: Mutex::default(),
            in_use: InUse::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// Bytes of a full row, as groups are made now.
    ///
    /// # Errors
    /// There is no volume to write to.
    pub(crate) fn row_bytes(&self) -> Result<usize, StoreError> {
        Ok(self.volumes.row_bytes()? as usize)
    }

    /// A group that takes a row of so many bytes: the one of `near`, if that does.
    async fn writer(
        &self,
        length: usize,
        near: Option<GroupId>,
    ) -> Result<GroupWriter, StoreError> {
        if let Some(found) = self.find(length, near) {
            return Ok(found);
        }
        let making = self.making.lock().await;
        if let Some(found) = self.find(length, near) {
            return Ok(found);
        }
        let made = self.make().await?;
        let surplus = {
            let mut open = self.open();
            open.push(made.clone());
            (open.len() > OPEN).then(|| open.remove(0))
        };
        drop(making);
        if let Some(surplus) = surplus {
            self.seal_behind(surplus);
        }
        Ok(made)
    }

    /// Writes a row; it is on stable storage when this returns.
    ///
    /// # Errors
    /// It is not, or on fewer volumes than must be.
    pub(crate) async fn put_row(&self, row: Bytes) -> Result<(GroupId, RowPlace), StoreError> {
        let hold = self.in_use.hold();
        let (writer, place) = write_row(self, row, None, &hold).await?;
        sync(&writer, place.at).await?;
        Ok((writer.group(), place))
    }

    /// The groups that are being filled.
    pub(crate) fn filling(&self) -> Vec<GroupId> {
        self.open().iter().map(GroupWriter::group).collect()
    }

    /// Groups with rows that no record names yet, but one may soon. Of those that are not filled any more
    /// when this is asked, none is missing.
    pub(crate) fn in_use(&self) -> Vec<GroupId> {
        self.in_use.groups()
    }

    /// As [`Bulk::renew`], behind groups that are being made for volumes as they were.
    pub(crate) async fn renew_all(&self) {
        let _making = self.making.lock().await;
        self.renew();
    }

    fn seal_behind(&self, writer: GroupWriter) {
        let publisher = self.publisher.clone();
        tokio::spawn(async move {
            if let Err(error) = seal(&writer, &publisher).await {
                tracing::warn!(group = %writer.group(), %error, "a group is not sealed");
            }
        });
    }

    fn find(&self, length: usize, near: Option<GroupId>) -> Option<GroupWriter> {
        let open = self.open();
        let takes = |writer: &&GroupWriter| writer.room() as usize >= length;
        let same = open.iter().find(|writer| Some(writer.group()) == near).filter(takes);
        // Others than the one that is near are left to those who write there, as far as it goes.
        let other = || if open.len() < OPEN { None } else { open.iter().rfind(takes) };
        same.or_else(|| if near.is_none() { open.iter().find(takes) } else { other() }).cloned()
    }

    async fn make(&self) -> Result<GroupWriter, StoreError> {
        let (redundancy, devices, group) = self.volumes.for_group(self.kind).await?;
        let shape = redundancy.shape();
        let new = NewGroup { group, kind: self.kind, shape, extent: self.extent };
        // What the index does not know is taken for a leftover.
        self.publisher.publish(|_| known(group, GroupEntry::default())).map_err(index_error)?;
        let full = StoreError::Full { wanted: u64::from(shape.full_row()) };
        let failed = |source: CreateError| match &source {
            CreateError::Extent { source: extent, .. } if extent.is_full() => full,
            _ => StoreError::engine("make a group", EngineError::Create(source)),
        };
        self.groups.create(new, &devices).await.map_err(failed)
    }

    /// Takes no more rows for a group.
    fn retire(&self, writer: &GroupWriter) {
        let was_open = {
            let mut open = self.open();
            let before = open.len();
            open.retain(|open| open.group() != writer.group());
            open.len() < before
        };
        if was_open {
            self.seal_behind(writer.clone());
        }
    }

    /// Ends all groups that are being filled, as volumes came or went: new ones are made on those that
    /// are here.
    pub(crate) fn renew(&self) {
        for writer in std::mem::take(&mut *self.open()) {
            self.seal_behind(writer);
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<GroupWriter>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written to the index of a group.
fn known(group: GroupId, entry: GroupEntry) -> Result<Batch, IndexError> {
    let mut batch = Batch::default();
    batch.put(keys::group(group), encode(&entry)?);
    Ok(batch)
}

/// Cuts off what a group did not use, and says so in the index. That a volume fails is no loss: the
/// group is looked through at the next start.
async fn seal(writer: &GroupWriter, publisher: &Publisher) -> Result<(), StoreError> {
    let end = match writer.seal().await {
        Ok(end) => end,
        Err(error) => {
            tracing::debug!(group = %writer.group(), %error, "a group is not sealed");
            return Ok(());
        }
    };
    let group = writer.group();
    let written = written_bytes(&writer.shape(), end);
    let sealed = |index: &dyn Index| {
        let entry: GroupEntry = get(index, &keys::group(group))?.unwrap_or_default();
        known(group, GroupEntry { written: Some(written), ..entry })
    };
    publisher.publish(sealed).map_err(index_error)
}

/// Bytes that the rows up to an offset hold, about.
pub(super) fn written_bytes(shape: &Shape, end: u64) -> u64 {
    end.saturating_sub(EXTENT_HEADER).saturating_mul(u64::from(shape.k))
}

type Written = Result<(GroupWriter, RowPlace), StoreError>;

/// The rows of one body, in their order.
pub(crate) struct Rows<'a> {
    bulk: &'a Bulk,
    in_flight: FuturesOrdered<BoxFuture<'a, Written>>,
    hold: Arc<Hold>,
    near: Option<GroupId>,
    runs: Vec<Run>,
    /// The groups that were written to, and where the last row begins.
    used: BTreeMap<GroupId, (GroupWriter, u64)>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(bulk: &'a Bulk) -> Self {
        let in_flight = FuturesOrdered::new();
        let hold = bulk.in_use.hold();
        Self { bulk, in_flight, hold, near: None, runs: Vec::new(), used: BTreeMap::new() }
    }

    /// Writes a row behind those before it; returns while it is on its way, at most two are.
    ///
    /// # Errors
    /// This one or one before it could not be written.
    pub(crate) async fn write(&mut self, row: Bytes) -> Result<(), StoreError> {
        let (bulk, near) = (self.bulk, self.near);
        let hold = Arc::clone(&self.hold);
        let written = async move { write_row(bulk, row, near, &hold).await };
        self.in_flight.push_back(Box::pin(written));
        while self.in_flight.len() >= AHEAD {
            self.take().await?;
        }
        Ok(())
    }

    /// Waits until all rows are on stable storage; where they are. Their groups are kept until what holds
    /// them is dropped.
    ///
    /// # Errors
    /// They are not, or on fewer volumes than must be.
    pub(crate) async fn sync(mut self) -> Result<(Vec<Run>, Arc<Hold>), StoreError> {
        while !self.in_flight.is_empty() {
            self.take().await?;
        }
        for (writer, last) in self.used.values() {
            sync(writer, *last).await?;
        }
        Ok((self.runs, self.hold))
    }

    async fn take(&mut self) -> Result<(), StoreError> {
        let Some(written) = self.in_flight.next().await else { return Ok(()) };
        let (writer, place) = written?;
        let (group, shape) = (writer.group(), writer.shape());
        self.near = Some(group);
        self.used.entry(group).or_insert((writer, 0)).1 = place.at;
        let joined = match self.runs.last_mut() {
            Some(last) if last.group == group => last.push(&shape, place),
            _ => false,
        };
        if !joined {
            self.runs.push(Run::row(group, place));
        }
        Ok(())
    }
}

/// Waits until the rows up to the one at `last` are on stable storage of enough volumes.
async fn sync(writer: &GroupWriter, last: u64) -> Result<(), StoreError> {
    match writer.sync().await {
        Ok(()) => Ok(()),
        Err(WriteError::Degraded(lost))
            if lost.reduced > last && is_safe(writer, lost.lost.len()) =>
        {
            Ok(())
        }
        Err(source) => Err(StoreError::engine("sync a group", EngineError::Write(source))),
    }
}

/// Whether a group that lost so many shards can lose one more.
fn is_safe(writer: &GroupWriter, lost: usize) -> bool {
    lost < usize::from(writer.shape().m)
}

async fn write_row(bulk: &Bulk, row: Bytes, near: Option<GroupId>, hold: &Hold) -> Written {
    for _ in 0..TRIES {
        let before = bulk.volumes.writable().len();
        let writer = match bulk.writer(row.len(), near).await {
            Ok(writer) => writer,
            // The volume that failed is fenced now; there may be others.
            Err(_) if bulk.volumes.writable().len() < before => continue,
            Err(error) => return Err(error),
        };
        // A group that takes the row is held before it takes no more.
        hold.add(writer.group());
        match writer.append(row.clone()).await {
            Ok(place) => return Ok((writer, place)),
            Err(WriteError::Full | WriteError::Sealed | WriteError::Degraded(_)) => {
                bulk.retire(&writer);
            }
            Err(source) => {
                return Err(StoreError::engine("write a row", EngineError::Write(source)));
            }
        }
    }
    Err(StoreError::Unavailable { reason: "volumes fail one after the other".to_owned() })
}
