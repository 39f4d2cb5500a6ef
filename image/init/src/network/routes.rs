//! The default gateways that the kernel uses now, as /proc/net tells (proc_net(5)).

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Most gateways that are told: one of each family for each of some ports.
const MAX: usize = 16;

/// `RTF_GATEWAY` of linux/route.h.
const HAS_GATEWAY: u32 = 2;

/// Address and port of every default gateway, such as `192.0.2.1 eno1`; `proc` is `/proc` but for
/// tests.
pub(crate) fn gateways(proc: &Path) -> Vec<String> {
    let read = |file| fs::read_to_string(proc.join("net").join(file)).unwrap_or_default();
    let (v4, v6) = (read("route"), read("ipv6_route"));
    let mut all: Vec<String> =
        v4.lines().filter_map(parse_v4).chain(v6.lines().filter_map(parse_v6)).collect();
    all.dedup();
    all.truncate(MAX);
    all
}

/// Port, destination, gateway, flags, …; numbers in hexadecimal, addresses as they lie in memory.
fn parse_v4(line: &str) -> Option<String> {
    let mut fields = line.split_whitespace();
    let (port, destination, gateway, flags) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let number = |text| u32::from_str_radix(text, 16).ok();
    let is_default = number(destination)? == 0 && number(flags)? & HAS_GATEWAY != 0;
    let gateway = Ipv4Addr::from(number(gateway)?.to_ne_bytes());
    is_default.then(|| format!("{gateway} {port}"))
}

/// Destination, its length, source, its length, gateway, metric, references, uses, flags, port.
fn parse_v6(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, length, _, _, gateway, _, _, _, flags, port] = fields.as_slice() else {
        return None;
    };
    let number = |text: &str| u128::from_str_radix(text, 16).ok();
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let is_default = number(destination)? == 0 && number(length)? == 0 && flags & HAS_GATEWAY != 0;
    let gateway = Ipv6Addr::from(number(gateway)?);
    is_default.then(|| format!("{gateway} {port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_gateways_are_told_and_other_routes_are_not() {
        let root = tempfile::TempDir::new().expect("temporary folder");
        fs::create_dir(root.path().join("net")).expect("folder");
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  eno1\t00000000\t010200C0\t0003\t0\t0\t1002\t00000000\n\
                  eno1\t000200C0\t00000000\t0001\t0\t0\t1002\t00FFFFFF\n";
        let zero = "0".repeat(32);
        let gateway = "fe800000000000000000000000000001";
        let v6 = format!(
            "{zero} 00 {zero} 00 {gateway} 00000400 00000001 00000000 00000003   eno2\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\nnonsense\n"
        );
        fs::write(root.path().join("net/route"), v4).expect("file");
        fs::write(root.path().join("net/ipv6_route"), v6).expect("file");
        assert_eq!(gateways(root.path()), ["192.0.2.1 eno1", "fe80::1 eno2"]);
        assert!(gateways(Path::new("/nonexistent")).is_empty());
    }
}
