//! A support bundle: files in a tar, compressed with zstd, encrypted with age to those whom the configuration
//! names.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::str::FromStr as _;

use age::x25519;

use crate::redact::Redactor;

/// The largest bundle in bytes: init keeps logs of some MiB, and all else together is smaller.
pub const BUNDLE_MAX: usize = 64 << 20;

/// The most of one log that goes in, in bytes; of a longer one the oldest lines are left out. Two such logs and
/// what is told in JSON stay below [`BUNDLE_MAX`] also where nothing can be compressed.
pub const LOG_MAX: usize = 16 << 20;

/// Longer lines of a log are cut: what runs on is no line.
const LINE_MAX: u64 = 64 << 10;

/// zstd's own choice: more takes a small machine minutes.
const LEVEL: i32 = 3;

/// One file of a bundle; its content has no secrets any more.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name, such as `status.json`.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Nobody could open it.
    #[error(
        "no keys can open it: write the public key of whoever helps as recipients of [support] in node.toml"
    )]
    NoRecipients,
    /// One of the keys is none.
    #[error("{recipient} is not a recipient of age: {why}")]
    Recipient {
        /// As it is written.
        recipient: String,
        /// What is wrong.
        why: String,
    },
    /// age does not encrypt to these keys.
    #[error("cannot encrypt to the recipients: {why}")]
    Encrypt {
        /// Why.
        why: String,
    },
    /// Not all of it was written.
    #[error("cannot pack {part}: {source}")]
    Pack {
        /// Which part.
        part: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Packs the parts, with the time `made_at` in seconds since 1970 on each.
///
/// # Errors
/// See [`BundleError`].
pub fn pack(parts: &[Part], recipients: &[String], made_at: u64) -> Result<Vec<u8>, BundleError> {
    let keys = recipients.iter().map(|recipient| {
        x25519::Recipient::from_str(recipient).map_err(|why| BundleError::Recipient {
            recipient: recipient.clone(),
            why: why.to_owned(),
        })
    });
    let keys: Vec<x25519::Recipient> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(BundleError::NoRecipients);
    }
    let keys = keys.iter().map(|key| key as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(keys)
        .map_err(|error| BundleError::Encrypt { why: error.to_string() })?;
    let failed = |part: &str| {
        let part = part.to_owned();
        move |source| BundleError::Pack { part, source }
    };
    let sealed = encryptor.wrap_output(Bounded(Vec::new())).map_err(failed("the bundle"))?;
    let packed = zstd::Encoder::new(sealed, LEVEL).map_err(failed("the bundle"))?;
    let mut files = tar::Builder::new(packed);
    for Part { name, content } in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(made_at);
        let path = format!("icn-support/{name}");
        files.append_data(&mut header, path, content.as_slice()).map_err(failed(name))?;
    }
    let end = || -> io::Result<Vec<u8>> { Ok(files.into_inner()?.finish()?.finish()?.0) };
    end().map_err(failed("the bundle"))
}

/// Bytes of which there may be [`BUNDLE_MAX`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > BUNDLE_MAX {
            return Err(io::Error::other(format!("it would be larger than {BUNDLE_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of a log without its secrets, at most `most` bytes; the oldest lines are left out.
///
/// # Errors
/// It cannot be read.
pub fn log(path: &Path, most: usize, redactor: &Redactor) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(most as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::new(file.take(most as u64));
    let mut all = Vec::new();
    let mut within_key = false;
    let mut line = Vec::new();
    // What does not start at the start of a line is half a line, and the half of a secret is not known.
    let mut is_half = start > 0;
    while reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? > 0 {
        let is_whole = line.last() == Some(&b'\n');
        if !is_half {
            let text = String::from_utf8_lossy(&line);
            all.extend_from_slice(redactor.line(&text, &mut within_key).as_bytes());
            if !is_whole {
                all.push(b'\n');
            }
        }
        // The rest of a line that is too long could begin within a secret: it is left out.
        is_half = !is_whole;
        line.clear();
    }
    // Redaction makes some lines longer.
    let excess = all.len().saturating_sub(most);
    let cut = all.iter().skip(excess).position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    all.drain(..if excess > 0 { excess + cut } else { 0 });
    Ok(all)
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
