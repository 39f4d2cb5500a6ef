//! Fills a group.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::error::{CreateError, WriteError};
use super::extent::Extent;
use super::files;
use super::filling::{Filling, Watch};
use super::geometry::{EXTENT_HEADER, MAX_EXTENT, RowPlace, Shape};
use super::header::{ExtentHeader, Kind};
use super::run::GroupId;
use crate::device::{ANSWER_MAX, Device};
use crate::io::{Io, Unfinished};

/// Length of an extent in bytes, if nothing else is asked for: large enough that a group's files are
/// few, small enough that a group is soon rebuilt, and soon emptied when most of it is deleted.
pub const EXTENT: u64 = 256 << 20;

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
    inner: Arc<Filling>,
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
                let (on, path) = (device.clone(), || files::folder(&device));
                let make = move || Extent::create(&on, header, new.extent, false);
                let made = device.run(ANSWER_MAX, "make a file in", path, make).await;
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
            remove_made(extents).await;
            return Err(error);
        }
        Ok(Self { inner: Arc::new(Filling::new(new, extents, io)) })
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
        Watch::new(&self.inner)
    }

    /// Writes a row behind the others. It is not durable before [`GroupWriter::sync`] that is called
    /// when this has returned. Rows stand in the order in which the calls were first polled, also when
    /// several are under way. A row that is begun is written to its end, also when its place is not
    /// waited for.
    ///
    /// Of a row that is no multiple of k × 64 bytes, the last cells are copied; nothing else is.
    ///
    /// # Errors
    /// See [`WriteError`]; after [`WriteError::Degraded`] none will be taken.
    pub async fn append(&self, row: impl Into<Bytes>) -> Result<RowPlace, WriteError> {
        let row = row.into();
        let shape = self.shape();
        let length = u32::try_from(row.len())
            .ok()
            .filter(|length| (1..=shape.full_row()).contains(length))
            .ok_or(WriteError::Length { length: row.len() })?;
        let inner = Arc::clone(&self.inner);
        let (permit, number, place) = {
            // Fair, so that rows stand in the order of the calls.
            let _turn = inner.queue.lock().await;
            // Never closed.
            let permit = Arc::clone(&inner.permits).acquire_owned().await;
            let (number, place) = inner.reserve(length)?;
            (permit, number, place)
        };
        // Nothing was waited for since: a place that is taken is written to.
        detached(async move {
            let result = inner.write_row(number, place, row).await;
            drop(permit);
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

async fn remove_made(extents: Vec<Arc<Extent>>) {
    let removals = extents.iter().map(|extent| {
        let on = Arc::clone(extent);
        let remove = move || {
            let header = *on.header();
            files::remove(on.device(), header.group, header.shard)
                .and_then(|()| files::sync_folder(on.device()))
        };
        extent.device().run(ANSWER_MAX, "remove", || extent.path(), remove)
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
