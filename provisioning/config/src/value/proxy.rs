//! Proxies, and what is reached without one.

use std::net::{IpAddr, Ipv6Addr};

use super::{Checked, Place, is_host_name, quoted};
use crate::proxy::width;
use crate::{Direct, IpNet, Proxy};

/// `http://`, a host and a port; no path, user or password.
pub(crate) fn proxy(text: &str) -> Checked<Proxy> {
    if text.contains('@') {
        // What stands before it may be a password.
        return Err("a proxy that wants a user and a password is not supported: write one that \
                    takes this node by its address, such as \"http://proxy.example.net:3128\""
            .to_owned());
    }
    let wrong = || {
        format!(
            "{} is not a proxy: write http://, its name or address and its port, such as \
             \"http://proxy.example.net:3128\"",
            quoted(text)
        )
    };
    let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
        None if is_host_name(host) => host.to_owned(),
        None => return Err(wrong()),
    };
    Ok(Proxy { host, port })
}

/// A name, an address, or a network.
pub(crate) fn direct(text: &str) -> Checked<Direct> {
    let wrong = || {
        format!(
            "{} is not what can be reached without the proxy: write a name such as \"example.net\", \
             an address, or a network such as \"10.0.0.0/8\"",
            quoted(text)
        )
    };
    let (before, prefix) = match text.split_once('/') {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    };
    let Ok(address) = before.parse::<IpAddr>() else {
        let name = text.strip_prefix('.').unwrap_or(text);
        let is_name = is_host_name(name) && !name.ends_with('.');
        return match is_name {
            true => Ok(Direct::Name(name.to_ascii_lowercase())),
            false => Err(wrong()),
        };
    };
    let width = width(address);
    let prefix = match prefix {
        None => width,
        Some(prefix) => {
            let prefix = prefix.parse::<u8>().ok();
            prefix.filter(|prefix| (1..=width).contains(prefix)).ok_or_else(wrong)?
        }
    };
    let net = IpNet { address, prefix };
    match Place::of(&net) {
        Place::Subnet => Ok(Direct::Net(net)),
        Place::Host | Place::Broadcast if width - prefix < 2 => Ok(Direct::Net(net)),
        Place::Host | Place::Broadcast => Err(format!(
            "{net} is an address with the length of a network: write the network's first address, or \
             the address alone"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_a_host_and_a_port_and_no_password() {
        for text in
            ["http://proxy.example.net:3128", "http://192.0.2.1:8080/", "http://[2001:db8::1]:3128"]
        {
            let found = proxy(text).expect(text);
            assert_eq!(found.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "proxy:3128",
            "https://proxy:3128",
            "http://proxy",
            "http://proxy:0",
            "http://proxy:3128/path",
            "http://[proxy]:3128",
            "http://2001:db8::1:3128",
            "socks5://proxy:1080",
        ] {
            assert!(proxy(text).is_err(), "{text}");
        }
        let error = proxy("http://me:hunter2@proxy:3128").expect_err("a password");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_direct_is_a_name_an_address_or_a_network() {
        for (text, shown) in [
            ("Example.NET", "example.net"),
            (".example.net", "example.net"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1"),
            ("192.0.2.2/31", "192.0.2.2/31"),
        ] {
            assert_eq!(direct(text).map(|found| found.to_string()), Ok(shown.to_owned()));
        }
        for text in
            ["", "*", "*.example.net", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "a b", "a/8"]
        {
            assert!(direct(text).is_err(), "{text}");
        }
    }
}
