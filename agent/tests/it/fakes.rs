//! Stand-ins for icn-disks and init, and a folder for everything that a node has.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use agent_api::client::AgentClient;
use agent_api::disks::{
    Bytes, DiskClass, DiskId, DiskReport, DiskStatus, Ownership, VolumePhase, VolumeStatus,
};
use agent_api::init::{
    InitReply, InitRequest, NetworkOrigin, NetworkState, PortStatus, SystemStatus,
};
use agent_api::status::NodeStatus;
use disk_manager_plan::hardware::{Answer as HardwareAnswer, Request as HardwareRequest};

use crate::process::{Agent, PATIENCE, eventually};

pub(crate) const NODE_ID: &str = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069";

/// A node's folder: sockets, seed, log and volumes.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    disks: Disks,
    pub(crate) asked_of_init: Arc<Mutex<Vec<InitRequest>>>,
    /// Which settings of the network init has in effect.
    pub(crate) network: Arc<Mutex<NetworkState>>,
    pub(crate) port: u16,
    /// Where readings are served.
    pub(crate) metrics_port: u16,
}

impl Rig {
    /// A node with this configuration after `[s3] listen`, whose icn-disks has nothing to tell yet.
    pub(crate) fn new(s3_section: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("seed")).expect("a seed");
        let [port, metrics_port] = free_ports();
        let toml = format!(
            "version = 1\n[node]\nname = \"node-1\"\n[s3]\nlisten = \"127.0.0.1:{port}\"\n\
             {s3_section}\n[metrics]\nlisten = \"127.0.0.1:{metrics_port}\"\n"
        );
        std::fs::write(dir.path().join("seed/node.toml"), toml).expect("a configuration");
        let network = Arc::new(Mutex::new(network_of_seed()));
        let asked_of_init = fake_init(&dir.path().join("init.sock"), &network);
        let disks = Disks::start(&dir.path().join("disks.sock"));
        Self { dir, disks, asked_of_init, network, port, metrics_port }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The kernel tells this in a file below `/sys` or `/proc`.
    pub(crate) fn kernel_tells(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, format!("{text}\n")).expect("a file");
    }

    /// icn-disks answers this to all that needs privileges.
    pub(crate) fn hardware_answers(
        &self,
        answer: impl Fn(&HardwareRequest) -> HardwareAnswer + Send + 'static,
    ) {
        let path = self.dir.path().join("hardware.sock");
        let listener = UnixListener::bind(path).expect("a socket");
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(client.try_clone().expect("a stream")).lines();
                for line in lines.map_while(Result::ok) {
                    let request = serde_json::from_str(&line).expect("a request");
                    let line = serde_json::to_string(&answer(&request)).expect("JSON") + "\n";
                    if client.write_all(line.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
    }

    pub(crate) fn start(&self) -> Agent {
        let flag = |name: &str, file: &str| {
            [format!("--{name}"), self.dir.path().join(file).display().to_string()]
        };
        let flags = [
            flag("seed", "seed"),
            flag("disks-socket", "disks.sock"),
            flag("init-socket", "init.sock"),
            flag("hardware-socket", "hardware.sock"),
            flag("sys", "sys"),
            flag("proc", "proc"),
            flag("control-socket", "agent.sock"),
            flag("log", "current"),
            flag("log-old", "previous"),
        ];
        let arguments: Vec<_> =
            std::iter::once("run".to_owned()).chain(flags.into_iter().flatten()).collect();
        Agent::start(&arguments)
    }

    pub(crate) fn client(&self) -> AgentClient {
        AgentClient::new(&self.dir.path().join("agent.sock"), PATIENCE)
    }

    /// The status, once it satisfies `wanted`.
    pub(crate) fn status(&self, what: &str, wanted: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let mut last = None;
        let mut client = self.client();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                last = client.status().ok();
                last.clone().filter(&wanted)
            })
        }));
        found.unwrap_or_else(|_| panic!("no status with {what}; the last was {last:#?}"))
    }

    /// A disk of this node with its volume mounted.
    pub(crate) fn mounted(&self, name: &str) -> DiskStatus {
        let mount = self.dir.path().join("data").join(name);
        std::fs::create_dir_all(&mount).expect("a volume");
        DiskStatus {
            id: Some(DiskId(format!("wwn-{name}"))),
            device: PathBuf::from(format!("/dev/{name}")),
            model: "model".to_owned(),
            serial: format!("SERIAL-{name}"),
            size: Bytes(1 << 40),
            class: DiskClass::Ssd,
            ownership: Ownership::Ours,
            reasons: Vec::new(),
            volume: Some(VolumeStatus {
                id: name.to_owned(),
                phase: VolumePhase::Mounted { mount },
            }),
        }
    }

    /// icn-disks reports these disks.
    pub(crate) fn report(&self, disks: Vec<DiskStatus>, missing: &[&str]) {
        self.report_of(Some(NODE_ID), disks, missing);
    }

    /// A node that never had a disk of its own.
    pub(crate) fn report_no_disk(&self) {
        self.report_of(None, Vec::new(), &[]);
    }

    fn report_of(&self, node_id: Option<&str>, disks: Vec<DiskStatus>, missing: &[&str]) {
        self.disks.tell(DiskReport {
            version: 1,
            generation: 1,
            node_id: node_id.map(str::to_owned),
            disks,
            missing: missing.iter().map(|id| DiskId((*id).to_owned())).collect(),
            claims: Vec::new(),
            problems: Vec::new(),
        });
    }

    /// icn-disks ends and starts again with the same report.
    pub(crate) fn restart_disks(&mut self) {
        self.disks.hang_up();
    }
}

fn free_ports() -> [u16; 2] {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Both are held, or they might be the same.
    [bind(), bind()].map(|listener| listener.local_addr().expect("its address").port())
}

/// Tells reports to everybody who connects.
struct Disks(Arc<Mutex<(Option<String>, Vec<UnixStream>)>>);

impl Disks {
    fn start(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let told = Arc::new(Mutex::new((None::<String>, Vec::new())));
        let state = Arc::clone(&told);
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut state = state.lock().expect("nobody panics with it");
                if let Some(line) = &state.0 {
                    let _ = client.write_all(line.as_bytes());
                }
                state.1.push(client);
            }
        });
        Self(told)
    }

    fn tell(&self, report: DiskReport) {
        let mut state = self.0.lock().expect("nobody panics with it");
        let line = serde_json::to_string(&report).expect("JSON") + "\n";
        state.1.retain_mut(|client| client.write_all(line.as_bytes()).is_ok());
        state.0 = Some(line);
    }

    fn hang_up(&self) {
        self.0.lock().expect("nobody panics with it").1.clear();
    }
}

/// What init has in effect once it has started.
pub(crate) fn network_of_seed() -> NetworkState {
    NetworkState {
        origin: NetworkOrigin::Seed,
        text: "[network]\n".to_owned(),
        tried: None,
        seconds_left: None,
    }
}

/// Answers like init and keeps what it was asked to do with the machine.
fn fake_init(path: &Path, network: &Arc<Mutex<NetworkState>>) -> Arc<Mutex<Vec<InitRequest>>> {
    let listener = UnixListener::bind(path).expect("a socket");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (kept, network) = (Arc::clone(&asked), Arc::clone(network));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (kept, network) = (Arc::clone(&kept), Arc::clone(&network));
            thread::spawn(move || answer_like_init(client, &kept, &network));
        }
    });
    asked
}

fn answer_like_init(
    mut client: UnixStream,
    asked: &Mutex<Vec<InitRequest>>,
    network: &Mutex<NetworkState>,
) {
    let lines = BufReader::new(client.try_clone().expect("a stream")).lines();
    for line in lines.map_while(Result::ok) {
        let request: InitRequest = serde_json::from_str(&line).expect("a request to init");
        let mut network = network.lock().expect("nobody panics with it");
        let reply = match request {
            InitRequest::Status => InitReply::Status(Box::new(SystemStatus {
                version: 1,
                image: "icn-node test".to_owned(),
                services: Vec::new(),
                ports: vec![PortStatus {
                    name: "eno1".to_owned(),
                    mac: "52:54:00:12:34:56".to_owned(),
                    link: true,
                    addresses: vec!["192.0.2.7/24".to_owned()],
                    ..PortStatus::default()
                }],
                problems: vec!["node.toml line 9, console: unknown key \"serail\"".to_owned()],
                network: Some(network.clone()),
                ..SystemStatus::default()
            })),
            InitRequest::PowerOff => {
                asked.lock().expect("nobody panics with it").push(request);
                InitReply::Accepted
            }
            InitRequest::Reboot => InitReply::Refused { reason: "not now".to_owned() },
            about_network => set_network(about_network, &mut network),
        };
        drop(network);
        let line = serde_json::to_string(&reply).expect("JSON") + "\n";
        if client.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

fn set_network(request: InitRequest, network: &mut NetworkState) -> InitReply {
    let is_tried = network.tried.is_some();
    match request {
        InitRequest::TryNetwork { text } if !is_tried && !text.contains("mistake") => {
            (network.tried, network.seconds_left) = (Some(text), Some(120));
        }
        InitRequest::ConfirmNetwork if is_tried => {
            network.text = network.tried.take().unwrap_or_default();
            (network.origin, network.seconds_left) = (NetworkOrigin::Set, None);
        }
        InitRequest::RevertNetwork if is_tried => {
            (network.tried, network.seconds_left) = (None, None);
        }
        InitRequest::UseNetwork { text: None } if !is_tried => *network = network_of_seed(),
        InitRequest::UseNetwork { text: Some(text) } if !is_tried && !text.contains("mistake") => {
            (network.origin, network.text) = (NetworkOrigin::Set, text);
        }
        _ => return InitReply::Refused { reason: "the change line 2: a mistake".to_owned() },
    }
    InitReply::Accepted
}
