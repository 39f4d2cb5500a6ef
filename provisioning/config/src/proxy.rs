//! Which connections go through a proxy.

use std::fmt;
use std::net::IpAddr;

use crate::network::{IpNet, Network};
use crate::value::contains;

/// `proxy` of `[network]`: an HTTP proxy that is asked for tunnels (CONNECT, RFC 9110, 9.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One of `no_proxy` of `[network]`: what is reached without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direct {
    /// This name and all names below it, in small letters.
    Name(String),
    /// Addresses of this network; with all its bits, one address.
    Net(IpNet),
}

impl Network {
    /// The proxy through which `host` is reached; none where it is reached directly. `host` is a name or an
    /// address as it stands in a URL: a name is not looked up, as it is the proxy that does. Loopback addresses
    /// never go through a proxy.
    #[must_use]
    pub fn proxy_for(&self, host: &str) -> Option<&Proxy> {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let is_direct = match address {
            Some(address) if address.is_loopback() => true,
            Some(address) => self
                .no_proxy
                .iter()
                .any(|direct| matches!(direct, Direct::Net(net) if contains(net, address))),
            None => name == "localhost" || self.no_proxy.iter().any(|direct| direct.names(&name)),
        };
        self.proxy.as_ref().filter(|_| !is_direct)
    }
}

impl Direct {
    fn names(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => name
                .strip_suffix(own.as_str())
                .is_some_and(|front| front.is_empty() || front.ends_with('.')),
            Self::Net(_) => false,
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "http://[{host}]:{port}"),
            false => write!(f, "http://{host}:{port}"),
        }
    }
}

impl fmt::Display for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Net(net) if net.prefix == width(net.address) => net.address.fmt(f),
            Self::Net(net) => net.fmt(f),
        }
    }
}

/// How many bits an address has.
pub(crate) fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use crate::parse_network;

    #[test]
    fn what_is_named_and_what_is_local_goes_around_the_proxy() {
        let text = "[network]\nproxy = \"http://10.0.0.1:3128\"\n\
                    no_proxy = [\"example.net\", \"10.1.0.0/16\", \"2001:db8::7\", \"192.0.2.1\"]\n";
        let network = parse_network(text).expect("no mistake");
        for direct in [
            "example.net",
            "Oracle-1.Example.NET.",
            "10.1.255.3",
            "::ffff:10.1.2.3",
            "[2001:db8::7]",
            "192.0.2.1",
            "127.0.0.1",
            "::1",
            "localhost",
        ] {
            assert_eq!(network.proxy_for(direct), None, "{direct}");
        }
        for through in ["example.org", "notexample.net", "10.2.0.1", "2001:db8::8", "192.0.2.2"] {
            let port = network.proxy_for(through).map(|proxy| proxy.port);
            assert_eq!(port, Some(3128), "{through}");
        }
        let none = parse_network("[network]\nno_proxy = [\"a.example\"]\n").expect("no mistake");
        assert_eq!(none.proxy_for("b.example"), None);
    }
}
