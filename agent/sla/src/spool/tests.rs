//! The spool: over restarts, crashes and damage.

use std::fs;
use std::path::Path;

use serde_json::value::to_raw_value;

use super::thinning::Limits;
use super::{ASIDE, FOLDER, Owner, Spool, StoreError};
use crate::protocol::parameters::example;
use crate::protocol::report::{Detail, Facts, Reading, SentReport, VERSION, hash};
use crate::protocol::signed::{HealthReport, Signed};
use crate::protocol::{Address, B256};
use crate::status::Kept;
use crate::tests::daemon;

fn owner() -> Owner {
    Owner { node: B256::repeat_byte(9), daemon: Address::repeat_byte(8) }
}

/// A report whose detail has some `length` bytes that cannot be compressed.
fn report(sequence: u64, length: usize) -> SentReport {
    let facts = Facts {
        version: VERSION,
        self_reported: true,
        previous: sequence.checked_sub(1),
        software: "test".to_owned(),
        uptime_seconds: sequence,
        state: "ready".to_owned(),
        clock_synchronised: None,
        capacity: None,
        verdicts: Vec::new(),
        healthy: 0,
    };
    let noise = blake3::Hasher::new().update(&sequence.to_be_bytes()).finalize_xof();
    let mut bytes = vec![0; length / 2];
    { noise }.fill(&mut bytes);
    let series = alloy::hex::encode(bytes);
    let detail = Detail { version: VERSION, readings: vec![Reading { series, value: 1.0 }] };
    let facts = to_raw_value(&facts).expect("JSON");
    let detail = to_raw_value(&detail).expect("JSON");
    let message = HealthReport {
        nodeId: B256::repeat_byte(9),
        sequence,
        takenAt: sequence * 1_000,
        factsHash: hash(&facts),
        detailHash: hash(&detail),
        configDigest: B256::ZERO,
    };
    let signed = Signed::new(message, &example().domain(), &daemon()).expect("signed");
    SentReport { signed, facts, detail: Some(detail) }
}

fn open(folder: &Path) -> Spool {
    Spool::open(folder, owner()).expect("a spool")
}

/// The sequences of what waits behind `behind`, each of which is what was signed.
fn sequences(spool: &Spool, behind: Option<u64>) -> Vec<u64> {
    let reports = spool.reports(behind).expect("reports");
    reports
        .iter()
        .map(|report| {
            report.facts().expect("what was signed");
            report.signed.message.sequence
        })
        .collect()
}

/// What a process that is killed now leaves behind: files as they are, with `db` as long as it was synced.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn what_was_taken_is_there_after_a_restart_also_one_without_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    assert_eq!((spool.next_sequence(77), spool.last()), (77, None));
    for sequence in 1..=20 {
        spool.append(&report(sequence, 20_000), 0).expect("taken");
        spool.delivered("a", sequence / 2).expect("remembered");
        // The process is killed here.
        if sequence % 5 == 0 {
            let killed = tempfile::tempdir().expect("a folder");
            copy(folder.path(), killed.path());
            let found = open(killed.path());
            assert_eq!(found.last(), Some(sequence));
            assert_eq!(found.cursor("a"), Some(sequence / 2));
            assert_eq!(sequences(&found, None), (1..=sequence).collect::<Vec<_>>());
        }
    }
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(spool.next_sequence(0), 21);
    assert_eq!(sequences(&spool, Some(15)), [16, 17, 18, 19, 20]);
    assert_eq!((spool.pending(Some(15)), spool.pending(None)), (5, 20));
    let status = spool.status();
    assert_eq!((status.kept, status.reports, status.oldest), (Kept::OnDisk, 20, Some(1_000)));
    assert!(status.bytes > 20 * 10_000, "{status:?}");
    // No file of its own for a node of the tree: such are never synced.
    let blobs = fs::read_dir(folder.path().join(FOLDER).join("blobs")).expect("a folder").count();
    assert_eq!(blobs, 0);
}

#[test]
fn a_full_spool_leaves_detail_out_and_what_is_left_can_still_be_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    spool.limits = Limits { bytes: 50_000, ..Limits::DISK };
    for sequence in 1..=12 {
        spool.append(&report(sequence, 20_000), 0).expect("taken");
    }
    for spool in [&spool, &open_again(&folder, spool.last())] {
        assert!(spool.status().bytes <= 50_000, "{:?}", spool.status());
        let reports = spool.reports(None).expect("reports");
        assert_eq!(reports.len(), 12);
        assert!(reports.iter().all(|report| report.facts().is_ok()));
        let with: Vec<_> = reports.iter().map(|report| report.detail.is_some()).collect();
        assert!(!with[0] && with[11] && with.is_sorted(), "{with:?}");
    }
}

/// The same spool as a process sees it that finds a copy of it.
fn open_again(folder: &tempfile::TempDir, last: Option<u64>) -> Spool {
    let copied = tempfile::tempdir().expect("a folder");
    copy(folder.path(), copied.path());
    let spool = open(copied.path());
    assert_eq!(spool.last(), last);
    // The files stay open while they are read.
    spool
}

#[test]
fn old_reports_go_and_the_sequence_does_not_go_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    for sequence in 1..=5 {
        spool.append(&report(sequence, 100), 0).expect("taken");
    }
    // All but the youngest are older than 30 days now.
    spool.append(&report(6, 100), Limits::DISK.age_ms + 5_001).expect("taken");
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(sequences(&spool, None), [6]);
    assert_eq!(spool.next_sequence(0), 7);
}

#[test]
fn a_damaged_spool_is_set_aside_and_a_new_one_goes_on_with_the_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    spool.append(&report(1, 100), 0).expect("taken");
    drop(spool);
    let conf = folder.path().join(FOLDER).join("conf");
    let mut bytes = fs::read(&conf).expect("a file");
    bytes[0] ^= 0xff;
    fs::write(&conf, bytes).expect("written");
    let spool = open(folder.path());
    assert_eq!((spool.last(), spool.next_sequence(5_000)), (None, 5_000));
    assert!(folder.path().join(ASIDE).join("conf").exists());
    drop(spool);
    // A second time too: there is room for one aside.
    fs::write(&conf, b"nothing").expect("written");
    assert_eq!(open(folder.path()).last(), None);
}

#[test]
fn whatever_bytes_are_damaged_a_spool_opens_and_gives_nothing_that_was_not_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    for sequence in 1..=6 {
        spool.append(&report(sequence, 9_000), 0).expect("taken");
    }
    drop(spool);
    let db = fs::read(folder.path().join(FOLDER).join("db")).expect("a file");
    for place in 0..12_usize {
        let damaged = tempfile::tempdir().expect("a folder");
        copy(folder.path(), damaged.path());
        let mut bytes = db.clone();
        let start = place * db.len() / 12;
        bytes[start..].iter_mut().take(64).for_each(|byte| *byte ^= 0x5a);
        fs::write(damaged.path().join(FOLDER).join("db"), bytes).expect("written");
        let spool = open(damaged.path());
        let found = sequences(&spool, None);
        assert!(found.iter().all(|sequence| (1..=6).contains(sequence)), "{found:?}");
        assert!(spool.next_sequence(7) >= 7);
    }
}

#[test]
fn another_nodes_spool_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    spool.append(&report(1, 100), 0).expect("taken");
    drop(spool);
    let other = Owner { daemon: Address::repeat_byte(1), ..owner() };
    let spool = Spool::open(folder.path(), other).expect("a spool");
    assert!(sequences(&spool, None).is_empty() && folder.path().join(ASIDE).exists());
}

#[test]
fn a_spool_that_is_open_elsewhere_is_not_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(folder.path());
    let second = Spool::open(folder.path(), owner());
    assert!(matches!(second, Err(StoreError::Taken { .. })));
    assert!(!folder.path().join(ASIDE).exists());
    drop(spool);
}

#[test]
fn in_memory_the_last_hundred_are_kept_and_move_to_the_next_spool() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut memory = Spool::in_memory();
    for sequence in 1..=150 {
        memory.append(&report(sequence, 100), 0).expect("taken");
    }
    assert_eq!(memory.status().reports, 100);
    memory.delivered("a", 60).expect("remembered");
    let mut disk = open(folder.path());
    disk.append(&report(70, 100), 0).expect("taken");
    // What is not behind the last that is there was numbered by a clock that went wrong.
    assert_eq!(disk.absorb(memory, 0), 20);
    assert_eq!(sequences(&disk, Some(140)), (141..=150).collect::<Vec<_>>());
    assert_eq!((disk.cursor("a"), disk.next_sequence(0)), (Some(60), 151));
    let memory = disk.into_memory(0);
    assert_eq!((memory.last(), memory.status().kept), (Some(150), Kept::InMemory));
    assert!(sequences(&memory, Some(149)) == [150] && memory.cursor("a") == Some(60));
}
