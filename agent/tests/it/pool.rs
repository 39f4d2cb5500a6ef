//! `icn-agent pool` against a running node.

use std::process::{Command, Output};

use agent_api::pool::{BucketUse, Happening, PoolEvent, PoolStatus, PoolVolumeState};
use agent_api::status::StateWord;

use crate::fakes::Rig;
use crate::node::{client, ready};
use crate::process::eventually;

fn pool(rig: &Rig, arguments: &[&str]) -> Output {
    let socket = rig.path().join("agent.sock");
    Command::new(env!("CARGO_BIN_EXE_icn-agent"))
        .arg("pool")
        .args(arguments)
        .arg("--control-socket")
        .arg(socket)
        .output()
        .expect("the command runs")
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn json<T: serde::de::DeserializeOwned>(rig: &Rig, command: &str) -> T {
    let output = pool(rig, &[command, "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_technician_sees_the_pool_makes_the_index_anew_and_retires_a_disk() {
    let rig = Rig::new("");
    let disks = ["a", "b", "c"];
    rig.report(disks.map(|name| rig.mounted(name)).to_vec(), &[]);
    let _agent = rig.start();
    let status = rig.status("all disks in use", |s| ready(s) && s.volumes.len() == 3);
    let s3 = client(&rig, &status, "b");
    assert_eq!(s3.create_bucket().expect("an answer"), 200);
    let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(s3.put("large", &large).expect("an answer"), 200);
    assert_eq!(s3.put("small", b"value").expect("an answer"), 200);

    let seen: PoolStatus = json(&rig, "status");
    let spread = seen.spread.expect("an open pool");
    assert_eq!((spread.data, spread.parity, spread.copies), (2, 1, 2));
    assert_eq!((seen.spare_volumes, seen.volumes.len()), (Some(1), 3));
    assert!(seen.volumes.iter().all(|volume| volume.state == PoolVolumeState::InUse));
    assert!(seen.volumes.iter().all(|volume| volume.syncs.count > 0 && volume.syncs.errors == 0));
    let output = pool(&rig, &["status"]);
    assert!(output.status.success(), "{output:?}");
    assert!(words(&output).contains("2+1 parts, 2 journal copies; one disk may fail"));
    let used: Vec<BucketUse> = json(&rig, "usage");
    let used: Vec<_> = used
        .iter()
        .map(|u| (u.bucket.as_str(), u.objects, u.bytes, u.bytes_in, u.writes, u.is_deleted))
        .collect();
    // Making the bucket counts, too.
    assert_eq!(used, [("photos", 2, 800_005, 800_005, 3, false)]);

    // The index is lost while it is in use.
    let home = seen.volumes.iter().find(|volume| volume.has_index).expect("a home");
    let index = rig.path().join("data").join(&home.id).join("icn-pool/index");
    std::fs::remove_dir_all(&index).expect("an index");
    let output = pool(&rig, &["rebuild-index"]);
    assert!(output.status.success(), "{output:?}");
    assert!(words(&output).ends_with("the index is made; the store is open\n"), "{output:?}");
    assert!(index.is_dir());
    assert_eq!(s3.get("large").expect("an answer"), (200, large.clone()));

    let output = pool(&rig, &["retire", "x"]);
    assert_eq!(output.status.code(), Some(1));
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(reason.contains("volume x does not belong to the store"), "{reason}");
    let output = pool(&rig, &["cancel-retire", "a"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not being retired"), "{output:?}");

    let output = pool(&rig, &["retire", "a"]);
    assert!(output.status.success(), "{output:?}");
    eventually("the retired disk", || {
        let status: PoolStatus = json(&rig, "status");
        let a = status.volumes.into_iter().find(|volume| volume.id == "a")?;
        (a.state == PoolVolumeState::Retired).then_some(())
    });
    let extents = rig.path().join("data/a/icn-pool/extents");
    assert_eq!(std::fs::read_dir(extents).expect("a folder").count(), 0);
    // Nor are the node's own keys left on it.
    let state = rig.path().join("data/a/state/agent.json");
    eventually("no keys of the node on it", || (!state.exists()).then_some(()));
    assert!(rig.path().join("data/b/state/agent.json").exists());
    let read = || s3.get("large").ok().filter(|(status, _)| *status != 503);
    assert_eq!(eventually("the object", read), (200, large));
    assert_eq!(s3.get("small").expect("an answer"), (200, b"value".to_vec()));
    rig.status("a node that is whole", |s| s.state.word == StateWord::Ready);
    let events: Vec<PoolEvent> = json(&rig, "events");
    for wanted in [Happening::Joined, Happening::Retiring, Happening::Retired] {
        let is_wanted = |event: &PoolEvent| event.what == wanted;
        assert!(events.iter().any(is_wanted), "{wanted:?} in {events:#?}");
    }
}

#[test]
fn without_an_agent_the_reason_is_told() {
    let rig = Rig::new("");
    let output = pool(&rig, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot connect to"), "{output:?}");
}
