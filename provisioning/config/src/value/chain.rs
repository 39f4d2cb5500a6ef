//! What is said of a chain: its servers, and amounts of what is paid on it.

use std::net::IpAddr;

use super::{Checked, is_host_name, quoted};
use crate::settlement::Abi;

/// Longest URL of an RPC server, in characters: keys in paths have less than 100.
const MAX_RPC_URL: usize = 300;

/// Digits behind the point of a token and of ether.
const TOKEN_DIGITS: u32 = 18;

/// The same of a gwei.
const GWEI_DIGITS: u32 = 9;

/// Which backend is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Reference,
    IcnV5,
}

pub(crate) fn backend(text: &str) -> Checked<Backend> {
    match text {
        "reference" => Ok(Backend::Reference),
        "icn-v5" => Ok(Backend::IcnV5),
        _ => Err(format!("{} is not a backend: write \"reference\" or \"icn-v5\"", quoted(text))),
    }
}

pub(crate) fn abi(text: &str) -> Checked<Abi> {
    match text {
        "5.0.3" => Ok(Abi::V5_0_3),
        "5.0.3-plain" => Ok(Abi::V5_0_3Plain),
        _ => Err(format!("{} is not known: write \"5.0.3\" or \"5.0.3-plain\"", quoted(text))),
    }
}

/// A server of a chain: `https://`, host, port, path. `http://` only for an address of the machine itself or of
/// its own network, where a server of the HP's may stand. What is wrong is not quoted: keys stand in paths.
pub(crate) fn rpc_url(text: &str) -> Checked<String> {
    let wrong = || {
        "this is not the URL of an RPC server: write one such as \"https://rpc.example.net/key\"; http:// is taken \
         for loopback and private IP addresses only"
            .to_owned()
    };
    let (is_plain, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(wrong()),
    };
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    let clean = text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '#' | '@'));
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
        None => place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let address: Option<IpAddr> = host.parse().ok();
    let is_near = match address {
        Some(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Some(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        None => false,
    };
    let has_host = address.is_some() || is_host_name(host);
    match text.len() <= MAX_RPC_URL && clean && has_host && has_port && (is_near || !is_plain) {
        true => Ok(text.to_owned()),
        false => Err(wrong()),
    }
}

/// What a unit of gas costs, in wei, from text such as `0.5 gwei`.
pub(crate) fn gwei(text: &str) -> Checked<u128> {
    let found = text.strip_suffix("gwei").and_then(|text| decimal(text.trim_end(), GWEI_DIGITS));
    found.filter(|wei| *wei > 0).ok_or_else(|| {
        format!("{} is not a price of gas: write one such as \"0.5 gwei\"", quoted(text))
    })
}

/// An amount of ether, in wei, from text such as `0.01 ETH`.
pub(crate) fn ether(text: &str) -> Checked<u128> {
    let found = text.strip_suffix("ETH").and_then(|text| decimal(text.trim_end(), TOKEN_DIGITS));
    found.filter(|wei| *wei > 0).ok_or_else(|| {
        format!("{} is not an amount of ether: write one such as \"0.01 ETH\"", quoted(text))
    })
}

/// An amount of the token, in its smallest unit, from text such as `2.5`.
pub(crate) fn tokens(text: &str) -> Checked<u128> {
    decimal(text, TOKEN_DIGITS).ok_or_else(|| {
        format!("{} is not an amount of tokens: write one such as \"2.5\"", quoted(text))
    })
}

/// A decimal number with so many digits behind the point at most, in units of the last one.
fn decimal(text: &str, digits: u32) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let shorter = digits.checked_sub(u32::try_from(part.len()).ok()?)?;
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(10_u128.checked_pow(digits)?)?;
    let part = part.parse::<u128>().ok()?.checked_mul(10_u128.checked_pow(shorter)?)?;
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(gwei("0.5 gwei"), Ok(500_000_000));
        assert_eq!(gwei("5gwei"), Ok(5_000_000_000));
        assert_eq!(ether("0.000000000000000001 ETH"), Ok(1));
        assert_eq!(tokens("2.5"), Ok(2_500_000_000_000_000_000));
        assert_eq!(tokens("0"), Ok(0));
        for wrong in
            ["", ".", "1.", ".5", "+1", "1e3", "0.0000000000000000001", "9".repeat(40).as_str()]
        {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
        assert!(gwei("0 gwei").is_err() && ether("0 ETH").is_err());
    }

    #[test]
    fn plain_http_is_for_servers_nearby() {
        for right in [
            "https://rpc.example.net/v2/key?a=b",
            "https://rpc.example.net:8443",
            "http://127.0.0.1:8545",
            "http://[::1]:8545/",
            "http://192.168.1.4",
            "https://[2001:db8::1]/key",
        ] {
            assert_eq!(rpc_url(right), Ok(right.to_owned()));
        }
        for wrong in [
            "http://rpc.example.net",
            "http://localhost:8545",
            "http://8.8.8.8",
            "http://[2001:db8::1]",
            "ws://127.0.0.1",
            "https://",
            "https://user@rpc.example.net",
            "https://rpc.example.net:0",
            "https://rpc example",
        ] {
            let error = rpc_url(wrong).expect_err(wrong);
            assert!(wrong == "https://" || !error.contains(wrong), "{error}");
        }
    }
}
