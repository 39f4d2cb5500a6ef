//! Receipts that the node keeps for disputes, as its HP gets them.

use std::io::Write as _;

use agent_sla::protocol::messages::KeptReceipt;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::{ChallengeReceipt, ChallengeRequest, PASSED, Signature, Signed};
use alloy::primitives::{Address, B256};
use serde_json::json;

use crate::fakes::Rig;
use crate::oracle::Oracle;
use crate::process::eventually;

fn kept(era: u64) -> KeptReceipt {
    let oracle = Address::repeat_byte(1);
    let request = ChallengeRequest {
        nodeId: B256::repeat_byte(1),
        oracleId: oracle,
        era,
        nonce: B256::ZERO,
        dataRoot: B256::ZERO,
        objects: 1,
        totalBytes: u64::MAX,
        configDigest: B256::ZERO,
    };
    let receipt = ChallengeReceipt {
        requestHash: B256::repeat_byte(2),
        beacon: B256::ZERO,
        result: PASSED,
        latencyUs: 1,
        bytesPerSecond: 1,
        oracleTime: 1,
    };
    let (request, receipt) = (
        Signed { message: request, signature: Signature([1; 65]) },
        Signed { message: receipt, signature: Signature([2; 65]) },
    );
    KeptReceipt { oracle, era: Era(era), request, receipt }
}

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

#[test]
fn an_hp_gets_the_receipts_of_an_era_for_a_dispute() {
    let oracle = Oracle::start();
    let contract = format!("0x{}", "1c".repeat(20));
    let rig = Rig::new(&format!(
        "[sla]\nchain = 5\ncontract = \"{contract}\"\ngenesis = 0\nera = \"1h\"\n{}",
        oracle.described("one", 1)
    ));
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    let path = rig.path().join("data/a/state/sla/challenges");
    eventually("the file of challenges", || path.exists().then_some(()));
    let receipts = |era| {
        let kept = rig.client().receipts(era).expect("an answer");
        serde_json::from_value::<Vec<KeptReceipt>>(kept.into()).expect("receipts")
    };
    assert_eq!(receipts(7), []);

    // As if an oracle had given them: a line each, with its checksum.
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("the file");
    for era in [7, 8] {
        let mut receipt = serde_json::to_value(kept(era)).expect("JSON");
        receipt["reasons"] = json!([]);
        let line = json!({ "receipt": receipt }).to_string();
        writeln!(file, "{:08x} {line}", crc32(line.as_bytes())).expect("written");
    }
    assert_eq!(receipts(7), [kept(7)]);
    assert_eq!(receipts(9), []);
}

#[test]
fn a_node_that_speaks_with_no_oracle_says_that_it_has_none() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    rig.status("a node that serves", crate::node::ready);
    let refused = rig.client().receipts(7).expect_err("there are none").to_string();
    assert!(refused.contains("keeps no receipts"), "{refused}");
}
