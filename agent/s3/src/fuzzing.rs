//! What a fuzzer asks of the decoders of this crate. Part of no release.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::S3Server;
use crate::wire::rechunk::{Rechunk, RechunkError};
use crate::wire::{Ends, serve_http1};

/// A name, what is done with the fuzzer's bytes, and bytes to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All targets of this crate but the whole server.
pub const TARGETS: &[Target] = &[("aws-chunked", read_chunks, chunks)];

/// Serves one connection of HTTP/1.1 to its end.
pub async fn serve(
    server: &S3Server,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let ends = Ends { drain: CancellationToken::new(), stop: CancellationToken::new() };
    serve_http1(stream, server.clone(), ends).await;
}

/// How a body comes in pieces changes neither its data nor whether it is refused, and what was signed
/// goes on as it came.
fn read_chunks(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let is_signed = first & 1 == 1;
    let piece = usize::from(first >> 1) + 1;
    let (whole, pieces) = (cut(body, body.len(), is_signed), cut(body, piece, is_signed));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) if is_signed => assert_eq!(whole, pieces),
        (Ok(whole), Ok(pieces)) => assert_eq!(data(&whole), data(&pieces)),
        (Err(whole), Err(pieces)) => assert_eq!(whole, pieces),
        (whole, pieces) => unreachable!("{whole:?} and {pieces:?}"),
    }
}

fn cut(body: &[u8], piece: usize, is_signed: bool) -> Result<Vec<u8>, RechunkError> {
    let mut rechunk = Rechunk::new(is_signed);
    let mut out = VecDeque::new();
    for piece in body.chunks(piece.max(1)) {
        rechunk.feed(Bytes::copy_from_slice(piece), &mut out)?;
    }
    let out = Vec::from(out).concat();
    assert!(!is_signed || body.starts_with(&out));
    Ok(out)
}

/// The data of chunks that were cut, and what stands behind them.
fn data(mut body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut found = Vec::new();
    while let Some(at) = body.windows(2).position(|two| two == b"\r\n") {
        let line = body.get(..at).and_then(|line| std::str::from_utf8(line).ok());
        let size = line.and_then(|line| usize::from_str_radix(line, 16).ok()).unwrap_or_default();
        if size == 0 {
            break;
        }
        found.extend_from_slice(body.get(at + 2..at + 2 + size).unwrap_or_default());
        body = body.get(at + 2 + size + 2..).unwrap_or_default();
    }
    (found, body.to_vec())
}

fn chunks() -> Vec<Vec<u8>> {
    let signature = "0".repeat(64);
    let signed = format!(
        "5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\
         x-amz-trailer-signature:{signature}\r\n\r\n"
    );
    let plain = "5\r\nhello\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let (signed, plain) = (signed.as_bytes(), plain.as_bytes());
    vec![[&[5][..], signed].concat(), [&[4][..], plain].concat(), [&[254][..], plain].concat()]
}
