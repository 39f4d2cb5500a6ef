//! Groups on a disk in memory.

mod crash;
mod files;
mod losses;
mod model;
mod rebuild;
mod set;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use zeroize::Zeroizing;

use super::extent::Extent;
use super::geometry::{BLOCK, RowPlace, Shape};
use super::header::Kind;
use super::reader::{Damage, GroupReader, OnDamage};
use super::run::{GroupId, Run};
use super::writer::{GroupWriter, NewGroup};
use crate::device::{Device, NewVolume, Surroundings};
use crate::io::Io;
use crate::seal::KEY;
use crate::sim::{Dice, SimDisk};
use crate::superblock::{Class, VolumeNo};

const GROUP: GroupId = GroupId(0x1d);

/// All volumes are folders of one disk, so that one fault meets any of them.
fn disk(volumes: u16) -> SimDisk {
    let folders: Vec<String> = (0..volumes).map(|n| format!("/v{n}")).collect();
    let disk = SimDisk::new(&folders.iter().map(String::as_str).collect::<Vec<_>>());
    for number in 0..volumes {
        let new = NewVolume {
            pool: "pool".to_owned(),
            volume: format!("disk-{number}"),
            number: VolumeNo(number),
            class: Class::Ssd,
            members: Vec::new(),
        };
        Device::format(Path::new(&root(number)), new, surroundings(&disk)).unwrap();
    }
    disk
}

fn root(volume: u16) -> String {
    format!("/v{volume}")
}

fn surroundings(disk: &SimDisk) -> Surroundings {
    Surroundings {
        backend: Arc::new(disk.clone()),
        io: Io::Inline,
        node_key: Zeroizing::new([5; KEY]),
        on_fence: Box::new(|_, _| ()),
    }
}

fn devices(disk: &SimDisk, volumes: impl IntoIterator<Item = u16>) -> Vec<Device> {
    let open = |n| Device::open(Path::new(&root(n)), surroundings(disk)).unwrap();
    volumes.into_iter().map(open).collect()
}

fn new_group(k: u8, m: u8) -> NewGroup {
    let shape = Shape::of(k, m, 2 * BLOCK);
    NewGroup { group: GROUP, kind: Kind::Bulk, shape, extent: 4 << 20 }
}

/// Random bytes, not slowly.
fn random(dice: &mut Dice, length: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend(dice.roll(u64::MAX).to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

/// A row's length: tiny, any, or full.
fn some_length(dice: &mut Dice, shape: &Shape) -> u32 {
    let most = match dice.roll(4) {
        0 => 200,
        1 => return shape.full_row(),
        _ => shape.full_row(),
    };
    u32::try_from(dice.roll(u64::from(most))).unwrap() + 1
}

type Written = Vec<(RowPlace, Vec<u8>)>;

async fn fill(writer: &GroupWriter, dice: &mut Dice, rows: usize) -> Written {
    let mut written = Vec::new();
    for _ in 0..rows {
        let length = some_length(dice, &writer.shape());
        let row = random(dice, length);
        written.push((writer.append(row.clone()).await.unwrap(), row));
    }
    written
}

/// A sealed group on the first volumes.
async fn filled(disk: &SimDisk, k: u8, m: u8, dice: &mut Dice, rows: usize) -> Written {
    let devices = devices(disk, 0..u16::from(k + m));
    let writer = GroupWriter::create(new_group(k, m), &devices).await.unwrap();
    let written = fill(&writer, dice, rows).await;
    writer.seal().await.unwrap();
    written
}

/// Damage that was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Damage>>>);

impl Told {
    fn hear(&self) -> OnDamage {
        let told = Arc::clone(&self.0);
        Arc::new(move |damage| told.lock().unwrap().push(*damage))
    }

    fn all(&self) -> Vec<Damage> {
        self.0.lock().unwrap().clone()
    }
}

/// A reader of what there is on these volumes; the number of a volume was its shard.
fn reader_on(devices: &[Device], told: &Told) -> Option<GroupReader> {
    let open = |device: &Device| {
        let shard = u8::try_from(device.number().0).unwrap();
        Extent::open(device, GROUP, shard).ok().map(Arc::new)
    };
    GroupReader::new(devices.iter().filter_map(open), told.hear())
}

fn reader(disk: &SimDisk, volumes: impl IntoIterator<Item = u16>) -> GroupReader {
    reader_on(&devices(disk, volumes), &Told::default()).unwrap()
}

/// A reader of a group that is still being filled.
fn reader_of(writer: &GroupWriter) -> GroupReader {
    GroupReader::new(writer.extents().iter().cloned(), Told::default().hear()).unwrap()
}

async fn assert_rows(reader: &GroupReader, written: &[(RowPlace, Vec<u8>)], about: &str) {
    for (place, row) in written {
        let read = reader.read(&Run::row(GROUP, *place)).await;
        let read = read.unwrap_or_else(|error| panic!("{about}: {error}"));
        assert!(read == row, "{about}: other bytes at {place:?}");
    }
}

fn extent_path(volume: u16, shard: u8) -> PathBuf {
    Path::new(&root(volume)).join("icn-pool/extents").join(format!("{GROUP}-{shard:02x}"))
}

/// Seeds of a test: some, or the one in `SEED`.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    seeds.inspect(|seed| println!("seed {seed}"))
}

async fn at_once() {}
