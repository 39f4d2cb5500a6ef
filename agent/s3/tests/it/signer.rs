//! Signature Version 4 written a second time, from its specification, so that the service is not
//! tested against itself.

use std::fmt::Write as _;
use std::net::SocketAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::node::KEYS;

pub(crate) fn hex_sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

fn keyed(key: &[u8], data: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A request in the making.
pub(crate) struct Signed {
    pub(crate) keys: (&'static str, &'static str),
    pub(crate) method: &'static str,
    /// Encoded, with its query in canonical order.
    pub(crate) path: String,
    pub(crate) host: String,
    /// What `x-amz-content-sha256` says; the body's digest if none.
    pub(crate) payload: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// How far the client's clock is ahead, in seconds.
    pub(crate) ahead_seconds: i64,
    pub(crate) body: Vec<u8>,
}

impl Signed {
    pub(crate) fn new(address: SocketAddr, method: &'static str, path: &str) -> Self {
        Self {
            keys: KEYS,
            method,
            path: path.to_owned(),
            host: address.to_string(),
            payload: None,
            headers: Vec::new(),
            ahead_seconds: 0,
            body: Vec::new(),
        }
    }

    pub(crate) fn by(mut self, keys: (&'static str, &'static str)) -> Self {
        self.keys = keys;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The whole request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The request without its body.
    pub(crate) fn head(&self) -> String {
        let (head, _, _) = self.signed_head();
        head
    }

    /// The request with its body in signed chunks; `spoiled` has a wrong signature.
    pub(crate) fn in_chunks(mut self, chunks: &[&[u8]], spoiled: Option<usize>) -> Vec<u8> {
        self.payload = Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        let all: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        self.headers.push(("x-amz-decoded-content-length", all.to_string()));
        self.headers.push(("content-encoding", "aws-chunked".to_owned()));
        let framing =
            |chunk: &&[u8]| format!("{:x}", chunk.len()).len() + 17 + 64 + 4 + chunk.len();
        let last: &[u8] = b"";
        let wanted: Vec<&[u8]> = chunks.iter().copied().chain([last]).collect();
        self.body = vec![0; wanted.iter().map(framing).sum()];
        let (head, seed, (key, date, scope)) = self.signed_head();
        let (mut bytes, mut before) = (head.into_bytes(), seed);
        for (number, chunk) in wanted.iter().enumerate() {
            let text = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{before}\n{}\n{}",
                hex_sha256(b""),
                hex_sha256(chunk)
            );
            before = hex::encode(keyed(&key, &text));
            let shown = if spoiled == Some(number) { "0".repeat(64) } else { before.clone() };
            let line = format!("{:x};chunk-signature={shown}\r\n", chunk.len());
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    fn signed_head(&self) -> (String, String, (Vec<u8>, String, String)) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let moment = i64::try_from(now).unwrap() + self.ahead_seconds;
        let moment = OffsetDateTime::from_unix_timestamp(moment).unwrap();
        let form = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date = moment.format(form).unwrap();
        let scope = format!("{}/eu-test-1/s3/aws4_request", &date[..8]);
        let payload = self.payload.map_or_else(|| hex_sha256(&self.body), str::to_owned);
        let mut headers = self.headers.clone();
        headers.push(("host", self.host.clone()));
        headers.push(("x-amz-date", date.clone()));
        headers.push(("x-amz-content-sha256", payload.clone()));
        headers.sort();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mut canonical = format!("{}\n{path}\n{query}\n", self.method);
        for (name, value) in &headers {
            writeln!(canonical, "{name}:{value}").unwrap();
        }
        write!(canonical, "\n{names}\n{payload}").unwrap();
        let digest = hex_sha256(canonical.as_bytes());
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let first = format!("AWS4{}", self.keys.1).into_bytes();
        let key = [&date[..8], "eu-test-1", "s3", "aws4_request"]
            .iter()
            .fold(first, |key, part| keyed(&key, part));
        let signature = hex::encode(keyed(&key, &text));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(
            head,
            "content-length: {}\r\nauthorization: AWS4-HMAC-SHA256 Credential={}/{scope}, \
             SignedHeaders={names}, Signature={signature}\r\n\r\n",
            self.body.len(),
            self.keys.0
        )
        .unwrap();
        (head, signature, (key, date, scope))
    }
}
