//! From the text of one value to what it means. Each function says what to write instead.
//!
//! All of these take text from a person and give back words for that person; nothing here knows
//! where in the file the text stood.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::{ClaimMode, IpNet, PortName};

mod chain;
mod link;
mod network;
mod proxy;
mod support;

pub(crate) use chain::{Backend, abi, backend, ether, gwei, rpc_url, tokens};
pub(crate) use link::{bond_mode, link_name};
pub(crate) use network::{chain_address, fingerprint, https_url, time_server};
pub(crate) use proxy::{direct, proxy};
pub(crate) use support::{machine_class, place, recipient};

/// Longest host name label and so longest node name, in characters (RFC 1035, 2.3.4).
pub(crate) const MAX_LABEL: usize = 63;

/// Longest host name, in characters (RFC 1035, 2.3.4: 255 octets on the wire).
const MAX_HOST_NAME: usize = 253;

/// Longest name of a network interface, in bytes (`IFNAMSIZ` of Linux less the ending zero).
const MAX_INTERFACE_NAME: usize = 15;

/// Smallest MTU, in bytes: what IPv6 needs (RFC 8200, 5).
pub(crate) const MIN_MTU: i128 = 1280;

/// Largest MTU, in bytes: the jumbo frame that switches have in common.
pub(crate) const MAX_MTU: i128 = 9216;

/// Smallest value of `min_size`, in bytes: XFS wants 300 MB, and below 1 GB nothing useful is
/// left beside the partition table and the two metadata partitions.
pub(crate) const MIN_MIN_SIZE: u64 = 1_000_000_000;

/// Largest value of `min_size`, in bytes: 1 PB, above any disk; more is a slip of the pen.
pub(crate) const MAX_MIN_SIZE: u64 = 1_000_000_000_000_000;

/// Shortest value of `replace_after`: a disk that was reset is back within it.
pub(crate) const MIN_REPLACE_AFTER: Duration = Duration::from_secs(10);

/// Longest value of `replace_after`: by then a second disk is not unlikely to fail.
pub(crate) const MAX_REPLACE_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Lowest port of the S3 service: the unprivileged agent may bind from here on (HTTP).
const MIN_LISTEN_PORT: u16 = 80;

/// Lowest port of the node's readings: those below are for services.
const MIN_METRICS_PORT: u16 = 1024;

/// Longest serial number of a disk, in characters: ATA has 20, NVMe 20, SCSI VPD page 0x80 up to
/// 252 but none in the field has more than 64.
const MAX_SERIAL_NUMBER: usize = 128;

/// Longest region or user name, in characters.
const MAX_NAME: usize = 64;

/// Shortest and longest access key, in characters.
const ACCESS_KEY_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;

/// Shortest and longest secret key, in characters.
const SECRET_KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// Longest file name below the seed folder, in bytes (FAT: 255 UTF-16 units).
const MAX_FILE_NAME: usize = 255;

/// What a value means, or what to write instead.
pub(crate) type Checked<T> = Result<T, String>;

pub(crate) fn node_name(text: &str) -> Checked<String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a host name: write 1 to {MAX_LABEL} letters, digits and dashes, no dash at \
         either end, such as \"node-7\"",
        quoted(text)
    ))
}

pub(crate) fn address(text: &str) -> Checked<IpAddr> {
    let address: IpAddr = text.parse().map_err(|_| {
        format!("{} is not an IP address: write one such as \"192.0.2.1\"", quoted(text))
    })?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!("{address} is not the address of one machine: write that machine's"));
    }
    Ok(address)
}

pub(crate) fn network_address(text: &str) -> Checked<IpNet> {
    let example = "write address and prefix length, such as \"192.0.2.10/24\"";
    let Some((before, after)) = text.split_once('/') else {
        return Err(format!("{} has no prefix length: {example}", quoted(text)));
    };
    let address = address(before)?;
    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = after
        .parse::<u8>()
        .ok()
        .filter(|prefix| (1..=width).contains(prefix))
        .ok_or_else(|| format!("the prefix length of {address} is 1 to {width}: {example}"))?;
    if address.is_loopback() {
        return Err(format!("{address} is a loopback address: write the port's own"));
    }
    let net = IpNet { address, prefix };
    match Place::of(&net) {
        Place::Host => Ok(net),
        Place::Subnet => Err(format!(
            "{address}/{prefix} names the subnet, not an address in it: write the port's own"
        )),
        Place::Broadcast => Err(format!(
            "{address}/{prefix} is the subnet's broadcast address: write the port's own"
        )),
    }
}

pub(crate) fn port_name(text: &str) -> Checked<PortName> {
    if let Some(mac) = mac(text) {
        return if mac == [0; 6] || mac[0] & 1 == 1 {
            Err(format!("{text} is no port's hardware address: write the one on its label"))
        } else {
            Ok(PortName::Mac(mac))
        };
    }
    if text == "lo" {
        return Err("lo is the loopback port and needs no setting: remove this port".to_owned());
    }
    let fits = !text.is_empty() && text.len() <= MAX_INTERFACE_NAME;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if fits && text.chars().all(legal) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(PortName::Name(text.to_owned()));
    }
    Err(format!(
        "{} is neither a port's name nor its hardware address: write \"eno1\" or \
         \"52:54:00:12:34:56\"",
        quoted(text)
    ))
}

pub(crate) fn claim_mode(text: &str) -> Checked<ClaimMode> {
    match text {
        "off" => Ok(ClaimMode::Off),
        "blank-only" => Ok(ClaimMode::BlankOnly),
        _ => Err(format!(
            "{} is not a way to claim disks: write \"blank-only\" or \"off\"",
            quoted(text)
        )),
    }
}

/// A size in bytes from text such as `32GB` or `1GiB`.
pub(crate) fn size(text: &str) -> Checked<u64> {
    let wrong = || {
        format!("{} is not a size: write bytes or a size such as \"32GB\", \"1GiB\"", quoted(text))
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A time from text such as `10min`.
pub(crate) fn duration(text: &str) -> Checked<Duration> {
    let wrong = || {
        format!(
            "{} is not a time: write one such as \"30s\", \"10min\", \"2h\", \"1d\"",
            quoted(text)
        )
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit.trim_start() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub(crate) fn serial_number(text: &str) -> Checked<String> {
    let fits = (1..=MAX_SERIAL_NUMBER).contains(&text.len());
    if fits && text.trim() == text && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a serial number: write it as the console shows it, 1 to {MAX_SERIAL_NUMBER} \
         characters without spaces at the ends",
        quoted(text)
    ))
}

pub(crate) fn listen(text: &str) -> Checked<SocketAddr> {
    let every = |port: &str| {
        let port = port.parse::<u16>().ok()?;
        Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))
    };
    let parsed = match text.strip_prefix(':') {
        Some(port) if !text.starts_with("::") => every(port),
        _ => text.parse().ok(),
    };
    let Some(listen) = parsed else {
        return Err(format!(
            "{} is not an address with a port: write \":443\" for all addresses, or one such as \
             \"192.0.2.10:443\" or \"[2001:db8::1]:443\"",
            quoted(text)
        ));
    };
    if listen.port() < MIN_LISTEN_PORT {
        return Err(format!(
            "port {} is kept from the service: write {MIN_LISTEN_PORT} or higher, such as \":443\"",
            listen.port()
        ));
    }
    if listen.ip().is_multicast() {
        return Err(format!("{} is a multicast address: write \":443\"", listen.ip()));
    }
    Ok(listen)
}

/// None for `off`.
pub(crate) fn metrics_listen(text: &str) -> Checked<Option<SocketAddr>> {
    if text == "off" {
        return Ok(None);
    }
    match listen(text) {
        Ok(listen) if listen.port() >= MIN_METRICS_PORT => Ok(Some(listen)),
        _ => Err(format!(
            "{} is not an address with a port from {MIN_METRICS_PORT} on: write \"127.0.0.1:9100\" \
             for the node itself, \":9100\" for everybody, or \"off\"",
            quoted(text)
        )),
    }
}

pub(crate) fn region(text: &str) -> Checked<String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=MAX_NAME).contains(&text.len()) && text.chars().all(legal) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a region: write 1 to {MAX_NAME} small letters, digits and dashes, such as \
         \"us-east-1\"",
        quoted(text)
    ))
}

pub(crate) fn domain(text: &str) -> Checked<String> {
    let is_address = text.parse::<IpAddr>().is_ok();
    if is_host_name(text) && !is_address && !text.ends_with('.') {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("{} is not a domain name: write one such as \"s3.example.net\"", quoted(text)))
}

/// A file beside node.toml: relative, and it stays below the seed folder.
pub(crate) fn seed_file(text: &str) -> Checked<String> {
    let legal = |part: &str| {
        let illegal = |c: char| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '|');
        !part.is_empty() && part != "." && part != ".." && !part.contains(illegal)
    };
    if text.len() <= MAX_FILE_NAME && text.split('/').all(legal) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a file beside node.toml: copy the file there and write its bare name, such as \
         \"node.pem\"",
        quoted(text)
    ))
}

pub(crate) fn user_name(text: &str) -> Checked<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    if (1..=MAX_NAME).contains(&text.len()) && text.chars().all(legal) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a user name: write 1 to {MAX_NAME} letters, digits and any of - _ . @ +",
        quoted(text)
    ))
}

pub(crate) fn access_key(text: &str) -> Checked<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if ACCESS_KEY_LENGTH.contains(&text.len()) && text.chars().all(legal) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not an access key: write {} to {} letters, digits and any of - _ .",
        quoted(text),
        ACCESS_KEY_LENGTH.start(),
        ACCESS_KEY_LENGTH.end()
    ))
}

/// The message never shows the text: it is a secret.
pub(crate) fn secret_key(text: &str) -> Checked<String> {
    let length = text.chars().count();
    let (least, most) = (SECRET_KEY_LENGTH.start(), SECRET_KEY_LENGTH.end());
    if length < *least {
        return Err(format!("the secret is too short: write {least} to {most} characters"));
    }
    if length > *most {
        return Err(format!("the secret is too long: write {least} to {most} characters"));
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err("the secret has a character that clients cannot send: write letters, digits \
                    and punctuation of ASCII, no spaces"
            .to_owned());
    }
    Ok(text.to_owned())
}

pub(crate) fn serial_line(text: &str) -> Checked<String> {
    let rest = text.strip_prefix("tty").or_else(|| text.strip_prefix("hvc").map(|_| text));
    let stem = rest.unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit());
    let has_number = text.ends_with(|c: char| c.is_ascii_digit());
    let named = !stem.is_empty() && stem.chars().all(|c| c.is_ascii_alphabetic());
    if text.len() <= MAX_INTERFACE_NAME && has_number && named {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a serial line: write one such as \"ttyS0\"", quoted(text)))
}

/// Text of the file as it is shown in a message: in quotes, escaped, cut at 60 characters.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let rest = if text.chars().count() > SHOWN { "…" } else { "" };
    format!("\"{shown}{rest}\"")
}

/// Whether two addresses share the leading bits of `net`.
pub(crate) fn contains(net: &IpNet, address: IpAddr) -> bool {
    match (bits(net.address), bits(address)) {
        ((a, 32), (b, 32)) => (a ^ b) >> (32 - u32::from(net.prefix)) == 0,
        ((a, 128), (b, 128)) => (a ^ b).checked_shr(128 - u32::from(net.prefix)).unwrap_or(0) == 0,
        _ => false,
    }
}

/// Where an address stands within its own subnet.
enum Place {
    Host,
    Subnet,
    Broadcast,
}

impl Place {
    fn of(net: &IpNet) -> Self {
        let (bits, width) = bits(net.address);
        let host_bits = width - u32::from(net.prefix);
        if host_bits < 2 {
            return Self::Host;
        }
        let mask = (1_u128 << host_bits.min(127)) - 1;
        match bits & mask {
            0 => Self::Subnet,
            all if all == mask && width == 32 => Self::Broadcast,
            _ => Self::Host,
        }
    }
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// Six pairs of hexadecimal digits with colons or dashes.
fn mac(text: &str) -> Option<[u8; 6]> {
    let separator = if text.contains(':') { ':' } else { '-' };
    let mut mac = [0; 6];
    let mut parts = text.split(separator);
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= MAX_HOST_NAME && name.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_or_binary() {
        for (text, bytes) in [
            ("32GB", 32_000_000_000),
            ("1GiB", 1 << 30),
            ("1 TiB", 1 << 40),
            ("500000000000", 500_000_000_000),
            ("7B", 7),
            ("2MB", 2_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "1.5GB", "-1", "32gb", "32 G B", "99999999999TiB", "1e9", "١GB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_gateway_is_inside_only_its_own_subnet() {
        for (net, gateway, inside) in [
            ("192.0.2.10/24", "192.0.2.1", true),
            ("192.0.2.10/24", "192.0.3.1", false),
            ("192.0.2.10/32", "192.0.2.10", true),
            ("192.0.2.10/32", "192.0.2.11", false),
            ("10.0.0.1/1", "127.255.255.255", true),
            ("2001:db8::2/64", "2001:db8::1", true),
            ("2001:db8::2/64", "2001:db8:0:1::1", false),
            ("2001:db8::2/128", "2001:db8::2", true),
            ("2001:db8::2/1", "7fff::1", true),
            ("192.0.2.10/24", "2001:db8::1", false),
        ] {
            let net = network_address(net).expect(net);
            assert_eq!(contains(&net, gateway.parse().expect(gateway)), inside, "{gateway}");
        }
    }

    #[test]
    fn an_address_of_a_port_is_one_host_with_a_prefix() {
        for text in ["192.0.2.10/24", "192.0.2.0/31", "10.0.0.255/16", "2001:db8::1/64", "::2/127"]
        {
            assert!(network_address(text).is_ok(), "{text}");
        }
        for text in [
            "192.0.2.10",
            "192.0.2.10/33",
            "192.0.2.10/0",
            "192.0.2.10/-1",
            "192.0.2.0/24",
            "192.0.2.255/24",
            "127.0.0.1/8",
            "224.0.0.1/4",
            "0.0.0.0/8",
            "2001:db8::/64",
            "2001:db8::1/129",
            "fe80::1%eth0/64",
            "example.net/24",
        ] {
            assert!(network_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_named_or_matched_by_hardware_address() {
        let mac = PortName::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(port_name("52:54:00:12:34:56"), Ok(mac.clone()));
        assert_eq!(port_name("52-54-00-12-34-56"), Ok(mac));
        assert_eq!(port_name("enp3s0f1np1"), Ok(PortName::Name("enp3s0f1np1".to_owned())));
        for text in [
            "",
            "lo",
            "eth 0",
            "../x",
            "..",
            "52:54:00:12:34",
            "52:54:00:12:34:5",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "52:54:00:12:34:56:78",
            "+1:54:00:12:34:56",
            "aninterfacename0",
        ] {
            assert!(port_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_service_listens_on_one_or_all_addresses() {
        for (text, listen_on) in [
            (":443", "[::]:443"),
            ("0.0.0.0:443", "0.0.0.0:443"),
            ("[::1]:9000", "[::1]:9000"),
            (":80", "[::]:80"),
        ] {
            assert_eq!(listen(text), Ok(listen_on.parse().expect(listen_on)), "{text}");
        }
        for text in ["", "443", ":", ":0", ":22", "::1:443", "host:443", ":65536", "[ff02::1]:443"]
        {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn readings_are_served_at_an_address_or_not_at_all() {
        for (text, address) in [("127.0.0.1:9100", "127.0.0.1:9100"), (":1024", "[::]:1024")] {
            let address = address.parse().expect(address);
            assert_eq!(metrics_listen(text), Ok(Some(address)), "{text}");
        }
        assert_eq!(metrics_listen("off"), Ok(None));
        for text in ["", "on", ":443", "9100", "host:9100"] {
            assert!(metrics_listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_the_seed_stay_in_the_seed_folder() {
        for text in ["node.pem", "tls/node.pem", "my cert.pem"] {
            assert!(seed_file(text).is_ok(), "{text}");
        }
        for text in ["", "/etc/passwd", "../node.pem", "tls/../../x", "C:\\node.pem", "a//b", "./a"]
        {
            assert!(seed_file(text).is_err(), "{text}");
        }
    }

    #[test]
    fn serial_lines_are_not_virtual_terminals() {
        for text in ["ttyS0", "ttyUSB1", "ttyAMA0", "hvc0"] {
            assert!(serial_line(text).is_ok(), "{text}");
        }
        for text in ["", "tty", "tty1", "ttyS", "sda1", "/dev/ttyS0", "ttyS0/..", "tty0S"] {
            assert!(serial_line(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_about_a_secret_does_not_show_it() {
        for secret in ["x1y2", "with a space in it", "naïve-and-long-enough", &"x".repeat(129)] {
            let message = secret_key(secret).expect_err(secret);
            assert!(!message.contains(secret), "{message}");
        }
    }
}
