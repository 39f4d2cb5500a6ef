//! The support bundle and the hardware inventory.
//!
//! ```text
//! status, pool, health, disks, logs, node.toml ── Redactor ── pack (age) ── icn-disks ──► stick
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_api::control::{Reply, Request};
use agent_api::support::SupportWritten;
use agent_health::{HardwareSocket, Privileged as _, hand_over};
use agent_support::{LOG_MAX, Part, Redactor, Sources, inventory, log, pack};
use disk_manager_plan::hardware::{Answer, Request as DisksRequest};
use provisioning_config::sla::Oracle;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::sla::tenants;
use super::{CONFIG_FILE, Node, control, pool, settlement, since_1970, status};
use crate::state::Identity;

/// How long icn-disks may take to write a bundle and read it back: the largest, at 150 KiB a second, which the slowest
/// of sticks do with each write synced.
const WRITTEN_WITHIN: Duration = Duration::from_secs(600);

/// How long it may take for a page of the kernel's log.
const KERNEL_LOG_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take for some files of the kernel.
const MACHINE_WITHIN: Duration = Duration::from_secs(5);

/// Pages of the kernel's log that are asked for, 500 messages each: more than its buffer has.
const KERNEL_LOG_PAGES: usize = 20;

/// How much of the node's id stands in the name of a bundle, in digits.
const ID_SHOWN: usize = 12;

/// Answers such a request.
pub(crate) async fn answer(node: &Node, request: Request) -> Reply {
    match request {
        Request::Inventory => {
            let (sources, socket) = (sources(node), node.arguments.hardware_socket.clone());
            match spawn_blocking(move || inventory(&with_machine(sources, &socket))).await {
                Ok(inventory) => Reply::Inventory(Box::new(inventory)),
                Err(error) => {
                    control::refused(format!("cannot read what the node is made of: {error}"))
                }
            }
        }
        Request::WriteSupport => match write(node).await {
            Ok(written) => Reply::SupportWritten(written),
            Err(why) => {
                warn!(why, "no support bundle was written");
                control::refused(why)
            }
        },
        _ => control::refused("not a request for support"),
    }
}

fn sources(node: &Node) -> Sources {
    let ports = node.system.borrow().latest.as_ref().map(|system| system.ports.clone());
    Sources {
        sys: node.arguments.sys.clone(),
        proc: node.arguments.proc.clone(),
        ports: ports.unwrap_or_default(),
        disks: node.disks.borrow().latest.clone(),
        machine: None,
    }
}

/// The same with what icn-disks reads of the machine; blocks. Where it does not tell, the inventory says what it cannot
/// read itself.
fn with_machine(sources: Sources, socket: &Path) -> Sources {
    let disks = HardwareSocket(socket.to_owned());
    let machine = match disks.ask(&DisksRequest::Machine, MACHINE_WITHIN) {
        Answer::Machine { texts } => Some(texts),
        Answer::Absent { .. } => None,
        other => {
            warn!(answer = ?other, "icn-disks does not tell the serial numbers of the machine");
            None
        }
    };
    Sources { machine, ..sources }
}

/// Makes a bundle and has it written.
async fn write(node: &Node) -> Result<SupportWritten, String> {
    let Ok(_turn) = node.support.try_lock() else {
        return Err("another bundle is being written: wait for it".to_owned());
    };
    let recipients: Vec<String> =
        node.config.support.recipients.iter().map(ToString::to_string).collect();
    if recipients.is_empty() {
        return Err("no keys can open a bundle: write the public key of whoever helps as \
                    recipients of [support] in node.toml"
            .to_owned());
    }
    info!(recipients = recipients.len(), "a support bundle is made, as asked for");
    let gathered = gather(node).await;
    let socket = node.arguments.hardware_socket.clone();
    let id = node.disks.borrow().latest.as_ref().and_then(|report| report.node_id.clone());
    let made_at = since_1970().as_secs();
    let name = file_name(id.as_deref(), made_at);
    let keys = recipients.clone();
    let writing = spawn_blocking(move || {
        let parts = gathered.parts();
        let bundle = pack(&parts, &keys, made_at).map_err(|error| error.to_string())?;
        let length = bundle.len() as u64;
        let request = DisksRequest::WriteSupport { name, length };
        hand_over(&socket, &request, &bundle, WRITTEN_WITHIN).map_err(|error| error.to_string())
    });
    match writing.await.map_err(|error| format!("cannot make a bundle: {error}"))?? {
        Answer::Written { device, file, size } => {
            info!(device, file, size, "a support bundle was written");
            Ok(SupportWritten { device, file, size_bytes: size, verified: true, recipients })
        }
        Answer::Failed { reason } => Err(reason),
        other => Err(format!("icn-disks answered something else: {other:?}")),
    }
}

/// Such as `icn-support-7f83b1657ff1-20260301-101500.tar.zst.age`.
fn file_name(id: Option<&str>, made_at: u64) -> String {
    let id = id.and_then(|id| id.get(..ID_SHOWN)).unwrap_or("new");
    let at = i64::try_from(made_at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let at = at.unwrap_or_default().strftime("%Y%m%d-%H%M%S");
    format!("icn-support-{id}-{at}.tar.zst.age")
}

/// What goes into a bundle, before secrets are taken out.
struct Gathered {
    redactor: Redactor,
    documents: Vec<(&'static str, Result<Value, String>)>,
    sources: Sources,
    logs: [(&'static str, PathBuf); 2],
    seed: PathBuf,
    hardware: PathBuf,
}

async fn gather(node: &Node) -> Gathered {
    let status = status::compose(node.facts().await);
    let image = status.system.as_ref().map(|system| system.image.clone());
    let versions = json!({
        "bundle": 1,
        "agent": env!("CARGO_PKG_VERSION"),
        "image": image,
        "kernel": rustix::system::uname().release().to_string_lossy(),
        "node_id": status.node_id,
        "name": node.name,
        "made_at_seconds_since_1970": since_1970().as_secs(),
        "uptime_seconds": status.uptime_seconds,
    });
    let disks = node.disks.borrow().latest.clone();
    let mut documents = vec![
        ("versions.json", Ok(versions)),
        (
            "disks.json",
            disks.map_or_else(
                || Err("icn-disks has not told".to_owned()),
                |report| document(&report),
            ),
        ),
        ("health.json", of_reply(node.hardware.report())),
        ("settlement.json", of_reply(settlement::answer(node))),
        ("sla.json", document(&status.sla)),
        ("status.json", document(&status)),
    ];
    let store = node.store.borrow().clone();
    let asked =
        [("pool.json", Request::PoolStatus), ("events.json", Request::PoolEvents { since: 0 })];
    for (name, request) in asked {
        let answer = match &store {
            Some(store) => of_reply(pool::answer(store, request).await),
            None => Err("the store is not open".to_owned()),
        };
        documents.push((name, answer));
    }
    Gathered {
        redactor: Redactor::new(secrets(node)),
        documents,
        sources: sources(node),
        logs: [
            ("log-previous.txt", node.arguments.log_old.clone()),
            ("log-current.txt", node.arguments.log.clone()),
        ],
        seed: node.arguments.seed.join(CONFIG_FILE),
        hardware: node.arguments.hardware_socket.clone(),
    }
}

fn document(what: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(what).map_err(|error| error.to_string())
}

fn of_reply(reply: Reply) -> Result<Value, String> {
    match reply {
        Reply::Refused { reason } => Err(reason),
        reply => document(&reply),
    }
}

/// Every value that the node knows as secret.
fn secrets(node: &Node) -> Vec<Zeroizing<String>> {
    let secret = |text: &str| Zeroizing::new(text.to_owned());
    let mut found: Vec<_> =
        node.config.s3.users.iter().map(|user| secret(&user.secret_key)).collect();
    // A key of an RPC server stands in its path.
    for url in node.config.settlement.iter().flat_map(|settlement| &settlement.rpc) {
        let place = url.split_once("://").map_or(url.as_str(), |(_, place)| place);
        found.extend(place.split_once(['/', '?']).map(|(_, key)| secret(key)));
    }
    if let Identity::Known(state) = &node.held.borrow().identity {
        found.push(state.first_user.secret_key.clone());
        found.extend(state.key_pem.lines().filter(|line| !line.starts_with("---")).map(secret));
        // What each oracle has as a tenant is made of the daemon key.
        let oracles = node.config.sla.iter().flat_map(|sla| &sla.oracles);
        if let Some(key) = &state.daemon_key {
            let tenant = |oracle: &Oracle| tenants::tenant(key, oracle.address.into()).secret_key;
            found.extend(oracles.map(tenant));
        }
        let keys = [Some(&state.pool_key), state.daemon_key.as_ref(), state.gas_key.as_ref()];
        found.extend(
            keys.into_iter().flatten().map(|key| Zeroizing::new(hex::encode(key.as_slice()))),
        );
    }
    found
}

impl Gathered {
    /// Reads the rest, and takes secrets out of it all; blocks. What cannot be had is told in `missing.txt`.
    fn parts(self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut missing = String::new();
        let mut documents = self.documents;
        let sources = with_machine(self.sources, &self.hardware);
        documents.push(("inventory.json", document(&inventory(&sources))));
        for (name, document) in documents {
            match document {
                Ok(mut value) => {
                    self.redactor.json(&mut value);
                    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
                    parts.push(part(name, text));
                }
                Err(why) => note(&mut missing, name, &why),
            }
        }
        match std::fs::read_to_string(&self.seed) {
            Ok(text) => parts.push(part(CONFIG_FILE, configuration(&self.redactor, &text))),
            Err(error) => note(&mut missing, CONFIG_FILE, &error.to_string()),
        }
        match kernel_log(&self.hardware) {
            Ok(text) => parts.push(part("kernel.txt", self.redactor.text(&text))),
            Err(why) => note(&mut missing, "kernel.txt", &why),
        }
        for (name, path) in &self.logs {
            match log(path, LOG_MAX, &self.redactor) {
                Ok(content) => parts.push(Part { name: (*name).to_owned(), content }),
                Err(error) => note(&mut missing, name, &error.to_string()),
            }
        }
        if !missing.is_empty() {
            parts.push(part("missing.txt", self.redactor.text(&missing)));
        }
        parts
    }
}

fn part(name: &str, text: String) -> Part {
    Part { name: name.to_owned(), content: text.into_bytes() }
}

fn note(missing: &mut String, name: &str, why: &str) {
    missing.push_str(&format!("{name}: {why}\n"));
}

/// `node.toml` without its secrets. Of a line with a mistake the value goes as well: it may be a secret that stands at a
/// name that is not known.
fn configuration(redactor: &Redactor, text: &str) -> String {
    let (_, problems) = provisioning_config::parse(text);
    let is_whole = problems.iter().all(|problem| !problem.key.is_empty());
    let faulty: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    redactor.toml(text, is_whole.then_some(faulty.as_slice()))
}

/// The kernel's warnings and worse, a line each.
fn kernel_log(socket: &Path) -> Result<String, String> {
    let disks = HardwareSocket(socket.to_owned());
    let mut text = String::new();
    let mut after = None;
    for _ in 0..KERNEL_LOG_PAGES {
        match disks.ask(&DisksRequest::KernelLog { after }, KERNEL_LOG_WITHIN) {
            Answer::KernelLog { messages, .. } => {
                let Some(last) = messages.last() else { break };
                after = Some(last.sequence);
                for message in &messages {
                    let seconds = Duration::from_micros(message.at_us).as_secs_f64();
                    text.push_str(&format!(
                        "[{seconds:.6}] <{}> {}\n",
                        message.level, message.text
                    ));
                }
            }
            Answer::Absent { what } => return Err(format!("this machine does not have {what}")),
            Answer::Failed { reason } => return Err(reason),
            other => return Err(format!("icn-disks answered something else: {other:?}")),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_named_by_node_and_time() {
        let name = file_name(Some("7f83b1657ff1fc53b92dc18148a1d65d"), 1_767_225_600);
        assert_eq!(name, "icn-support-7f83b1657ff1-20260101-000000.tar.zst.age");
        assert_eq!(file_name(None, 0), "icn-support-new-19700101-000000.tar.zst.age");
    }

    #[test]
    fn a_secret_at_a_misspelt_name_goes_too() {
        let redactor = Redactor::new([]);
        let text = "version = 1\n[node]\nname = \"node-7\"\n[[s3.user]]\nscret_key = \"hunter2\"\n\
                    [console]\npin_hash = \"hunter3\"\n";
        let shown = configuration(&redactor, text);
        assert!(shown.contains("name = \"node-7\"") && shown.contains("scret_key"), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
        let shown = configuration(&redactor, "version = 1\nname = \"hunter2\n");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
