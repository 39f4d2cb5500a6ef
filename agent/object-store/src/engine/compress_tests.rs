use std::ops::Range;

use agent_object_store_pool::sim::Dice;
use proptest::prelude::*;

use super::*;
use crate::engine::expand::{Layout, NotCompressed, expand};

/// A piece of content: bytes of one kind.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Random,
    Text,
    Zeros,
    /// Text in which so many of 16 bytes are random.
    Mixed(u64),
}

fn fill(kind: Kind, seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let words = ["status", "request", " 200 ", "bucket=photos ", "\n", "GET /", "2026-01-0"];
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        let is_random = match kind {
            Kind::Random => true,
            Kind::Text | Kind::Zeros => false,
            Kind::Mixed(share) => dice.roll(16) < share,
        };
        match kind {
            _ if is_random => bytes.extend_from_slice(&dice.roll(u64::MAX).to_le_bytes()),
            Kind::Zeros => bytes.push(0),
            _ => {
                let word = words[usize::try_from(dice.roll(words.len() as u64)).unwrap()];
                bytes.extend_from_slice(word.as_bytes());
                bytes.extend_from_slice(dice.roll(100).to_string().as_bytes());
            }
        }
    }
    bytes.truncate(length);
    bytes
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Random),
        Just(Kind::Text),
        Just(Kind::Zeros),
        (0_u64..16).prop_map(Kind::Mixed)
    ]
}

fn length() -> impl Strategy<Value = usize> {
    let around = |middle: usize| middle - 3..middle + 3;
    prop_oneof![
        0_usize..300,
        1_usize..40_000,
        around(BLOCK),
        around(4 * BLOCK),
        around(16 * BLOCK),
        Just(BLOCK),
        Just(2 * BLOCK),
        1_usize..20 * BLOCK,
    ]
}

/// Mixes of kinds, each of any length.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = (kind(), any::<u64>(), length());
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| {
        pieces.into_iter().flat_map(|(kind, seed, length)| fill(kind, seed, length)).collect()
    })
}

/// Where ranges begin and end: everything, around blocks, and by chance.
fn ranges(length: usize, seed: u64) -> Vec<Range<u64>> {
    let (length, mut dice) = (length as u64, Dice(seed));
    let mut ranges = vec![0..length, 0..length.min(1), length.saturating_sub(1)..length];
    let block = BLOCK as u64;
    for number in [1, 2, length / block] {
        let at = (number * block).min(length);
        ranges.extend([at.saturating_sub(1)..(at + 1).min(length), at..(at + block).min(length)]);
    }
    for _ in 0..8 {
        let (one, other) = (dice.roll(length + 1), dice.roll(length + 1));
        ranges.push(one.min(other)..one.max(other));
    }
    ranges
}

fn check(plain: &[u8], stored: Vec<u8>, seed: u64) {
    let layout = Layout { plain: plain.len() as u64, stored: stored.len() as u64 };
    let stored = Bytes::from(stored);
    for range in ranges(plain.len(), seed) {
        let wanted = &plain[usize::try_from(range.start).unwrap()..][..range.clone().count()];
        assert!(expand(layout, &stored, &range).unwrap() == wanted, "{range:?}");
    }
}

/// All rows of content that comes in pieces of `step` bytes, and how many bytes it takes compressed.
fn streamed(content: &[u8], step: usize, full: usize, behind: &[u8]) -> (Vec<Bytes>, Option<u64>) {
    let mut compressing = Compressing::new(full);
    let mut rows = Vec::new();
    for piece in content.chunks(step) {
        rows.extend(compressing.push(Bytes::copy_from_slice(piece)));
    }
    let (last, compressed) = compressing.finish(behind);
    rows.extend(last);
    (rows, compressed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compressed_comes_back_whole_and_in_ranges(content in content(), seed: u64) {
        if let Some(stored) = compress(&mut Zstd::new(), &content) {
            prop_assert!(stored.len() < content.len());
            check(&content, stored, seed);
        }
    }

    #[test]
    fn what_comes_in_pieces_is_compressed_as_it_would_be_whole(
        content in content(),
        step in prop_oneof![Just(1 << 20), Just(BLOCK), 10_000_usize..300_000],
        full in prop_oneof![Just(1 << 20), Just(3 * BLOCK), 1000_usize..200_000],
        seed: u64,
    ) {
        let behind = [7; 100];
        let (rows, compressed) = streamed(&content, step, full, &behind);
        let (last, before) = rows.split_last().unwrap();
        prop_assert!(before.iter().all(|row| row.len() == full) && last.len() <= full);
        let mut stored = rows.concat();
        prop_assert_eq!(stored.split_off(stored.len() - behind.len()), behind);
        match compressed {
            None => prop_assert!(stored == content),
            Some(length) => {
                prop_assert_eq!(length, stored.len() as u64);
                check(&content, stored, seed);
            }
        }
    }

    /// Whatever the stored bytes are, nothing else than what was written comes out: the right bytes, an error,
    /// or where a compressed block has changed in itself as many bytes as there must be.
    #[test]
    fn damaged_bytes_are_an_error_or_as_many_bytes(
        content in content(),
        flips in proptest::collection::vec((any::<u64>(), 0_u8..8), 1..4),
        seed: u64,
    ) {
        if let Some(mut stored) = compress(&mut Zstd::new(), &content) {
            for (at, bit) in flips {
                let at = usize::try_from(at % stored.len() as u64).unwrap();
                stored[at] ^= 1 << bit;
            }
            let layout = Layout { plain: content.len() as u64, stored: stored.len() as u64 };
            let stored = Bytes::from(stored);
            for range in ranges(content.len(), seed) {
                if let Ok(found) = expand(layout, &stored, &range) {
                    prop_assert_eq!(found.len() as u64, range.end - range.start);
                }
            }
        }
    }
}

#[test]
fn a_block_is_compressed_where_that_saves_a_tenth() {
    let mut zstd = Zstd::new();
    // Nothing is gained, not even a table is paid for.
    for length in [0, 1, LEAST - 1, 5000, BLOCK, 3 * BLOCK, 20 * BLOCK] {
        assert_eq!(compress(&mut zstd, &fill(Kind::Random, 3, length)), None, "{length}");
    }
    // One block has no table.
    let text = fill(Kind::Text, 1, BLOCK);
    let one = compress(&mut zstd, &text).unwrap();
    assert_eq!(zstd::bulk::decompress(&one, BLOCK).unwrap(), text);
    // A block that saves less is stored as it is.
    let less = [fill(Kind::Text, 1, 6000), fill(Kind::Random, 2, BLOCK - 6000)].concat();
    assert!(zstd::bulk::compress(&less, LEVEL).unwrap().len() < BLOCK);
    assert_eq!(compress(&mut zstd, &less), None);
    let both = compress(&mut zstd, &[text.as_slice(), &less].concat()).unwrap();
    assert_eq!(both.len(), one.len() + BLOCK + 2 * LINE);
    let line = |length: usize| u16::try_from(length - 1).unwrap().to_le_bytes();
    assert_eq!(both[both.len() - 4..], [line(one.len()), line(BLOCK)].concat());
}

#[test]
fn the_first_block_of_a_mib_tells_whether_the_others_are_tried() {
    let (random, text) = (fill(Kind::Random, 1, BLOCK), fill(Kind::Text, 2, BLOCK));
    let of = |first: &[u8]| [first, &text.repeat(15)].concat();
    let mut zstd = Zstd::new();
    assert_eq!(compress(&mut zstd, &of(&random)), None);
    let second = [of(&random), of(&text)].concat();
    let stored = compress(&mut zstd, &second).unwrap();
    assert!(stored.len() > 16 * BLOCK && stored.len() < 24 * BLOCK, "{}", stored.len());
    check(&second, stored, 1);
}

#[test]
fn rows_that_are_stored_as_they_are_are_not_copied() {
    let content = Bytes::from(fill(Kind::Random, 1, 4 << 20));
    let mut compressing = Compressing::new(1 << 20);
    for start in (0..content.len()).step_by(1 << 20) {
        let piece = content.slice(start..start + (1 << 20));
        let rows = compressing.push(piece.clone());
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].as_ptr(), piece.as_ptr());
    }
    assert_eq!(compressing.finish(&[]), (Vec::new(), None));
}

#[test]
fn a_frame_that_would_give_more_than_its_block_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 1 << 20], LEVEL).unwrap();
    let stored = Bytes::from(bomb);
    let layout = |plain| Layout { plain, stored: stored.len() as u64 };
    for plain in [stored.len() as u64 + 1, BLOCK as u64 - 1, BLOCK as u64] {
        let number = 0;
        let (length, whole) = (u32::try_from(stored.len()).unwrap(), u32::try_from(plain).unwrap());
        let error = NotCompressed::Block { number, stored: length, plain: whole };
        assert_eq!(expand(layout(plain), &stored, &(0..1)), Err(error));
    }
    // Neither one that gives less, nor a table that wants what is not there.
    let zeros = Bytes::from(zstd::bulk::compress(&[0; 500], LEVEL).unwrap());
    let short = Layout { plain: 501, stored: zeros.len() as u64 };
    assert!(matches!(expand(short, &zeros, &(0..1)), Err(NotCompressed::Block { .. })));
    assert!(expand(layout(BLOCK as u64 + 1), &stored, &(0..1)).is_err());
    for plain in [4 << 20, u64::MAX] {
        let error = NotCompressed::Table { plain, stored: stored.len() as u64 };
        assert_eq!(expand(layout(plain), &stored, &(0..1)), Err(error), "{plain}");
    }
}

/// The table of `docs/design/codecs.md`:
/// `cargo test -p agent-object-store --lib what_compression_costs -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn what_compression_costs() {
    use std::time::Instant;
    let base64 = |seed| {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let random = fill(Kind::Random, seed, 16 << 20);
        random.iter().map(|byte| digits[usize::from(byte % 64)]).collect::<Vec<u8>>()
    };
    let json = |seed| {
        let mut dice = Dice(seed);
        let mut text = String::new();
        while text.len() < 16 << 20 {
            let (user, ms, at) = (dice.roll(5000), dice.roll(800), dice.roll(1 << 40));
            let path =
                ["/photos", "/music", "/backup/db", "/logs"][usize::try_from(user % 4).unwrap()];
            text += &format!(
                "{{\"time\":{at},\"user\":\"user-{user}\",\"path\":\"{path}/{:08x}\",\"status\":200,\"ms\":{ms}}}\n",
                dice.roll(1 << 32)
            );
        }
        text.truncate(16 << 20);
        text.into_bytes()
    };
    let contents = [
        ("random", fill(Kind::Random, 1, 16 << 20)),
        ("JSON lines", json(2)),
        ("words and numbers", fill(Kind::Text, 3, 16 << 20)),
        ("half random, by 8 bytes", fill(Kind::Mixed(8), 4, 16 << 20)),
        ("base64 of random", base64(5)),
        ("zeros", vec![0; 16 << 20]),
    ];
    let mut zstd = Zstd::new();
    compress(&mut zstd, &contents[1].1);
    println!("a context has {} bytes", zstd.context.as_mut().unwrap().context_mut().sizeof());
    for size in [512, 4 << 10, 16 << 10] {
        let all = contents[1].1.chunks_exact(size).take(1000);
        let begun = Instant::now();
        let stored: Vec<_> = all.clone().map(|one| compress(&mut zstd, one).unwrap()).collect();
        let inward = begun.elapsed().as_nanos() / 1000;
        let bytes: usize = stored.iter().map(Vec::len).sum();
        let begun = Instant::now();
        for (one, stored) in all.zip(stored) {
            let layout = Layout { plain: size as u64, stored: stored.len() as u64 };
            assert!(expand(layout, &stored.into(), &(0..size as u64)).unwrap() == one);
        }
        let back = begun.elapsed().as_nanos() / 1000;
        println!("JSON of {size} bytes | {inward} ns, {} bytes, {back} ns back", bytes / 1000);
    }
    for (name, content) in &contents {
        let content = Bytes::from(content.clone());
        for level in [-7, -5, -3, -1, 1, 2, 3] {
            let mut best = (f64::MAX, f64::MAX);
            let mut share = 1.0;
            for _ in 0..5 {
                let begun = Instant::now();
                let mut compressing = Compressing::new(1 << 20);
                compressing.zstd = Zstd::at(level);
                let mut rows = Vec::new();
                for start in (0..content.len()).step_by(1 << 20) {
                    rows.extend(compressing.push(content.slice(start..start + (1 << 20))));
                }
                let (last, compressed) = compressing.finish(&[]);
                rows.extend(last);
                best.0 = best.0.min(begun.elapsed().as_secs_f64());
                let stored: Bytes = rows.concat().into();
                share = stored.len() as f64 / content.len() as f64;
                if let Some(stored_bytes) = compressed {
                    let plain = content.len() as u64;
                    let layout = Layout { plain, stored: stored_bytes };
                    let begun = Instant::now();
                    let found = expand(layout, &stored, &(0..plain)).unwrap();
                    best.1 = best.1.min(begun.elapsed().as_secs_f64());
                    assert!(found == content);
                }
            }
            let per_kib = |seconds: f64| seconds * 1e9 / (content.len() >> 10) as f64;
            let back = if share < 1.0 { per_kib(best.1) } else { 0.0 };
            println!("{name} | {level} | {:.0} | {share:.2} | {back:.0}", per_kib(best.0));
        }
    }
}
