//! A body that is taken in piece by piece, its length checked on the way.

use bytes::Bytes;
use futures::StreamExt as _;

use crate::checksum::{Algorithm, Checksum};
use crate::error::StoreError;
use crate::object::Body;

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Feed {
    body: Body,
    received: u64,
    /// What was received beyond what was asked for.
    rest: Bytes,
}

impl Feed {
    /// # Errors
    /// The body says that it is larger than it may be.
    pub(crate) fn new(body: Body) -> Result<Self, StoreError> {
        match body.length {
            Some(length) if length > body.limit => Err(StoreError::TooLarge { limit: body.limit }),
            _ => Ok(Self { body, received: 0, rest: Bytes::new() }),
        }
    }

    /// The algorithms by which the body is checked or is to be kept.
    pub(crate) fn algorithms(&self, keep: &[Algorithm]) -> Vec<Algorithm> {
        let expected = self.body.expected.iter().map(Checksum::algorithm);
        expected.chain(keep.iter().copied()).collect()
    }

    /// The length that the body says of itself, in bytes.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.length
    }

    /// Bytes to make room for: what the body says of itself, or what came so far.
    pub(crate) fn expected_bytes(&self) -> u64 {
        self.body.length.unwrap_or(self.received)
    }

    /// Fills `buffer` up to `length` bytes; fewer only at the end of the body.
    ///
    /// # Errors
    /// The body broke off, or is longer or shorter than it said or may be.
    pub(crate) async fn fill(
        &mut self,
        buffer: &mut Vec<u8>,
        length: usize,
    ) -> Result<(), StoreError> {
        while buffer.len() < length {
            if self.rest.is_empty() {
                let Some(chunk) = self.body.stream.next().await else { return self.check_end() };
                self.rest = chunk.map_err(|source| StoreError::Body { source })?;
                self.received += self.rest.len() as u64;
                self.check_length()?;
            }
            let take = self.rest.len().min(length - buffer.len());
            buffer.extend_from_slice(&self.rest.split_to(take));
        }
        Ok(())
    }

    /// What the body must be, with the checksums that came behind it. Only at its end.
    ///
    /// # Errors
    /// The checksums behind it cannot be read.
    pub(crate) fn expected(self) -> Result<Vec<Checksum>, StoreError> {
        let mut expected = self.body.expected;
        if let Some(trailer) = self.body.trailer {
            expected.extend(trailer().map_err(|source| StoreError::Body { source })?);
        }
        Ok(expected)
    }

    fn check_length(&self) -> Result<(), StoreError> {
        if let Some(declared) = self.body.length.filter(|length| self.received > *length) {
            return Err(StoreError::LengthMismatch { declared, received: self.received });
        }
        if self.received > self.body.limit {
            return Err(StoreError::TooLarge { limit: self.body.limit });
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), StoreError> {
        match self.body.length {
            Some(declared) if declared != self.received => {
                Err(StoreError::LengthMismatch { declared, received: self.received })
            }
            _ => Ok(()),
        }
    }
}
