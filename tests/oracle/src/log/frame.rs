//! The form of a log file.
//!
//! ```text
//! file     magic (8) | frames
//! frame    length u32 | CRC-32 of length and payload u32 | payload
//! ```
//!
//! Numbers are little-endian. A frame that is cut off or has another checksum ends the file: what a
//! power cut left of the last frames, which nobody was told of.

use std::io::{self, Read};

/// What each file begins with.
pub(super) const MAGIC: [u8; 8] = *b"ICNORA1\n";

/// Bytes before the payload of a frame.
pub(super) const HEAD: usize = 8;

/// The longest payload in bytes: a report is 1.5 MiB at most, a record of an era far less.
pub const PAYLOAD_MAX: usize = 2 << 20;

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// A payload as a frame; none if it is too long.
#[must_use]
pub(super) fn encode(payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_MAX)?;
    let length = length.to_le_bytes();
    let mut frame = Vec::with_capacity(HEAD + payload.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&checksum(length, payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Some(frame)
}

/// The payload of a frame; none if it is not whole.
#[must_use]
pub(super) fn decode(frame: &[u8]) -> Option<&[u8]> {
    let (length, rest) = frame.split_first_chunk::<4>()?;
    let (sum, payload) = rest.split_first_chunk::<4>()?;
    let is_whole = u32::from_le_bytes(*length) as usize == payload.len()
        && u32::from_le_bytes(*sum) == checksum(*length, payload);
    is_whole.then_some(payload)
}

/// Reads a file: `each` gets every whole frame's payload, where it begins and how long it is, in their
/// order. Gives how many bytes from the start are whole; 0 if not even the magic is.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(mut file: impl Read, mut each: impl FnMut(u64, u32, &[u8])) -> io::Result<u64> {
    let mut magic = [0; MAGIC.len()];
    if fill(&mut file, &mut magic)? < magic.len() || magic != MAGIC {
        return Ok(0);
    }
    let (mut at, mut frame) = (MAGIC.len() as u64, Vec::new());
    loop {
        let mut length = [0; 4];
        if fill(&mut file, &mut length)? < length.len() {
            return Ok(at);
        }
        let payload = u32::from_le_bytes(length) as usize;
        if payload > PAYLOAD_MAX {
            return Ok(at);
        }
        frame.clear();
        frame.extend_from_slice(&length);
        frame.resize(HEAD + payload, 0);
        let rest = frame.get_mut(length.len()..).unwrap_or_default();
        if fill(&mut file, rest)? < HEAD - length.len() + payload {
            return Ok(at);
        }
        let Some(payload) = decode(&frame) else { return Ok(at) };
        let whole = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        each(at, whole, payload);
        at += u64::from(whole);
    }
}

/// Reads until the buffer is full or the file ends; how many bytes came.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let mut found = Vec::new();
        let whole = read(bytes, |_, _, payload| found.push(payload.to_vec())).expect("read");
        (found, whole)
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_every_frame_before() {
        let payloads: [&[u8]; 4] = [b"one", b"", b"three three", b"4"];
        let (mut file, mut ends) = (MAGIC.to_vec(), vec![MAGIC.len()]);
        for payload in payloads {
            file.extend(encode(payload).expect("a frame"));
            ends.push(file.len());
        }
        for cut in 0..=file.len() {
            let (found, whole) = all(&file[..cut]);
            let frames = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            assert_eq!(found, payloads[..frames], "cut at {cut}");
            let end = if cut < MAGIC.len() { 0 } else { ends[frames] };
            assert_eq!(whole, end as u64, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_file_before_its_frame() {
        let mut file = MAGIC.to_vec();
        file.extend(encode(b"first").expect("a frame"));
        let second = file.len();
        file.extend(encode(b"second").expect("a frame"));
        for bit in second * 8..file.len() * 8 {
            let mut wrong = file.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(all(&wrong), (vec![b"first".to_vec()], second as u64), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut file = MAGIC.to_vec();
            file.extend(&bytes);
            let (_, whole) = all(&file);
            prop_assert!(whole <= file.len() as u64);
            prop_assert!(all(&bytes).1 <= bytes.len() as u64);
        }
    }
}
