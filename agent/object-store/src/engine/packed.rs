//! Rows of packed groups: `docs/design/on-disk-format.md`, "Groups".
//!
//! ```text
//! row      length of the table u32 | table | contents of the records, in their order
//! table    items u32 | items, each in the form of `postcard` 1
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry::{BucketUsage, Departed, PackedSpot};
use super::record::{BucketNo, Change, Content, NotARecord};
use super::traffic::Requests;

/// Length of a number that counts or measures, in bytes.
const NUMBER: usize = 4;

/// What stands before the items.
const HEAD: usize = 2 * NUMBER;

/// One line of a table. Later releases add variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// A record that stood in the journal.
    Record { lsn: u64, change: Box<Change> },
    /// These records of packed groups count no more.
    Kills(Vec<PackedSpot>),
    /// Records of the journal up to this LSN count no more.
    Upto(u64),
    /// What a bucket held and what was used of it; of several, that which counted most.
    Usage(Box<UsageLine>),
}

/// The usage of a bucket as it was when a row was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageLine {
    pub bucket: BucketNo,
    pub usage: BucketUsage,
    /// Name and owner, if the bucket is deleted.
    pub departed: Option<Departed>,
}

impl UsageLine {
    /// Which of two lines of a bucket is the later one: nothing in it goes down.
    pub(crate) fn age(&self) -> (bool, u64, u64, u128) {
        let BucketUsage { requests, counted, session, byte_millis, .. } = &self.usage;
        let Requests { reads, writes, deletes, bytes_in, bytes_out } = *requests;
        let all = [session.number, reads, writes, deletes, bytes_in, bytes_out];
        let all = all.into_iter().fold(0, u64::saturating_add);
        (self.departed.is_some(), counted.high, all, *byte_millis)
    }
}

impl Item {
    /// Bytes of content that belong to it.
    pub(crate) fn content(&self) -> usize {
        self.of_record().map_or(0, |content| content.inline() as usize)
    }

    fn compressed(&self) -> Option<u32> {
        self.of_record().and_then(Content::compressed_inline)
    }

    fn of_record(&self) -> Option<&Content> {
        let Self::Record { change, .. } = self else { return None };
        change.content()
    }
}

/// Where an item stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ItemAt {
    /// Bytes of the row before its content.
    pub skip: u32,
    /// Bytes of its line and its content.
    pub weight: u32,
    /// Bytes of its content, if that is compressed.
    pub compressed: Option<u32>,
}

/// A row that is being put together.
#[derive(Debug, Default)]
pub(crate) struct RowBuilder {
    items: Vec<u8>,
    contents: Vec<u8>,
    /// By number: bytes of its line, of the contents before its own, and of its own if it is compressed.
    lines: Vec<(usize, usize, Option<u32>)>,
}

impl RowBuilder {
    /// Bytes of the row as it is.
    pub(crate) fn len(&self) -> usize {
        HEAD + self.items.len() + self.contents.len()
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds an item if the row does not get longer than `limit` by it; says whether it did.
    ///
    /// # Errors
    /// The item cannot be written down.
    pub(crate) fn push(
        &mut self,
        item: &Item,
        content: &[u8],
        limit: usize,
    ) -> Result<bool, NotARecord> {
        let line = postcard::to_allocvec(item).map_err(|_| NotARecord)?;
        if self.len() + line.len() + content.len() > limit {
            return Ok(false);
        }
        self.lines.push((line.len(), self.contents.len(), item.compressed()));
        self.items.extend_from_slice(&line);
        self.contents.extend_from_slice(content);
        Ok(true)
    }

    /// The row's bytes, and where its items stand.
    ///
    /// # Errors
    /// It is longer than 4 GiB.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, Vec<ItemAt>), NotARecord> {
        let small = |number: usize| u32::try_from(number).map_err(|_| NotARecord);
        let table = small(NUMBER + self.items.len())?;
        let start = HEAD + self.items.len();
        let ends = self.lines.iter().skip(1).map(|(_, at, _)| *at).chain([self.contents.len()]);
        let place = |((line, at, compressed), end): (&(usize, usize, Option<u32>), usize)| {
            let (skip, weight) = (small(start + at)?, small(line + end - at)?);
            Ok(ItemAt { skip, weight, compressed: *compressed })
        };
        let places = self.lines.iter().zip(ends).map(place).collect::<Result<_, NotARecord>>()?;
        let mut row = Vec::with_capacity(start + self.contents.len());
        row.extend_from_slice(&table.to_le_bytes());
        row.extend_from_slice(&small(self.lines.len())?.to_le_bytes());
        row.extend_from_slice(&self.items);
        row.extend_from_slice(&self.contents);
        Ok((row, places))
    }
}

/// Bytes of a row up to the end of its table, from its first bytes.
///
/// # Errors
/// They are not the start of a row.
pub(crate) fn table_end(start: &[u8]) -> Result<usize, NotARecord> {
    let length = start.first_chunk::<NUMBER>().ok_or(NotARecord)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NotARecord)?;
    length.checked_add(NUMBER).ok_or(NotARecord)
}

/// The items of a row, each with where its content stands, from the row's bytes up to the end of its
/// table, or more of them.
///
/// # Errors
/// The bytes are no table.
pub(crate) fn items(row: &[u8]) -> Result<Vec<(Item, ItemAt)>, NotARecord> {
    let end = table_end(row)?;
    let table = row.get(NUMBER..end).ok_or(NotARecord)?;
    let (count, mut rest) = table.split_first_chunk::<NUMBER>().ok_or(NotARecord)?;
    let mut skip = end;
    let mut found = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (item, left) = postcard::take_from_bytes::<Item>(rest).map_err(|_| NotARecord)?;
        let (line, content) = (rest.len() - left.len(), item.content());
        let small = |number: usize| u32::try_from(number).map_err(|_| NotARecord);
        let (at, weight, compressed) = (small(skip)?, small(line + content)?, item.compressed());
        found.push((item, ItemAt { skip: at, weight, compressed }));
        skip = skip.checked_add(content).ok_or(NotARecord)?;
        rest = left;
    }
    if rest.is_empty() { Ok(found) } else { Err(NotARecord) }
}

/// The content of an item of a whole row.
///
/// # Errors
/// The row is too short.
pub(crate) fn content_of(row: &Bytes, item: &Item, at: ItemAt) -> Result<Bytes, NotARecord> {
    let from = at.skip as usize;
    let end = from.checked_add(item.content()).filter(|end| *end <= row.len());
    end.map(|end| row.slice(from..end)).ok_or(NotARecord)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ETag, ObjectKey, UnixMillis, VersionId};
    use agent_object_store_pool::group::run::GroupId;
    use proptest::prelude::*;

    fn part(number: u16, length: usize) -> Item {
        let part = crate::engine::stored::StoredPart {
            number,
            version: VersionId::at(UnixMillis(7)),
            etag: ETag::new("e").unwrap(),
            size: length as u64,
            modified: UnixMillis(7),
            checksums: Default::default(),
            root: [1; 32],
        };
        let upload = crate::names::UploadId::from_random([3; 16]);
        let key = ObjectKey::new("k").unwrap();
        let content = Content::Inline(u32::try_from(length).unwrap());
        let change = Change::PutPart { bucket: BucketNo(1), key, upload, part, content };
        Item::Record { lsn: 9, change: Box::new(change) }
    }

    fn delete() -> Item {
        let key = ObjectKey::new("k").unwrap();
        let change = Change::Delete { bucket: BucketNo(1), key, version: VersionId::ZERO };
        Item::Record { lsn: 10, change: Box::new(change) }
    }

    #[test]
    fn items_and_their_contents_come_back() {
        let spot = PackedSpot { group: GroupId(5), row: 4096, number: 3 };
        let all = [part(1, 3), Item::Kills(vec![spot; 4]), part(2, 0), part(3, 5), delete()];
        let contents: [&[u8]; 5] = [b"abc", b"", b"", b"hello", b""];
        let mut builder = RowBuilder::default();
        for (item, content) in all.iter().zip(contents) {
            assert!(builder.push(item, content, 4096).unwrap());
        }
        assert!(!builder.push(&part(9, 5000), &[0; 5000], 4096).unwrap());
        let length = builder.len();
        let (row, places) = builder.finish().unwrap();
        assert_eq!(row.len(), length);
        let table = items(&row[..table_end(&row).unwrap()]).unwrap();
        assert_eq!(table.iter().map(|(item, _)| item.clone()).collect::<Vec<_>>(), all);
        assert_eq!(table.iter().map(|(_, at)| *at).collect::<Vec<_>>(), places);
        assert_eq!(places.iter().map(|at| at.weight as usize).sum::<usize>() + HEAD, row.len());
        let row = Bytes::from(row);
        for ((item, at), content) in table.iter().zip(contents) {
            assert_eq!(content_of(&row, item, *at).unwrap(), content);
        }
        assert_eq!(content_of(&row.slice(..row.len() - 1), &all[3], places[3]), Err(NotARecord));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = items(&bytes);
        }

        #[test]
        fn a_row_that_is_cut_is_none(cut in 0_usize..40) {
            let mut builder = RowBuilder::default();
            builder.push(&delete(), b"", 4096).unwrap();
            let (row, _) = builder.finish().unwrap();
            let end = table_end(&row).unwrap();
            prop_assert!(items(&row[..cut.min(end - 1)]).is_err());
        }
    }
}
