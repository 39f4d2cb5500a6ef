//! A group while it is filled: what is reserved, written, durable and lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};

use super::error::{Degraded, ExtentError, LostShard, WriteError};
use super::extent::Extent;
use super::geometry::{EXTENT_HEADER, RowPlace, Shape, sealed_length};
use super::writer::NewGroup;
use crate::buffer::Buffer;
use crate::device::{ANSWER_MAX, LONG_MAX};
use crate::io::{Io, Unfinished};

/// Rows being written at once; enough that parity is computed while the disks write. Each takes about
/// three times its content in memory.
const IN_FLIGHT: usize = 4;

#[derive(Debug)]
pub(super) struct Filling {
    pub(super) new: NewGroup,
    /// By shard.
    pub(super) extents: Vec<Arc<Extent>>,
    io: Io,
    state: Mutex<State>,
    /// A row ended.
    ended: Notify,
    /// Held while a row waits for its place.
    pub(super) queue: AsyncMutex<()>,
    pub(super) permits: Arc<Semaphore>,
    /// Held while extents are synced.
    pub(super) turn: AsyncMutex<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Where the next row goes.
    pub(super) at: u64,
    /// Its number.
    row: u32,
    pub(super) is_sealed: bool,
    in_flight: BTreeSet<u64>,
    lost: BTreeSet<LostShard>,
    /// As in [`Degraded`].
    whole: u64,
    /// As in [`Degraded`].
    reduced: u64,
}

/// Tells whether a group is being filled, without keeping it open.
#[derive(Debug, Default)]
pub(crate) struct Watch(Weak<Filling>);

impl Watch {
    pub(super) fn new(filling: &Arc<Filling>) -> Self {
        Self(Arc::downgrade(filling))
    }

    /// Whether rows may still be appended or are being written.
    pub(crate) fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|inner| {
            let state = inner.state();
            !state.is_closed() || !state.in_flight.is_empty()
        })
    }
}

impl State {
    pub(super) fn is_closed(&self) -> bool {
        self.is_sealed || !self.lost.is_empty()
    }
}

/// What became of a change of an extent.
type Outcome = Result<(), ExtentError>;

/// A row that is being written.
struct InFlight<'a> {
    inner: &'a Filling,
    place: RowPlace,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.inner.state().in_flight.remove(&self.place.at);
        self.inner.ended.notify_waiters();
    }
}

impl Filling {
    pub(super) fn new(new: NewGroup, extents: Vec<Arc<Extent>>, io: Io) -> Self {
        let state = State {
            at: EXTENT_HEADER,
            whole: EXTENT_HEADER,
            reduced: EXTENT_HEADER,
            ..State::default()
        };
        Self {
            new,
            extents,
            io,
            state: Mutex::new(state),
            ended: Notify::new(),
            queue: AsyncMutex::new(()),
            permits: Arc::new(Semaphore::new(IN_FLIGHT)),
            turn: AsyncMutex::new(()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No change of it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a number and a place for a row; [`Filling::write_row`] is to follow.
    pub(super) fn reserve(&self, length: u32) -> Result<(u32, RowPlace), WriteError> {
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

    pub(super) async fn write_row(
        &self,
        number: u32,
        place: RowPlace,
        row: Bytes,
    ) -> Result<(), WriteError> {
        let _in_flight = InFlight { inner: self, place };
        let Shape { k, m, codec, .. } = self.new.shape;
        let payload = self.new.shape.payload(place.length) as usize;
        let mut cells = data_cells(row, usize::from(k), payload);
        let data = cells.clone();
        cells.extend(self.io.run(move || codec.encode(&data, usize::from(m))).await??);
        let writes = self.extents.iter().zip(cells).map(|(extent, cell)| {
            let on = Arc::clone(extent);
            let write = move || on.write_cell(number, place, &cell);
            let (device, path) = (extent.device(), || extent.path());
            let write = device.run(ANSWER_MAX, "write", path, write);
            async move { (extent, write.await) }
        });
        self.note(join_all(writes).await)
    }

    /// Remembers the shards that failed.
    fn note(
        &self,
        results: Vec<(&Arc<Extent>, Result<Outcome, Unfinished>)>,
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
                // Its fence says why.
                Err(_) if extent.device().is_hung() => {}
                Err(error) => unfinished = Some(error),
            }
            let shard = extent.header().shard;
            self.state().lost.insert(LostShard { shard, volume: extent.device().number() });
        }
        unfinished.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether another sync brings nothing for rows before this offset.
    pub(super) fn is_settled(&self, target: u64) -> bool {
        let state = self.state();
        state.whole >= target || (!state.lost.is_empty() && state.reduced >= target)
    }

    /// Syncs the extents that are not lost, and cuts them off at `end`. Rows that were begun before
    /// are waited for, so that behind a row that is not durable none is that counts.
    pub(super) async fn sync_all(&self, end: Option<u64>) -> Result<(), WriteError> {
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
            async move {
                let (device, path) = (extent.device(), || extent.path());
                let synced = match end {
                    Some(end) => {
                        device.run(LONG_MAX, "cut off", path, move || on.truncate(end)).await
                    }
                    None => Ok(on.sync_soon().await),
                };
                (extent, synced)
            }
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

    pub(super) fn verdict(&self, target: u64) -> Result<(), WriteError> {
        let is_whole = self.state().whole >= target;
        match self.degraded().filter(|_| !is_whole) {
            None => Ok(()),
            Some(degraded) => Err(degraded.into()),
        }
    }

    pub(super) fn degraded(&self) -> Option<Degraded> {
        let state = self.state();
        (!state.lost.is_empty()).then(|| Degraded {
            group: self.new.group,
            lost: state.lost.iter().copied().collect(),
            whole: state.whole,
            reduced: state.reduced,
        })
    }
}

/// The k data cells of a row: parts of it, but for those that its end fills up with zeros.
fn data_cells(mut row: Bytes, k: usize, payload: usize) -> Vec<Bytes> {
    let cell = |_| {
        let cell = row.split_to(payload.min(row.len()));
        if cell.len() == payload {
            return cell;
        }
        let mut padded = Buffer::with_capacity(payload);
        padded.bytes().extend_from_slice(&cell);
        padded.bytes().resize(payload, 0);
        padded.freeze()
    };
    (0..k).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_row_is_copied_and_filled_up() {
        let row = Bytes::from((1..=200).collect::<Vec<u8>>());
        let cells = data_cells(row.clone(), 4, 64);
        assert!(
            cells[..3].iter().zip(0..).all(|(cell, n)| cell.as_ptr() == row[64 * n..].as_ptr())
        );
        assert_eq!((&cells[3][..8], &cells[3][8..]), (&row[192..], &[0; 56][..]));
        let short = data_cells(row.slice(..10), 3, 64);
        assert!(
            short[0].starts_with(&row[..10]) && short[1..].iter().all(|cell| cell[..] == [0; 64])
        );
    }
}
