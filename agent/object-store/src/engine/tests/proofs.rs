use agent_proofs::slice::{rounded, verify};
use agent_proofs::tree::{GROUP, groups};

use super::*;
use crate::checksum::Checksums;
use crate::engine::prove::SliceProof;
use crate::names::{ETag, PartNumber};
use crate::store::{CompleteRequest, UploadRequest, UploadTarget};

/// What is sealed on its own, in bytes: a read of one byte reads so many, and a tag.
const BLOCK: u64 = 64 << 10;

async fn prove(core: &Arc<Core>, name: &str, range: ReadRange) -> Result<SliceProof, StoreError> {
    let request = GetRequest { range, ..GetRequest::new(bucket(), key(name)) };
    Arc::clone(core).prove(&request).await
}

/// Proves some ranges of an object, and verifies the proofs.
pub(super) async fn check(core: &Arc<Core>, name: &str, bytes: &[u8], seed: u64) {
    let (size, mut dice) = (bytes.len() as u64, Dice(seed));
    let mut ranges = vec![ReadRange::All];
    for _ in 0..6 {
        if size > 0 {
            let from = dice.roll(size);
            ranges.push(ReadRange::Between(from, from + dice.roll(size.min(200_000))));
            ranges.push(ReadRange::Last(1 + dice.roll(size)));
        }
    }
    for range in ranges {
        let SliceProof { content, range, proof, .. } = prove(core, name, range).await.unwrap();
        let found = verify(&content, &range, &proof).unwrap();
        let place = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(found == bytes[place], "{name}: {range:?}");
        if content.parts == 0 {
            assert_eq!(content.root, *blake3::hash(bytes).as_bytes());
        }
    }
}

/// Puts an object in parts that are these; all of it.
pub(super) async fn put_in_parts(core: &Arc<Core>, name: &str, bodies: Vec<Vec<u8>>) -> Vec<u8> {
    let request = UploadRequest {
        bucket: bucket(),
        key: key(name),
        owner: Owner::new("ann").unwrap(),
        attributes: Attributes::default(),
        note: None,
    };
    let upload = Arc::clone(core).create_upload(request).await.unwrap().upload;
    let target = UploadTarget { bucket: bucket(), key: key(name), upload };
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for (number, bytes) in (1..).zip(bodies) {
        whole.extend_from_slice(&bytes);
        let number = PartNumber::new(number).unwrap();
        let body = Body::from_bytes(bytes.into());
        let info = Arc::clone(core).put_part(&target, number, Vec::new(), body).await.unwrap();
        parts.push((number, info.etag));
    }
    let etag = ETag::new("of-parts").unwrap();
    let (checksums, conditions) = (Checksums::default(), WriteConditions::default());
    let request = CompleteRequest { target, parts, etag, checksums, conditions };
    Arc::clone(core).complete_upload(request).await.unwrap();
    whole
}

/// Around every border: of groups, of what is inline, of rows.
const SIZES: [usize; 10] = [
    0,
    1,
    GROUP,
    GROUP + 1,
    7 * GROUP - 1,
    256 << 10,
    (256 << 10) + 1,
    (2 << 20) - 1,
    2 << 20,
    (5 << 20) + 77,
];

#[test]
fn slices_are_proven_wherever_the_bytes_are_and_whoever_is_missing() {
    for (volumes, lost) in [(1, 0), (2, 1), (4, 2), (6, 2)] {
        run(async {
            let machine = Machine::new(volumes);
            let (core, _) = machine.open().await.unwrap();
            make_bucket(&core).await.unwrap();
            let mut all = Vec::new();
            for (seed, size) in (0..).zip(SIZES) {
                let bytes = content(seed, size);
                put(&core, &format!("{size}"), bytes.clone()).await.unwrap();
                all.push((format!("{size}"), bytes));
            }
            let sizes = [300 << 10, 10, 0, 3 * GROUP, (1 << 20) + 5];
            let bodies = (101..).zip(sizes).map(|(seed, size)| content(seed, size)).collect();
            all.push(("parts".to_owned(), put_in_parts(&core, "parts", bodies).await));
            for round in 0..3 {
                for (seed, (name, bytes)) in (0..).zip(&all) {
                    check(&core, name, bytes, seed + 1000 * round).await;
                }
                match round {
                    0 => pack(&core).await.unwrap(),
                    _ => (0..lost).for_each(|at| machine.disk.pull(&format!("/v{at}"))),
                }
            }
        });
    }
}

#[test]
fn a_proof_reads_the_slice_and_the_leaves_and_not_the_object() {
    run(async {
        let machine = Machine { extent: 64 << 20, ..Machine::new(6) };
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let size = (40_u64 << 20) + 12_345;
        let bytes = content(1, usize::try_from(size).unwrap());
        put(&core, "large", bytes).await.unwrap();
        for lost in [false, true] {
            if lost {
                machine.disk.pull("/v0");
            }
            for (from, to) in [(0, 0), (20 << 20, (20 << 20) + 99_999), (size - 1, size - 1)] {
                machine.disk.set_fault(None);
                let before = machine.disk.read_bytes();
                let proof = prove(&core, "large", ReadRange::Between(from, to)).await.unwrap();
                verify(&proof.content, &proof.range, &proof.proof).unwrap();
                let read = machine.disk.read_bytes() - before;
                let slice = rounded(size, &proof.range).unwrap();
                let leaves = groups(size) * 32;
                // Each is rounded out to blocks at both ends, and again where a row ends within it.
                let mut most = slice.end - slice.start + leaves + 8 * (BLOCK + 64);
                if lost {
                    // Instead of one block that is gone, those of all other shards.
                    most *= 4;
                }
                assert!(read <= most, "{from} to {to}: {read} bytes, {most} at most");
                assert!(read < size / 8);
            }
        }
    });
}

#[test]
fn more_than_a_proof_may_have_is_refused() {
    run(async {
        let machine = Machine { extent: 64 << 20, ..Machine::new(1) };
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        put(&core, "large", content(1, (16 << 20) + 1)).await.unwrap();
        let error = prove(&core, "large", ReadRange::All).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { limit } if limit == 16 << 20), "{error}");
        let error = prove(&core, "absent", ReadRange::All).await.unwrap_err();
        assert!(matches!(error, StoreError::NoSuchKey { .. }), "{error}");
    });
}
