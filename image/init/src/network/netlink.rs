//! The few requests of rtnetlink(7) that init makes: ports, bonds and VLANs, addresses, default routes.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use provisioning_config::BondMode;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Message types and flags of linux/rtnetlink.h and linux/netlink.h.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
/// Multicast group of port changes: `RTMGRP_LINK`.
const GROUP_LINK: u32 = 1;

/// Attributes of linux/if_link.h, linux/if_addr.h and linux/rtnetlink.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_BOND_MODE: u16 = 1;
const IFLA_BOND_MIIMON: u16 = 3;
const IFLA_BOND_XMIT_HASH_POLICY: u16 = 14;
const IFLA_BOND_AD_LACP_RATE: u16 = 21;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;

/// `BOND_MODE_ACTIVEBACKUP` and `BOND_MODE_8023AD` of linux/if_bonding.h.
const ACTIVE_BACKUP: u8 = 1;
const LACP: u8 = 4;
/// `BOND_XMIT_POLICY_LAYER34`: connections of one client use all ports.
const BY_CONNECTION: u8 = 1;
/// LACP each second: a port that goes silent is left after three, not after 90.
const LACP_FAST: u8 = 1;
/// How often the links of a bond's ports are looked at, in milliseconds (kernel's bonding.rst: 100 is
/// a good start).
const LINK_CHECK_MS: u32 = 100;

/// Metric of the default route of port 0; the port's number is added. Below dhcpcd's 1000, so that
/// a gateway that a person wrote comes first.
const METRIC: u32 = 100;

/// Size of a message's head, in bytes.
const HEAD: usize = 16;

/// Messages taken in at one call, so that a storm of changes cannot hold PID 1.
const MAX_DRAINED: usize = 256;

/// Two sockets: one for requests and their answers, one that hears of changes.
#[derive(Debug)]
pub(crate) struct Netlink {
    requests: OwnedFd,
    changes: OwnedFd,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = |flags, groups| -> io::Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | flags;
            let socket =
                // No protocol: NETLINK_ROUTE is 0.
                rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
            Ok(socket)
        };
        let requests = socket(SocketFlags::empty(), 0)?;
        // The kernel answers at once; a limit all the same, as PID 1 must not wait for ever.
        let limit = std::time::Duration::from_secs(1);
        rustix::net::sockopt::set_socket_timeout(
            &requests,
            rustix::net::sockopt::Timeout::Recv,
            Some(limit),
        )?;
        Ok(Self { requests, changes: socket(SocketFlags::NONBLOCK, GROUP_LINK)? })
    }

    /// Brings a port up, with an MTU in bytes where one is given.
    pub(crate) fn link_up(&mut self, index: u32, mtu: Option<u16>) -> io::Result<()> {
        self.request(&link_up(index, mtu))
    }

    /// Takes a port down: its routes go, and its IPv6 addresses.
    pub(crate) fn link_down(&mut self, index: u32) -> io::Result<()> {
        self.request(&link_down(index))
    }

    /// Sets an MTU in bytes.
    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u16) -> io::Result<()> {
        self.request(&set_mtu(index, mtu))
    }

    /// Makes a bond without ports.
    pub(crate) fn make_bond(&mut self, name: &str, mode: BondMode) -> io::Result<()> {
        self.request(&make_bond(name, mode))
    }

    /// Makes a VLAN on the port or bond `parent`.
    pub(crate) fn make_vlan(&mut self, name: &str, id: u16, parent: u32) -> io::Result<()> {
        self.request(&make_vlan(name, id, parent))
    }

    /// Makes a port that is down part of a bond.
    pub(crate) fn join(&mut self, index: u32, bond: u32) -> io::Result<()> {
        self.request(&join(index, bond))
    }

    /// Removes a bond or VLAN.
    pub(crate) fn remove_link(&mut self, index: u32) -> io::Result<()> {
        self.request(&remove_link(index))
    }

    /// Takes an address from a port.
    pub(crate) fn remove_address(&mut self, index: u32, ip: IpAddr, prefix: u8) -> io::Result<()> {
        self.request(&remove_address(index, ip, prefix))
    }

    /// Gives a port an address; one it has already is no error.
    pub(crate) fn add_address(&mut self, index: u32, ip: IpAddr, prefix: u8) -> io::Result<()> {
        self.request(&add_address(index, ip, prefix))
    }

    /// Adds a default route.
    pub(crate) fn add_gateway(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        self.request(&add_gateway(index, gateway))
    }

    /// Takes in what has come; true where it was anything.
    pub(crate) fn drain(&mut self) -> bool {
        let mut buffer = [0; 8192];
        for taken in 0..MAX_DRAINED {
            match rustix::net::recv(&self.changes, &mut buffer, RecvFlags::DONTWAIT) {
                // So many have come that the kernel dropped some: look at the ports all the same.
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => {}
                Err(_) => return taken > 0,
            }
        }
        true
    }

    fn request(&mut self, message: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.requests, message, SendFlags::empty())?;
        let mut buffer = [0; 4096];
        let (length, _) = rustix::net::recv(&self.requests, &mut buffer, RecvFlags::empty())?;
        answer(buffer.get(..length).unwrap_or_default())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

/// A port, 0 for one that is to be made, whose flags in `change` become those in `flags`.
fn link(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(change.to_ne_bytes());
    body
}

fn link_up(index: u32, mtu: Option<u16>) -> Vec<u8> {
    let mut body = link(index, IFF_UP, IFF_UP);
    if let Some(mtu) = mtu {
        attribute(&mut body, IFLA_MTU, &u32::from(mtu).to_ne_bytes());
    }
    message(RTM_NEWLINK, 0, &body)
}

fn link_down(index: u32) -> Vec<u8> {
    message(RTM_NEWLINK, 0, &link(index, 0, IFF_UP))
}

fn set_mtu(index: u32, mtu: u16) -> Vec<u8> {
    let mut body = link(index, 0, 0);
    attribute(&mut body, IFLA_MTU, &u32::from(mtu).to_ne_bytes());
    message(RTM_NEWLINK, 0, &body)
}

fn make_bond(name: &str, mode: BondMode) -> Vec<u8> {
    let mut data = Vec::new();
    match mode {
        BondMode::ActiveBackup => attribute(&mut data, IFLA_BOND_MODE, &[ACTIVE_BACKUP]),
        BondMode::Lacp => {
            attribute(&mut data, IFLA_BOND_MODE, &[LACP]);
            attribute(&mut data, IFLA_BOND_XMIT_HASH_POLICY, &[BY_CONNECTION]);
            attribute(&mut data, IFLA_BOND_AD_LACP_RATE, &[LACP_FAST]);
        }
    }
    attribute(&mut data, IFLA_BOND_MIIMON, &LINK_CHECK_MS.to_ne_bytes());
    make_link(name, "bond", &data, None)
}

fn make_vlan(name: &str, id: u16, parent: u32) -> Vec<u8> {
    let mut data = Vec::new();
    attribute(&mut data, IFLA_VLAN_ID, &id.to_ne_bytes());
    make_link(name, "vlan", &data, Some(parent))
}

fn make_link(name: &str, kind: &str, data: &[u8], parent: Option<u32>) -> Vec<u8> {
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, kind.as_bytes());
    attribute(&mut info, IFLA_INFO_DATA, data);
    let mut body = link(0, 0, 0);
    // Names end with a zero.
    attribute(&mut body, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    if let Some(parent) = parent {
        attribute(&mut body, IFLA_LINK, &parent.to_ne_bytes());
    }
    attribute(&mut body, IFLA_LINKINFO, &info);
    message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body)
}

fn join(index: u32, bond: u32) -> Vec<u8> {
    let mut body = link(index, 0, 0);
    attribute(&mut body, IFLA_MASTER, &bond.to_ne_bytes());
    message(RTM_NEWLINK, 0, &body)
}

fn remove_link(index: u32) -> Vec<u8> {
    message(RTM_DELLINK, 0, &link(index, 0, 0))
}

fn add_address(index: u32, ip: IpAddr, prefix: u8) -> Vec<u8> {
    message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &address(index, ip, prefix))
}

fn remove_address(index: u32, ip: IpAddr, prefix: u8) -> Vec<u8> {
    message(RTM_DELADDR, 0, &address(index, ip, prefix))
}

fn address(index: u32, ip: IpAddr, prefix: u8) -> Vec<u8> {
    let (family, bytes) = raw(ip);
    // Family, prefix length, flags, scope (0: global).
    let mut body = vec![family, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, &bytes);
    attribute(&mut body, IFA_ADDRESS, &bytes);
    body
}

fn add_gateway(index: u32, gateway: IpAddr) -> Vec<u8> {
    let (family, bytes) = raw(gateway);
    // Family, lengths of destination and source, type of service, table, protocol, scope, type.
    let mut body = vec![family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST];
    body.extend([0; 4]);
    attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
    attribute(&mut body, RTA_GATEWAY, &bytes);
    attribute(&mut body, RTA_PRIORITY, &(METRIC.saturating_add(index)).to_ne_bytes());
    message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body)
}

fn raw(ip: IpAddr) -> (u8, Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    }
}

/// Appends an attribute, filled up to a multiple of four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // No attribute here is longer than 100 bytes.
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// A whole message that asks for an answer.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEAD + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The kernel's answer: an error number, 0 for none.
fn answer(message: &[u8]) -> io::Result<()> {
    let kind = message.get(4..6).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
    let code = message.get(HEAD..HEAD + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_kernel_s_form() {
        // As iproute2 sends them for `ip link set`, `ip address replace` and `ip route replace`.
        let up = link_up(2, Some(9000));
        assert_eq!(
            up,
            [
                40, 0, 0, 0, 16, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, // head
                0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // port
                8, 0, 4, 0, 0x28, 0x23, 0, 0, // MTU
            ]
        );
        assert_eq!(link_up(2, None).len(), 32);
        let address = add_address(2, IpAddr::from([192, 0, 2, 10]), 24);
        assert_eq!(
            address,
            [
                40, 0, 0, 0, 20, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, // head
                2, 24, 0, 0, 2, 0, 0, 0, // address
                8, 0, 2, 0, 192, 0, 2, 10, 8, 0, 1, 0, 192, 0, 2, 10,
            ]
        );
        let route = add_gateway(2, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(
            route,
            [
                52, 0, 0, 0, 24, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, // head
                2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0, // route
                8, 0, 4, 0, 2, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 1, 8, 0, 6, 0, 102, 0, 0, 0,
            ]
        );
        assert_eq!(add_gateway(2, IpAddr::from([0_u16; 8])).len(), 64);
    }

    #[test]
    fn links_are_made_as_iproute2_makes_them() {
        // `ip link add link eno1 name v.100 type vlan id 100`, with eno1 as port 2.
        assert_eq!(
            make_vlan("v.100", 100, 2),
            [
                76, 0, 0, 0, 16, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, // head
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // port
                10, 0, 3, 0, b'v', b'.', b'1', b'0', b'0', 0, 0, 0, // name
                8, 0, 5, 0, 2, 0, 0, 0, // carrier
                24, 0, 18, 0, 8, 0, 1, 0, b'v', b'l', b'a', b'n', // kind
                12, 0, 2, 0, 6, 0, 1, 0, 100, 0, 0, 0, // id
            ]
        );
        // `ip link add name b type bond mode active-backup miimon 100`.
        let bond = make_bond("b", BondMode::ActiveBackup);
        assert_eq!(
            bond[32..],
            [
                6, 0, 3, 0, b'b', 0, 0, 0, // name
                32, 0, 18, 0, 8, 0, 1, 0, b'b', b'o', b'n', b'd', // kind
                20, 0, 2, 0, 5, 0, 1, 0, 1, 0, 0, 0, 8, 0, 3, 0, 100, 0, 0, 0, // mode, miimon
            ]
        );
        let lacp = make_bond("b", BondMode::Lacp);
        assert_eq!(
            lacp[56..],
            [
                5, 0, 1, 0, 4, 0, 0, 0, 5, 0, 14, 0, 1, 0, 0, 0, // mode, layer 3+4
                5, 0, 21, 0, 1, 0, 0, 0, 8, 0, 3, 0, 100, 0, 0, 0, // fast LACP, miimon
            ]
        );
        // `ip link set dev eno1 master bond0`, `ip link set dev eno1 down`, `ip link delete`.
        assert_eq!(
            join(2, 5)[16..],
            [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 10, 0, 5, 0, 0, 0]
        );
        assert_eq!(link_down(2)[16..], [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(remove_link(5)[..16], [32, 0, 0, 0, 17, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let gone = remove_address(2, IpAddr::from([192, 0, 2, 10]), 24);
        assert_eq!(gone[..8], [40, 0, 0, 0, 21, 0, 5, 0]);
        assert_eq!(set_mtu(2, 1500)[32..], [8, 0, 4, 0, 0xdc, 5, 0, 0]);
    }

    #[test]
    fn an_answer_is_success_or_the_kernel_s_error() {
        let with = |code: i32| {
            let mut bytes = vec![0; HEAD];
            bytes[4] = 2;
            bytes.extend(code.to_ne_bytes());
            answer(&bytes)
        };
        assert!(with(0).is_ok());
        assert_eq!(with(-17).expect_err("error").raw_os_error(), Some(17));
        assert!(answer(&[]).is_err());
        assert!(answer(&[0; 20]).is_err());
    }

    #[test]
    fn the_kernel_understands_a_request() {
        let mut netlink = Netlink::open().expect("netlink");
        let error = netlink.link_up(u32::from(u16::MAX), None).expect_err("no such port");
        let refused = [rustix::io::Errno::NODEV, rustix::io::Errno::PERM];
        let number = error.raw_os_error();
        assert!(refused.iter().any(|errno| number == Some(errno.raw_os_error())), "{error}");
        assert!(!netlink.drain());
    }
}
