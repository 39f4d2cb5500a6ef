//! TCP connections to what the agent calls: directly, or through an HTTP proxy that is asked for a tunnel (CONNECT,
//! RFC 9110, 9.3.6). Which, is asked for each connection anew, so that other settings hold from the next on.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the proxy may take to accept a connection: three SYNs (RFC 6298: 1, 2, 4 s) do not fit, but it is near.
pub const PROXY_WITHIN: Duration = Duration::from_secs(5);

/// How long the proxy may take to open a tunnel: it looks a name up and connects. With [`PROXY_WITHIN`] it is less than
/// the 15 s that callers wait for a connection.
pub const TUNNEL_WITHIN: Duration = Duration::from_secs(9);

/// The longest head of a proxy's answer, in bytes: far more than a status line and some headers take.
const HEAD_MAX: usize = 8 << 10;

/// The longest words of a proxy that are told, in characters.
const WORDS_MAX: usize = 100;

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

/// Says through which proxy a host is reached; none where directly.
pub trait Routes: fmt::Debug + Send + Sync {
    /// `host` is a name, or an address without brackets.
    fn proxy_for(&self, host: &str) -> Option<Proxy>;
}

/// Makes connections.
#[derive(Debug, Clone, Default)]
pub struct Dialer(Option<Arc<dyn Routes>>);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host cannot be reached directly.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// Host and port.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The proxy cannot be reached.
    #[error("cannot connect to the proxy {proxy}: {source}")]
    Proxy {
        /// Which.
        proxy: Proxy,
        /// Why.
        source: io::Error,
    },
    /// The proxy says nothing.
    #[error("the proxy {proxy} did not answer within {} s when asked for {to}", within.as_secs())]
    Silent {
        /// Which.
        proxy: Proxy,
        /// What it was asked for.
        to: String,
        /// How long was waited.
        within: Duration,
    },
    /// The proxy opens no tunnel.
    #[error("the proxy {proxy} refuses a tunnel to {to}: status {status}{}", behind(words))]
    Refused {
        /// Which.
        proxy: Proxy,
        /// What it was asked for.
        to: String,
        /// Of HTTP: 403 where it may not, 407 where it wants a password.
        status: u16,
        /// What it says beside, in printable ASCII; may be empty.
        words: String,
    },
    /// The proxy is none.
    #[error("the proxy {proxy} gives no answer of HTTP when asked for {to}: {why}")]
    Answer {
        /// Which.
        proxy: Proxy,
        /// What it was asked for.
        to: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Dialer {
    /// One that connects as these say.
    #[must_use]
    pub fn by(routes: Arc<dyn Routes>) -> Self {
        Self(Some(routes))
    }

    /// Connects to `host`, a name or an address without brackets. Directly it takes as long as the kernel tries; through
    /// a proxy, [`PROXY_WITHIN`] and [`TUNNEL_WITHIN`].
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let to = authority(host, port);
        let Some(proxy) = self.0.as_ref().and_then(|routes| routes.proxy_for(host)) else {
            let connected = TcpStream::connect((host, port)).await;
            return connected.map_err(|source| DialError::Connect { to, source });
        };
        tunnel(proxy, to).await
    }
}

async fn tunnel(proxy: Proxy, to: String) -> Result<TcpStream, DialError> {
    let connecting = TcpStream::connect((proxy.host.as_str(), proxy.port));
    let mut stream = match within(PROXY_WITHIN, connecting).await {
        Ok(stream) => stream,
        Err(source) => return Err(DialError::Proxy { proxy, source }),
    };
    if to.bytes().any(|byte| !byte.is_ascii_graphic()) {
        let why = "the host is no name that can be asked for".to_owned();
        return Err(DialError::Answer { proxy, to, why });
    }
    let asking = async {
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        head(&mut stream).await
    };
    let Ok(answer) = timeout(TUNNEL_WITHIN, asking).await else {
        return Err(DialError::Silent { proxy, to, within: TUNNEL_WITHIN });
    };
    match answer.and_then(|head| status(&head)) {
        Ok((200..=299, _)) => Ok(stream),
        Ok((status, words)) => Err(DialError::Refused { proxy, to, status, words }),
        Err(why) => Err(DialError::Answer { proxy, to, why }),
    }
}

/// The head of an answer, and not a byte more: what comes behind it belongs to whoever is at the tunnel's other end.
async fn head(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() >= HEAD_MAX {
            return Err(format!("its head is longer than {HEAD_MAX} bytes"));
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("it hung up".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(head)
}

/// Status and words of the first line (RFC 9112, 4).
fn status(head: &[u8]) -> Result<(u16, String), String> {
    let text = String::from_utf8_lossy(head);
    let line = text.lines().next().unwrap_or_default();
    let printable = |text: &str| -> String {
        let graphic = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
        graphic.take(WORDS_MAX).collect::<String>().trim().to_owned()
    };
    let found = line.strip_prefix("HTTP/1.").and_then(|rest| {
        let mut parts = rest.splitn(3, ' ');
        parts.next()?;
        let status: u16 = parts.next()?.parse().ok().filter(|code| (100..600).contains(code))?;
        Some((status, printable(parts.next().unwrap_or_default())))
    });
    found.ok_or_else(|| format!("it begins with \"{}\"", printable(line)))
}

async fn within<T>(limit: Duration, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late =
        || io::Error::new(io::ErrorKind::TimedOut, format!("not within {} s", limit.as_secs()));
    timeout(limit, doing).await.unwrap_or_else(|_| Err(late()))
}

/// Host and port as they stand in a request.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn behind(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" ({words})") }
}

#[cfg(test)]
mod tests;
