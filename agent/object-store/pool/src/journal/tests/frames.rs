use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::seal::KEY;

const SPOT: Spot = Spot { incarnation: 77, offset: 3 * BLOCK as u64 };

fn sealer() -> Sealer {
    Sealer::new(&Zeroizing::new([7; KEY]))
}

/// The frame's header, and its records as a reader finds them.
fn read(frame: &[u8], spot: Spot) -> (FrameHeader, Vec<(Lsn, Bytes)>) {
    let FrameRead::Whole(header) = FrameHeader::decode(frame, spot) else {
        panic!("no frame");
    };
    let body = &frame[FRAME..FRAME + header.body as usize];
    assert_eq!(crc32c(body), header.body_sum);
    let records = pieces(body).map(|range| {
        let offset = spot.offset + (FRAME + range.start) as u64;
        let mut sealed = body[range].to_vec();
        let plain = sealer().open(Spot { offset, ..spot }, &mut sealed).unwrap();
        let (lsn, content) = plain.split_first_chunk().unwrap();
        (Lsn(u64::from_le_bytes(*lsn)), Bytes::copy_from_slice(content))
    });
    (header, records.collect())
}

fn example() -> Vec<u8> {
    let mut frame = Vec::new();
    let records = [(Lsn(5), Bytes::from_static(b"abc")), (Lsn(6), Bytes::new())];
    let places = build(&sealer(), SPOT, &records, &mut frame);
    // A record takes 28 bytes beside its content.
    assert_eq!(places, [(3 * 4096 + 36, 27), (3 * 4096 + 67, 24)]);
    frame
}

#[test]
fn a_frame_stands_as_the_format_says() {
    let frame = example();
    assert_eq!(frame.len(), BLOCK);
    assert_eq!(&frame[..16], b"FRM1\x4d\0\0\0\0\0\0\0\x03\0\0\0");
    assert_eq!(&frame[16..24], b"\x3b\0\0\0\x02\0\0\0");
    assert_eq!(frame[24..28], crc32c(&frame[32..32 + 59]).to_le_bytes());
    assert_eq!(frame[28..32], crc32c(&frame[..28]).to_le_bytes());
    assert_eq!(frame[32..36], 27_u32.to_le_bytes());
    assert!(frame[32 + 59..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_frame_counts_at_its_place_only() {
    let frame = example();
    let (header, records) = read(&frame, SPOT);
    assert_eq!((header.end(), records.len()), (4 * 4096, 2));
    // One bit away as well: what is mended must be a frame of the place.
    for other in [Spot { incarnation: 76, ..SPOT }, Spot { offset: 2 * BLOCK as u64, ..SPOT }] {
        assert_eq!(FrameHeader::decode(&frame, other), FrameRead::Nothing, "{other:?}");
    }
}

#[test]
fn one_wrong_bit_of_a_header_is_put_right() {
    let frame = example();
    let (header, _) = read(&frame, SPOT);
    for bit in 0..FRAME * 8 {
        let mut bytes = frame.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(FrameHeader::decode(&bytes, SPOT), FrameRead::Mended(header), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        records in proptest::collection::vec((any::<u64>(), 0_usize..6000, any::<u8>()), 1..8),
        incarnation: u64,
        block in 0_u64..1 << 20,
    ) {
        let spot = Spot { incarnation, offset: block * BLOCK as u64 };
        let record = |(lsn, length, byte): (u64, usize, u8)| {
            (Lsn(lsn), Bytes::from(vec![byte; length]))
        };
        let records: Vec<_> = records.into_iter().map(record).collect();
        let mut frame = vec![1; 9];
        build(&sealer(), spot, &records, &mut frame);
        let (header, found) = read(&frame, spot);
        prop_assert_eq!(found, records);
        prop_assert_eq!(header.end() - spot.offset, frame.len() as u64);
        prop_assert_eq!(FrameHeader::decode(&header.encode(), spot), FrameRead::Whole(header));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = FrameHeader::decode(&bytes, SPOT);
        let mut end = 0;
        for range in pieces(&bytes) {
            prop_assert!(range.start >= end && range.end <= bytes.len());
            end = range.end;
        }
        let mut frame = example();
        let tail = bytes.len().min(FRAME - 16);
        frame[16..16 + tail].copy_from_slice(&bytes[..tail]);
        let _ = FrameHeader::decode(&frame, SPOT);
    }
}
