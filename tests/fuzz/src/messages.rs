//! Messages of the local sockets, and the node's record.

use std::fmt::Debug;

use agent_api::control::{Reply, Request, Versioned};
use agent_api::disks::DiskReport;
use agent_api::init::{InitReply, InitRequest};
use disk_manager_plan::hardware;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::Given;
use crate::record::{FirstUser, NodeState, Record};

pub(crate) const TARGETS: &[Given] =
    &[("control", message, messages), ("node-record", node_record, node_records)];

fn message(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => json::<Versioned<Request>>(bytes),
        1 => json::<Versioned<Reply>>(bytes),
        2 => json::<InitRequest>(bytes),
        3 => json::<InitReply>(bytes),
        4 => json::<DiskReport>(bytes),
        5 => json::<hardware::Request>(bytes),
        _ => json::<hardware::Answer>(bytes),
    }
}

fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(found) = serde_json::from_slice::<T>(bytes) else { return };
    let again = serde_json::to_vec(&found).unwrap_or_default();
    assert_eq!(serde_json::from_slice::<T>(&again).ok(), Some(found));
}

fn messages() -> Vec<Vec<u8>> {
    let line = |kind: u8, bytes: serde_json::Result<Vec<u8>>| {
        [vec![kind], bytes.unwrap_or_default()].concat()
    };
    let ask = |request| line(0, serde_json::to_vec(&Versioned::current(request)));
    let reply = |reply| line(1, serde_json::to_vec(&Versioned::current(reply)));
    let texts = [("board_serial".to_owned(), "SN4711".to_owned())].into();
    let machine = hardware::Answer::Machine { texts };
    vec![
        ask(Request::Status),
        ask(Request::LogTail { lines: 5 }),
        reply(Reply::Status(Box::default())),
        reply(Reply::LogTail { lines: vec!["a".to_owned(), "b".to_owned()] }),
        line(2, serde_json::to_vec(&InitRequest::Reboot)),
        line(3, serde_json::to_vec(&InitReply::Refused { reason: "why".to_owned() })),
        line(4, serde_json::to_vec(&DiskReport::default())),
        line(5, serde_json::to_vec(&hardware::Request::KernelLog { after: Some(7) })),
        line(5, serde_json::to_vec(&hardware::Request::Machine)),
        line(6, serde_json::to_vec(&hardware::Answer::Absent { what: "it".to_owned() })),
        line(6, serde_json::to_vec(&machine)),
    ]
}

/// As it is, and as the state of a record with the right checksum.
fn node_record(bytes: &[u8]) {
    check_record(bytes);
    if let Ok(state) = serde_json::from_slice::<NodeState>(bytes) {
        let record = Record { generation: 1, state };
        let whole = record.encode().unwrap_or_default();
        assert_eq!(Record::decode(&whole), Ok(record));
    }
}

fn check_record(bytes: &[u8]) {
    let Ok(found) = Record::decode(bytes) else { return };
    let again = found.encode().unwrap_or_default();
    assert_eq!(Record::decode(&again), Ok(found));
}

fn node_records() -> Vec<Vec<u8>> {
    let text = |text: &str| Zeroizing::new(text.to_owned());
    let state = NodeState {
        node_id: "n1".to_owned(),
        certificate_pem: "certificate".to_owned(),
        key_pem: text("private"),
        first_user: FirstUser {
            name: "first-user".to_owned(),
            access_key: "ACCESS".to_owned(),
            secret_key: text("secret"),
        },
        pool_key: Zeroizing::new([0xa5; 32]),
        daemon_key: Some(Zeroizing::new([0x5a; 32])),
        gas_key: Some(Zeroizing::new([0x33; 32])),
        network: None,
        pin: Some("$scrypt$ln=15,r=8,p=1$AAAA$BBBB".to_owned()),
        set_up: true,
        reset: None,
        resets: 1,
        partings: vec![7],
    };
    let state = NodeState { reset: Some(Box::new(state.clone())), ..state };
    let alone = serde_json::to_vec(&state).unwrap_or_default();
    let whole = Record { generation: 7, state }.encode();
    vec![alone, whole.map(|bytes| bytes.to_vec()).unwrap_or_default()]
}
