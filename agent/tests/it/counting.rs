//! A server in front of a chain that counts what it is asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use alloy::primitives::Bytes;
use alloy::sol_types::SolCall;
use serde_json::Value;

/// What was asked: a method, and of `eth_call` the function's selector.
type Question = (String, Option<[u8; 4]>);

/// One after the other.
type Asked = Mutex<Vec<Question>>;

/// A server that passes everything on.
#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) url: String,
    asked: Arc<Asked>,
}

/// How often each was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) all: usize,
    methods: BTreeMap<String, usize>,
    calls: BTreeMap<[u8; 4], usize>,
}

impl Counting {
    /// One in front of the server at this URL (`http://HOST:PORT`).
    pub(crate) fn start(of: &str) -> Self {
        let behind = of.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<Asked>::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, behind) = (Arc::clone(&kept), behind.clone());
                std::thread::spawn(move || {
                    // Whoever goes away in the middle asks again.
                    let _ended = pass_on(stream, &behind, &kept);
                });
            }
        });
        Self { url, asked }
    }

    /// What was asked since the last time.
    pub(crate) fn taken(&self) -> Vec<Question> {
        std::mem::take(&mut *self.asked.lock().expect("its lock"))
    }
}

impl Counts {
    pub(crate) fn of(asked: &[Question]) -> Self {
        let mut counts = Self { all: asked.len(), ..Self::default() };
        for (method, selector) in asked {
            *counts.methods.entry(method.clone()).or_default() += 1;
            if let Some(selector) = selector {
                *counts.calls.entry(*selector).or_default() += 1;
            }
        }
        counts
    }

    pub(crate) fn method(&self, name: &str) -> usize {
        self.methods.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn calls<T: SolCall>(&self) -> usize {
        self.calls.get(&T::SELECTOR).copied().unwrap_or(0)
    }
}

/// A head and its body; none where nothing came.
fn message(stream: &mut impl BufRead) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let from = head.len();
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&head[from..]).trim_end().to_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().expect("a number");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

fn pass_on(stream: TcpStream, behind: &str, asked: &Asked) -> std::io::Result<()> {
    let mut front = BufReader::new(stream);
    while let Some((head, body)) = message(&mut front)? {
        let question: Value = serde_json::from_slice(&body)?;
        let method = question["method"].as_str().expect("a method").to_owned();
        let data = question["params"][0]["data"].as_str().filter(|_| method == "eth_call");
        let data = data.map(|data| data.parse::<Bytes>().expect("data"));
        let selector = data.and_then(|data| data.first_chunk::<4>().copied());
        asked.lock().expect("its lock").push((method, selector));
        let mut chain = BufReader::new(TcpStream::connect(behind)?);
        chain.get_mut().write_all(&[head, body].concat())?;
        let (head, body) = message(&mut chain)?.expect("an answer");
        front.get_mut().write_all(&[head, body].concat())?;
    }
    Ok(())
}
