//! The network ports of the machine as sysfs and the kernel show them.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use agent_api::init::PortStatus;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};
use provisioning_config::PortName;

/// A port that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The kernel's name.
    pub name: String,
    /// The kernel's number; never used again while the kernel runs.
    pub index: u32,
    /// Hardware address; zeros where it has none of six bytes. Of a port in a bond, its own.
    pub mac: [u8; 6],
    /// Whether it is a bond or VLAN.
    pub is_made: bool,
    /// The number of the bond that it belongs to.
    pub bond: Option<u32>,
    /// The longest packet in bytes, where it can be read.
    pub mtu: Option<u16>,
}

/// Kinds of links that the node makes, as the kernel calls them.
const MADE: [&str; 2] = ["DEVTYPE=bond", "DEVTYPE=vlan"];

/// Every port but loopback, in the order of their numbers.
pub(crate) fn find(sysfs: &Path) -> Vec<Found> {
    let entries = fs::read_dir(sysfs.join("class/net")).into_iter().flatten().flatten();
    let mut found: Vec<Found> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| name != "lo")?;
            let read = |file| fs::read_to_string(entry.path().join(file)).ok();
            let index = read("ifindex")?.trim().parse().ok()?;
            // All ports of a bond show the address of the first.
            let mac = read("bonding_slave/perm_hwaddr").or_else(|| read("address"));
            let uevent = read("uevent").unwrap_or_default();
            Some(Found {
                name,
                index,
                mac: mac.and_then(|text| parse_mac(text.trim())).unwrap_or_default(),
                is_made: uevent.lines().any(|line| MADE.contains(&line)),
                bond: read("bonding_slave/state")
                    .and_then(|_| read("master/ifindex")?.trim().parse().ok()),
                mtu: read("mtu").and_then(|text| text.trim().parse().ok()),
            })
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
                mac: PortName::Mac(port.mac).to_string(),
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

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// The addresses of a port, but those that are its own link's.
pub(crate) fn addresses_of(name: &str) -> Vec<(IpAddr, u8)> {
    let parse = |text: String| -> Option<(IpAddr, u8)> {
        let (address, prefix) = text.split_once('/')?;
        Some((address.parse().ok()?, prefix.parse().ok()?))
    };
    let link_local =
        |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mine = addresses().into_iter().filter(|(port, _)| port == name);
    mine.filter_map(|(_, text)| parse(text)).filter(|(address, _)| !link_local(address)).collect()
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
            (
                "eno3",
                vec![
                    ("ifindex", "5"),
                    ("address", "52:54:00:12:34:56"),
                    ("bonding_slave/perm_hwaddr", "52:54:00:12:34:58\n"),
                    ("bonding_slave/state", "ACTIVE\n"),
                    ("master/ifindex", "6\n"),
                    ("uevent", "INTERFACE=eno3\nIFINDEX=5\n"),
                ],
            ),
            (
                "bond0",
                vec![
                    ("ifindex", "6"),
                    ("address", "52:54:00:12:34:56"),
                    ("uevent", "DEVTYPE=bond\nINTERFACE=bond0\nIFINDEX=6\n"),
                ],
            ),
            ("going", vec![]),
        ] {
            let folder = root.path().join("class/net").join(name);
            fs::create_dir_all(&folder).expect("folder");
            for (file, text) in files {
                let path = folder.join(file);
                fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
                fs::write(path, text).expect("file");
            }
        }
        root
    }

    #[test]
    fn ports_are_found_in_the_order_of_their_numbers_without_loopback() {
        let names: Vec<_> = find(sysfs().path()).into_iter().map(|port| port.name).collect();
        assert_eq!(names, ["eno1", "eno2", "ib0", "eno3", "bond0"]);
    }

    #[test]
    fn a_bond_and_its_ports_are_told_from_each_other() {
        let found = find(sysfs().path());
        let of = |name: &str| found.iter().find(|port| port.name == name).expect("port");
        assert_eq!(
            (of("eno3").bond, of("eno3").is_made, of("eno3").mac[5]),
            (Some(6), false, 0x58)
        );
        assert_eq!((of("bond0").bond, of("bond0").is_made), (None, true));
        assert_eq!((of("eno1").bond, of("eno1").is_made), (None, false));
        assert_eq!(of("eno1").mtu, Some(9000));
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
