//! A server of its own for a test, on a free port, with its objects in a folder that goes with it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use agent_object_store::{Class, Engine, EngineConfig, Owner, PoolId, Volume, VolumeId};
use agent_s3::{S3Config, S3Server, User};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// The first user's keys.
pub(crate) const KEYS: (&str, &str) = ("AKALICE", "alice-secret");

/// The second user's keys.
pub(crate) const KEYS2: (&str, &str) = ("AKBOB", "bob-secret");

/// How a test's server differs from the usual one.
#[derive(Default)]
pub(crate) struct Setup {
    /// Without any disk.
    pub(crate) no_disk: bool,
    /// Bytes that stay free on the disk.
    pub(crate) reserve_bytes: Option<u64>,
    /// With TLS.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// A running server. It ends when dropped.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) server: S3Server,
    pub(crate) store: Engine,
    pub(crate) cancel: CancellationToken,
    pub(crate) serving: Option<JoinHandle<std::io::Result<()>>>,
    pub(crate) runtime: Runtime,
    _folder: tempfile::TempDir,
}

pub(crate) fn user(name: &str, keys: (&str, &str)) -> User {
    User {
        name: Owner::new(name).unwrap(),
        access_key: keys.0.to_owned(),
        secret_key: Zeroizing::new(keys.1.to_owned()),
    }
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let node_key = Zeroizing::new([7; 32]);
        let mut config = EngineConfig::new(PoolId::new("test").unwrap(), node_key);
        // Nothing else comes.
        config.founding = Duration::ZERO;
        config.reserve_bytes = setup.reserve_bytes.unwrap_or(config.reserve_bytes);
        let store = Engine::open(config);
        if !setup.no_disk {
            let volume = Volume {
                id: VolumeId::new("disk").unwrap(),
                path: folder.path().to_owned(),
                class: Class::Ssd,
            };
            runtime.block_on(store.attach(volume)).unwrap();
        }
        let config = S3Config {
            users: vec![user("alice", KEYS), user("bob", KEYS2)],
            region: "eu-test-1".to_owned(),
            domains: vec!["s3.test".to_owned()],
        };
        let server = S3Server::new(Arc::new(store.clone()), config).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let (handle, ends) = (server.clone(), cancel.clone());
        let serving = runtime.spawn(async move { handle.serve(listener, setup.tls, ends).await });
        let serving = Some(serving);
        Self { address, server, store, cancel, serving, runtime, _folder: folder }
    }

    /// Waits until the server has ended.
    pub(crate) fn ended(&mut self) -> std::io::Result<()> {
        let serving = self.serving.take().expect("ended once");
        self.runtime.block_on(serving).expect("no panic")
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    /// Sends bytes on a connection of their own and reads the answer to its end.
    pub(crate) fn exchange(&self, request: &[u8]) -> Answer {
        let mut socket = self.connect();
        socket.write_all(request).unwrap();
        read_answer(&mut socket)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// An answer in HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The code of an S3 error.
    pub(crate) fn code(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let inner = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        inner("Code").unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let matching = |line: &'_ &str| {
            line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        self.head.lines().find(matching).and_then(|line| line.split_once(':')).map(|l| l.1.trim())
    }

    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        self
    }
}

/// Reads one answer with a Content-Length.
pub(crate) fn read_answer(socket: &mut TcpStream) -> Answer {
    let (mut seen, mut piece) = (Vec::new(), [0; 16384]);
    loop {
        let count = socket.read(&mut piece).unwrap();
        seen.extend_from_slice(&piece[..count]);
        let Some(at) = seen.windows(4).position(|w| w == b"\r\n\r\n") else {
            assert!(count > 0, "the answer ends in its head: {:?}", String::from_utf8_lossy(&seen));
            continue;
        };
        let head = String::from_utf8(seen[..at].to_vec()).unwrap();
        if head.starts_with("HTTP/1.1 100") {
            seen.drain(..at + 4);
            continue;
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: seen[at + 4..].to_vec() };
        let length = answer.header("content-length").map_or(0, |l| l.parse().unwrap());
        while answer.body.len() < length {
            let count = socket.read(&mut piece).unwrap();
            assert!(count > 0, "the answer ends in its body");
            answer.body.extend_from_slice(&piece[..count]);
        }
        return answer;
    }
}
