//! Tests of the network from the node: echoes, names, time servers. Each bounded in number and time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use agent_api::control::Reply;
use agent_api::network::{
    ClockReport, HOST_MAX, LookUpReport, PingReport, PingWay, TimeAnswer, TimeServer,
};
use agent_health::read_clock;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::control::refused;
use super::since_1970;

/// Echoes that are asked for: enough to see that some are lost.
const ECHOES: u16 = 4;

/// How long an echo is waited for: longer than a packet takes around the world by satellite.
const ECHO_WITHIN: Duration = Duration::from_secs(1);

/// How long a name is looked up: the resolver asks three servers twice, 2 s each.
const NAME_WITHIN: Duration = Duration::from_secs(13);

/// Most addresses of a name that are told: a screen of them.
const ADDRESSES_MAX: usize = 16;

/// Where a connection is tried when echoes are not allowed (HTTPS).
const TCP_PORT: u16 = 443;

/// Most time servers that are asked: as many as are configured at most.
const TIME_SERVERS_MAX: usize = 8;

/// How long a time server's answer is waited for.
const TIME_WITHIN: Duration = Duration::from_secs(2);

/// The NTP port (RFC 5905).
const NTP_PORT: u16 = 123;

/// Asks a machine for echoes.
pub(super) async fn ping(host: &str) -> Reply {
    let address = match resolve(host).await.map(|found| found.into_iter().next()) {
        Ok(Some(address)) => address,
        Ok(None) => return refused(format!("{host:?} has no address")),
        Err(why) => return refused(why),
    };
    let (way, answers_us) = match echo_socket(address) {
        Ok(socket) => (PingWay::Icmp, echoes(&socket, address).await),
        // The kernel allows it to some groups only (net.ipv4.ping_group_range).
        Err(_) => {
            let port = TCP_PORT;
            (PingWay::Tcp { port }, connections(SocketAddr::new(address, port)).await)
        }
    };
    Reply::Ping(PingReport { address, way, answers_us })
}

/// Looks a name up by the resolver in use.
pub(super) async fn look_up(name: &str) -> Reply {
    let began = Instant::now();
    match resolve(name).await {
        Ok(addresses) if addresses.is_empty() => refused(format!("{name:?} has no address")),
        Ok(addresses) => {
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            Reply::LookUp(LookUpReport { addresses, took_ms })
        }
        Err(why) => refused(why),
    }
}

/// Asks the time servers what time it is.
pub(super) async fn test_clock(servers: &[String]) -> Reply {
    let mut asking = JoinSet::new();
    for (index, server) in servers.iter().take(TIME_SERVERS_MAX).cloned().enumerate() {
        asking.spawn(async move {
            let answer = match ask_time(&server).await {
                Ok(answer) => answer,
                Err(reason) => TimeAnswer::None { reason },
            };
            (index, TimeServer { server, answer })
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    let servers = answers.into_iter().map(|(_, server)| server).collect();
    Reply::ClockTest(Box::new(ClockReport { clock: read_clock(), servers }))
}

/// The addresses of a name, or why there are none, in words.
async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    if host.is_empty() || host.len() > HOST_MAX || !host.chars().all(|c| c.is_ascii_graphic()) {
        return Err("write a host name or an address, such as \"192.0.2.1\"".to_owned());
    }
    let looking = timeout(NAME_WITHIN, lookup_host((host, 0)));
    let found = looking.await.map_err(|_| {
        format!("no name server answered for {host:?} within {} s", NAME_WITHIN.as_secs())
    })?;
    let found = found.map_err(|error| format!("cannot look up {host:?}: {error}"))?;
    let mut addresses = Vec::new();
    for address in found.map(|found| found.ip()) {
        if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// A socket for echo requests to one address (icmp(7); no privileges).
fn echo_socket(address: IpAddr) -> io::Result<UdpSocket> {
    let (family, protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket))
}

async fn echoes(socket: &UdpSocket, address: IpAddr) -> Vec<Option<u32>> {
    let mut answers = Vec::new();
    for number in 1..=ECHOES {
        let began = Instant::now();
        let echo = timeout(ECHO_WITHIN, echo(socket, address, number)).await;
        answers.push(matches!(echo, Ok(Ok(()))).then(|| micros(began.elapsed())));
    }
    answers
}

async fn echo(socket: &UdpSocket, address: IpAddr, number: u16) -> io::Result<()> {
    socket.send_to(&echo_request(address, number), SocketAddr::new(address, 0)).await?;
    let mut answer = [0; 64];
    loop {
        let (length, from) = socket.recv_from(&mut answer).await?;
        let answer = answer.get(..length).unwrap_or_default();
        if from.ip() == address && is_echo(answer, address, number) {
            return Ok(());
        }
    }
}

/// An echo request (RFC 792, RFC 4443, 4.1); checksum and identifier are the kernel's.
fn echo_request(address: IpAddr, number: u16) -> [u8; 8] {
    let kind = if address.is_ipv4() { 8 } else { 128 };
    let [high, low] = number.to_be_bytes();
    [kind, 0, 0, 0, 0, 0, high, low]
}

fn is_echo(answer: &[u8], address: IpAddr, number: u16) -> bool {
    let kind = if address.is_ipv4() { 0 } else { 129 };
    matches!(answer, [first, 0, _, _, _, _, high, low, ..]
        if *first == kind && [*high, *low] == number.to_be_bytes())
}

async fn connections(to: SocketAddr) -> Vec<Option<u32>> {
    let mut answers = Vec::new();
    for _ in 0..ECHOES {
        let began = Instant::now();
        let is_there = match timeout(ECHO_WITHIN, TcpStream::connect(to)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
            Err(_) => false,
        };
        answers.push(is_there.then(|| micros(began.elapsed())));
    }
    answers
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Asks one server by SNTP (RFC 5905, 14).
async fn ask_time(server: &str) -> Result<TimeAnswer, String> {
    let (host, port) = host_and_port(server);
    let address = resolve(&host).await?.into_iter().next();
    let address = address.ok_or_else(|| format!("{host:?} has no address"))?;
    let any: SocketAddr = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let asking = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect((address, port)).await?;
        let sent = since_1970();
        socket.send(&time_request(sent)).await?;
        let mut answer = [0; 128];
        let length = socket.recv(&mut answer).await?;
        io::Result::Ok((sent, since_1970(), answer.get(..length).unwrap_or_default().to_vec()))
    };
    let (sent, came, answer) = timeout(TIME_WITHIN, asking)
        .await
        .map_err(|_| format!("no answer within {} s", TIME_WITHIN.as_secs()))?
        .map_err(|error| format!("cannot be asked: {error}"))?;
    read_time(sent, came, &answer).ok_or_else(|| "its answer is not the time".to_owned())
}

/// Host and port of `host`, `host:port`, `[address]:port` or a bare IPv6 address.
fn host_and_port(server: &str) -> (String, u16) {
    if let Ok(address) = server.parse::<SocketAddr>() {
        return (address.ip().to_string(), address.port());
    }
    match server.rsplit_once(':') {
        Some((host, port)) if server.parse::<IpAddr>().is_err() => {
            (host.to_owned(), port.parse().unwrap_or(NTP_PORT))
        }
        _ => (server.to_owned(), NTP_PORT),
    }
}

/// Size of a packet without extensions, in bytes (RFC 5905, 7.3).
const NTP_PACKET: usize = 48;

/// Seconds from the beginning of NTP's time, 1900, to that of Unix (RFC 5905, 6).
const SINCE_1900: u64 = 2_208_988_800;

/// A client's packet of version 4 (RFC 5905, 7.3), sent at this time since 1970.
fn time_request(sent: Duration) -> [u8; NTP_PACKET] {
    let mut packet = [0; NTP_PACKET];
    let (head, transmitted) = packet.split_at_mut(NTP_PACKET - 8);
    if let Some(first) = head.first_mut() {
        // Version 4, mode 3.
        *first = 0x23;
    }
    transmitted.copy_from_slice(&timestamp(sent).to_be_bytes());
    packet
}

/// Seconds since 1900 and their fraction in 32 bits each; the seconds begin anew in 2036.
fn timestamp(since_1970: Duration) -> u64 {
    let seconds = since_1970.as_secs().wrapping_add(SINCE_1900) & 0xffff_ffff;
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

/// What a server's packet says; none where it is not the answer to the question of `sent`, or where
/// the server does not know the time.
fn read_time(sent: Duration, came: Duration, packet: &[u8]) -> Option<TimeAnswer> {
    let at = |from: usize| {
        let bytes: [u8; 8] = packet.get(from..from + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    };
    let (mode, stratum) = (packet.first()? & 7, *packet.get(1)?);
    let (origin, received, transmitted) = (at(24)?, at(32)?, at(40)?);
    let knows = (1..16).contains(&stratum) && transmitted != 0;
    if mode != 4 || origin != timestamp(sent) || !knows {
        return None;
    }
    let there = micros_between(timestamp(sent), received);
    let back = micros_between(timestamp(came), transmitted);
    Some(TimeAnswer::Time {
        offset_us: there.midpoint(back),
        delay_us: there.saturating_sub(back),
        stratum,
    })
}

/// By how many microseconds `to` is after `from`; right while they are less than 68 years apart.
fn micros_between(from: u64, to: u64) -> i64 {
    let difference = i128::from(to.wrapping_sub(from).cast_signed());
    i64::try_from((difference * 1_000_000) >> 32).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_that_of_its_request() {
        let v4 = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(echo_request(v4, 0x102), [8, 0, 0, 0, 0, 0, 1, 2]);
        assert!(is_echo(&[0, 0, 9, 9, 9, 9, 1, 2], v4, 0x102));
        assert!(!is_echo(&[0, 0, 9, 9, 9, 9, 1, 3], v4, 0x102));
        assert!(!is_echo(&[3, 1, 9, 9, 9, 9, 1, 2], v4, 0x102), "not reachable");
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert!(is_echo(&[129, 0, 9, 9, 9, 9, 1, 2, 7], v6, 0x102) && !is_echo(&[], v6, 1));
    }

    #[test]
    fn servers_are_named_as_in_node_toml() {
        for (server, host, port) in [
            ("ntp", "ntp", 123),
            ("ntp:1123", "ntp", 1123),
            ("192.0.2.1:5", "192.0.2.1", 5),
            ("[2001:db8::1]:5", "2001:db8::1", 5),
            ("2001:db8::1", "2001:db8::1", 123),
        ] {
            assert_eq!(host_and_port(server), (host.to_owned(), port));
        }
    }

    /// A server whose clock is `ahead` of ours and whose network takes as long each way.
    fn answer(sent: Duration, ahead: i64, way: Duration) -> Vec<u8> {
        let shift = |time: Duration| {
            let ahead_of = Duration::from_micros(ahead.unsigned_abs());
            if ahead < 0 { time - ahead_of } else { time + ahead_of }
        };
        let mut packet = time_request(sent).to_vec();
        (packet[0], packet[1]) = (0x24, 2);
        packet[24..32].copy_from_slice(&timestamp(sent).to_be_bytes());
        let at = timestamp(shift(sent + way)).to_be_bytes();
        packet[32..40].copy_from_slice(&at);
        packet[40..48].copy_from_slice(&at);
        packet
    }

    #[test]
    fn a_server_s_clock_is_compared_with_ours() {
        // Also where NTP's seconds begin anew, on 7 February 2036.
        for began in [1_700_000_000_u64, (1 << 32) - SINCE_1900 - 1] {
            for ahead in [0_i64, 1_500_000, -86_400_000_000] {
                let (sent, way) = (Duration::from_secs(began), Duration::from_millis(40));
                let read = read_time(sent, sent + 2 * way, &answer(sent, ahead, way));
                let Some(TimeAnswer::Time { offset_us, delay_us, stratum: 2 }) = read else {
                    panic!("{read:?}");
                };
                assert!((offset_us - ahead).abs() <= 2, "{offset_us} for {ahead}");
                assert!((delay_us - 80_000).abs() <= 2, "{delay_us}");
            }
        }
    }

    #[test]
    fn an_answer_to_another_question_or_without_the_time_is_none() {
        let (sent, way) = (Duration::from_secs(1_700_000_000), Duration::from_millis(1));
        let good = answer(sent, 0, way);
        assert!(read_time(sent, sent + way, &good).is_some());
        assert!(read_time(sent + way, sent + way, &good).is_none());
        for (at, byte) in [(0, 0x23), (1, 0), (1, 16)] {
            let mut wrong = good.clone();
            wrong[at] = byte;
            assert!(read_time(sent, sent + way, &wrong).is_none(), "byte {at}");
        }
        assert!(read_time(sent, sent + way, &good[..47]).is_none());
        assert!(read_time(sent, sent + way, &[]).is_none());
    }

    #[tokio::test]
    async fn this_machine_is_reached_and_a_name_without_sense_is_refused() {
        let Reply::Ping(report) = ping("127.0.0.1").await else { panic!("refused") };
        assert_eq!(report.address, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(report.answers_us.iter().flatten().count(), usize::from(ECHOES), "{report:?}");
        let Reply::LookUp(report) = look_up("::1").await else { panic!("refused") };
        assert_eq!(report.addresses, [IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        for host in ["", "a b", "a\nb", &"x".repeat(HOST_MAX + 1)] {
            assert!(matches!(ping(host).await, Reply::Refused { .. }), "{host}");
            assert!(matches!(look_up(host).await, Reply::Refused { .. }), "{host}");
        }
    }

    #[tokio::test]
    async fn a_time_server_is_asked_and_one_that_says_nothing_is_told() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let known = server.local_addr().expect("its address").to_string();
        let serving = tokio::spawn(async move {
            let mut question = [0; 64];
            let (_, from) = server.recv_from(&mut question).await.expect("a question");
            let mut packet = answer(since_1970(), 5_000_000, Duration::ZERO);
            packet[24..32].copy_from_slice(&question[40..48]);
            server.send_to(&packet, from).await.expect("sent");
        });
        let servers = [known, "no host name".to_owned()];
        let Reply::ClockTest(report) = test_clock(&servers).await else { panic!("refused") };
        serving.await.expect("served");
        let [TimeServer { answer: TimeAnswer::Time { stratum: 2, .. }, .. }, other] =
            report.servers.as_slice()
        else {
            panic!("{report:?}")
        };
        assert!(matches!(other.answer, TimeAnswer::None { .. }), "{other:?}");
    }
}
