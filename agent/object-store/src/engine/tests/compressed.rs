//! What can be compressed: read, moved, proven and found again as anything else.

use super::proofs::{check, put_in_parts};
use super::*;
use crate::engine::bulk::Rows;
use crate::engine::compress::BLOCK;
use crate::engine::entry::{Place, RecordAt};
use crate::engine::error::EngineError;
use crate::engine::packed::{Item, RowBuilder};
use crate::engine::record::{Change, Content};
use crate::engine::stored::{StoredAttributes, StoredChecksums, StoredObject};
use crate::engine::tree::TreeHasher;
use crate::names::ETag;
use crate::store::CopyTarget;

/// Bytes of which half is room.
fn letters(seed: u64, length: usize) -> Vec<u8> {
    mixed(3 * seed + 1, length)
}

/// Around every border: of what is tried, of blocks, of what is inline, of rows.
const SIZES: [usize; 9] = [
    100,
    5000,
    BLOCK,
    BLOCK + 1,
    256 << 10,
    (256 << 10) + 1,
    (1 << 20) + BLOCK,
    2 << 20,
    (5 << 20) + 77,
];

type Contents = Vec<(String, Vec<u8>)>;

/// Reads everything whole, in ranges, and proves it.
async fn all_is_there(core: &Arc<Core>, contents: &Contents, what: &str) {
    for (seed, (name, bytes)) in (0..).zip(contents) {
        let found =
            read(core, name).await.unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
        assert!(found.as_ref() == Some(bytes), "{what}: {name}");
        let (last, mut dice) = (bytes.len() as u64 - 1, Dice(seed));
        let mut ranges = vec![(0, 0), (last, last), (65_535, 65_536), (65_536, 131_071)];
        ranges
            .extend((0..6).map(|_| (dice.roll(last + 1), last.min(dice.roll(last + 1) + 70_000))));
        for (from, to) in ranges.into_iter().filter(|(from, to)| from <= to && *from <= last) {
            let part = read_range(core, name, ReadRange::Between(from, to)).await.unwrap();
            let place = usize::try_from(from).unwrap()..usize::try_from(to.min(last) + 1).unwrap();
            assert!(part.as_deref() == Some(&bytes[place]), "{what}: {name}: {from} to {to}");
        }
        check(core, name, bytes, seed).await;
    }
}

/// Bytes in groups that something needs.
fn live(core: &Core) -> u64 {
    core.known_groups().unwrap().iter().map(|(_, entry)| entry.live).sum()
}

fn object_entry(core: &Core, name: &str) -> (Place, RecordAt) {
    let number = core.bucket_entry(&bucket()).unwrap().number;
    let entry = core.object_entry(number, &key(name)).unwrap().unwrap();
    (entry.place, entry.record)
}

/// Whether the bytes of an object are stored compressed.
fn is_compressed(core: &Core, name: &str) -> bool {
    match object_entry(core, name) {
        (Place::Groups(groups), _) => groups.compressed.is_some(),
        (Place::Record, RecordAt::Packed(packed)) => packed.compressed.is_some(),
        _ => false,
    }
}

#[test]
fn what_can_be_compressed_takes_less_room_and_is_read_as_ever() {
    for volumes in [1, 2, 4, 6] {
        let mut machine = Machine::new(volumes);
        let mut contents = Contents::new();
        run(async {
            let (core, _) = machine.open().await.unwrap();
            make_bucket(&core).await.unwrap();
            for (seed, size) in (0..).zip(SIZES) {
                contents.push((format!("letters-{size}"), letters(seed, size)));
                contents.push((format!("mixed-{size}"), mixed(3 * seed + 2, size)));
            }
            for (name, bytes) in &contents {
                put(&core, name, bytes.clone()).await.unwrap();
            }
            let bodies = (20..).zip([300 << 10, 70_000, 10, 2 << 20]);
            let bodies = bodies.map(|(seed, size)| letters(seed, size)).collect();
            let whole = put_in_parts(&core, "parts", bodies).await;
            contents.push(("parts".to_owned(), whole.clone()));
            let source = GetRequest::new(bucket(), key("parts"));
            let target = CopyTarget {
                bucket: bucket(),
                key: key("copy"),
                attributes: None,
                keep: Vec::new(),
                conditions: WriteConditions::default(),
                limit: u64::MAX,
            };
            Arc::clone(&core).copy(&source, target).await.unwrap();
            contents.push(("copy".to_owned(), whole));
            all_is_there(&core, &contents, "as it was put").await;
            pack(&core).await.unwrap();
            all_is_there(&core, &contents, "packed").await;
            for size in SIZES.into_iter().filter(|size| *size > 100) {
                assert!(is_compressed(&core, &format!("letters-{size}")), "{size}");
            }
            let plain: usize = contents.iter().map(|(_, bytes)| bytes.len()).sum();
            let stored = usize::try_from(live(&core)).unwrap();
            assert!(stored < plain * 7 / 10, "{stored} bytes are stored of {plain}");
            let totals = core.bucket_totals().await.unwrap();
            assert_eq!(totals.iter().map(|bucket| bucket.bytes).sum::<u64>(), plain as u64);
        });
        for (round, cut) in [Cut::Lost, Cut::Kept, Cut::Lost].into_iter().enumerate() {
            machine = machine.cut(cut);
            if round > 0 {
                machine.index = Arc::new(MemoryIndex::default());
            }
            run(async {
                let (core, _) = machine.open().await.unwrap();
                let what = format!("{volumes} volumes, start {round}");
                all_is_there(&core, &contents, &what).await;
                // Of most groups most goes, so that the rest is moved.
                contents.retain(|(name, _)| round > 0 || !name.contains("mixed"));
                for (seed, size) in (0..).zip(SIZES) {
                    delete(&core, &format!("mixed-{size}")).await.unwrap();
                    let name = format!("letters-{size}");
                    if seed % 2 == round {
                        delete(&core, &name).await.unwrap();
                        contents.retain(|(other, _)| *other != name);
                    }
                }
                for _ in 0..2 {
                    pack(&core).await.unwrap();
                }
                all_is_there(&core, &contents, &format!("{what}, cleaned")).await;
            });
        }
    }
}

#[test]
fn compressed_groups_are_healed_and_read_without_lost_volumes() {
    let mut machine = Machine::new(6);
    let contents: Contents =
        (0..).zip(SIZES).map(|(seed, size)| (format!("{size}"), letters(seed, size))).collect();
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        for (name, bytes) in &contents {
            put(&core, name, bytes.clone()).await.unwrap();
        }
        pack(&core).await.unwrap();
        machine.disk.pull("/v1");
        machine.disk.pull("/v4");
        all_is_there(&core, &contents, "two are gone").await;
    });
    machine.disk.plug("/v1");
    machine.disk.plug("/v4");
    machine = machine.cut(Cut::Lost);
    let mut dice = Dice(3);
    for file in machine.disk.files("/v2/icn-pool/extents") {
        let length = machine.disk.content(&file).len() as u64;
        for _ in 0..50 {
            machine.disk.flip_bit(&file, usize::try_from(dice.roll(length)).unwrap());
        }
    }
    run(async {
        let (core, _) = machine.open().await.unwrap();
        for group in core.groups.all() {
            core.scrub_group(group, async || ()).await.unwrap();
        }
        while core.heal_one(true, async || ()).await.unwrap() {}
        machine.disk.pull("/v0");
        machine.disk.pull("/v5");
        all_is_there(&core, &contents, "healed, and two are gone").await;
    });
}

#[test]
fn a_range_reads_its_blocks_and_the_table() {
    run(async {
        let machine = Machine { extent: 64 << 20, ..Machine::new(4) };
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let bytes = letters(1, 30 << 20);
        put(&core, "large", bytes.clone()).await.unwrap();
        put(&core, "small", bytes[..256 << 10].to_vec()).await.unwrap();
        pack(&core).await.unwrap();
        for (name, from) in [("large", 0), ("large", 20 << 20), ("small", 0), ("small", 200 << 10)]
        {
            let before = machine.disk.read_bytes();
            let range = ReadRange::Between(from, from + 99);
            let found = read_range(&core, name, range).await.unwrap().unwrap();
            let from = usize::try_from(from).unwrap();
            assert!(found == bytes[from..from + 100]);
            let read = machine.disk.read_bytes() - before;
            // The table is in one block or two, what is wanted in one or two.
            assert!(read <= 4 * (64 << 10) + 1000, "{name}: {from}: {read} bytes");
        }
    });
}

fn object(core: &Core, bytes: &[u8]) -> StoredObject {
    let modified = UnixMillis(2_000_000);
    StoredObject {
        version: core.next_version(modified),
        etag: ETag::new("e").unwrap(),
        size: bytes.len() as u64,
        modified,
        attributes: StoredAttributes::default(),
        checksums: StoredChecksums::default(),
        parts: None,
        root: *blake3::hash(bytes).as_bytes(),
    }
}

#[test]
fn what_was_stored_before_there_was_compression_is_read() {
    let mut machine = Machine::new(4);
    let (large, small) = (letters(1, 3 << 20), letters(2, 200 << 10));
    let contents: Contents =
        vec![("large".to_owned(), large.clone()), ("small".to_owned(), small.clone())];
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let bucket = core.bucket_entry(&bucket()).unwrap().number;
        let mut rows = Rows::new(&core.bulk);
        let full = core.bulk.row_bytes().unwrap();
        let mut tree = TreeHasher::new();
        tree.update(&large);
        for row in large.chunks(full) {
            rows.write(Bytes::copy_from_slice(row)).await.unwrap();
        }
        rows.write(tree.finish().leaves.concat().into()).await.unwrap();
        let (runs, _hold) = rows.sync().await.unwrap();
        let (object_of, content) = (object(&core, &large), Content::Runs(runs));
        let put = Change::Put { bucket, key: key("large"), object: object_of, content };
        core.commit(put, &[]).await.unwrap();
        let content = Content::Inline(u32::try_from(small.len()).unwrap());
        let put = Change::Put { bucket, key: key("small"), object: object(&core, &small), content };
        let mut row = RowBuilder::default();
        let item = Item::Record { lsn: 1, change: Box::new(put) };
        assert!(row.push(&item, &small, 1 << 20).unwrap());
        core.packed.put_row(row.finish().unwrap().0.into()).await.unwrap();
    });
    for round in 0..3 {
        machine = machine.cut(Cut::Lost);
        if round == 0 {
            // What was packed is known from its row alone.
            machine.index = Arc::new(MemoryIndex::default());
        }
        run(async {
            let (core, _) = machine.open().await.unwrap();
            all_is_there(&core, &contents, &format!("start {round}")).await;
            let (victims, _) = core.victims().unwrap();
            let all: Vec<_> = core.known_groups().unwrap().into_iter().map(|(id, _)| id).collect();
            // Cleaned or not, it stays as it is.
            core.pack(if round == 1 { &all } else { &victims }).await.unwrap();
            all_is_there(&core, &contents, &format!("packed {round}")).await;
            assert!(!is_compressed(&core, "large") && !is_compressed(&core, "small"));
        });
    }
}

#[test]
fn compressed_bytes_that_are_wrong_are_an_error() {
    run(async {
        let (core, _) = Machine::new(2).open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let number = core.bucket_entry(&bucket()).unwrap().number;
        // As if they had been written so, and sealed.
        let plain = letters(1, 3 * BLOCK);
        for (name, length) in [("one", 5000), ("three", plain.len())] {
            let inline = content(7, 2000);
            let stored = Content::CompressedInline(2000);
            let object = object(&core, &plain[..length]);
            let put = Change::Put { bucket: number, key: key(name), object, content: stored };
            core.commit(put, &inline).await.unwrap();
            // None is compressed in the journal.
            let error = read_range(&core, name, ReadRange::Between(0, 99)).await.unwrap_err();
            assert!(matches!(error, StoreError::Engine { source: EngineError::Record(_), .. }));
        }
        pack(&core).await.unwrap();
        for name in ["one", "three"] {
            for range in [ReadRange::All, ReadRange::Between(10, 20)] {
                let error = read_range(&core, name, range).await.unwrap_err();
                let StoreError::Engine { source: EngineError::Compressed(error), .. } = error
                else {
                    panic!("{error}");
                };
                assert!(error.to_string().contains("written anew"), "{error}");
            }
        }
    });
}
