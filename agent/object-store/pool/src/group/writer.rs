//! Fills a group.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};

use super::error::{CreateError, Degraded, ExtentError, LostShard, WriteError};
use super::extent::Extent;
use super::files;
use super::geometry::{EXTENT_HEADER, MAX_EXTENT, RowPlace, Shape, sealed_length};
use super::header::{ExtentHeader, Kind};
use super::run::GroupId;
use crate::device::Device;
use crate::io::{Io, Unfinished};

/// Length of an extent in bytes, if nothing else is asked for: large enough that a group's files are
/// few, small enough that a group is soon rebuilt, and soon emptied when most of it is deleted.
pub const EXTENT: u64 = 256 << 20;

/// Rows being written at once; enough that parity is computed while the disks write. Each takes about
/// three times its content in memory.
const IN_FLIGHT: usize = 4;

/// A group to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewGroup {
    /// Its number, never used before.
    pub group: GroupId,
    /// What it is to hold.
    pub kind: Kind,
    /// How its rows are laid out.
    pub shape: Shape,
    /// Length of each extent in bytes.
    pub extent: u64,
}

/// Appends rows to a group. A clone is another handle.
#[derive(Debug, Clone)]
pub struct GroupWriter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    new: NewGroup,
    /// By shard.
    extents: Vec<Arc<Extent>>,
    io: Io,
    state: Mutex<State>,
    /// A row ended.
    ended: Notify,
    permits: Arc<Semaphore>,
    /// Held while extents are synced.
    turn: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the next row goes.
    at: u64,
    /// Its number.
    row: u32,
    is_sealed: bool,
    in_flight: BTreeSet<u64>,
    lost: BTreeSet<LostShard>,
    /// As in [`Degraded`].
    whole: u64,
    /// As in [`Degraded`].
    reduced: u64,
}

/// See [`GroupWriter::watch`].
#[derive(Debug, Default)]
pub(crate) struct Watch(Weak<Inner>);

impl Watch {
    /// Whether rows may still be appended or are being written.
    pub(crate) fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|inner| {
            let state = inner.state();
            !state.is_closed() || !state.in_flight.is_empty()
        })
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.is_sealed || !self.lost.is_empty()
    }
}

impl GroupWriter {
    /// Makes a group: one extent on each of the devices, in the order of the shards, durable when this
    /// returns. The devices run their calls in the same way.
    ///
    /// # Errors
    /// See [`CreateError`]; what was made is removed.
    pub async fn create(new: NewGroup, devices: &[Device]) -> Result<Self, CreateError> {
        let (wanted, io) = check(&new, devices)?;
        let made = (0..wanted).zip(devices).map(|(shard, device)| {
            let device = device.clone();
            let header = ExtentHeader {
                group: new.group,
                kind: new.kind,
                shape: new.shape,
                shard,
                incarnation: 0,
                generation: 0,
            };
            async move {
                let volume = device.number();
                let made = io.run(move || Extent::create(&device, header, new.extent, false)).await;
                let made = made.unwrap_or_else(|unfinished| Err(unfinished.into()));
                made.map_err(|source| CreateError::Extent { volume, source })
            }
        });
        let mut extents = Vec::new();
        let mut failed = None;
        for made in join_all(made).await {
            match made {
                Ok(extent) => extents.push(Arc::new(extent)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            remove_made(extents, io).await;
            return Err(error);
        }
        let state = State {
            at: EXTENT_HEADER,
            whole: EXTENT_HEADER,
            reduced: EXTENT_HEADER,
            ..State::default()
        };
        let inner = Inner {
            new,
            extents,
            io,
            state: Mutex::new(state),
            ended: Notify::new(),
            permits: Arc::new(Semaphore::new(IN_FLIGHT)),
            turn: AsyncMutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.inner.new.group
    }

    /// How its rows are laid out.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.inner.new.shape
    }

    /// Its extents, by shard.
    #[must_use]
    pub fn extents(&self) -> &[Arc<Extent>] {
        &self.inner.extents
    }

    /// The largest row that still fits, in bytes; 0 if none does, or the group takes no more.
    #[must_use]
    pub fn room(&self) -> u32 {
        let state = self.inner.state();
        let left = self.inner.new.extent.saturating_sub(state.at);
        if state.is_closed() { 0 } else { self.shape().row_for(left) }
    }

    /// Tells whether the group is being filled, without keeping it open.
    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::downgrade(&self.inner))
    }

    /// Writes a row behind the others. It is not durable before [`GroupWriter::sync`] that is called
    /// when this has returned. A row that is begun is written to its end, also when its place is not
    /// waited for.
    ///
    /// Nothing is copied if `row` has a capacity of a multiple of k × 64 bytes.
    ///
    /// # Errors
    /// See [`WriteError`]; after [`WriteError::Degraded`] none will be taken.
    pub async fn append(&self, row: Vec<u8>) -> Result<RowPlace, WriteError> {
        let shape = self.shape();
        let length = u32::try_from(row.len())
            .ok()
            .filter(|length| (1..=shape.full_row()).contains(length))
            .ok_or(WriteError::Length { length: row.len() })?;
        // Never closed.
        let permit = Arc::clone(&self.inner.permits).acquire_owned().await;
        let inner = Arc::clone(&self.inner);
        detached(async move {
            let (number, place) = inner.reserve(length)?;
            let in_flight = InFlight { inner: &inner, place };
            let result = inner.write_row(number, place, row).await;
            drop((in_flight, permit));
            result?;
            match inner.degraded() {
                None => Ok(place),
                Some(degraded) => Err(degraded.into()),
            }
        })
        .await?
    }

    /// Returns when every row whose [`GroupWriter::append`] has returned is on stable storage of all
    /// volumes. Callers that come while the volumes are synced share the next round.
    ///
    /// # Errors
    /// [`WriteError::Degraded`] if that cannot be; it says which rows are on enough volumes.
    pub async fn sync(&self) -> Result<(), WriteError> {
        let inner = Arc::clone(&self.inner);
        let target = inner.state().at;
        detached(async move {
            let turn = inner.turn.lock().await;
            if !inner.is_settled(target) {
                inner.sync_all(None).await?;
            }
            drop(turn);
            inner.verdict(target)
        })
        .await?
    }

    /// Ends the group: no more rows, all of them durable, unused room given back. Gives the offset
    /// behind the last row.
    ///
    /// # Errors
    /// As [`GroupWriter::sync`]; the group takes no more rows in any case.
    pub async fn seal(&self) -> Result<u64, WriteError> {
        let inner = Arc::clone(&self.inner);
        detached(async move {
            inner.state().is_sealed = true;
            let turn = inner.turn.lock().await;
            let end = inner.state().at;
            inner.sync_all(Some(end)).await?;
            drop(turn);
            inner.verdict(end).map(|()| end)
        })
        .await?
    }
}

fn check(new: &NewGroup, devices: &[Device]) -> Result<(u8, Io), CreateError> {
    let wanted = new.shape.shards();
    let distinct: HashSet<_> = devices.iter().map(Device::number).collect();
    let unsound = || CreateError::Unsound { wanted: usize::from(wanted), given: distinct.len() };
    let fits = new.shape.row_for(new.extent.saturating_sub(EXTENT_HEADER)) > 0;
    let is_sound = new.shape.is_sound()
        && fits
        && new.extent <= MAX_EXTENT
        && distinct.len() == devices.len()
        && devices.len() == usize::from(wanted);
    let first = devices.first().filter(|_| is_sound).ok_or_else(unsound)?;
    Ok((wanted, first.io()))
}

async fn remove_made(extents: Vec<Arc<Extent>>, io: Io) {
    let removals = extents.into_iter().map(|extent| {
        io.run(move || {
            let header = *extent.header();
            files::remove(extent.device(), header.group, header.shard)
                .and_then(|()| files::sync_folder(extent.device()))
        })
    });
    for removed in join_all(removals).await {
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "cannot remove an extent of a group that was not made");
        }
    }
}

/// Runs to its end also when the caller goes away.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Unfinished> {
    tokio::spawn(work).await.map_err(|_| Unfinished)
}

/// A row that is being written.
struct InFlight<'a> {
    inner: &'a Inner,
    place: RowPlace,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.inner.state().in_flight.remove(&self.place.at);
        self.inner.ended.notify_waiters();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // No change of it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, length: u32) -> Result<(u32, RowPlace), WriteError> {
        if let Some(degraded) = self.degraded() {
            return Err(degraded.into());
        }
        let mut state = self.state();
        if state.is_sealed {
            return Err(WriteError::Sealed);
        }
        let place = RowPlace { at: state.at, length };
        let end = place.at + sealed_length(self.new.shape.payload(length));
        let next = state.row.checked_add(1).filter(|_| end <= self.new.extent);
        let number = state.row;
        state.row = next.ok_or(WriteError::Full)?;
        state.at = end;
        state.in_flight.insert(place.at);
        Ok((number, place))
    }

    async fn write_row(
        &self,
        number: u32,
        place: RowPlace,
        mut row: Vec<u8>,
    ) -> Result<(), WriteError> {
        let Shape { k, m, codec, .. } = self.new.shape;
        let payload = self.new.shape.payload(place.length) as usize;
        row.resize(payload * usize::from(k), 0);
        let row = Bytes::from(row);
        let mut cells: Vec<Bytes> = (0..usize::from(k))
            .map(|cell| row.slice(cell * payload..(cell + 1) * payload))
            .collect();
        let data = cells.clone();
        cells.extend(self.io.run(move || codec.encode(&data, usize::from(m))).await??);
        let writes = self.extents.iter().zip(cells).map(|(extent, cell)| {
            let on = Arc::clone(extent);
            let write = self.io.run(move || on.write_cell(number, place, &cell));
            async move { (extent, write.await) }
        });
        self.note(join_all(writes).await)
    }

    /// Remembers the shards that failed.
    fn note(
        &self,
        results: Vec<(&Arc<Extent>, Result<Result<(), ExtentError>, Unfinished>)>,
    ) -> Result<(), WriteError> {
        let mut unfinished = None;
        for (extent, result) in results {
            match result {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => {
                    let group = self.new.group;
                    let volume = extent.device().number();
                    tracing::warn!(%group, %volume, %error, "a group lost a shard");
                }
                Err(error) => unfinished = Some(error),
            }
            let shard = extent.header().shard;
            self.state().lost.insert(LostShard { shard, volume: extent.device().number() });
        }
        unfinished.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether another sync brings nothing for rows before this offset.
    fn is_settled(&self, target: u64) -> bool {
        let state = self.state();
        state.whole >= target || (!state.lost.is_empty() && state.reduced >= target)
    }

    /// Syncs the extents that are not lost, and cuts them off at `end`. Rows that were begun before
    /// are waited for, so that behind a row that is not durable none is that counts.
    async fn sync_all(&self, end: Option<u64>) -> Result<(), WriteError> {
        let target = self.state().at;
        loop {
            let ended = self.ended.notified();
            if self.state().in_flight.first().is_none_or(|first| *first >= target) {
                break;
            }
            ended.await;
        }
        let lost: BTreeSet<u8> = self.state().lost.iter().map(|lost| lost.shard).collect();
        let left = self.extents.iter().filter(|extent| !lost.contains(&extent.header().shard));
        let syncs = left.map(|extent| {
            let on = Arc::clone(extent);
            let sync = self.io.run(move || match end {
                Some(end) => on.truncate(end),
                None => on.sync(),
            });
            async move { (extent, sync.await) }
        });
        self.note(join_all(syncs).await)?;
        let mut state = self.state();
        let good = self.extents.len() - state.lost.len();
        if state.lost.is_empty() {
            state.whole = state.whole.max(target);
        }
        if good >= usize::from(self.new.shape.k) {
            state.reduced = state.reduced.max(target);
        }
        Ok(())
    }

    fn verdict(&self, target: u64) -> Result<(), WriteError> {
        let is_whole = self.state().whole >= target;
        match self.degraded().filter(|_| !is_whole) {
            None => Ok(()),
            Some(degraded) => Err(degraded.into()),
        }
    }

    fn degraded(&self) -> Option<Degraded> {
        let state = self.state();
        (!state.lost.is_empty()).then(|| Degraded {
            group: self.new.group,
            lost: state.lost.iter().copied().collect(),
            whole: state.whole,
            reduced: state.reduced,
        })
    }
}
