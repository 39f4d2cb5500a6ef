//! The network ports of the machine as sysfs and the kernel show them.

use std::fs;
use std::path::Path;

use agent_api::init::PortStatus;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};

/// A port that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The kernel's name.
    pub name: String,
    /// The kernel's number; never used again while the kernel runs.
    pub index: u32,
    /// Hardware address; zeros where it has none of six bytes.
    pub mac: [u8; 6],
}

/// Every port but loopback, in the order of their numbers.
pub(crate) fn find(sysfs: &Path) -> Vec<Found> {
    let entries = fs::read_dir(sysfs.join("class/net")).into_iter().flatten().flatten();
    let mut found: Vec<Found> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| name != "lo")?;
            let read = |file| fs::read_to_string(entry.path().join(file)).ok();
            let index = read("ifindex")?.trim().parse().ok()?;
            let mac = read("address").and_then(|text| parse_mac(text.trim())).unwrap_or_default();
            Some(Found { name, index, mac })
        })
        .collect();
    found.sort_by_key(|port| port.index);
    found
}

/// Whether udev is done with a port: its name is the lasting one then.
pub(crate) fn is_named(udev: &Path, port: &Found) -> bool {
    udev.join("data").join(format!("n{}", port.index)).exists()
}

/// State of every port, with its addresses.
pub(crate) fn status(sysfs: &Path) -> Vec<PortStatus> {
    let addresses = addresses();
    find(sysfs)
        .into_iter()
        .map(|port| {
            let folder = sysfs.join("class/net").join(&port.name);
            // Of a port that is down, both cannot be read.
            let read = |file| fs::read_to_string(folder.join(file)).ok();
            let speed = read("speed").and_then(|text| text.trim().parse::<i64>().ok());
            let mine = addresses.iter().filter(|(name, _)| *name == port.name);
            PortStatus {
                mac: mac_text(port.mac),
                link: read("carrier").is_some_and(|text| text.trim() == "1"),
                mtu_bytes: read("mtu").and_then(|text| text.trim().parse().ok()),
                dhcp: None,
                speed_mbps: speed.filter(|speed| *speed > 0).and_then(|s| u32::try_from(s).ok()),
                addresses: mine.map(|(_, address)| address.clone()).collect(),
                name: port.name,
            }
        })
        .collect()
}

/// Lower case with colons.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// Port and address with prefix length of every address of the machine.
fn addresses() -> Vec<(String, String)> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|entry| {
        let address = text(entry.address.as_ref()?)?;
        let mask = entry.netmask.as_ref()?;
        Some((entry.interface_name, format!("{address}/{}", prefix(mask)?)))
    })
    .collect()
}

fn text(address: &SockaddrStorage) -> Option<String> {
    match address.family()? {
        AddressFamily::Inet => Some(address.as_sockaddr_in()?.ip().to_string()),
        AddressFamily::Inet6 => Some(address.as_sockaddr_in6()?.ip().to_string()),
        _ => None,
    }
}

fn prefix(mask: &SockaddrStorage) -> Option<u32> {
    match mask.family()? {
        AddressFamily::Inet => Some(mask.as_sockaddr_in()?.ip().to_bits().count_ones()),
        AddressFamily::Inet6 => Some(mask.as_sockaddr_in6()?.ip().to_bits().count_ones()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysfs() -> tempfile::TempDir {
        let root = tempfile::TempDir::new().expect("temporary folder");
        for (name, files) in [
            ("lo", vec![("ifindex", "1"), ("address", "00:00:00:00:00:00")]),
            ("eno2", vec![("ifindex", "3"), ("address", "52:54:00:12:34:57"), ("speed", "-1\n")]),
            (
                "eno1",
                vec![
                    ("ifindex", "2"),
                    ("address", "52:54:00:12:34:56\n"),
                    ("carrier", "1\n"),
                    ("speed", "25000\n"),
                    ("mtu", "9000\n"),
                ],
            ),
            ("ib0", vec![("ifindex", "4"), ("address", "80:00:02:08:fe:80:00:00:00:00")]),
            ("going", vec![]),
        ] {
            let folder = root.path().join("class/net").join(name);
            fs::create_dir_all(&folder).expect("folder");
            for (file, text) in files {
                fs::write(folder.join(file), text).expect("file");
            }
        }
        root
    }

    #[test]
    fn ports_are_found_in_the_order_of_their_numbers_without_loopback() {
        let names: Vec<_> = find(sysfs().path()).into_iter().map(|port| port.name).collect();
        assert_eq!(names, ["eno1", "eno2", "ib0"]);
    }

    #[test]
    fn an_unknown_speed_is_not_zero() {
        let status = status(sysfs().path());
        let of = |name: &str| status.iter().find(|port| port.name == name).expect("port");
        assert_eq!((of("eno1").link, of("eno1").speed_mbps), (true, Some(25_000)));
        assert_eq!((of("eno2").link, of("eno2").speed_mbps), (false, None));
        assert_eq!(of("eno2").mac, "52:54:00:12:34:57");
    }

    #[test]
    fn an_mtu_is_read_where_there_is_one() {
        let status = status(sysfs().path());
        let of = |name: &str| status.iter().find(|port| port.name == name).expect("port").mtu_bytes;
        assert_eq!((of("eno1"), of("eno2")), (Some(9000), None));
    }

    #[test]
    fn this_machine_s_loopback_address_is_read_with_its_prefix() {
        assert!(addresses().contains(&("lo".to_owned(), "127.0.0.1/8".to_owned())));
    }
}
