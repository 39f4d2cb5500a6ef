//! Packing, cleaning, and the index made again.

use std::collections::BTreeMap;

use super::*;
use crate::engine::apply::get;
use crate::engine::entry::{BucketUsage, GroupEntry, decode};
use crate::engine::keys;
use crate::names::{ETag, PartNumber};
use crate::store::{CompleteRequest, UploadRequest, UploadTarget};

type Model = BTreeMap<String, Vec<u8>>;

/// An open upload, and its parts.
type Upload = (UploadTarget, BTreeMap<u16, (ETag, Vec<u8>)>);

/// Work by chance on a store that does not fail.
struct Work {
    dice: Dice,
    model: Model,
    uploads: Vec<Upload>,
    made: u64,
}

impl Work {
    fn new(seed: u64) -> Self {
        Self { dice: Dice(seed), model: Model::new(), uploads: Vec::new(), made: 0 }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let sizes = [0, 10, 3000, 40_000, 200 << 10, 300 << 10, 900 << 10];
        let size = sizes[usize::try_from(self.dice.roll(7)).unwrap()];
        self.made += 1;
        mixed(self.dice.0 ^ self.made, size)
    }

    async fn step(&mut self, core: &Arc<Core>) {
        let name = format!("key-{}", self.dice.roll(10));
        match self.dice.roll(12) {
            0..=4 => {
                let bytes = self.bytes();
                put(core, &name, bytes.clone()).await.unwrap();
                self.model.insert(name, bytes);
            }
            5..=7 => {
                delete(core, &name).await.unwrap();
                self.model.remove(&name);
            }
            8 if self.uploads.len() < 3 => {
                let request = UploadRequest {
                    bucket: bucket(),
                    key: key(&name),
                    owner: Owner::new("ann").unwrap(),
                    attributes: Attributes::default(),
                    note: None,
                };
                let upload = Arc::clone(core).create_upload(request).await.unwrap().upload;
                let target = UploadTarget { bucket: bucket(), key: key(&name), upload };
                self.uploads.push((target, BTreeMap::new()));
            }
            8 | 9 => self.part(core).await,
            10 => self.end_upload(core).await,
            _ => pack(core).await.unwrap(),
        }
    }

    async fn part(&mut self, core: &Arc<Core>) {
        let bytes = self.bytes();
        let number = u16::try_from(self.dice.roll(4)).unwrap() + 1;
        let Some((target, parts)) = self.uploads.last_mut() else { return };
        let part = PartNumber::new(number).unwrap();
        let body = Body::from_bytes(bytes.clone().into());
        let info = Arc::clone(core).put_part(target, part, Vec::new(), body).await.unwrap();
        parts.insert(number, (info.etag, bytes));
    }

    async fn end_upload(&mut self, core: &Arc<Core>) {
        if self.uploads.is_empty() {
            return;
        }
        let (target, mut parts) = self.uploads.remove(0);
        if parts.is_empty() || self.dice.roll(4) == 0 {
            return Arc::clone(core).abort_upload(target).await.unwrap();
        }
        if parts.len() > 1 && self.dice.roll(2) == 0 {
            parts.pop_first();
        }
        let name = target.key.as_str().to_owned();
        let etag = |(number, (etag, _)): (&u16, &(ETag, Vec<u8>))| {
            (PartNumber::new(*number).unwrap(), etag.clone())
        };
        let request = CompleteRequest {
            target,
            parts: parts.iter().map(etag).collect(),
            etag: ETag::new("of-parts-1").unwrap(),
            checksums: crate::checksum::Checksums::default(),
            conditions: WriteConditions::default(),
        };
        Arc::clone(core).complete_upload(request).await.unwrap();
        let whole = parts.into_values().flat_map(|(_, bytes)| bytes).collect();
        self.model.insert(name, whole);
    }

    async fn check(&self, core: &Arc<Core>, what: &str) {
        for number in 0..10 {
            let name = format!("key-{number}");
            let found = read(core, &name).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let expected = self.model.get(&name);
            let size = |bytes: Option<&Vec<u8>>| bytes.map(Vec::len);
            assert!(
                found.as_ref() == expected,
                "{what}: {name} has {:?} bytes, not {:?}",
                size(found.as_ref()),
                size(expected)
            );
        }
        let number = core.bucket_entry(&bucket()).unwrap().number;
        let usage: BucketUsage =
            get(&*core.index, &keys::usage(number)).unwrap().unwrap_or_default();
        let bytes: usize = self.model.values().map(Vec::len).sum();
        assert_eq!(usage.objects, self.model.len() as u64, "{what}");
        assert_eq!(usage.bytes, bytes as u64, "{what}");
        assert_eq!(usage.uploads, self.uploads.len() as u64, "{what}");
        let parts = self.uploads.iter().flat_map(|(_, parts)| parts.values());
        let part_bytes: usize = parts.map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(usage.part_bytes, part_bytes as u64, "{what}");
    }
}

fn without_index(machine: Machine) -> Machine {
    Machine { index: Arc::new(MemoryIndex::default()), ..machine }
}

#[test]
fn packing_and_the_loss_of_the_index_change_nothing() {
    for seed in 0..60 {
        let volumes = [1, 2, 4][usize::try_from(seed % 3).unwrap()];
        let mut machine = Machine::new(volumes);
        let mut work = Work::new(seed);
        run(async {
            let (core, _) = machine.open().await.unwrap();
            make_bucket(&core).await.unwrap();
        });
        for round in 0..4 {
            machine = machine.cut(if round % 2 == 0 { Cut::Kept } else { Cut::Lost });
            if (seed + round) % 2 == 0 {
                machine = without_index(machine);
            }
            let what = format!("{volumes} volumes, seed {seed}, round {round}");
            run(async {
                let (core, _) = machine.open().await.unwrap();
                work.check(&core, &what).await;
                for _ in 0..25 {
                    work.step(&core).await;
                }
                work.check(&core, &what).await;
            });
        }
    }
}

/// Bytes that the groups are said to need, and the groups.
fn groups(core: &Core) -> Vec<GroupEntry> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| match keys::group_id(key) {
        Some(_) => {
            found.push(decode(value).unwrap());
            Next::On
        }
        None => Next::Stop,
    };
    core.index.scan(keys::GROUPS, visit).unwrap();
    found
}

#[test]
fn what_was_deleted_gives_its_room_back() {
    for volumes in [1, 4] {
        let mut machine = Machine::new(volumes);
        run(async {
            let (core, _) = machine.open().await.unwrap();
            make_bucket(&core).await.unwrap();
            for number in 0..40 {
                let size = if number % 2 == 0 { 200 << 10 } else { 700 << 10 };
                put(&core, &format!("key-{number}"), content(number, size)).await.unwrap();
            }
            let packed = core.pack(&[]).await.unwrap();
            assert_eq!(packed.records, 41, "the bucket and the objects");
            assert!(packed.freed > 0 && packed.kept == 0, "{packed:?}");
            let held: usize = core
                .volumes
                .all()
                .iter()
                .map(|volume| volume.journal.segments().iter().filter(|s| s.records > 0).count())
                .sum();
            assert_eq!(held, 0, "all segments are free");
            for number in 0..36 {
                delete(&core, &format!("key-{number}")).await.unwrap();
            }
        });
        machine = machine.cut(Cut::Lost);
        run(async {
            let (core, _) = machine.open().await.unwrap();
            let before: u64 = groups(&core).iter().filter_map(|group| group.written).sum();
            let packed = core.tend(100).await.unwrap();
            assert!(packed.removed > 0, "{packed:?}");
            // One more round for what the first one moved.
            pack(&core).await.unwrap();
            let live: u64 = groups(&core).iter().map(|group| group.live).sum();
            assert!((1_800_000..2_200_000).contains(&live), "{live}");
            let after: u64 = groups(&core).iter().filter_map(|group| group.written).sum();
            assert!(after < before / 2, "{volumes} volumes: {before} bytes, then {after}");
            for number in 36..40 {
                let size = if number % 2 == 0 { 200 << 10 } else { 700 << 10 };
                let found = read(&core, &format!("key-{number}")).await.unwrap();
                assert!(found == Some(content(number, size)));
            }
        });
    }
}

#[test]
fn a_segment_that_rots_before_it_is_packed_costs_nothing_but_its_copy() {
    let mut machine = Machine::new(4);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        for number in 0..60 {
            put(&core, &format!("key-{number}"), content(number, 9000)).await.unwrap();
        }
    });
    machine = machine.cut(Cut::Lost);
    let mut dice = Dice(5);
    for file in machine.disk.files("/v1/icn-pool/journal") {
        let length = machine.disk.content(&file).len() as u64;
        for _ in 0..200 {
            machine.disk.flip_bit(&file, usize::try_from(dice.roll(length)).unwrap());
        }
    }
    for round in 0..2 {
        run(async {
            let (core, _) = machine.open().await.unwrap();
            pack(&core).await.unwrap();
            for number in 0..60 {
                let found = read(&core, &format!("key-{number}")).await.unwrap();
                assert!(found == Some(content(number, 9000)), "{round}: {number}");
            }
        });
        machine = without_index(machine.cut(Cut::Lost));
    }
}

#[test]
fn a_rotten_record_without_another_copy_keeps_its_segment() {
    let mut machine = Machine::new(1);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        for number in 0..20 {
            put(&core, &format!("key-{number}"), content(number, 9000)).await.unwrap();
        }
        core.checkpoint().await.unwrap();
    });
    machine = machine.cut(Cut::Lost);
    let file = machine.disk.files("/v0/icn-pool/journal").into_iter().next().unwrap();
    machine.disk.flip_bit(&file, 25_000);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        let packed = core.pack(&[]).await.unwrap();
        assert!(packed.kept > 0, "{packed:?}");
        let mut lost = 0;
        for number in 0..20 {
            match read(&core, &format!("key-{number}")).await {
                Ok(found) => assert!(found == Some(content(number, 9000)), "{number}"),
                Err(_) => lost += 1,
            }
        }
        assert_eq!(lost, 1);
    });
}

#[test]
fn what_is_being_received_keeps_its_groups_while_the_journal_is_packed() {
    use futures::SinkExt as _;
    use futures::channel::mpsc;
    // A body that fills several groups.
    let machine = Machine { extent: 3 << 20, ..Machine::new(2) };
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let whole = content(1, 12 << 20);
        let (mut send, body) = mpsc::channel(0);
        let feed = async {
            for piece in whole.chunks(1 << 20) {
                send.send(Ok(Bytes::copy_from_slice(piece))).await.unwrap();
                pack(&core).await.unwrap();
            }
            drop(send);
        };
        let request = PutRequest {
            bucket: bucket(),
            key: key("large"),
            attributes: Attributes::default(),
            keep: Vec::new(),
            conditions: WriteConditions::default(),
        };
        let put = Arc::clone(&core).put(request, Body::new(Box::pin(body)));
        futures::future::join(feed, put).await.1.unwrap();
        pack(&core).await.unwrap();
        assert!(read(&core, "large").await.unwrap() == Some(whole));
        assert_eq!((core.bulk.in_use(), core.packed.in_use()), (Vec::new(), Vec::new()));
    });
}

#[test]
fn journals_give_back_what_a_burst_took_and_at_once_where_room_is_short() {
    let mut machine = Machine::new(3);
    let files = |machine: &Machine| machine.disk.files("/v0/icn-pool/journal").len();
    for is_short in [false, true] {
        run(async {
            let (core, _) = machine.open().await.unwrap();
            if !is_short {
                make_bucket(&core).await.unwrap();
            }
            for number in 0..40 {
                let bytes = content(number, 200 << 10);
                put(&core, &format!("key-{number}"), bytes).await.unwrap();
            }
            pack(&core).await.unwrap();
            let burst = files(&machine);
            assert!(burst > 4, "{burst}");
            assert_eq!(core.volumes.trim(false).await, 0, "there is room, and no time went by");
            if is_short {
                assert!(!core.volumes.is_short());
                machine.disk.fill(1 << 20);
                assert!(core.volumes.is_short());
                // All volumes share the room of the simulated disk.
                assert!(core.volumes.trim(false).await >= burst);
            } else {
                core.volumes.trim(true).await;
                assert_eq!(files(&machine), burst, "it may come again");
                core.volumes.trim(true).await;
                core.volumes.trim(true).await;
            }
            assert_eq!(files(&machine), 0, "no segment is in use, and none is prepared");
        });
        machine = machine.cut(Cut::Lost);
        machine.disk.set_capacity(None);
        run(async {
            let (core, _) = machine.open().await.unwrap();
            for number in 0..40 {
                let found = read(&core, &format!("key-{number}")).await.unwrap();
                assert!(found == Some(content(number, 200 << 10)), "{number}");
            }
        });
        machine = machine.cut(Cut::Lost);
    }
}
