use super::*;
use crate::parts;
use proptest::prelude::*;

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut filled = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut filled);
    filled
}

fn at(range: &Range<u64>) -> Range<usize> {
    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
}

fn add(prover: &mut Prover, bytes: &[u8], range: &Range<u64>) {
    let size = bytes.len() as u64;
    let read = &bytes[at(&rounded(size, range).unwrap())];
    prover.piece(size, range, &leaves(bytes), read).unwrap();
}

fn whole(bytes: &[u8], range: &Range<u64>) -> (Content, Vec<u8>) {
    let root = *blake3::hash(bytes).as_bytes();
    let content = Content { root, size: bytes.len() as u64, parts: 0 };
    let mut prover = Prover::new(&content, range).unwrap();
    add(&mut prover, bytes, range);
    (content, prover.finish())
}

fn in_parts(pieces: &[Vec<u8>], range: &Range<u64>) -> (Content, Vec<u8>) {
    let list = parts::list(
        pieces.iter().map(|piece| (piece.len() as u64, *blake3::hash(piece).as_bytes())),
    );
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    let number = u16::try_from(pieces.len()).unwrap();
    let content = Content { root: *blake3::hash(&list).as_bytes(), size, parts: number };
    let mut prover = Prover::new(&content, range).unwrap();
    for part in prover.list(&list, range).unwrap() {
        add(&mut prover, &pieces[part.number], &part.range);
    }
    (content, prover.finish())
}

/// That the proof holds and nothing near it does.
fn check(content: &Content, range: &Range<u64>, proof: &[u8], expected: &[u8], dice: u64) {
    assert!(verify(content, range, proof).unwrap() == expected);
    // One bit of the whole proof.
    let mut other = proof.to_vec();
    let place = usize::try_from(dice % proof.len() as u64).unwrap();
    other[place] ^= 1 << (dice >> 32 & 7);
    verify(content, range, &other).unwrap_err();
    verify(content, range, &proof[..place]).unwrap_err();
    verify(content, range, &[proof, &[0]].concat()).unwrap_err();
    let mut root = content.root;
    root[usize::try_from(dice % 32).unwrap()] ^= 1;
    verify(&Content { root, ..*content }, range, proof).unwrap_err();
    verify(&Content { size: content.size + 1, ..*content }, range, proof).unwrap_err();
    verify(&Content { parts: content.parts + 1, ..*content }, range, proof).unwrap_err();
    if range.end > range.start {
        verify(content, &(range.start + 1..range.end), proof).unwrap_err();
        verify(content, &(range.start..range.end - 1), proof).unwrap_err();
    }
}

/// Sizes around the borders of groups and of trees.
fn size() -> impl Strategy<Value = usize> {
    let around = (0_usize..9, 0_usize..5)
        .prop_map(|(groups, more)| (groups * GROUP + more).saturating_sub(2));
    prop_oneof![around, 0..9 * GROUP]
}

fn range_of(size: usize, a: u64, b: u64) -> Range<u64> {
    let size = size as u64;
    let (a, b) = (a % (size + 1), b % (size + 1));
    a.min(b)..a.max(b)
}

proptest! {
    #[test]
    fn a_slice_of_one_piece_holds_and_nothing_else_does(
        size in size(), a: u64, b: u64, dice: u64,
    ) {
        let (bytes, range) = (bytes(dice, size), range_of(size, a, b));
        let (content, proof) = whole(&bytes, &range);
        check(&content, &range, &proof, &bytes[at(&range)], dice);
        // The groups, a way down on each side, and the head.
        let read = rounded(size as u64, &range).unwrap();
        prop_assert!(proof.len() as u64 <= read.end - read.start + (read.end / 8192 + 10) * 64);
    }

    #[test]
    fn a_slice_of_parts_holds_and_nothing_else_does(
        sizes in prop::collection::vec(0..3 * GROUP, 1..6), a: u64, b: u64, dice: u64,
    ) {
        let pieces: Vec<_> = (dice % 99..).zip(&sizes).map(|(seed, size)| bytes(seed, *size)).collect();
        let all = pieces.concat();
        let range = range_of(all.len(), a, b);
        let (content, proof) = in_parts(&pieces, &range);
        check(&content, &range, &proof, &all[at(&range)], dice);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        noise in prop::collection::vec(any::<u8>(), 0..300), size: u64, parts: u16, a: u64, b: u64,
    ) {
        let content = Content { root: [1; 32], size, parts };
        let mut proof = vec![FORM];
        proof.extend_from_slice(&size.to_le_bytes());
        proof.extend_from_slice(&parts.to_le_bytes());
        proof.extend_from_slice(&a.to_le_bytes());
        proof.extend_from_slice(&b.to_le_bytes());
        proof.extend_from_slice(&noise);
        prop_assert!(verify(&content, &(a..b), &proof).is_err());
        prop_assert!(verify(&content, &(a..b), &noise).is_err());
    }
}

#[test]
fn a_size_that_is_not_so_is_refused_where_the_slice_has_the_last_byte() {
    let bytes = bytes(1, 3 * GROUP + 5);
    let size = bytes.len() as u64;
    for (start, holds) in [(0, true), (GROUP as u64 * 3, false)] {
        let range = start..start + 3;
        let (content, mut proof) = whole(&bytes, &range);
        proof[1..9].copy_from_slice(&(size - 1).to_le_bytes());
        let claimed = Content { size: size - 1, ..content };
        assert_eq!(verify(&claimed, &range, &proof).is_ok(), holds, "{start}");
    }
}

#[test]
fn ten_thousand_parts_need_a_few_lines_only() {
    let pieces: Vec<Vec<u8>> = (0..10_000).map(|seed| bytes(seed, 7)).collect();
    let range = 35_000..35_010;
    let (content, proof) = in_parts(&pieces, &range);
    let all = pieces.concat();
    check(&content, &range, &proof, &all[at(&range)], 77_777);
    assert!(proof.len() < 2 * GROUP + 1000, "{}", proof.len());
}

#[test]
fn bytes_that_are_not_there_cannot_be_asked_for() {
    let (content, proof) = whole(&[7; 10], &(0..10));
    for range in [0..11, 11..11, Range { start: 5, end: 4 }] {
        let error = verify(&content, &range, &proof).unwrap_err();
        assert!(matches!(error, ProofError::Outside { size: 10, .. }), "{error}");
    }
}
