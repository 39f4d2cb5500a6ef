//! Bytes with a wrong checksum, and with the right one.

/// CRC-32C of bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> [u8; 4] {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(sum).unwrap_or_default().to_le_bytes()
}

/// The same with the right CRC-32C over the first bytes in the four behind them.
pub(crate) fn summed(bytes: &[u8], before: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some((said, rest)) = bytes.split_at_mut_checked(before)
        && let Some(sum) = rest.first_chunk_mut::<4>()
    {
        *sum = crc32c(said);
    }
    bytes
}

/// Takes the parts of an input one after the other.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number<const N: usize>(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        let mut wide = [0; 8];
        wide.get_mut(..N)?.copy_from_slice(first);
        Some(u64::from_le_bytes(wide))
    }

    /// So many bytes, or as many as are left.
    pub(crate) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        first
    }
}
