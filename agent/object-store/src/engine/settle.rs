//! What an end without warning leaves of groups is put in order when the store is opened.

use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::reader::GroupReader;
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::group::walk::Walk;

use super::apply::get;
use super::bulk::written_bytes;
use super::core::{Core, index_error};
use super::entry::{GroupEntry, PackedSpot, RecordAt, encode};
use super::error::EngineError;
use super::index::{Batch, Index, IndexError};
use super::keys;
use super::packed::{Item, ItemAt};
use super::rebuild::read_table;
use super::records;
use crate::error::StoreError;

impl Core {
    /// Removes groups that the index does not know, and looks through those that were being filled.
    ///
    /// # Errors
    /// The index failed, or the process is ending.
    pub(super) async fn settle_groups(&self) -> Result<(), StoreError> {
        let mut leftovers = Vec::new();
        for group in self.groups.all() {
            if self.index.get(&keys::group(group)).map_err(index_error)?.is_none() {
                leftovers.push(group);
            }
        }
        if !leftovers.is_empty() {
            tracing::info!(groups = leftovers.len(), "removing groups that nothing is in");
            self.remove_groups(&leftovers).await;
        }
        let filling = [self.bulk.filling(), self.packed.filling()].concat();
        for (group, entry) in self.known_groups()? {
            if entry.written.is_none()
                && !filling.contains(&group)
                && let Some(reader) = self.groups.reader(group).await
            {
                self.settle_group(&reader).await?;
            }
        }
        Ok(())
    }

    /// As [`Core::settle_groups`] for one group whose end failed while the store is open.
    ///
    /// # Errors
    /// The index failed, or the process is ending.
    pub(super) async fn settle_ended(&self, group: GroupId) -> Result<(), StoreError> {
        // Rows that packing has not told of yet would be taken for torn ones.
        let _turn = self.packing.lock().await;
        let in_use = [self.bulk.in_use(), self.packed.in_use()].concat();
        if in_use.contains(&group) || self.groups.is_open(group) {
            return Ok(());
        }
        match self.groups.reader(group).await {
            Some(reader) => self.settle_group(&reader).await,
            None => Ok(()),
        }
    }

    /// A group that is not filled any more: what stands in it that the index does not know is killed,
    /// and room that was taken for more is given back.
    async fn settle_group(&self, reader: &GroupReader) -> Result<(), StoreError> {
        let group = reader.group();
        self.sync_group(group).await;
        let mut walk = Walk::of(reader);
        let failed = |source| StoreError::engine("look through a group", EngineError::Read(source));
        while let Some(row) = walk.next().await.map_err(failed)? {
            if reader.kind() == Kind::Packed {
                match read_table(reader, Run::row(group, row.place)).await {
                    Ok(items) => self.kill_unknown(group, row.place.at, items)?,
                    // Torn: nothing of it was ever told.
                    Err(error) => {
                        tracing::debug!(%group, at = row.place.at, %error, "a row cannot be read");
                    }
                }
            }
        }
        let end = walk.end();
        if let Err(error) = self.groups.trim(group, end).await {
            tracing::warn!(%group, %error, "a group is not cut off");
        }
        let written = written_bytes(reader.shape(), end);
        let settled = |index: &dyn Index| {
            let mut batch = Batch::default();
            if let Some(entry) = get::<GroupEntry>(index, &keys::group(group))? {
                let entry = GroupEntry { written: Some(written), ..entry };
                batch.put(keys::group(group), encode(&entry)?);
            }
            Ok(batch)
        };
        self.publisher.publish(settled).map_err(index_error)
    }

    /// What is read of a group is to be there after a power cut, too. A volume that fails is fenced, and
    /// counts for nothing that is written from then on.
    pub(super) async fn sync_group(&self, group: GroupId) {
        if let Err(error) = self.groups.sync(group).await {
            tracing::warn!(%group, %error, "a group is not synced");
        }
    }

    fn kill_unknown(
        &self,
        group: GroupId,
        row: u64,
        items: Vec<(Item, ItemAt)>,
    ) -> Result<(), StoreError> {
        let kills = |index: &dyn Index| {
            let mut batch = Batch::default();
            for (number, (item, _)) in (0_u32..).zip(items) {
                let spot = PackedSpot { group, row, number };
                if is_unknown(index, &item, spot)? {
                    batch.put(keys::fresh_kill(spot), Vec::new());
                }
            }
            Ok(batch)
        };
        self.publisher.publish(kills).map_err(index_error)
    }
}

/// Whether an item is a record that no entry stands behind, and that is not killed yet.
fn is_unknown(index: &dyn Index, item: &Item, spot: PackedSpot) -> Result<bool, IndexError> {
    let Item::Record { change, .. } = item else { return Ok(false) };
    let Some(name) = records::name(change) else { return Ok(false) };
    let is_present = match index.get(&name)? {
        Some(value) => {
            let record = records::record_at(&name, &value)?;
            matches!(record, RecordAt::Packed(packed) if packed.spot == spot)
        }
        None => false,
    };
    Ok(!is_present && index.get(&keys::kill(spot))?.is_none())
}
