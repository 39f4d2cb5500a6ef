//! The few requests of rtnetlink(7) that init makes: port up, MTU, address, default route.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Message types and flags of linux/rtnetlink.h and linux/netlink.h.
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
/// Multicast group of port changes: `RTMGRP_LINK`.
const GROUP_LINK: u32 = 1;

/// Attributes of linux/if_link.h, linux/if_addr.h and linux/rtnetlink.h.
const IFLA_MTU: u16 = 4;
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

fn link_up(index: u32, mtu: Option<u16>) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    if let Some(mtu) = mtu {
        attribute(&mut body, IFLA_MTU, &u32::from(mtu).to_ne_bytes());
    }
    message(RTM_NEWLINK, 0, &body)
}

fn add_address(index: u32, ip: IpAddr, prefix: u8) -> Vec<u8> {
    let (family, bytes) = raw(ip);
    // Family, prefix length, flags, scope (0: global).
    let mut body = vec![family, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, &bytes);
    attribute(&mut body, IFA_ADDRESS, &bytes);
    message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body)
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
    // No attribute here is longer than 16 bytes.
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
