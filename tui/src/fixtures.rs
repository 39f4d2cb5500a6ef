//! Nodes to show in tests.

use std::path::PathBuf;

use agent_api::disks::{
    Bytes, DiskClass, DiskId, DiskReport, DiskStatus, Ownership, VolumePhase, VolumeStatus,
};
use agent_api::hardware::{Component, HealthReport};
use agent_api::health::{ClockReading, Health, Kind, MemoryReading, Verdict};
use agent_api::init::{
    NetworkOrigin, NetworkState, PortStatus, ServiceState, ServiceStatus, SystemStatus,
};
use agent_api::pool::{Calls, PoolStatus, PoolVolume, PoolVolumeState};
use agent_api::settlement::{Amounts, SettlementSummary, Standing};
use agent_api::sla::{
    EraStatus, Link, PeerStatus, ReceiptStatus, ReportStatus, SlaStatus, SpoolStatus,
};
use agent_api::status::{
    Capacity, CertificateOrigin, ConsoleChanges, Credentials, DiskSlot, NodeState, NodeStatus,
    Problem, S3State, S3Status, Severity, StateWord, TlsStatus, VolumeState, VolumeUse,
};

pub(crate) fn disk(number: usize, ownership: Ownership, reasons: &[&str]) -> DiskStatus {
    let ours = ownership == Ownership::Ours;
    DiskStatus {
        id: Some(DiskId(format!("wwn-0x{number:016x}"))),
        device: PathBuf::from(format!("/dev/nvme{number}n1")),
        model: "SAMSUNG MZQL21T9HCJR-00A07".to_owned(),
        serial: format!("S64GNE0R{number:06}"),
        size: Bytes(1_920_383_410_176),
        class: DiskClass::Nvme,
        ownership,
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        volume: ours.then(|| VolumeStatus {
            id: format!("volume-{number}"),
            phase: VolumePhase::Mounted { mount: PathBuf::from(format!("/data/volume-{number}")) },
        }),
    }
}

pub(crate) fn attached(disks: &[DiskStatus]) -> Vec<VolumeUse> {
    let volumes = disks.iter().filter_map(|disk| disk.volume.as_ref());
    volumes
        .map(|volume| VolumeUse { id: volume.id.clone(), state: VolumeState::Attached })
        .collect()
}

pub(crate) fn port(name: &str, link: bool, addresses: &[&str]) -> PortStatus {
    PortStatus {
        name: name.to_owned(),
        mac: "52:54:00:12:34:56".to_owned(),
        link,
        speed_mbps: link.then_some(25_000),
        mtu_bytes: Some(1500),
        dhcp: Some(true),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
    }
}

pub(crate) fn service(name: &str) -> ServiceStatus {
    ServiceStatus {
        name: name.to_owned(),
        state: ServiceState::Running,
        restarts: 0,
        last_exit: String::new(),
    }
}

fn oracle(number: u8) -> PeerStatus {
    PeerStatus {
        name: format!("oracle-{number}"),
        url: format!("https://oracle-{number}.example.net:7443"),
        address: Some(format!("0x{}", format!("{number:02x}").repeat(20))),
        link: Link::InSession,
        words: "in session".to_owned(),
        clock_ahead_ms: Some(3),
        delivered: Some(1_764_000_000_123),
        pending: 0,
        receipt: Some(ReceiptStatus {
            era: 411,
            passed: true,
            latency_us: Some(1800 + u64::from(number)),
            bytes_per_second: Some(412_000_000),
            reasons: Vec::new(),
        }),
        missed_eras: 0,
    }
}

fn sla() -> SlaStatus {
    SlaStatus {
        awaited: None,
        era: Some(EraStatus { era: 412, ends_in_seconds: 780 }),
        report: Some(ReportStatus { sequence: 1_764_000_000_123, age_seconds: 130 }),
        spool: SpoolStatus { on_disk: true, receipts: 144, ..SpoolStatus::default() },
        clock: None,
        peers: [1, 2, 3].map(oracle).to_vec(),
    }
}

fn settlement() -> SettlementSummary {
    let tokens = |text: &str| Some(format!("{text}000000000000000"));
    SettlementSummary {
        awaited: None,
        standing: Some(Standing::Healthy),
        amounts: Amounts {
            earned: tokens("128250"),
            pending: tokens("3500"),
            claimable: tokens("750"),
            paid: tokens("124000"),
            ..Amounts::default()
        },
        alarms: 0,
        error: None,
    }
}

/// A node where all is well.
pub(crate) fn normal() -> NodeStatus {
    let disks: Vec<_> = (0..4).map(|number| disk(number, Ownership::Ours, &[])).collect();
    let services = ["udevd", "dhcpcd", "chronyd", "icn-disks", "icn-agent", "icn-console@tty1"];
    NodeStatus {
        set_up: true,
        region: Some("eu-central".to_owned()),
        hardware_class: Some("storage-2".to_owned()),
        support_recipients: 1,
        network_kept: false,
        version: "0.1.0".to_owned(),
        node_id: Some("7f83b1657ff1fc53b92dc18148a1d65d".to_owned()),
        name: "cs-rack4-u12".to_owned(),
        state: NodeState {
            word: StateWord::Ready,
            why: "serves objects from all 4 disks of this node".to_owned(),
        },
        uptime_seconds: 11_520,
        system: Some(SystemStatus {
            network: Some(NetworkState {
                origin: NetworkOrigin::Seed,
                text: "[network]\n".to_owned(),
                tried: None,
                seconds_left: None,
            }),
            version: 1,
            image: "icn-node 0.1.0".to_owned(),
            services: services.into_iter().map(service).collect(),
            ports: vec![
                port("eno1", true, &["192.0.2.10/24", "2001:db8::10/64"]),
                port("eno2", false, &[]),
            ],
            gateways: vec!["192.0.2.1 eno1".to_owned(), "fe80::1 eno1".to_owned()],
            dns: vec!["192.0.2.53".to_owned(), "2001:db8::53".to_owned()],
            search: vec!["rack4.example.net".to_owned()],
            time_servers: vec!["192.0.2.123".to_owned(), "2.debian.pool.ntp.org".to_owned()],
            problems: Vec::new(),
        }),
        volumes: attached(&disks),
        slots: Vec::new(),
        disks: Some(DiskReport {
            version: 1,
            generation: 4,
            node_id: Some("7f83b1657ff1fc53b92dc18148a1d65d".to_owned()),
            disks,
            missing: Vec::new(),
            claims: Vec::new(),
            problems: Vec::new(),
        }),
        capacity: Some(Capacity {
            total: Bytes(7_681_533_640_704),
            used: Bytes(1_200_000_000_000),
        }),
        s3: S3Status {
            state: S3State::Listening,
            endpoints: vec!["https://192.0.2.10".to_owned(), "https://[2001:db8::10]".to_owned()],
            tls: Some(TlsStatus {
                fingerprint: (0..32_u8)
                    .map(|n| format!("{:02X}", n * 7))
                    .collect::<Vec<_>>()
                    .join(":"),
                origin: CertificateOrigin::SelfSigned,
                expires: "9999-12-31".to_owned(),
            }),
            credentials: Credentials::FirstUser {
                name: "first-user".to_owned(),
                access_key: "ICNA5X2QK7MB3WZT4R6Y".to_owned(),
            },
        },
        daemon: Some("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf".to_owned()),
        sla: Some(sla()),
        clock: ClockReading::Synchronised {
            max_error_us: 11_400,
            estimated_error_us: 300,
            offset_us: -20,
            frequency_ppb: -12_500,
        },
        memory: MemoryReading::Known {
            total_bytes: 64 << 30,
            available_bytes: (64 << 30) - (300 << 20),
        },
        settlement: Some(settlement()),
        console: ConsoleChanges::Anybody,
        problems: Vec::new(),
    }
}

/// A node whose stick, disks and clock all need somebody.
pub(crate) fn troubled() -> NodeStatus {
    let mut status = normal();
    let mut disks = vec![
        disk(0, Ownership::Ours, &[]),
        disk(
            1,
            Ownership::Foreign,
            &[
                "carries a file system: ext4 \"backup\"",
                "data in the first 16 MiB; wipe it elsewhere first if nobody needs it",
            ],
        ),
        disk(2, Ownership::Failing, &["unreadable: 3 of 512 samples gave read errors"]),
        disk(3, Ownership::Boot, &["this node booted from it"]),
    ];
    disks[3].serial = String::new();
    status.volumes = attached(&disks);
    status.disks = Some(DiskReport {
        disks,
        missing: vec![DiskId("wwn-0x5002538f01234567".to_owned())],
        ..status.disks.take().unwrap_or_default()
    });
    status.state = NodeState {
        word: StateWord::Degraded,
        why: "serves objects from 1 of 2 disks of this node; objects on the others cannot be read"
            .to_owned(),
    };
    status.clock = ClockReading::Unsynchronised;
    status.problems = vec![
        Problem {
            severity: Severity::Error,
            about: "disks".to_owned(),
            text: "1 disk of this node is missing: wwn-0x5002538f01234567; plug it in again"
                .to_owned(),
        },
        Problem {
            severity: Severity::Warning,
            about: "config".to_owned(),
            text: "node.toml line 12, network.port.addresses: \"10.0.2.300/24\" is no address; \
                   write one such as \"192.0.2.10/24\"; this port uses DHCP"
                .to_owned(),
        },
        Problem {
            severity: Severity::Warning,
            about: "clock".to_owned(),
            text: "not synchronised; S3 clients whose clock differs by 15 minutes are refused"
                .to_owned(),
        },
    ];
    if let Some(system) = &mut status.system {
        system.services[2].state = ServiceState::BackingOff;
        system.services[2].restarts = 4;
        system.services[2].last_exit = "exit status 1".to_owned();
    }
    status
}

/// More of everything than a small screen has room for.
pub(crate) fn crowded() -> NodeStatus {
    let mut status = normal();
    let disks: Vec<_> = (0..60)
        .map(|number| match number % 5 {
            4 => disk(number, Ownership::Foreign, &["carries a partition table: GPT with data"]),
            _ => disk(number, Ownership::Ours, &[]),
        })
        .collect();
    status.volumes = attached(&disks);
    status.disks = Some(DiskReport { disks, ..status.disks.take().unwrap_or_default() });
    status.slots =
        (0..60).filter(|n| n % 3 != 2).map(|n| slot(n, &format!("Slot {n:02}"))).collect();
    status.name = "a-name-of-forty-characters-0123456789-xy".to_owned();
    if let Some(system) = &mut status.system {
        system.ports = (0..8)
            .map(|n| {
                let (v4, v6) = (format!("192.0.2.{n}/24"), format!("2001:db8:1234:5678::{n}/64"));
                port(&format!("enp129s{n}f1"), n % 2 == 0, &[v4.as_str(), v6.as_str()])
            })
            .collect();
        status.s3.endpoints = (0..8).map(|n| format!("https://192.0.2.{n}")).collect();
    }
    status
}

/// A node that nobody has set up: one port without an address, a foreign disk, no identity.
pub(crate) fn fresh() -> NodeStatus {
    let mut status = normal();
    let disks = vec![
        disk(0, Ownership::Boot, &["this node booted from it"]),
        disk(
            1,
            Ownership::Foreign,
            &["carries a file system: ext4 \"backup\"", "data in the first 16 MiB"],
        ),
    ];
    (status.set_up, status.node_id, status.daemon) = (false, None, None);
    (status.region, status.hardware_class) = (None, None);
    status.volumes.clear();
    status.disks = Some(DiskReport { disks, ..DiskReport::default() });
    status.state = NodeState {
        word: StateWord::Unavailable,
        why: "no disk is in use: none of 2 may be taken".to_owned(),
    };
    status.clock = ClockReading::Unsynchronised;
    status.s3.endpoints.clear();
    status.s3.tls = None;
    status.s3.credentials = Credentials::Awaited { reason: "no disk is in use".to_owned() };
    if let Some(system) = &mut status.system {
        system.ports = vec![port("eno1", true, &["169.254.7.1/16"]), port("eno2", false, &[])];
        system.gateways.clear();
        system.dns.clear();
        system.time_servers.clear();
        system.search.clear();
    }
    status
}

/// A node on which settings of the network are tried.
pub(crate) fn on_trial() -> NodeStatus {
    let mut status = normal();
    if let Some(system) = &mut status.system {
        system.network = Some(NetworkState {
            origin: NetworkOrigin::Seed,
            text: "[network]\n".to_owned(),
            tried: Some("[network]\n\n[[network.port]]\nport = \"eno1\"\nmtu = 9000\n".to_owned()),
            seconds_left: Some(87),
        });
    }
    status
}

/// The slot of a disk of these nodes.
pub(crate) fn slot(disk: usize, slot: &str) -> DiskSlot {
    let (disk, enclosure) = (format!("wwn-0x{disk:016x}"), "0:0:9:0".to_owned());
    DiskSlot { disk, enclosure, slot: slot.to_owned() }
}

/// A node of which the first disk is being emptied.
pub(crate) fn retiring() -> NodeStatus {
    let mut status = troubled();
    status.volumes[0].state = VolumeState::Retiring;
    status
}

/// Its pool.
pub(crate) fn pool_retiring() -> PoolStatus {
    let waits = Some("there is no room on the other disks".to_owned());
    let state = PoolVolumeState::Retiring { began_with: 1000, left: 549, waits };
    PoolStatus { volumes: vec![pool_volume(0, state)], ..PoolStatus::default() }
}

/// The pool of a node where all is well.
pub(crate) fn pool(disks: usize) -> PoolStatus {
    let volumes = (0..disks).map(|disk| pool_volume(disk, PoolVolumeState::InUse)).collect();
    PoolStatus { volumes, ..PoolStatus::default() }
}

fn pool_volume(disk: usize, state: PoolVolumeState) -> PoolVolume {
    PoolVolume {
        id: format!("volume-{disk}"),
        number: Some(u16::try_from(disk).expect("few")),
        class: Some("nvme".to_owned()),
        path: Some(format!("/data/volume-{disk}")),
        state,
        since_ms: 1_764_000_000_000,
        capacity_bytes: 1_920_383_410_176,
        free_bytes: 1_620_000_000_000,
        has_index: disk == 0,
        has_standby: disk == 1,
        is_hot: false,
        files: 1000,
        reads: Calls::default(),
        writes: Calls::default(),
        syncs: Calls::default(),
        damaged_blocks: 0,
        repaired_shards: 0,
    }
}

/// Verdicts on so many disks and what is around them; one disk and one module are not well.
pub(crate) fn health(disks: usize) -> HealthReport {
    let component = |kind, name: String, health, evidence: &[&str]| Component {
        verdict: Verdict {
            kind,
            name,
            health,
            evidence: evidence.iter().map(|text| (*text).to_owned()).collect(),
        },
        age_ms: 12_000,
    };
    let mut components = vec![component(
        Kind::Memory,
        "DIMM_A1".to_owned(),
        Health::Warning,
        &["12 correctable memory errors on DIMM_A1 within a day: replace it when there is time"],
    )];
    components.extend((0..disks).map(|disk| {
        let name = format!("wwn-0x{disk:016x}");
        match disk {
            2 => component(
                Kind::Disk,
                name,
                Health::Failing,
                &[
                    "24 sectors wait to be reallocated (attribute 197); 34 of 100 such disks fail \
                     within a year",
                    "3 reads failed within the last day",
                ],
            ),
            _ => component(Kind::Disk, name, Health::Healthy, &[]),
        }
    }));
    components.push(component(Kind::Clock, "system clock".to_owned(), Health::Healthy, &[]));
    components.sort_by_key(|one| std::cmp::Reverse(one.verdict.health));
    HealthReport { components, history_awaited: None, drains: true }
}

pub(crate) fn log(lines: usize) -> Vec<String> {
    (0..lines)
        .map(|n| match n % 3 {
            0 => format!("2026-03-01T12:00:{n:02}.120Z icn-disks INFO disk mounted disk={n}"),
            1 => format!("2026-03-01T12:00:{n:02}.320Z chronyd Selected source 192.0.2.{n}"),
            _ => format!(
                "2026-03-01T12:00:{n:02}.520Z icn-agent WARN clients are refused, as their clock \
                 differs from that of this node by more than fifteen minutes client=192.0.2.{n}"
            ),
        })
        .collect()
}
