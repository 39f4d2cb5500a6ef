//! A network that a machine's ports are plugged into, with one host on it: on a VLAN where one is given, so that
//! only a node which tags its frames reaches it. The host's TCP/IP is smoltcp's; frames travel in UDP
//! datagrams between QEMU's `dgram` ports and this process, all on loopback.
//!
//! The host carries connections from a port of the test's own machine to the node ([`Lan::port`]).

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, IpEndpoint};

/// The host's hardware address, from the locally administered range.
const HOST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// What marks a tagged frame (IEEE 802.1Q).
const TAG: [u8; 2] = [0x81, 0x00];

/// Bytes of the two hardware addresses, behind which the tag stands.
const ADDRESSES: usize = 12;

/// The longest frame: an Ethernet frame of 1514 bytes and the tag.
const FRAME_MAX: usize = 1518;

/// Bytes that a connection holds in each direction.
const BUFFER: usize = 64 << 10;

/// How long the host does nothing where there is nothing to do.
const PAUSE: Duration = Duration::from_millis(1);

/// Where the one host is, and whom it reaches.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// The VLAN; none for frames without a tag.
    pub vlan: Option<u16>,
    /// The host's address and the length of the network's prefix.
    pub host: (Ipv4Addr, u8),
    /// The node's address and port.
    pub node: (Ipv4Addr, u16),
}

/// The network; it is gone when dropped.
#[derive(Debug)]
pub struct Lan {
    arguments: Vec<String>,
    port: u16,
    ends: Arc<AtomicBool>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

/// Frames that came from the machine.
#[derive(Debug, Default)]
struct Seen {
    /// Of the host's VLAN.
    fitting: AtomicU64,
    /// Of another, or without the tag that was wanted.
    others: AtomicU64,
}

impl Lan {
    /// A network with so many of the machine's ports plugged in.
    ///
    /// # Errors
    /// When no sockets can be had.
    pub fn new(site: Site, ports: usize) -> Result<Self> {
        let ours = UdpSocket::bind("127.0.0.1:0")?;
        ours.set_nonblocking(true)?;
        let our_port = ours.local_addr()?.port();
        let mut arguments = Vec::new();
        let mut plugs = Vec::new();
        for number in 0..ports {
            // Free a moment ago; QEMU takes it when the machine starts.
            let theirs = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            plugs.push(theirs);
            arguments.extend([
                "-netdev".to_owned(),
                format!(
                    "dgram,id=lan{number},local.type=inet,local.host=127.0.0.1,local.port={},\
                     remote.type=inet,remote.host=127.0.0.1,remote.port={our_port}",
                    theirs.port()
                ),
                "-device".to_owned(),
                format!("virtio-net-pci,netdev=lan{number},mac={},romfile=", mac(number)),
            ]);
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (ends, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let wire = Wire { socket: ours, plugs, vlan: site.vlan, seen: Arc::clone(&seen) };
        let mut host = Host::new(site, wire, listener)?;
        let stop = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("lan".to_owned()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                host.step();
            }
        })?;
        Ok(Self { arguments, port, ends, seen, thread: Some(thread) })
    }

    /// QEMU's arguments for the machine's ports.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// A port of loopback whose connections the host carries to the node.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the machine sent frames on the host's VLAN.
    #[must_use]
    pub fn was_spoken_on(&self) -> bool {
        self.seen.fitting.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there was printed already.
            let _ = thread.join();
        }
    }
}

/// The hardware address of the machine's port on this network.
#[must_use]
pub fn mac(number: usize) -> String {
    format!("52:54:00:00:01:{number:02x}")
}

/// The cable: frames in datagrams, the tag put on and taken off.
struct Wire {
    socket: UdpSocket,
    plugs: Vec<SocketAddr>,
    vlan: Option<u16>,
    seen: Arc<Seen>,
}

impl Wire {
    /// The next frame for the host, without its tag.
    fn next(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2 * FRAME_MAX];
        loop {
            // An error is an answer to a machine that is off.
            let (length, _) = match self.socket.recv_from(&mut frame) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return None,
            };
            match untagged(frame.get(..length).unwrap_or_default(), self.vlan) {
                Some(plain) => {
                    self.seen.fitting.fetch_add(1, Ordering::Relaxed);
                    return Some(plain);
                }
                None => {
                    self.seen.others.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Sends a frame to every port, as a hub would.
    fn send(&self, frame: &[u8]) {
        let frame = tagged(frame, self.vlan);
        for plug in &self.plugs {
            // A machine that is off hears nothing.
            let _ = self.socket.send_to(&frame, plug);
        }
    }
}

/// The frame as a host on this VLAN sees it; none where it is not for it.
fn untagged(frame: &[u8], vlan: Option<u16>) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    match (rest.strip_prefix(&TAG), vlan) {
        (None, None) => Some(frame.to_vec()),
        (Some([high, low, rest @ ..]), Some(vlan)) => {
            // Twelve bits; the others are priority.
            let found = u16::from_be_bytes([*high, *low]) & 0x0fff;
            (found == vlan).then(|| [addresses, rest].concat())
        }
        _ => None,
    }
}

/// The frame as it travels on this VLAN.
fn tagged(frame: &[u8], vlan: Option<u16>) -> Vec<u8> {
    match (vlan, frame.split_at_checked(ADDRESSES)) {
        (Some(vlan), Some((addresses, rest))) => {
            [addresses, &TAG, &vlan.to_be_bytes(), rest].concat()
        }
        _ => frame.to_vec(),
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

struct ToSend<'a>(&'a Wire);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.send(&frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.next()?;
        Some((Received(frame), ToSend(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<ToSend<'_>> {
        Some(ToSend(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// The host on the network.
struct Host {
    site: Site,
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    listener: TcpListener,
    carried: Vec<Carried>,
    began: Instant,
    next_port: u16,
}

/// A connection of this machine that is carried to the node.
struct Carried {
    stream: TcpStream,
    handle: SocketHandle,
    /// What came from the stream and is not with smoltcp yet.
    out: VecDeque<u8>,
    /// What came from the node and is not with the stream yet.
    back: VecDeque<u8>,
    stream_ended: bool,
}

impl Host {
    fn new(site: Site, mut wire: Wire, listener: TcpListener) -> Result<Self> {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(HOST_MAC)));
        config.random_seed = 1;
        let began = Instant::now();
        let mut interface = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        let mut is_set = false;
        interface.update_ip_addrs(|addresses| {
            is_set = addresses.push(IpCidr::new(site.host.0.into(), site.host.1)).is_ok();
        });
        ensure!(is_set, "smoltcp takes no address");
        Ok(Self {
            site,
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            listener,
            carried: Vec::new(),
            began,
            next_port: 49152,
        })
    }

    /// Carries what there is to carry, or waits a moment.
    fn step(&mut self) {
        if let Ok((stream, _)) = self.listener.accept() {
            // A connection that cannot be carried is closed at once: its client tries again.
            if let Ok(carried) = self.open(stream) {
                self.carried.push(carried);
            }
        }
        let now = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        let now = smoltcp::time::Instant::from_micros(now);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        let mut has_moved = false;
        let sockets = &mut self.sockets;
        self.carried.retain_mut(|carried| {
            let (moved, is_open) = carried.pump(sockets.get_mut(carried.handle));
            has_moved |= moved;
            if !is_open {
                sockets.remove(carried.handle);
            }
            is_open
        });
        if !has_moved {
            std::thread::sleep(PAUSE);
        }
    }

    fn open(&mut self, stream: TcpStream) -> Result<Carried> {
        stream.set_nonblocking(true)?;
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        let node = IpEndpoint::new(self.site.node.0.into(), self.site.node.1);
        let port = self.next_port;
        self.next_port = self.next_port.checked_add(1).unwrap_or(49152);
        socket
            .connect(self.interface.context(), node, port)
            .ok()
            .context("smoltcp does not connect")?;
        // A node that is not there is given up after a while, as a client's own time-out would.
        socket.set_timeout(Some(smoltcp::time::Duration::from_secs(20)));
        let handle = self.sockets.add(socket);
        let (out, back) = (VecDeque::new(), VecDeque::new());
        Ok(Carried { stream, handle, out, back, stream_ended: false })
    }
}

impl Carried {
    /// Moves bytes both ways; whether any moved, and whether the connection goes on.
    fn pump(&mut self, socket: &mut tcp::Socket<'_>) -> (bool, bool) {
        let mut moved = false;
        let mut chunk = vec![0; BUFFER];
        if !self.stream_ended && self.out.is_empty() {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.stream_ended = true,
                Ok(length) => self.out.extend(chunk.iter().take(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    socket.abort();
                    return (true, false);
                }
            }
        }
        if socket.can_send() && !self.out.is_empty() {
            let sent = socket.send_slice(self.out.make_contiguous()).unwrap_or(0);
            self.out.drain(..sent);
            moved |= sent > 0;
        }
        if self.stream_ended && self.out.is_empty() && socket.may_send() {
            socket.close();
        }
        if socket.can_recv() && self.back.is_empty() {
            let received = socket.recv_slice(&mut chunk).unwrap_or(0);
            self.back.extend(chunk.iter().take(received));
            moved |= received > 0;
        }
        if !self.back.is_empty() {
            match self.stream.write(self.back.make_contiguous()) {
                Ok(written) => {
                    self.back.drain(..written);
                    moved |= written > 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    socket.abort();
                    return (true, false);
                }
            }
        }
        let is_over =
            !socket.is_active() || (!socket.may_recv() && socket.state() != tcp::State::SynSent);
        let is_done = is_over && !socket.can_recv() && self.back.is_empty();
        (moved, !is_done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_put_on_and_taken_off_and_others_are_not_heard() {
        let frame: Vec<u8> = (0..60).collect();
        let on_the_wire = tagged(&frame, Some(100));
        assert_eq!(on_the_wire.len(), frame.len() + 4);
        assert_eq!(untagged(&on_the_wire, Some(100)), Some(frame.clone()));
        assert_eq!(untagged(&on_the_wire, Some(101)), None);
        assert_eq!(untagged(&on_the_wire, None), None);
        assert_eq!(untagged(&frame, Some(100)), None);
        assert_eq!(untagged(&frame, None), Some(frame));
        assert_eq!(untagged(&[0; 5], None), None);
    }
}
