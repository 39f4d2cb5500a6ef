//! An agent that answers with what a test gives it and keeps what it was asked to do.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use agent_api::control::{Reply, Request, Secret, Versioned};
use agent_api::disks::{
    Bytes, DiskClass, DiskId, DiskReport, DiskStatus, Ownership, VolumePhase, VolumeStatus,
};
use agent_api::hardware::{Component, HealthReport};
use agent_api::health::{Health, Kind, Verdict};
use agent_api::init::{NetworkOrigin, NetworkState, PortStatus, SystemStatus};
use agent_api::network::{ClockReport, LookUpReport, PingReport, PingWay};
use agent_api::pool::PoolStatus;
use agent_api::settlement::{SettlementReport, SettlementStatus, Unsigned};
use agent_api::status::{ConsoleChanges, Credentials, NodeStatus, VolumeState, VolumeUse};
use agent_api::support::{Fact, Inventory, SupportWritten};
use provisioning_config::Network;

/// The PIN of its console, where it has one.
pub(crate) const PIN: &str = "2580";

/// The agent; it ends with the test.
pub(crate) struct Agent {
    folder: tempfile::TempDir,
    done: Arc<Mutex<Vec<Request>>>,
}

impl Agent {
    /// With two disks in use, of which the second fails.
    pub(crate) fn start() -> Self {
        Self::start_with(2)
    }

    /// With so many disks in use.
    pub(crate) fn start_with(disks: u64) -> Self {
        Self::serve(status(disks))
    }

    /// With a PIN.
    pub(crate) fn start_with_pin() -> Self {
        Self::serve(NodeStatus { console: ConsoleChanges::Pin, ..status(2) })
    }

    /// That nobody has set up: its first disk carries something else, and its port uses DHCP.
    pub(crate) fn start_fresh() -> Self {
        let mut status = NodeStatus { set_up: false, ..status(1) };
        if let Some(report) = &mut status.disks {
            for disk in &mut report.disks {
                (disk.ownership, disk.volume) = (Ownership::Foreign, None);
                disk.reasons = vec!["carries a file system: ext4".to_owned()];
            }
        }
        status.volumes.clear();
        Self::serve(status)
    }

    /// Whose support bundles somebody can open.
    pub(crate) fn start_with_support() -> Self {
        Self::serve(NodeStatus { support_recipients: 1, ..status(2) })
    }

    /// Whose network is set up so.
    pub(crate) fn start_with_network(network: &Network) -> Self {
        let mut status = status(2);
        let state = status.system.as_mut().and_then(|system| system.network.as_mut());
        state.expect("settings").text = network.to_toml();
        Self::serve(status)
    }

    fn serve(status: NodeStatus) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let started = Instant::now();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).expect("socket");
        let done = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&done);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                let status = status.clone();
                thread::spawn(move || answer(client, &status, started, &kept));
            }
        });
        Self { folder, done }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// What it was asked to do, so far.
    pub(crate) fn done(&self) -> Vec<Request> {
        self.done.lock().expect("nobody panics with it").clone()
    }
}

fn answer(
    mut client: UnixStream,
    status: &NodeStatus,
    started: Instant,
    done: &Mutex<Vec<Request>>,
) {
    let lines = BufReader::new(client.try_clone().expect("a stream")).lines();
    for line in lines.map_while(Result::ok) {
        let request: Versioned<Request> = serde_json::from_str(&line).expect("a request");
        let reply = match request.body {
            // As of a node, none is like the one before.
            Request::Status => Reply::Status(Box::new(NodeStatus {
                uptime_seconds: started.elapsed().as_secs(),
                ..status.clone()
            })),
            Request::Health => Reply::Health(Box::new(health())),
            Request::PoolStatus => Reply::PoolStatus(Box::default()),
            Request::PoolEvents { .. } => Reply::PoolEvents { events: Vec::new() },
            Request::LogTail { .. } => Reply::LogTail { lines: log() },
            Request::FirstUserSecret => {
                Reply::FirstUserSecret { secret_key: Secret::new("the-secret-key".to_owned()) }
            }
            Request::CheckPin { pin } if pin.reveal() == PIN => Reply::Accepted,
            Request::CheckPin { .. } => Reply::Refused { reason: "that is not the PIN".to_owned() },
            Request::Settlement => Reply::Settlement(Box::new(settlement())),
            Request::Receipts { era: RECEIPTS_ERA } => {
                Reply::Receipts { receipts: vec![receipt()] }
            }
            Request::Receipts { .. } => Reply::Receipts { receipts: Vec::new() },
            Request::Ping { .. } => Reply::Ping(PingReport {
                address: [192, 0, 2, 1].into(),
                way: PingWay::Icmp,
                answers_us: vec![Some(1000), None],
            }),
            Request::LookUp { .. } => {
                Reply::LookUp(LookUpReport { addresses: vec![[192, 0, 2, 1].into()], took_ms: 3 })
            }
            Request::ClockTest => Reply::ClockTest(Box::new(ClockReport {
                clock: NodeStatus::default().clock,
                servers: Vec::new(),
            })),
            Request::Inventory => Reply::Inventory(Box::new(inventory())),
            Request::WriteSupport if status.support_recipients == 0 => {
                Reply::Refused { reason: "no keys can open a bundle".to_owned() }
            }
            Request::WriteSupport => Reply::SupportWritten(written()),
            Request::RecoveryWords => Reply::RecoveryWords { words: Secret::new(words()) },
            Request::ClaimDisk { serial_end, .. } if serial_end != "000001" => Reply::Refused {
                reason: "that is not the end of its serial number: type the last 6 characters"
                    .to_owned(),
            },
            Request::Locate { on: false, .. } => {
                Reply::Refused { reason: "the enclosure does not answer".to_owned() }
            }
            other => {
                done.lock().expect("nobody panics with it").push(other);
                Reply::Accepted
            }
        };
        let line = serde_json::to_string(&Versioned::current(reply)).expect("JSON") + "\n";
        if client.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

pub(crate) fn status(disks: u64) -> NodeStatus {
    let disks: Vec<_> = (1..=disks).map(disk).collect();
    let volumes = disks.iter().filter_map(|disk| disk.volume.as_ref());
    let port = PortStatus {
        name: "eno1".to_owned(),
        mac: "52:54:00:12:34:56".to_owned(),
        link: true,
        addresses: vec!["192.0.2.7/24".to_owned()],
        ..PortStatus::default()
    };
    let mut status = NodeStatus {
        name: "node-1".to_owned(),
        set_up: true,
        node_id: Some("7f83b1657ff1fc53b92dc18148a1d65d".to_owned()),
        daemon: Some("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf".to_owned()),
        system: Some(SystemStatus {
            ports: vec![port],
            network: Some(NetworkState {
                origin: NetworkOrigin::Seed,
                text: "[network]\n".to_owned(),
                tried: None,
                seconds_left: None,
            }),
            ..SystemStatus::default()
        }),
        volumes: volumes
            .map(|volume| VolumeUse { id: volume.id.clone(), state: VolumeState::Attached })
            .collect(),
        disks: Some(DiskReport { disks, ..DiskReport::default() }),
        ..NodeStatus::default()
    };
    status.s3.credentials =
        Credentials::FirstUser { name: "first".to_owned(), access_key: "ICNKEY".to_owned() };
    status
}

fn disk(number: u64) -> DiskStatus {
    DiskStatus {
        id: Some(DiskId(format!("wwn-{number}"))),
        device: format!("/dev/sd{}", if number == 1 { 'a' } else { 'b' }).into(),
        model: "Model".to_owned(),
        serial: format!("SERIAL00000{number}"),
        size: Bytes(1_000_000_000_000),
        class: DiskClass::Hdd,
        ownership: Ownership::Ours,
        reasons: Vec::new(),
        volume: Some(VolumeStatus {
            id: format!("volume-{number}"),
            phase: VolumePhase::Mounted { mount: format!("/data/{number}").into() },
        }),
    }
}

fn health() -> HealthReport {
    let verdict = Verdict {
        kind: Kind::Disk,
        name: "wwn-2".to_owned(),
        health: Health::Failing,
        evidence: vec!["3 reads failed".to_owned()],
    };
    let components = vec![Component { verdict, age_ms: 1000 }];
    HealthReport { components, ..HealthReport::default() }
}

fn settlement() -> SettlementReport {
    let unsigned = Unsigned {
        version: 1,
        chain_id: "0x1".to_owned(),
        from: "0x01".to_owned(),
        to: "0x02".to_owned(),
        value: "0x0".to_owned(),
        data: "0x".to_owned(),
        description: "registers the node".to_owned(),
        links: vec!["ethereum:0x02".to_owned()],
    };
    let status = SettlementStatus {
        backend: "reference".to_owned(),
        chain: 31337,
        waits: Some("the node is not registered".to_owned()),
        alarms: vec!["the gas key is empty".to_owned()],
        ..SettlementStatus::default()
    };
    SettlementReport { status, binding: None, unsigned: vec![unsigned] }
}

/// What it is made of.
pub(crate) fn inventory() -> Inventory {
    let fact = Fact { name: "serial".to_owned(), text: "SN4711".to_owned() };
    Inventory { machine: vec![fact], ..Inventory::default() }
}

/// The bundle that it writes.
pub(crate) fn written() -> SupportWritten {
    SupportWritten {
        device: "/dev/sdc1".to_owned(),
        file: "icn-support-1.tar.zst.age".to_owned(),
        size_bytes: 4096,
        verified: true,
        recipients: vec!["age1abc".to_owned()],
    }
}

/// The era that there is a receipt of.
pub(crate) const RECEIPTS_ERA: u64 = 7;

/// A receipt as agent-sla writes it, without its signatures.
pub(crate) fn receipt() -> serde_json::Value {
    serde_json::json!({
        "oracle": "0x0101010101010101010101010101010101010101",
        "era": RECEIPTS_ERA,
        "request": { "message": { "objects": 6, "totalBytes": 7_000_000_000_u64 } },
        "receipt": { "message": { "result": 1 } },
    })
}

fn log() -> Vec<String> {
    ["INFO serves objects", "WARN a client is slow", "ERROR a disk went"]
        .map(|text| format!("2026-03-01T12:00:00.000Z icn-agent {text}"))
        .to_vec()
}

/// The words of its daemon key.
pub(crate) fn words() -> String {
    (1..=24).map(|number| format!("word{number}")).collect::<Vec<_>>().join(" ")
}

/// The pool that it tells of.
pub(crate) fn pool() -> PoolStatus {
    PoolStatus::default()
}
