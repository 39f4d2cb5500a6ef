//! Little-endian fields in and out of byte strings, without a way to panic.

/// A field that did not fit: the record ended early, or a length is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short;

/// Takes fields off the front of a byte string.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Short)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        self.bytes(N)?.try_into().map_err(|_| Short)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Short> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Short> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A string of at most `most` bytes behind one byte of length.
    pub(crate) fn text(&mut self, most: usize) -> Result<String, Short> {
        let length = usize::from(self.u8()?);
        if length > most {
            return Err(Short);
        }
        String::from_utf8(self.bytes(length)?.to_vec()).map_err(|_| Short)
    }

    /// Whether everything left is zero.
    pub(crate) fn rest_is_zero(&self) -> bool {
        self.rest.iter().all(|&byte| byte == 0)
    }
}

/// Appends a string behind one byte of length; what is longer than 255 bytes is refused by
/// `false`.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) -> bool {
    let Ok(length) = u8::try_from(text.len()) else { return false };
    out.push(length);
    out.extend_from_slice(text.as_bytes());
    true
}
