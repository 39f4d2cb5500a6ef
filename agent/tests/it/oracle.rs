//! An oracle's public answers, over TLS with a certificate of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What an oracle answers where it has nothing.
const UNKNOWN: &str = r#"{"refusal":"unknown","what":"it"}"#;

/// Answers by their path.
type Answers = Arc<Mutex<BTreeMap<String, String>>>;

/// A server that answers what it was told to, and 404 to all else.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    url: String,
    /// SHA-256 of its certificate in DER.
    certificate: String,
    answers: Answers,
}

impl Oracle {
    pub(crate) fn start() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("one");
        let der = certificate.der().clone();
        let certificate = hex::encode(Sha256::digest(&der));
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![der], key.into())
            .expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let answers = Answers::default();
        let (config, said) = (Arc::new(config), Arc::clone(&answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, said) = (Arc::clone(&config), Arc::clone(&said));
                std::thread::spawn(move || {
                    let connection = rustls::ServerConnection::new(config).expect("TLS");
                    // Whoever does not like the answer ends the connection.
                    let _ended = answer(rustls::StreamOwned::new(connection, stream), &said);
                });
            }
        });
        Self { url, certificate, answers }
    }

    /// What is answered from now on.
    pub(crate) fn says(&self, path: &str, answer: &impl Serialize) {
        let answer = serde_json::to_string(answer).expect("JSON");
        self.answers.lock().expect("its lock").insert(path.to_owned(), answer);
    }

    /// It, as `node.toml` has it; `number` makes its address.
    pub(crate) fn described(&self, name: &str, number: u8) -> String {
        let Self { url, certificate, .. } = self;
        let address = hex::encode([number; 20]);
        format!(
            "[[sla.oracle]]\nname = \"{name}\"\nurl = \"{url}\"\naddress = \"0x{address}\"\n\
             certificate = \"{certificate}\"\n"
        )
    }
}

/// Answers requests on a connection until it ends.
fn answer<S: Read + Write>(
    mut stream: S,
    answers: &Mutex<BTreeMap<String, String>>,
) -> std::io::Result<()> {
    loop {
        let mut head = String::new();
        let mut reader = BufReader::with_capacity(1, &mut stream);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let found = answers.lock().expect("its lock").get(&path).cloned();
        let (status, body) = match found {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", UNKNOWN.to_owned()),
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")?;
        stream.flush()?;
    }
}
