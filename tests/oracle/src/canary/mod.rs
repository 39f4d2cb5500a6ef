//! Canaries: random objects that the oracle writes to a node as an ordinary S3 tenant, and reads later.
//! [`schedule`] says when and what, [`content`] what they contain; both are pure.

mod client;
pub mod content;
mod runner;
pub mod schedule;
pub mod tls;

use std::net::IpAddr;

use http::Uri;

pub use client::{CanaryError, Tenant};
pub use runner::run;
pub use schedule::ERAS_KEPT;

/// Where a node serves S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    is_tls: bool,
}

impl Endpoint {
    /// The endpoint of a URL: `https://host:port` or `http://host:port`, and nothing behind it.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "no URL")?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("begins neither with https:// nor with http://"),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("something stands behind host and port");
        }
        let authority = uri.authority().ok_or("no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user in it");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host, port, is_tls })
    }

    /// Name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// Whether a node at `peer` may have the oracle speak to `target`. What only the oracle's own machine or
/// link can reach is for nodes that are there as well: else a node could have the oracle ask what the
/// node itself cannot.
#[must_use]
pub fn may_dial(peer: IpAddr, target: IpAddr) -> bool {
    let (peer, target) = (peer.to_canonical(), target.to_canonical());
    let is_near = match target {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    };
    let is_one = !target.is_unspecified()
        && !target.is_multicast()
        && !matches!(target, IpAddr::V4(v4) if v4.is_broadcast());
    is_one && (!is_near || peer.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_a_scheme_a_host_and_a_port() {
        let endpoint = |text| Endpoint::parse(text);
        let found = endpoint("https://192.0.2.1:9000/").expect("one");
        assert_eq!((found.host(), found.port, found.is_tls), ("192.0.2.1", 9000, true));
        let found = endpoint("http://[2001:db8::1]").expect("one");
        assert_eq!((found.host(), found.port, found.is_tls), ("2001:db8::1", 80, false));
        for wrong in ["", "ftp://a", "a:9000", "http://a/b", "http://u@a", "http://a/?x=1"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_node_has_the_oracle_speak_to_its_own_machine() {
        let ip = |text: &str| text.parse().expect("an address");
        let far = ip("192.0.2.7");
        for near in ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1"] {
            assert!(!may_dial(far, ip(near)), "{near}");
            assert!(may_dial(ip("127.0.0.1"), ip(near)), "{near}");
        }
        for never in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert!(!may_dial(ip("::1"), ip(never)), "{never}");
        }
        assert!(may_dial(far, ip("10.0.0.1")));
    }
}
