//! The S3 service's port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use agent_api::status::S3State;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

/// The first wait before another try, and the longest: a port is seldom freed without a person,
/// who then does not want to wait long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(15);

/// Listens, trying again until it works, and tells through `state` how that goes.
pub(crate) async fn listen(address: SocketAddr, state: &watch::Sender<S3State>) -> TcpListener {
    let mut wait = RETRY_FIRST;
    loop {
        match bind(address).await {
            Ok(listener) => {
                info!(%address, "S3 listens");
                state.send_replace(S3State::Listening);
                return listener;
            }
            Err(error) => {
                let reason = why(address, &error);
                let told = S3State::NotListening { reason: reason.clone() };
                // One line in the log for each reason, not for each try.
                if state.send_replace(told.clone()) != told {
                    warn!(%address, reason, "S3 cannot listen; trying again");
                }
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_LAST);
    }
}

/// Listens once.
///
/// # Errors
/// As the system says; see [`why`].
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // A kernel without IPv6: every IPv4 address is then every address.
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
                && address.is_ipv6()
                && address.ip().is_unspecified() =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    }
}

/// Why listening failed and what to do, in words.
pub(crate) fn why(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is taken by another program: stop that program, or listen on another port"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}: give it to a port, or listen on another address",
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "this user may not listen on port {port}: ports below 1024 need a privilege; listen on \
             a higher port"
        ),
        _ => format!("cannot listen on {address}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_and_used_once_it_is_free() {
        let holder = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = holder.local_addr().expect("its address");
        let (state, mut told) = watch::channel(S3State::Starting);
        let listening = tokio::spawn(async move { listen(address, &state).await });
        told.changed().await.expect("news");
        let now = told.borrow_and_update().clone();
        let S3State::NotListening { reason } = now else { panic!("{now:?}") };
        assert!(reason.contains(&format!("port {} is taken", address.port())), "{reason}");
        drop(holder);
        let listener = listening.await.expect("no panic");
        assert_eq!(listener.local_addr().expect("its address"), address);
        assert_eq!(*told.borrow(), S3State::Listening);
    }

    #[tokio::test]
    async fn a_foreign_address_is_told() {
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
        let address: SocketAddr = ([192, 0, 2, 1], 0).into();
        let error = bind(address).await.expect_err("not ours");
        assert!(why(address, &error).contains("no address 192.0.2.1"));
    }
}
