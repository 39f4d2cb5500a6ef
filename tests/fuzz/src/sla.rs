//! What oracles and nodes say to each other, the proofs in it, and the receipts that a node keeps.

use std::fs;

use agent_proofs::member::{Commitment, Member, MemberProof};
use agent_proofs::slice::{Prover, verify as verify_slice};
use agent_proofs::tree::GROUP;
use agent_proofs::{Content, ProofError};
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::messages::{
    Challenge, ChallengeAnswer, DeliverReports, Hello, KeptReceipt, OpenSession, Receipt, Refusal,
    ReportsTaken, Sample, SessionOpened,
};
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::report::{self, Detail, Facts, SentReport};
use agent_sla::protocol::sampling::{group_of, positions, verify, verify_member};
use agent_sla::protocol::settled::{
    DaemonBinding, EraRoot, KnownRoot, Leaf, RootSignature, RootState, Settled, SignedBinding,
    Verdict,
};
use agent_sla::protocol::signed::{
    ChallengeReceipt, ChallengeRequest, HealthReport, Session, Signature, Signed, SlaVote,
};
use agent_sla::protocol::{Address, B256, U256};
use agent_sla::receipts;
use crc_fast::{CrcAlgorithm, checksum};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::Given;

pub(crate) const TARGETS: &[Given] = &[
    ("sla-message", message, messages),
    ("sla-sample", sample, samples),
    ("sla-receipts", journal, journals),
];

/// The file of a node's receipts.
const JOURNAL: &str = "challenges";

fn message(bytes: &[u8]) {
    let _ = said(bytes);
}

/// None where it is no message.
fn said(bytes: &[u8]) -> Option<()> {
    let (kind, bytes) = bytes.split_first()?;
    let domain = parameters().domain();
    match kind % 15 {
        0 => {
            let Hello { parameters, oracle_time, .. } = json(bytes)?;
            let _ = (parameters.check(), parameters.digest(), parameters.domain());
            let era = parameters.era_at(oracle_time);
            assert!(era.is_none_or(|era| parameters.begin_ms(era) <= oracle_time));
            assert_eq!(parameters.differences(&parameters), [""; 0]);
        }
        1 => {
            let OpenSession { session, binding, .. } = json(bytes)?;
            let _ = (session.signer(&domain), binding.map(|binding| binding.signer(&domain)));
        }
        2 => _ = json::<SessionOpened>(bytes)?,
        3 => {
            let DeliverReports { reports } = json(bytes)?;
            for report in reports {
                let _ = (report.signed.signer(&domain), report.facts());
            }
        }
        4 => _ = json::<ReportsTaken>(bytes)?,
        5 => _ = json::<Challenge>(bytes)?,
        6 => _ = json::<ChallengeAnswer>(bytes)?,
        7 => {
            let Receipt { receipt, .. } = json(bytes)?;
            let _ = receipt.signer(&domain);
        }
        8 => {
            let refusal = json::<Refusal>(bytes)?;
            assert!(!refusal.to_string().is_empty());
            let _ = refusal.retryable();
        }
        9 => {
            let votes = json::<Vec<Signed<SlaVote>>>(bytes)?;
            for vote in votes {
                let _ = vote.signer(&domain);
            }
        }
        10 => {
            let settled = json::<Settled>(bytes)?;
            let _ = (settled.check(settled.leaf.nodeId), settled.leaf.hash());
        }
        11 => {
            let roots = json::<Vec<KnownRoot>>(bytes)?;
            for root in roots {
                let _ = root.check();
            }
        }
        12 => _ = json::<SignedBinding>(bytes)?.signer(&domain),
        13 => _ = json::<Facts>(bytes)?,
        // Of numbers with a fraction, what is read of what was written may be the next one.
        _ => _ = serde_json::from_slice::<Detail>(bytes).ok()?,
    }
    Some(())
}

/// What was read; written and read again it is the same.
fn json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let found = serde_json::from_slice::<T>(bytes).ok()?;
    let text = serde_json::to_string(&found).expect("what was read can be written");
    let again: T = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
    Some(found)
}

/// A position (u64, little-endian), the length of a member's proof (u16, little-endian), the proof, and a slice's.
fn sample(bytes: &[u8]) {
    let _ = proven(bytes);
}

/// Whether the byte is proven to whoever committed to its object alone; none where it is no proof of a member.
fn proven(bytes: &[u8]) -> Option<bool> {
    let (position, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (member, slice) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let position = u64::from_le_bytes(*position);
    let proof = MemberProof::from_bytes(member).ok()?;
    assert_eq!(proof.to_bytes().as_deref(), Ok(member));
    let content = proof.member.content;
    // What it proves to whoever committed to it alone.
    let alone = proof.member.leaf(&proof.salt).map(|leaf| Commitment::new(1, Some(leaf)));
    let alone = alone.expect("its names were read");
    let many = Commitment { count: position, bytes: content.size, ..alone };
    assert!(verify_member(&many, position, member).is_err() || many == alone);
    if let Ok((found, at)) = verify_member(&alone, position, member) {
        assert!(found == proof && at == position && at < content.size);
    }
    let is_proven = verify(&alone, position, member, slice).is_ok();
    let range = group_of(position, content.size);
    let shown = verify_slice(&content, &range, slice);
    assert!(!is_proven || shown.is_ok());
    if let Ok(shown) = shown
        && content.parts == 0
        && content.size <= GROUP as u64
    {
        assert_eq!(*blake3::hash(&shown).as_bytes(), content.root);
    }
    assert!(positions(&content.root.into(), 8, content.size).iter().all(|at| *at < content.size));
    Some(is_proven)
}

/// The bytes as the file, and each of their lines behind its checksum.
fn journal(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let lines = bytes.split(|byte| *byte == b'\n').map(line);
    for file in [bytes.to_vec(), lines.collect::<Vec<_>>().concat()] {
        fs::write(dir.path().join(JOURNAL), &file).expect("written");
        for era in [0, ERA] {
            let found = receipts(dir.path(), Era(era)).expect("a file that is there");
            assert!(found.iter().all(|receipt| receipt.era == Era(era)));
            assert!(found.is_sorted_by(|a, b| a.oracle < b.oracle));
            let again: Vec<Vec<u8>> = found.iter().map(kept).collect();
            fs::write(dir.path().join(JOURNAL), again.concat()).expect("written");
            assert_eq!(receipts(dir.path(), Era(era)).ok(), Some(found));
            fs::write(dir.path().join(JOURNAL), &file).expect("written");
        }
    }
}

/// A line of a node's receipts.
fn line(json: &[u8]) -> Vec<u8> {
    let sum = checksum(CrcAlgorithm::Crc32IsoHdlc, json);
    [format!("{sum:08x} ").as_bytes(), json, b"\n"].concat()
}

fn kept(receipt: &KeptReceipt) -> Vec<u8> {
    let mut json = serde_json::to_value(receipt).expect("JSON");
    json.as_object_mut()
        .expect("an object")
        .insert("reasons".to_owned(), Vec::<String>::new().into());
    line(serde_json::json!({ "receipt": json }).to_string().as_bytes())
}

/// The era of the seeds.
const ERA: u64 = 7;

const ORACLE: Address = Address::repeat_byte(0x0a);
const NODE: B256 = B256::repeat_byte(0x0b);

fn parameters() -> Parameters {
    let contract = Address::repeat_byte(0x0c);
    let oracles = [ORACLE].into();
    Parameters { chain: 8453, contract, genesis: 0, era_seconds: 3600, samples: 2, oracles }
}

/// A message, signed.
macro_rules! signed {
    ($message:expr) => {{
        let key = SigningKey::from_bytes(&Zeroizing::new([7; 32])).expect("a key");
        Signed::new($message, &parameters().domain(), &key).expect("signed")
    }};
}

fn request() -> Signed<ChallengeRequest> {
    signed!(ChallengeRequest {
        nodeId: NODE,
        oracleId: ORACLE,
        era: ERA,
        nonce: NODE,
        dataRoot: NODE,
        objects: 1,
        totalBytes: 5,
        configDigest: parameters().digest(),
    })
}

fn receipt() -> Signed<ChallengeReceipt> {
    signed!(ChallengeReceipt {
        requestHash: NODE,
        beacon: NODE,
        result: 1,
        latencyUs: 2500,
        bytesPerSecond: 1 << 30,
        oracleTime: 1_767_225_600_000,
    })
}

fn sent() -> SentReport {
    let facts = r#"{"version":1,"self_reported":true,"previous":null,"software":"0.1.0","uptime_seconds":5,
        "state":"ready","clock_synchronised":true,"capacity":{"total":9,"used":1},"verdicts":[],"healthy":3}"#;
    let detail = r#"{"version":1,"readings":[{"series":"a{b=\"c\"}","value":1.5}]}"#;
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
    let (facts, detail) = (raw(facts), raw(detail));
    let message = HealthReport {
        nodeId: NODE,
        sequence: 3,
        takenAt: 1_767_225_600_000,
        factsHash: report::hash(&facts),
        detailHash: report::hash(&detail),
        configDigest: NODE,
    };
    SentReport { signed: signed!(message), facts, detail: Some(detail) }
}

fn messages() -> Vec<Vec<u8>> {
    fn seed(kind: u8, what: &impl Serialize) -> Vec<u8> {
        [vec![kind], serde_json::to_vec(what).expect("JSON")].concat()
    }
    let binding: SignedBinding = signed!(DaemonBinding {
        nodeId: NODE,
        hpAccount: ORACLE,
        daemonAddress: ORACLE,
        attestationKeyHash: B256::ZERO,
        hardwareReportHash: B256::ZERO,
        deadline: U256::from(9),
    });
    let session = signed!(Session {
        nodeId: NODE,
        oracleId: ORACLE,
        certificate: NODE,
        instance: NODE,
        openedAt: 1,
        configDigest: NODE,
    });
    let vote = signed!(SlaVote {
        oracleId: ORACLE,
        nodeId: NODE,
        era: ERA,
        issued: 5,
        passed: 4,
        medianLatencyUs: 1,
        medianBytesPerSecond: 2,
        provenBytes: 3,
        receiptsRoot: NODE,
        configDigest: NODE,
    });
    let root = EraRoot {
        fromEra: 1,
        toEra: ERA,
        previous: B256::ZERO,
        root: NODE,
        votesRoot: NODE,
        totalReward: U256::from(7),
        totalPenalty: U256::ZERO,
        configDigest: NODE,
    };
    let leaf = Leaf {
        nodeId: NODE,
        toEra: ERA,
        cumulativeReward: U256::MAX,
        cumulativePenalty: U256::ZERO,
        votesHash: NODE,
    };
    let verdict = Verdict {
        era: Era(ERA),
        votes: 1,
        median: None,
        reward: U256::from(7),
        penalty: U256::ZERO,
    };
    let known = KnownRoot {
        root: root.clone(),
        signatures: vec![RootSignature { oracle: ORACLE, signature: Signature([7; 65]) }],
        state: RootState::Posted,
        number: Some(1),
        transaction: None,
    };
    let settled = Settled { number: 1, root, leaf, proof: vec![NODE], eras: vec![verdict] };
    let hello = Hello { oracle: ORACLE, parameters: parameters(), oracle_time: 1 };
    let challenge = Challenge { request: NODE, beacon: NODE, answer_within_ms: 5 };
    let (member, slice) = ("AAAA".to_owned(), "BBBB".to_owned());
    let samples = vec![
        Sample::Proven { member: member.clone(), slice },
        Sample::Gone { member },
        Sample::Failed { reason: "the disk is gone".to_owned() },
    ];
    let report = sent();
    let detail = report.detail.clone().expect("it has one");
    vec![
        seed(0, &hello),
        seed(1, &OpenSession { session, s3: None, binding: Some(binding.clone()) }),
        seed(2, &SessionOpened { delivered: Some(2), oracle_time: 1 }),
        seed(3, &DeliverReports { reports: vec![report.clone()] }),
        seed(4, &ReportsTaken { delivered: 3 }),
        seed(5, &challenge),
        seed(6, &ChallengeAnswer { samples }),
        seed(7, &Receipt { receipt: receipt(), reasons: vec!["late".to_owned()] }),
        seed(8, &Refusal::Skew { skew_ms: -5 }),
        seed(8, &Refusal::WrongEra { asked: Era(1), now: Era(2) }),
        seed(9, &vec![vote]),
        seed(10, &settled),
        seed(11, &vec![known]),
        seed(12, &binding),
        seed(13, &report.facts),
        seed(14, &detail),
    ]
}

/// The proof of an object of five bytes that is alone, and of one of three.
fn samples() -> Vec<Vec<u8>> {
    let bytes = b"bytes";
    let content = Content { root: *blake3::hash(bytes).as_bytes(), size: 5, parts: 0 };
    let member = Member { bucket: "b".to_owned(), key: "key".to_owned(), version: 1, content };
    let leaf = member.leaf(&[9; 32]).expect("a leaf");
    let slice = || -> Result<Vec<u8>, ProofError> {
        let mut prover = Prover::new(&content, &(0..5))?;
        prover.piece(5, &(0..5), &[], bytes)?;
        Ok(prover.finish())
    };
    let slice = slice().expect("a proof");
    let of = |beside, position: u64| {
        let proof = MemberProof { member: member.clone(), position, salt: [9; 32], beside };
        let proof = proof.to_bytes().expect("a proof");
        let length = u16::try_from(proof.len()).expect("short");
        [&position.to_le_bytes()[..], &length.to_le_bytes(), &proof, &slice].concat()
    };
    vec![of(Vec::new(), 0), of(vec![leaf, leaf], 2)]
}

fn journals() -> Vec<Vec<u8>> {
    let (request, receipt) = (request(), receipt());
    let asked = serde_json::json!({ "asked": &request }).to_string();
    let receipt = KeptReceipt { oracle: ORACLE, era: Era(ERA), request, receipt };
    let line = line(asked.as_bytes());
    vec![[line.clone(), kept(&receipt)].concat(), line, asked.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_what_its_target_reads() {
        for seed in messages() {
            assert_eq!(said(&seed), Some(()), "{}", String::from_utf8_lossy(&seed));
        }
        let proofs: Vec<_> = samples().iter().map(|seed| proven(seed)).collect();
        assert_eq!(proofs, [Some(true), Some(false)]);
        let dir = tempfile::tempdir().expect("a folder");
        let kept: Vec<_> = journals()
            .iter()
            .map(|seed| {
                fs::write(dir.path().join(JOURNAL), seed).expect("written");
                receipts(dir.path(), Era(ERA)).expect("a file that is there").len()
            })
            .collect();
        assert_eq!(kept, [1, 0, 0]);
    }
}
