//! Reading of what is compressed: the table first, as far as it tells of what is wanted, then the blocks that
//! hold that.

use std::ops::Range;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::core::Core;
use super::error::EngineError;
use super::expand::{Expander, Layout, NotCompressed, Wanted};
use super::read::{Piece, Source};
use crate::error::{BodyError, StoreError};

/// What is stored in so many bytes at most is read whole: that costs less than to wait for the table first.
const WHOLE: u64 = 128 << 10;

/// Ranges up to this many bytes are expanded where they are read: handing them to another thread costs about
/// as much.
const AT_HAND: u64 = 16 << 10;

fn damaged(error: NotCompressed) -> StoreError {
    StoreError::engine("read compressed content", error)
}

impl Core {
    /// A range of what is compressed, in memory.
    pub(super) async fn read_expanded(
        &self,
        source: &Source,
        layout: Layout,
        range: &Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let (wanted, whole) = self.wanted(source, layout, range).await?;
        let stored = match whole {
            Some(whole) => whole,
            None => self.read_stored(source, &wanted.stored).await?,
        };
        let mut expander = Expander::new(wanted);
        expander.push(stored);
        let mut expand = move || {
            let mut all = Vec::new();
            while expander.is_ready() {
                all.append(&mut expander.expand()?);
            }
            match (all.as_slice(), expander.is_done()) {
                ([only], true) => Ok(only.clone()),
                (_, true) => Ok(all.concat().into()),
                (_, false) => Err(layout.damaged()),
            }
        };
        let expanded = match range.end - range.start <= AT_HAND {
            true => expand(),
            false => self.io.run(expand).await.map_err(unfinished)?,
        };
        expanded.map_err(damaged)
    }

    /// Sends a piece on that is compressed; ends early where nobody takes it any more.
    pub(super) async fn send_expanded(
        &self,
        piece: &Piece,
        sender: &mpsc::Sender<Result<Bytes, BodyError>>,
    ) -> Result<(), StoreError> {
        let (Some(layout), Source::Runs(runs)) = (piece.layout, &piece.source) else {
            let bytes = self.read_piece(piece, &piece.range).await?;
            // The client may be gone.
            let _ = sender.send(Ok(bytes)).await;
            return Ok(());
        };
        let (wanted, whole) = self.wanted(&piece.source, layout, &piece.range).await?;
        let stored = wanted.stored.clone();
        let mut expander = Expander::new(wanted);
        // What came along is all of it.
        let runs = match whole {
            Some(whole) => {
                expander.push(whole);
                match self.send_ready(expander, sender).await? {
                    Some(same) => expander = same,
                    None => return Ok(()),
                }
                Vec::new()
            }
            None => self.runs(runs, &stored).await?,
        };
        for (reader, run) in runs {
            let failed = |source| StoreError::engine("read a group", EngineError::Read(source));
            let mut blocks = reader.stream(&run).map_err(failed)?;
            while let Some(block) = blocks.next().await {
                expander.push(block.map_err(failed)?);
                match self.send_ready(expander, sender).await? {
                    Some(same) => expander = same,
                    None => return Ok(()),
                }
            }
        }
        if expander.is_done() { Ok(()) } else { Err(damaged(layout.damaged())) }
    }

    /// Sends on what can be expanded by now; none when nobody takes it any more.
    async fn send_ready(
        &self,
        mut expander: Expander,
        sender: &mpsc::Sender<Result<Bytes, BodyError>>,
    ) -> Result<Option<Expander>, StoreError> {
        while expander.is_ready() {
            let expand = move || {
                let plain = expander.expand();
                (expander, plain)
            };
            let plain;
            (expander, plain) = self.io.run(expand).await.map_err(unfinished)?;
            for bytes in plain.map_err(damaged)? {
                if sender.send(Ok(bytes)).await.is_err() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(expander))
    }

    /// What holds a range; with its stored bytes, if they came along.
    async fn wanted(
        &self,
        source: &Source,
        layout: Layout,
        range: &Range<u64>,
    ) -> Result<(Wanted, Option<Bytes>), StoreError> {
        let table = layout.table(range).map_err(damaged)?;
        if layout.stored > WHOLE {
            let table = self.read_stored(source, &table).await?;
            return Ok((layout.wanted(range, &table).map_err(damaged)?, None));
        }
        let all = self.read_stored(source, &(0..layout.stored)).await?;
        let cut = |range: &Range<u64>| {
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            (range.end <= all.len()).then(|| all.slice(range))
        };
        let table = cut(&table).ok_or(damaged(layout.damaged()))?;
        let wanted = layout.wanted(range, &table).map_err(damaged)?;
        let stored = cut(&wanted.stored).ok_or(damaged(layout.damaged()))?;
        Ok((wanted, Some(stored)))
    }
}

fn unfinished(error: agent_object_store_pool::io::Unfinished) -> StoreError {
    StoreError::engine("read compressed content", error)
}
