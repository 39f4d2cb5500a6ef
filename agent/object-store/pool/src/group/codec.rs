//! Parity cells from data cells, and lost cells from those that are left.
//!
//! Every codec treats each 64 bytes at the same place of all cells for themselves, so that a part of a
//! cell, a multiple of 64 bytes at a multiple of 64, is made from the same part of the others.

use bytes::Bytes;

use super::reed_solomon;
use crate::buffer::Buffer;

/// Bytes that a codec treats together.
pub const STRIPE: u32 = 64;

/// How parity is computed. Its number stands in the header of every extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// k is 1: every parity cell is the data cell.
    Mirror,
    /// Reed-Solomon of the crate reed-solomon-simd, version 3.
    ReedSolomon,
    /// m is 1: the parity cell is the exclusive or of the data cells.
    Xor,
}

/// Cells of different lengths, or too few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too few cells, or cells that do not belong together")]
pub struct CodecError;

impl Codec {
    /// The one for new groups with k data and m parity cells.
    #[must_use]
    pub fn of(k: u8, m: u8) -> Self {
        match (k, m) {
            (1, _) | (_, 0) => Self::Mirror,
            (_, 1) => Self::Xor,
            _ => Self::ReedSolomon,
        }
    }

    /// Its number on disk.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            Self::Mirror => 0,
            Self::ReedSolomon => 1,
            Self::Xor => 2,
        }
    }

    /// The codec with this number, if it is known and can serve k data and m parity cells.
    #[must_use]
    pub fn from_id(id: u8, k: u8, m: u8) -> Option<Self> {
        match (id, k, m) {
            (_, 0, _) => None,
            (0, 1, _) | (0, _, 0) => Some(Self::Mirror),
            (1, _, 1..) => Some(Self::ReedSolomon),
            (2, _, 1) => Some(Self::Xor),
            _ => None,
        }
    }

    /// The m parity cells of these data cells.
    ///
    /// # Errors
    /// The cells are not of one length, or it is not a multiple of [`STRIPE`].
    pub fn encode(self, data: &[Bytes], m: usize) -> Result<Vec<Bytes>, CodecError> {
        let first = data.first().ok_or(CodecError)?;
        if data.iter().any(|cell| cell.len() != first.len()) || !whole_stripes(first) {
            return Err(CodecError);
        }
        if m == 0 {
            return Ok(Vec::new());
        }
        match self {
            Self::Mirror => Ok(vec![first.clone(); m]),
            Self::Xor => Ok(vec![xor(data.iter())]),
            Self::ReedSolomon => reed_solomon::encode(data, m),
        }
    }

    /// The cells numbered `want`, from at least k of all k + m cells; data cells come first.
    ///
    /// # Errors
    /// Fewer than k cells are there, or they are not of one length.
    pub fn reconstruct(
        self,
        k: usize,
        have: &[Option<Bytes>],
        want: &[usize],
    ) -> Result<Vec<Bytes>, CodecError> {
        let m = have.len().checked_sub(k).ok_or(CodecError)?;
        let present: Vec<(usize, &Bytes)> =
            have.iter().enumerate().filter_map(|(n, cell)| Some((n, cell.as_ref()?))).collect();
        let (_, first) = present.first().ok_or(CodecError)?;
        let alike = present.iter().all(|(_, cell)| cell.len() == first.len());
        if present.len() < k || !alike || !whole_stripes(first) {
            return Err(CodecError);
        }
        let data = match self {
            Self::Mirror if k == 1 => vec![(*first).clone()],
            Self::Mirror => present.iter().map(|(_, cell)| (*cell).clone()).collect(),
            Self::Xor => xor_data(k, have)?,
            Self::ReedSolomon => reed_solomon::data(k, have)?,
        };
        // Parity is made anew only where it is asked for.
        let parity = if want.iter().any(|n| *n >= k) { self.encode(&data, m)? } else { Vec::new() };
        want.iter().map(|n| data.iter().chain(&parity).nth(*n).cloned().ok_or(CodecError)).collect()
    }
}

fn whole_stripes(cell: &Bytes) -> bool {
    !cell.is_empty() && cell.len().is_multiple_of(STRIPE as usize)
}

fn xor<'a>(mut cells: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let Some(first) = cells.next() else { return Bytes::new() };
    let mut sum = Buffer::with_capacity(first.len());
    sum.bytes().extend_from_slice(first);
    for cell in cells {
        for (sum, byte) in sum.bytes().iter_mut().zip(cell.iter()) {
            *sum ^= byte;
        }
    }
    sum.freeze()
}

fn xor_data(k: usize, have: &[Option<Bytes>]) -> Result<Vec<Bytes>, CodecError> {
    let lost = || xor(have.iter().flatten());
    have.iter()
        .take(k)
        .map(|cell| Ok(cell.clone().unwrap_or_else(lost)))
        .collect::<Result<Vec<_>, _>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redundancy::redundancy;
    use crate::sim::Dice;

    fn random(dice: &mut Dice, length: usize) -> Bytes {
        (0..length).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect()
    }

    fn all_cells(k: u8, m: u8, length: usize, dice: &mut Dice) -> Vec<Bytes> {
        let mut cells: Vec<Bytes> = (0..k).map(|_| random(dice, length)).collect();
        let parity = Codec::of(k, m).encode(&cells, usize::from(m)).unwrap();
        assert_eq!(parity.len(), usize::from(m));
        cells.extend(parity);
        cells
    }

    #[test]
    fn every_loss_of_up_to_m_cells_is_made_good() {
        let mut patterns = 0;
        for volumes in 1..=14 {
            let found = redundancy(volumes).unwrap();
            let (k, n) = (usize::from(found.k), usize::from(found.k + found.m));
            let codec = Codec::of(found.k, found.m);
            let cells = all_cells(found.k, found.m, 192, &mut Dice(volumes as u64));
            for lost in 0_u32..1 << n {
                let is_lost = |cell: usize| lost >> cell & 1 == 1;
                let want: Vec<usize> = (0..n).filter(|cell| is_lost(*cell)).collect();
                let have: Vec<Option<Bytes>> =
                    (0..n).map(|cell| (!is_lost(cell)).then(|| cells[cell].clone())).collect();
                let made = codec.reconstruct(k, &have, &want);
                if want.len() > usize::from(found.m) {
                    assert_eq!(made, Err(CodecError));
                    continue;
                }
                let wanted: Vec<Bytes> = want.iter().map(|cell| cells[*cell].clone()).collect();
                assert_eq!(made.unwrap(), wanted, "{found:?} without {want:?}");
                patterns += 1;
            }
        }
        assert!(patterns > 2000);
    }

    #[test]
    fn a_part_of_a_cell_needs_that_part_of_the_others_only() {
        for (k, m) in [(1, 1), (2, 1), (2, 2), (10, 4)] {
            let cells = all_cells(k, m, 1024, &mut Dice(9));
            let part: Vec<Bytes> = cells.iter().map(|cell| cell.slice(128..448)).collect();
            let (data, parity) = part.split_at(usize::from(k));
            assert_eq!(Codec::of(k, m).encode(data, usize::from(m)).unwrap(), parity);
        }
    }

    #[test]
    fn numbers_on_disk_stay_and_misfits_are_refused() {
        for (codec, k, m) in [(Codec::Mirror, 1, 2), (Codec::ReedSolomon, 4, 2), (Codec::Xor, 2, 1)]
        {
            assert_eq!(Codec::from_id(codec.id(), k, m), Some(codec));
        }
        for (id, k, m) in [(0, 2, 1), (1, 3, 0), (2, 3, 2), (3, 3, 2), (0, 0, 0)] {
            assert_eq!(Codec::from_id(id, k, m), None);
        }
        let odd = [Bytes::from_static(&[0; 64]), Bytes::from_static(&[0; 128])];
        assert_eq!(Codec::Xor.encode(&odd, 1), Err(CodecError));
        assert_eq!(Codec::Xor.encode(&[Bytes::from_static(&[0; 63])], 1), Err(CodecError));
    }
}
