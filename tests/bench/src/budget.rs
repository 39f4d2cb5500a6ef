//! What one core can hash and seal: a limit of writing large objects.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use fast_md5::Md5;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest;

use crate::content::Content;

/// Bytes that are taken at once, as a server takes them from a connection and seals them.
const PIECE: usize = 64 << 10;

/// MiB/s of one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// MD5, BLAKE3 and AES-256-GCM of the same bytes.
    pub(crate) checksums: f64,
    /// The same, and the SHA-256 that a signed payload needs.
    pub(crate) with_sha256: f64,
}

/// Measures on one thread.
///
/// # Errors
/// A cipher refuses.
pub(crate) fn measure(content: &Content, time: Duration) -> Result<Budget> {
    let buffer = content.body(16 << 20, 0);
    Ok(Budget { checksums: rate(&buffer, time, false)?, with_sha256: rate(&buffer, time, true)? })
}

fn rate(buffer: &[u8], time: Duration, with_sha256: bool) -> Result<f64> {
    let refused = |_| anyhow!("AES-256-GCM refuses");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(refused)?);
    let (mut md5, mut blake3) = (Md5::new(), blake3::Hasher::new());
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut sealed = vec![0; PIECE];
    let (mut done, started) = (0_u64, Instant::now());
    while started.elapsed() < time {
        for piece in buffer.chunks_exact(PIECE) {
            md5.update(piece);
            blake3.update(piece);
            if with_sha256 {
                sha256.update(piece);
            }
            sealed.copy_from_slice(piece);
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&done.to_le_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut sealed);
            std::hint::black_box(tag.map_err(refused)?.as_ref());
            done += piece.len() as u64;
        }
    }
    let rate = done as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64();
    // Used, so that none of it can be left out.
    std::hint::black_box((md5.finalize(), blake3.finalize(), sha256.finish(), sealed));
    Ok(rate)
}
