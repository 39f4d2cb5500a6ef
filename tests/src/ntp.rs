//! A time server on loopback, for nodes whose clock is wrong. Server side of SNTP (RFC 4330).

use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

/// Seconds from 1900, where NTP counts from, to 1970 (RFC 868).
const NTP_EPOCH: u64 = 2_208_988_800;

/// Starts a server that tells the host's time until the process ends, and returns its port.
///
/// # Errors
/// When no port can be had.
pub fn start() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    std::thread::spawn(move || {
        let mut request = [0; 128];
        while let Ok((length, peer)) = socket.recv_from(&mut request) {
            if let Some(answer) = request.get(..length).and_then(answer) {
                // A lost answer is asked for again.
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    Ok(port)
}

fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let version = request.first()? & 0b0011_1000;
    let sent_at = request.get(40..48)?;
    let now = timestamp();
    // No leap warning, the asker's version, mode 4 (server); stratum 1; poll; precision 2^-20 s.
    let mut reply = vec![version | 4, 1, *request.get(2)?, 0xec];
    reply.extend([0; 8]);
    reply.extend(b"TEST");
    reply.extend(now);
    reply.extend(sent_at);
    reply.extend(now);
    reply.extend(timestamp());
    Some(reply)
}

fn timestamp() -> [u8; 8] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (((now.as_secs() + NTP_EPOCH) << 32) | fraction).to_be_bytes()
}
