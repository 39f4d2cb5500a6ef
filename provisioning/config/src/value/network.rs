//! Names of what stands outside: time servers, URLs, certificates, accounts on a chain.

use std::net::{Ipv6Addr, SocketAddr};

use super::{Checked, is_host_name, quoted};

/// Longest URL, in characters: a host name and a port are below.
const MAX_URL: usize = 300;

/// A host with or without a port. `none` and `default` are none, as a console takes them for no server and for those
/// without a setting.
pub(crate) fn time_server(text: &str) -> Checked<String> {
    let instead = match text {
        "none" => "write ntp = [] to ask none",
        "default" => "remove ntp to ask the default ones",
        _ => "write \"ntp.example.net\", \"192.0.2.1:123\" or \"[2001:db8::1]:123\"",
    };
    let is_word = matches!(text, "none" | "default");
    let is_v6 = text.parse::<Ipv6Addr>().is_ok();
    let is_socket = text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0);
    let (host, port) =
        text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !is_word && (is_v6 || is_socket || (is_host_name(host) && has_port)) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a time server: {instead}", quoted(text)))
}

/// `https://`, a host, a port where it is not 443; no path.
pub(crate) fn https_url(text: &str) -> Checked<String> {
    let wrong = || {
        format!(
            "{} is not the URL of a server: write one such as \"https://oracle.example.net:7443\", without \
             a path",
            quoted(text)
        )
    };
    let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let bracketed = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_v6 = bracketed.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    let is_socket = rest.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0);
    let (host, port) =
        rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if text.len() <= MAX_URL && (is_v6 || is_socket || (is_host_name(host) && has_port)) {
        return Ok(format!("https://{rest}"));
    }
    Err(wrong())
}

/// An account or contract: `0x` and 40 hex digits. Mixed case is not checked (EIP-55 would need Keccak).
pub(crate) fn chain_address(text: &str) -> Checked<[u8; 20]> {
    text.strip_prefix("0x").and_then(hex).ok_or_else(|| {
        format!("{} is not an address on a chain: write 0x and 40 hex digits", quoted(text))
    })
}

/// SHA-256 of a certificate: 64 hex digits, with or without `sha256:` and colons between pairs.
pub(crate) fn fingerprint(text: &str) -> Checked<[u8; 32]> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).replace(':', "");
    hex(&digits).ok_or_else(|| {
        format!(
            "{} is not the SHA-256 of a certificate: write 64 hex digits, as the oracle prints them",
            quoted(text)
        )
    })
}

fn hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * BYTES)?;
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_servers_are_hosts_with_or_without_a_port() {
        for text in ["pool.ntp.org", "ntp:123", "192.0.2.1", "192.0.2.1:1123", "2001:db8::1"] {
            assert!(time_server(text).is_ok(), "{text}");
        }
        assert!(time_server("[2001:db8::1]:123").is_ok());
        for text in ["", ":", "ntp:", "ntp:0", "ntp:65536", "a b", "ntp\nmakestep", "-ntp", "a..b"]
        {
            assert!(time_server(text).is_err(), "{text}");
        }
        for text in ["192.0.2.1:0", "[::1]:0", "[2001:db8::1]", "2001:db8::1:x"] {
            assert!(time_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_of_the_console_are_no_time_servers() {
        for (word, instead) in [("none", "ntp = []"), ("default", "remove ntp")] {
            let error = time_server(word).expect_err(word);
            assert!(error.contains(word) && error.contains(instead), "{error}");
        }
        for host in ["none.example.net", "default:123"] {
            assert!(time_server(host).is_ok(), "{host}");
        }
    }
}
