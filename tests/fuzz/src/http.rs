//! Whole requests to the S3 service: heads, queries, documents and bodies behind a right signature, as
//! only those of a user get far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use agent_object_store::{Class, Engine, EngineConfig, Owner, PoolId, Volume, VolumeId};
use agent_s3::{S3Config, S3Server, User, fuzzing};
use rusty_s3::actions::{
    CompleteMultipartUpload, CreateBucket, CreateMultipartUpload, DeleteObject, DeleteObjects,
    GetObject, HeadObject, ListObjectsV2, ObjectIdentifier, PutObject, UploadPart,
};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::Given;

pub(crate) const TARGETS: &[Given] = &[("s3-request", request, requests)];

const KEYS: (&str, &str) = ("AKFUZZ", "a-secret-of-the-fuzzer");

/// How long a signature counts: longer than any run.
const SIGNED_FOR: Duration = Duration::from_secs(86_400);

/// How long a request may take; one whose body is not whole takes so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a connection holds between the two sides.
const PIPE: usize = 64 << 10;

/// A panic in a task of the server, which would otherwise only close a connection.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// A service over one volume in a folder.
struct Node {
    runtime: Runtime,
    server: S3Server,
    /// An upload that is open, with one part.
    upload: String,
    _folder: tempfile::TempDir,
}

/// One for the process: making one takes longer than many requests.
fn node() -> &'static Mutex<Node> {
    static NODE: OnceLock<Mutex<Node>> = OnceLock::new();
    NODE.get_or_init(|| Mutex::new(Node::start().expect("a node")))
}

impl Node {
    fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.store(true, Ordering::Relaxed);
            before(info);
        }));
        let folder = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut config = EngineConfig::new(PoolId::new("fuzz")?, Zeroizing::new([7; 32]));
        config.founding = Duration::ZERO;
        let volume = Volume {
            id: VolumeId::new("disk")?,
            path: folder.path().to_owned(),
            class: Class::Ssd,
        };
        let server = runtime.block_on(async {
            let store = Engine::open(config);
            store.attach(volume).await?;
            let user = User {
                name: Owner::new("fuzz")?,
                access_key: KEYS.0.to_owned(),
                secret_key: Zeroizing::new(KEYS.1.to_owned()),
            };
            let region = "eu-test-1".to_owned();
            let config = S3Config { users: vec![user], region, domains: vec!["s3.test".into()] };
            Ok::<_, Box<dyn std::error::Error>>(S3Server::new(Arc::new(store), config)?)
        })?;
        let mut node = Self { runtime, server, upload: String::new(), _folder: folder };
        let asked = [
            Asked { operation: 0, ..Asked::default() },
            Asked { operation: 1, body: b"some bytes", ..Asked::default() },
        ];
        for asked in asked {
            node.wait_for(&asked);
        }
        node.begin_upload();
        Ok(node)
    }

    /// Asks until the store is open.
    fn wait_for(&self, asked: &Asked<'_>) {
        for _ in 0..500 {
            let answer = self.ask(asked);
            if answer.starts_with("HTTP/1.1 200") {
                return;
            }
            // Where the machine is busy the connection may have been given up.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
            self.runtime.block_on(tokio::time::sleep(Duration::from_millis(10)));
        }
        unreachable!("the store does not open");
    }

    fn begin_upload(&mut self) {
        let begun = self.ask(&Asked { operation: 2, ..Asked::default() });
        let found = begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<'));
        self.upload = found.map(|(upload, _)| upload.to_owned()).unwrap_or_default();
        self.ask(&Asked { operation: 3, body: b"a part", ..Asked::default() });
    }

    /// Sends a request on a connection of its own and reads to the end.
    fn ask(&self, asked: &Asked<'_>) -> String {
        self.exchange(&asked.bytes(&self.upload))
    }

    fn exchange(&self, request: &[u8]) -> String {
        let (mut here, there) = tokio::io::duplex(PIPE);
        let client = async {
            let mut answer = Vec::new();
            let (mut reading, mut writing) = tokio::io::split(&mut here);
            let send = async {
                // The service may end the connection before it has read everything.
                let _sent = writing.write_all(request).await;
                // Whoever ends his side is not answered any more; who waits for more is not either.
                tokio::time::sleep(PATIENCE).await;
                let _ended = writing.shutdown().await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = send => {}
                _read = reading.read_to_end(&mut answer) => {}
            }
            answer
        };
        let both = async { tokio::join!(fuzzing::serve(&self.server, there), client).1 };
        String::from_utf8_lossy(&self.runtime.block_on(both)).into_owned()
    }
}

/// What of a request is the fuzzer's.
#[derive(Debug, Clone, Copy, Default)]
struct Asked<'a> {
    operation: u8,
    /// In the form of a query.
    query: &'a str,
    /// Lines.
    headers: &'a str,
    body: &'a [u8],
}

impl<'a> Asked<'a> {
    /// An operation, a query, headers, and a body; a zero between each two of the last three.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (operation, rest) = bytes.split_first()?;
        let mut parts = rest.splitn(3, |byte| *byte == 0);
        let mut next = || parts.next().unwrap_or_default();
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let (query, headers, body) = (text(next())?, text(next())?, next());
        Some(Self { operation: *operation, query, headers, body })
    }

    /// The request, signed in its URL.
    fn bytes(&self, upload: &str) -> Vec<u8> {
        let endpoint = "http://s3.test".parse().expect("a URL");
        let bucket = Bucket::new(endpoint, UrlStyle::Path, "fuzz", "eu-test-1").expect("a bucket");
        let user = Credentials::new(KEYS.0, KEYS.1);
        let key = "a key";
        let signed = |action| self.sign(action);
        let none: [ObjectIdentifier; 0] = [];
        let tags: [&str; 0] = [];
        let (method, url) = match self.operation % 10 {
            0 => ("PUT", self.sign(CreateBucket::new(&bucket, &user))),
            1 => ("PUT", self.sign(PutObject::new(&bucket, Some(&user), key))),
            2 => ("POST", self.sign(CreateMultipartUpload::new(&bucket, Some(&user), key))),
            3 => ("PUT", self.sign(UploadPart::new(&bucket, Some(&user), key, 1, upload))),
            4 => {
                let tags = tags.into_iter();
                let action = CompleteMultipartUpload::new(&bucket, Some(&user), key, upload, tags);
                ("POST", self.sign(action))
            }
            5 => ("POST", self.sign(DeleteObjects::new(&bucket, Some(&user), none.iter()))),
            6 => ("GET", signed(GetObject::new(&bucket, Some(&user), key))),
            7 => ("GET", self.sign(ListObjectsV2::new(&bucket, Some(&user)))),
            8 => ("HEAD", self.sign(HeadObject::new(&bucket, Some(&user), key))),
            _ => ("DELETE", self.sign(DeleteObject::new(&bucket, Some(&user), "another"))),
        };
        let mut request =
            format!("{method} {url} HTTP/1.1\r\nhost: s3.test\r\nconnection: close\r\n");
        for line in self.headers.lines() {
            request.push_str(line);
            request.push_str("\r\n");
        }
        let is_framed = request.to_ascii_lowercase().contains("\r\ntransfer-encoding:");
        if !is_framed {
            request.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        request.push_str("\r\n");
        [request.as_bytes(), self.body].concat()
    }

    /// The path and query of the request, with the fuzzer's headers signed.
    fn sign<'b>(&self, mut action: impl S3Action<'b>) -> String {
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            action.query_mut().insert(name.to_owned(), value.to_owned());
        }
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in self.headers.lines().filter_map(|line| line.split_once(':')) {
            let name = name.to_ascii_lowercase();
            if name.starts_with("x-amz-") {
                headers.insert(name, value.trim().to_owned());
            }
        }
        for (name, value) in headers {
            action.headers_mut().insert(name, value);
        }
        let url = action.sign(SIGNED_FOR);
        format!("{}?{}", url.path(), url.query().unwrap_or_default())
    }
}

/// No request makes the service fail for a reason of its own.
fn request(bytes: &[u8]) {
    let mut node = node().lock().unwrap_or_else(PoisonError::into_inner);
    let answer = match (bytes.split_first(), Asked::of(bytes)) {
        (Some((255, raw)), _) => node.exchange(raw),
        (_, Some(asked)) => node.ask(&asked),
        _ => return,
    };
    assert!(!PANICKED.swap(false, Ordering::Relaxed), "a task of the service panicked");
    assert!(!answer.starts_with("HTTP/1.1 500"), "{answer}");
    let ended = matches!(bytes.first(), Some(operation) if operation % 10 == 4);
    if ended && answer.starts_with("HTTP/1.1 200") {
        node.begin_upload();
    }
}

fn requests() -> Vec<Vec<u8>> {
    let ask = |operation: u8, query: &str, headers: &str, body: &str| {
        [&[operation][..], query.as_bytes(), &[0], headers.as_bytes(), &[0], body.as_bytes()]
            .concat()
    };
    let part =
        "<Part><PartNumber>1</PartNumber><ETag>\"0b7ef54cbf8d6f4f6c8cd1f4b5f6c7a1\"</ETag></Part>";
    let parts = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
    let keys = "<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>";
    let place = "<CreateBucketConfiguration><LocationConstraint>eu-test-1</LocationConstraint>\
        </CreateBucketConfiguration>";
    let chunked = "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\n\
        x-amz-decoded-content-length: 5\nx-amz-trailer: x-amz-checksum-crc32\n\
        content-encoding: aws-chunked";
    let body = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let metadata = "content-type: text/plain\nx-amz-meta-colour: blue\nif-none-match: *\n\
        content-md5: XUFAKrxLKna5cZ2REBfFkg==\nexpires: Thu, 01 Dec 1994 16:00:00 GMT";
    let mut raw = vec![255];
    raw.extend_from_slice(
        b"PUT /fuzz/k HTTP/1.1\r\nhost: s3.test\r\nauthorization: AWS4-HMAC-SHA256 \
          Credential=AKFUZZ/20260102/eu-test-1/s3/aws4_request, SignedHeaders=host;x-amz-date, \
          Signature=00\r\nx-amz-date: 20260102T030405Z\r\ncontent-length: 0\r\n\r\n",
    );
    vec![
        ask(0, "", "", place),
        ask(1, "", metadata, "hello"),
        ask(1, "", chunked, body),
        ask(1, "", "x-amz-copy-source: /fuzz/a%20key\nx-amz-metadata-directive: REPLACE", ""),
        ask(3, "", "x-amz-copy-source: fuzz/a%20key\nx-amz-copy-source-range: bytes=0-3", ""),
        ask(4, "", "", &parts),
        ask(5, "", "content-md5: 1B2M2Y8AsgTpgAmY7PhCfg==", keys),
        ask(6, "response-content-type=text/plain&partNumber=1", "range: bytes=2-5", ""),
        ask(6, "", "range: bytes=-3\nif-modified-since: Thu, 01 Dec 1994 16:00:00 GMT", ""),
        ask(7, "prefix=a&delimiter=/&max-keys=2&encoding-type=url&start-after=a", "", ""),
        ask(7, "continuation-token=YQ==&fetch-owner=true", "", ""),
        ask(8, "", "if-match: \"x\"\nx-amz-checksum-mode: ENABLED", ""),
        ask(9, "versionId=null", "", ""),
        raw,
    ]
}
