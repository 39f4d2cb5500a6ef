//! The framing `aws-chunked`, cut to chunks that fit in memory.
//!
//! s3s holds a whole chunk in memory before it passes it on. Signed chunks must be, as their
//! signature comes with them, so large ones are refused: clients send 64 KiB to 1 MiB. Unsigned
//! chunks carry nothing but their length, and some clients send an object of gigabytes as one; they
//! are cut, which no reader can tell.
//!
//! ```text
//! body    = *chunk last trailers
//! chunk   = size [";chunk-signature=" 64 hex] CRLF data CRLF     size in hex, without leading 0x
//! last    = "0" [";chunk-signature=" 64 hex] CRLF
//! ```

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Most bytes in a signed chunk. Eight times what the largest known client sends; with it, many
/// uploads at once still fit in memory.
pub(crate) const SIGNED_CHUNK_MAX_BYTES: u64 = 8 << 20;

/// Longest line before a chunk: 16 digits, the signature's 81 bytes, and room for an extension.
const LINE_MAX_BYTES: usize = 256;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The line before a chunk, of which this much came.
    Line(BytesMut),
    /// So many bytes of data.
    Data(u64),
    /// The line end behind the data, of which so many bytes came.
    LineEnd(usize),
    /// Trailers, to the end.
    Trailers,
}

/// Why a body was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RechunkError {
    #[error("the aws-chunked body is malformed")]
    Malformed,
    #[error("a signed chunk is larger than {SIGNED_CHUNK_MAX_BYTES} bytes")]
    TooLarge,
}

/// One body, in the middle of it.
#[derive(Debug)]
pub(crate) struct Rechunk {
    signed: bool,
    state: State,
}

impl Rechunk {
    pub(crate) fn new(signed: bool) -> Self {
        Self { signed, state: State::Line(BytesMut::new()) }
    }

    /// Takes what came and gives what goes on. Data is never copied.
    pub(crate) fn feed(
        &mut self,
        mut input: Bytes,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), RechunkError> {
        while !input.is_empty() {
            match &mut self.state {
                State::Line(line) => {
                    let Some(size) = line_size(line, &mut input)? else { return Ok(()) };
                    if self.signed && size > SIGNED_CHUNK_MAX_BYTES {
                        return Err(RechunkError::TooLarge);
                    }
                    if self.signed || size == 0 {
                        out.push_back(line.split().freeze());
                    }
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    let piece = input.split_to(here);
                    *left -= u64::try_from(here).unwrap_or(*left);
                    if *left == 0 {
                        self.state = State::LineEnd(0);
                    }
                    if self.signed {
                        out.push_back(piece);
                    } else {
                        out.push_back(Bytes::from(format!("{here:x}\r\n")));
                        out.push_back(piece);
                        out.push_back(Bytes::from_static(b"\r\n"));
                    }
                }
                State::LineEnd(seen) => {
                    let expect = if *seen == 0 { b'\r' } else { b'\n' };
                    if input.get_u8() != expect {
                        return Err(RechunkError::Malformed);
                    }
                    *seen += 1;
                    if *seen == 2 {
                        if self.signed {
                            out.push_back(Bytes::from_static(b"\r\n"));
                        }
                        self.state = State::Line(BytesMut::new());
                    }
                }
                State::Trailers => out.push_back(std::mem::take(&mut input)),
            }
        }
        Ok(())
    }
}

/// Moves bytes to the line until it is whole, and then gives the size that it tells.
fn line_size(line: &mut BytesMut, input: &mut Bytes) -> Result<Option<u64>, RechunkError> {
    let end = input.iter().position(|b| *b == b'\n').map_or(input.len(), |at| at + 1);
    if line.len() + end > LINE_MAX_BYTES {
        return Err(RechunkError::Malformed);
    }
    line.extend_from_slice(&input.split_to(end));
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    let text = line.strip_suffix(b"\r\n").ok_or(RechunkError::Malformed)?;
    let digits = text.split(|b| *b == b';').next().unwrap_or_default();
    let digit = |b: &u8| b.is_ascii_hexdigit();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(digit) {
        return Err(RechunkError::Malformed);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| RechunkError::Malformed)?;
    u64::from_str_radix(digits, 16).map(Some).map_err(|_| RechunkError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(body: &[u8], pieces: usize, signed: bool) -> Result<Vec<u8>, RechunkError> {
        let mut rechunk = Rechunk::new(signed);
        let mut out = VecDeque::new();
        for piece in body.chunks(pieces.max(1)) {
            rechunk.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        Ok(out.into_iter().flatten().collect())
    }

    /// Reads the framing in the simplest way, for whole bodies only.
    fn read(mut body: &[u8]) -> (Vec<u8>, Vec<u8>, usize) {
        let (mut data, mut largest) = (Vec::new(), 0);
        loop {
            let at = body.windows(2).position(|w| w == b"\r\n").unwrap();
            let line = std::str::from_utf8(&body[..at]).unwrap();
            let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
            body = &body[at + 2..];
            if size == 0 {
                return (data, body.to_vec(), largest);
            }
            largest = largest.max(size);
            data.extend_from_slice(&body[..size]);
            assert_eq!(&body[size..size + 2], b"\r\n");
            body = &body[size + 2..];
        }
    }

    #[test]
    fn an_unsigned_chunk_is_cut_to_what_came_at_once() {
        let mut body = b"2710\r\n".to_vec();
        body.extend_from_slice(&[7; 10_000]);
        body.extend_from_slice(b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        let (data, trailers, largest) = read(&cut(&body, 64, false).unwrap());
        assert_eq!(data, [7; 10_000]);
        assert_eq!(trailers, b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        assert!(largest <= 64);
    }

    #[test]
    fn signed_chunks_pass_unchanged_but_not_when_large() {
        let body = b"3;chunk-signature=ab\r\nabc\r\n0;chunk-signature=cd\r\n\r\n";
        assert_eq!(cut(body, 5, true).unwrap(), body);
        let large = format!("{:x};chunk-signature=ab\r\n", SIGNED_CHUNK_MAX_BYTES + 1);
        assert_eq!(cut(large.as_bytes(), 9, true), Err(RechunkError::TooLarge));
    }

    #[test]
    fn wrong_framing_is_refused() {
        let long = [b'1'; LINE_MAX_BYTES + 1];
        for wrong in [&b"\r\n"[..], b"x\r\n", b"3\nabc", b"3\r\nabcd", b"3\r\nabc\n\r", b"+3\r\n"] {
            assert_eq!(cut(wrong, 64, false), Err(RechunkError::Malformed), "{wrong:?}");
        }
        assert_eq!(cut(&long, 1000, true), Err(RechunkError::Malformed));
        assert_eq!(cut(b"11111111111111111\r\n", 64, true), Err(RechunkError::Malformed));
    }

    proptest! {
        #[test]
        fn cutting_never_changes_the_data(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..6),
            pieces in 1usize..100,
            signed: bool,
        ) {
            let mut body = Vec::new();
            let mut expect = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
                expect.extend_from_slice(chunk);
            }
            body.extend_from_slice(b"0\r\na:b\r\n\r\n");
            let (data, trailers, _) = read(&cut(&body, pieces, signed).unwrap());
            prop_assert_eq!(data, expect);
            prop_assert_eq!(trailers, b"a:b\r\n\r\n");
        }
    }
}
