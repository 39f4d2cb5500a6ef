//! Numbers and bytes in sequence; numbers are little-endian.

use crate::{ProofError, Root};

/// Takes a proof apart.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ProofError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(ProofError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], ProofError> {
        let (first, rest) = self.0.split_at_checked(length).ok_or(ProofError::Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ProofError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ProofError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ProofError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn root(&mut self) -> Result<Root, ProofError> {
        self.array()
    }

    /// Text behind its length in bytes.
    pub(crate) fn text(&mut self) -> Result<String, ProofError> {
        let length = usize::from(self.u16()?);
        let text = str::from_utf8(self.bytes(length)?).map_err(|_| ProofError::Malformed)?;
        Ok(text.to_owned())
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Nothing stands behind what was taken.
    pub(crate) fn end(self) -> Result<(), ProofError> {
        if self.0.is_empty() { Ok(()) } else { Err(ProofError::Malformed) }
    }
}
