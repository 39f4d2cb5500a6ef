//! The header of a segment, and what headers have in common.

use crate::superblock::{VolumeNo, crc32c};

/// Frames and the first byte behind the header stand at multiples of this, so that no write touches
/// a page that holds acknowledged bytes.
pub(super) const BLOCK: usize = 4096;

/// The newest format that this release knows, and the one it writes.
const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"ICNJRNL\0";

/// Bytes that say something, the checksum included.
const LENGTH: usize = 36;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) volume: VolumeNo,
    pub(super) incarnation: u64,
    /// Of the segment, in bytes.
    pub(super) length: u64,
}

/// What bytes at the start of a segment are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderRead {
    Whole(SegmentHeader),
    /// One bit was wrong.
    Mended(SegmentHeader),
    /// All zero: it was never written.
    Blank,
    /// Not a header, or not to be mended.
    Broken,
    Newer(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.volume.0.to_le_bytes());
        bytes.extend_from_slice(&0_u16.to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        bytes.resize(BLOCK, 0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> HeaderRead {
        let Some(head) = bytes.first_chunk::<LENGTH>() else { return HeaderRead::Broken };
        if bytes.iter().all(|byte| *byte == 0) {
            return HeaderRead::Blank;
        }
        if is_whole(head) {
            return Self::parse(head).map_or_else(|read| read, HeaderRead::Whole);
        }
        let mut mended = *head;
        if differing_bits(&head[..8], &MAGIC) <= 1 && mend(&mut mended) {
            return Self::parse(&mended).map_or_else(|read| read, HeaderRead::Mended);
        }
        // A later format may have its checksum elsewhere.
        match Self::parse(head) {
            Err(newer @ HeaderRead::Newer(_)) => newer,
            _ => HeaderRead::Broken,
        }
    }

    fn parse(head: &[u8; LENGTH]) -> Result<Self, HeaderRead> {
        let mut rest = &head[..];
        let (Some(magic), Some(format), Some(volume), Some(_), Some(incarnation), Some(length)) = (
            take::<8>(&mut rest),
            take(&mut rest).map(u32::from_le_bytes),
            take(&mut rest).map(u16::from_le_bytes),
            take::<2>(&mut rest),
            take(&mut rest).map(u64::from_le_bytes),
            take(&mut rest).map(u64::from_le_bytes),
        ) else {
            return Err(HeaderRead::Broken);
        };
        if magic != MAGIC {
            return Err(HeaderRead::Broken);
        }
        if format > FORMAT {
            return Err(HeaderRead::Newer(format));
        }
        Ok(Self { volume: VolumeNo(volume), incarnation, length })
    }
}

/// Takes bytes from the front.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*first)
}

/// Whether a header that ends with its CRC-32C is right.
pub(super) fn is_whole(header: &[u8]) -> bool {
    header.split_last_chunk::<4>().is_some_and(|(rest, sum)| crc32c(rest).to_le_bytes() == *sum)
}

/// Puts right the one wrong bit of such a header. Of so few bytes no two with a right CRC-32C are
/// less than six bits apart (Koopman, "32-Bit Cyclic Redundancy Codes for Internet Applications",
/// 2002), so one with two to four wrong bits is not taken for another.
pub(super) fn mend(header: &mut [u8]) -> bool {
    for bit in 0..header.len() * 8 {
        let flip = |header: &mut [u8]| {
            if let Some(byte) = header.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        };
        flip(header);
        if is_whole(header) {
            return true;
        }
        flip(header);
    }
    false
}

pub(super) fn differing_bits(some: &[u8], others: &[u8]) -> u32 {
    some.iter().zip(others).map(|(a, b)| (a ^ b).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader =
        SegmentHeader { volume: VolumeNo(3), incarnation: 1025, length: 64 << 20 };

    #[test]
    fn a_header_stands_as_the_format_says() {
        let bytes = HEADER.encode();
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(&bytes[..16], b"ICNJRNL\0\x01\0\0\0\x03\0\0\0");
        assert_eq!(&bytes[16..32], b"\x01\x04\0\0\0\0\0\0\0\0\0\x04\0\0\0\0");
        assert_eq!(bytes[32..36], crc32c(&bytes[..32]).to_le_bytes());
        assert!(bytes[36..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn one_wrong_bit_is_put_right_and_more_are_not() {
        for bit in 0..LENGTH * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), HeaderRead::Mended(HEADER), "bit {bit}");
            bytes[20] ^= 0x34;
            let read = SegmentHeader::decode(&bytes);
            assert!(!matches!(read, HeaderRead::Whole(_) | HeaderRead::Mended(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_later_format_is_told_apart_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        // Two bits away from format 1, so it is not mended into that.
        assert_eq!(SegmentHeader::decode(&bytes), HeaderRead::Newer(2));
        let sum = crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), HeaderRead::Newer(2));
        bytes[40] = 1;
        bytes[32..36].fill(0);
        assert_eq!(SegmentHeader::decode(&bytes), HeaderRead::Newer(2));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = SegmentHeader::decode(&bytes);
            let mut whole = HEADER.encode();
            whole[8..8 + bytes.len()].copy_from_slice(&bytes);
            let _ = SegmentHeader::decode(&whole);
        }

        #[test]
        fn what_was_written_is_read(volume: u16, incarnation: u64, length: u64) {
            let header = SegmentHeader { volume: VolumeNo(volume), incarnation, length };
            prop_assert_eq!(SegmentHeader::decode(&header.encode()), HeaderRead::Whole(header));
        }
    }
}
