//! Support bundles and the inventory, among stand-ins for icn-disks and init.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use age::x25519::Identity;
use disk_manager_plan::hardware::{Answer, KernelMessage, Request};

use crate::fakes::Rig;
use crate::node::ready;

/// What icn-disks was given for the stick: the file's name and its bytes.
type Given = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// icn-disks with a stick, or without one.
fn disks(rig: &Rig, has_stick: bool) -> Given {
    let given = Given::default();
    let kept = Arc::clone(&given);
    let listener = UnixListener::bind(rig.path().join("hardware.sock")).expect("a socket");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let kept = Arc::clone(&kept);
            thread::spawn(move || serve(&client, has_stick, &kept));
        }
    });
    given
}

fn serve(client: &UnixStream, has_stick: bool, given: &Given) {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        let request: Request = serde_json::from_str(&line).expect("a request");
        line.clear();
        let answer = match request {
            Request::KernelLog { after: None } => {
                let text = "I/O error, password=hunter2".to_owned();
                let message = KernelMessage { sequence: 7, level: 3, at_us: 1_500_000, text };
                Answer::KernelLog { messages: vec![message], lost: 0 }
            }
            Request::KernelLog { .. } => Answer::KernelLog { messages: Vec::new(), lost: 0 },
            Request::WriteSupport { .. } if !has_stick => {
                Answer::Failed { reason: "there is no stick".to_owned() }
            }
            Request::WriteSupport { name, length } => {
                tell(client, &Answer::Ready);
                let mut bytes = vec![0; usize::try_from(length).expect("small")];
                reader.read_exact(&mut bytes).expect("the bytes");
                given.lock().expect("nobody panics with it").push((name.clone(), bytes));
                Answer::Written { device: "/dev/sdc1".to_owned(), file: name, size: length }
            }
            Request::Machine => {
                let texts = [("board_serial".to_owned(), "BOARD4711".to_owned())].into();
                Answer::Machine { texts }
            }
            _ => Answer::Absent { what: "such a thing".to_owned() },
        };
        tell(client, &answer);
    }
}

fn tell(mut client: &UnixStream, answer: &Answer) {
    let line = serde_json::to_string(answer).expect("JSON") + "\n";
    // The agent may have gone.
    let _ = client.write_all(line.as_bytes());
}

fn opened(bundle: &[u8], identity: &Identity) -> BTreeMap<String, String> {
    let decryptor = age::Decryptor::new(bundle).expect("a header of age");
    let keys = std::iter::once(identity as &dyn age::Identity);
    let tar = zstd::Decoder::new(decryptor.decrypt(keys).expect("our key")).expect("zstd");
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        files.insert(name, text);
    }
    files
}

#[test]
fn a_bundle_holds_what_the_node_knows_and_none_of_its_secrets() {
    let identity = Identity::generate();
    let recipient = identity.to_public().to_string();
    let rig =
        Rig::new(&format!("[support]\nrecipients = [\"{recipient}\"]\n[health]\ndrain = true"));
    let given = disks(&rig, true);
    rig.kernel_tells("sys/class/dmi/id/product_name", "RX-12");
    rig.report(["a", "b"].map(|name| rig.mounted(name)).to_vec(), &[]);
    let _agent = rig.start();
    let status = rig.status("ready", ready);
    assert_eq!(status.support_recipients, 1);
    let secret = rig.client().first_user_secret().expect("a secret").reveal().to_owned();
    let log = format!("icn-agent: it is {secret} today\nicn-agent: pin=2580\nthe last line\n");
    std::fs::write(rig.path().join("current"), log).expect("a log");

    let written = rig.client().write_support().expect("a bundle");
    let (name, bundle) = given.lock().expect("nobody panics with it").pop().expect("a file");
    assert!(
        name.starts_with("icn-support-7f83b1657ff1-") && name.ends_with(".tar.zst.age"),
        "{name}"
    );
    assert_eq!((written.device.as_str(), written.file), ("/dev/sdc1", name));
    assert_eq!((written.size_bytes, written.verified), (bundle.len() as u64, true));
    assert_eq!(written.recipients, [recipient]);

    let files = opened(&bundle, &identity);
    let text = |name: &str| {
        files
            .get(&format!("icn-support/{name}"))
            .unwrap_or_else(|| panic!("no {name}: {:?}", files.keys()))
    };
    for name in ["versions", "status", "disks", "health", "pool", "events", "inventory", "sla"] {
        let value: serde_json::Value =
            serde_json::from_str(text(&format!("{name}.json"))).expect("JSON");
        assert!(value.is_object() || value.is_null(), "{name}: {value}");
    }
    assert!(text("status.json").contains("node-1"));
    assert!(
        text("inventory.json").contains("RX-12") && text("inventory.json").contains("BOARD4711")
    );
    assert!(text("node.toml").contains("recipients"));
    assert!(text("kernel.txt").starts_with("[1.500000] <3> I/O error, password=[redacted]"));
    let log = "icn-agent: it is [redacted] today\nicn-agent: pin=[redacted]\nthe last line\n";
    assert_eq!(text("log-current.txt"), log);
    assert!(text("missing.txt").contains("log-previous.txt: "));
    for (name, text) in &files {
        for secret in [secret.as_str(), "hunter2", "2580"] {
            assert!(!text.contains(secret), "{name} has {secret}");
        }
    }
    let inventory = rig.client().inventory().expect("an inventory");
    for told in ["RX-12", "BOARD4711"] {
        assert!(inventory.machine.iter().any(|fact| fact.text == told), "{told}: {inventory:?}");
    }
    assert_eq!(inventory.disks.len(), 2);
}

#[test]
fn without_a_key_or_a_stick_the_reason_is_told() {
    let rig = Rig::new("");
    let _agent = rig.start();
    rig.status("an answer", |_| true);
    let error = rig.client().write_support().expect_err("nobody could open it").to_string();
    assert!(error.contains("recipients of [support]"), "{error}");

    let recipient = Identity::generate().to_public();
    let rig = Rig::new(&format!("[support]\nrecipients = [\"{recipient}\"]"));
    let given = disks(&rig, false);
    let _agent = rig.start();
    rig.status("an answer", |_| true);
    let error = rig.client().write_support().expect_err("no stick").to_string();
    assert!(error.contains("there is no stick"), "{error}");
    assert!(given.lock().expect("nobody panics with it").is_empty());
}
