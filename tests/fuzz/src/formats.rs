//! What stands on a volume of the pool, piece by piece.

use agent_object_store_pool::group::geometry::Shape;
use agent_object_store_pool::group::header::{CellHeader, ExtentHeader, Kind};
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::superblock::{Class, Duty, Member, Superblock, VolumeNo};

use crate::Given;
use crate::patches::{Script, crc32c, summed};

pub(crate) const TARGETS: &[Given] = &[
    ("superblock", superblock, superblocks),
    ("extent-header", extent, extents),
    ("cell-header", cell, cells),
    ("run", run, runs),
];

/// Bytes of a superblock before its body.
const HEAD: usize = 20;

fn superblock(bytes: &[u8]) {
    let mut whole = bytes.to_vec();
    // Length and checksum of what is there.
    if let Some((head, body)) = whole.split_at_mut_checked(HEAD) {
        let length = u32::try_from(body.len()).unwrap_or_default().to_le_bytes();
        let said = head.iter_mut().skip(12);
        said.zip(length.into_iter().chain(crc32c(body))).for_each(|(to, from)| *to = from);
    }
    for bytes in [bytes, &whole] {
        let Ok(found) = Superblock::decode(bytes) else { continue };
        // One of few bytes may be too long in the form of this release.
        let Ok(again) = found.encode() else { continue };
        assert_eq!(Superblock::decode(&again), Ok(found));
    }
}

fn extent(bytes: &[u8]) {
    for bytes in [bytes, &summed(bytes, 44)] {
        let Ok(found) = ExtentHeader::decode(bytes) else { continue };
        assert!(found.shape.is_sound() && found.shard < found.shape.shards());
        assert_eq!(ExtentHeader::decode(&found.encode()), Ok(found));
    }
}

fn cell(bytes: &[u8]) {
    for bytes in [bytes, &summed(bytes, 28)] {
        let Some(found) = CellHeader::decode(bytes) else { continue };
        assert_eq!(CellHeader::decode(&found.encode()), Some(found));
        let shape = Shape::of(4, 2, 1 << 20);
        let CellHeader { group, kind, shard, length, .. } = found;
        let of = ExtentHeader { group, kind, shape, shard, incarnation: 1, generation: 0 };
        let belongs = (1..=shape.full_row()).contains(&length);
        assert_eq!(CellHeader::decode_for(bytes, &of).is_some(), belongs);
    }
}

/// A run from an index or a record names rows and parts of them; none of its sums overflows.
fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut number = || script.number::<8>();
    let (Some(at), Some(rows), Some(skip), Some(length), Some(from), Some(part)) =
        (number(), number(), number(), number(), number(), number())
    else {
        return;
    };
    let (k, m) = (script.byte().unwrap_or_default(), script.byte().unwrap_or_default());
    let cell = u32::from(script.byte().unwrap_or_default()).saturating_mul(65_536);
    let shape = Shape::of(k, m, cell);
    if !shape.is_sound() {
        return;
    }
    let run = Run { group: GroupId(1), at, rows, skip, length };
    check_reads(&run, &shape);
    let inner = run.part(&shape, from, part);
    if run.is_sound() {
        assert!(inner.is_sound() && inner.length <= run.length);
    }
    check_reads(&inner, &shape);
    let mut grown = run;
    if let Some(first) = run.row_reads(&shape).next() {
        let _taken = grown.push(&shape, first.row);
    }
}

/// Reads of a run are within their rows and together no more than what is meant.
fn check_reads(run: &Run, shape: &Shape) {
    let mut seen = 0_u64;
    for read in run.row_reads(shape).take(100) {
        assert!(read.from < read.to && read.to <= read.row.length);
        assert!(read.row.length <= shape.full_row());
        seen += u64::from(read.to - read.from);
        let spans = shape.spans(read.row.length, read.from, read.to);
        assert!(spans.iter().all(|span| span.shard < shape.k && span.first <= span.last));
        let sliced = shape.slices(read.row.length, read.from, read.to);
        let sliced: u64 = sliced.map(|slice| u64::from(slice.to - slice.from)).sum();
        assert_eq!(sliced, u64::from(read.to - read.from));
    }
    assert!(seen <= run.length);
}

fn superblocks() -> Vec<Vec<u8>> {
    let member = |number: u16| Member {
        volume: format!("6bd1afc4-148b-4d01-81e2-{number:012}"),
        number: VolumeNo(number),
        class: Class::Nvme,
        gone: number == 1,
        duty: Duty::default(),
        decided: u64::from(number),
    };
    let block = Superblock {
        pool: "7902a6d0b4f31c1d78b99bd9ce343dd2".into(),
        volume: member(2).volume,
        number: VolumeNo(2),
        class: Class::Hdd,
        generation: 9,
        incarnations: 4096,
        key: "00".repeat(60),
        members: (0..3).map(member).collect(),
        index: Some(VolumeNo(0)),
        standby: Some(VolumeNo(2)),
        index_epoch: 3,
    };
    let whole = block.encode().unwrap_or_default();
    // Without the zeros behind the body.
    let end = whole.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    vec![whole.get(..end).unwrap_or_default().to_vec()]
}

fn extents() -> Vec<Vec<u8>> {
    let shapes = [Shape::of(1, 2, 1 << 20), Shape::of(4, 1, 65_536), Shape::of(8, 3, 1 << 20)];
    let header = |shape: Shape| ExtentHeader {
        group: GroupId(0x1d),
        kind: if shape.k == 1 { Kind::Packed } else { Kind::Bulk },
        shape,
        shard: shape.shards() - 1,
        incarnation: 1025,
        generation: 2,
    };
    let whole = shapes.map(|shape| header(shape).encode());
    let first = whole.iter().map(|bytes| bytes.get(..48).unwrap_or_default().to_vec());
    first.chain([vec![0; 2048], whole.concat()]).collect()
}

fn cells() -> Vec<Vec<u8>> {
    let header = |kind, row, length| {
        CellHeader { group: GroupId(0x1d), kind, row, shard: 1, length }.encode()
    };
    vec![header(Kind::Bulk, 3, 200_000), header(Kind::Packed, 0, 1)]
}

fn runs() -> Vec<Vec<u8>> {
    let run = |numbers: [u64; 6], shape: [u8; 3]| {
        numbers.into_iter().flat_map(u64::to_le_bytes).chain(shape).collect()
    };
    vec![
        run([4096, 300_000, 0, 300_000, 10, 5], [4, 2, 1]),
        run([4096, 5 << 20, 1 << 20, 3 << 20, 1 << 20, 1 << 20], [2, 1, 16]),
        run([u64::MAX - 5, u64::MAX, 0, u64::MAX, 0, u64::MAX], [1, 2, 1]),
    ]
}
