use std::collections::BTreeSet;
use std::path::Path;

use agent_object_store::{
    ContentStatus, IndexMemory, Measured, PoolStatus, Requests, ScrubStatus, UnixMillis, VolumeId,
    VolumeState, VolumeStatus,
};

use super::*;

fn volume(id: &str) -> VolumeStatus {
    let mut measured = Measured::default();
    (measured.reads.by_time, measured.reads.micros) = ([1, 2, 0, 0, 0, 0, 0, 0, 3], 4_500_000);
    VolumeStatus {
        id: VolumeId::new(id).expect("an id"),
        number: None,
        class: None,
        path: None,
        state: VolumeState::Missing,
        since: UnixMillis(0),
        capacity_bytes: 7,
        free_bytes: 5,
        has_index: false,
        has_standby: false,
        files: 3,
        leaving: None,
        measured,
        damaged_blocks: 2,
        repaired_shards: 1,
    }
}

/// Readings of a node of which everything is known.
fn facts() -> Facts {
    let mut pool = PoolStatus {
        spare_volumes: Some(2),
        scrub: Some(ScrubStatus { begun: UnixMillis(0), ends: UnixMillis(0), read: 4, groups: 9 }),
        content: Some(ContentStatus { plain_bytes: 9, stored_bytes: 5 }),
        index: Some(IndexMemory::default()),
        served: Some(Requests { bytes_in: 11, ..Requests::default() }),
        volumes: vec![volume("a"), volume("b")],
        ..PoolStatus::default()
    };
    pool.healing.by_missing = vec![0, 3];
    Facts { pool: Some(pool), s3: Some(RequestCounts::default()) }
}

#[test]
fn what_is_not_known_is_left_out() {
    let text = expose(Facts::default()).expect("text");
    let version = env!("CARGO_PKG_VERSION");
    let wanted = format!(
        "# HELP icn_build The agent's version\n# TYPE icn_build info\n\
         icn_build_info{{version=\"{version}\"}} 1\n# EOF\n"
    );
    assert_eq!(text, wanted);
    let awaited = Some("disks are awaited".to_owned());
    let pool = Some(PoolStatus { awaited, ..PoolStatus::default() });
    let text = expose(Facts { pool, s3: None }).expect("text");
    assert!(text.contains("\nicn_pool_open 0\n"), "{text}");
    assert!(!text.contains("icn_groups"), "{text}");
}

#[test]
fn readings_carry_their_units_and_labels() {
    let text = expose(facts()).expect("text");
    for line in [
        "# TYPE icn_object_received_bytes counter",
        "# UNIT icn_object_received_bytes bytes",
        "icn_object_received_bytes_total 11",
        "icn_groups_degraded{missing=\"2\"} 3",
        "icn_volume_state{volume=\"a\",state=\"missing\"} 1",
        "icn_volume_state{volume=\"a\",state=\"in_use\"} 0",
        "icn_volume_damaged_blocks_total{volume=\"b\"} 2",
        "icn_volume_call_seconds_sum{volume=\"a\",call=\"read\"} 4.5",
        "icn_volume_call_seconds_count{volume=\"a\",call=\"read\"} 6",
        "icn_volume_call_seconds_bucket{le=\"0.000256\",volume=\"a\",call=\"read\"} 3",
        "icn_volume_call_seconds_bucket{le=\"+Inf\",volume=\"a\",call=\"read\"} 6",
    ] {
        assert!(text.lines().any(|is| is == line), "{line}\n{text}");
    }
}

#[test]
fn the_manual_lists_exactly_what_is_exposed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/metrics.md");
    let manual = std::fs::read_to_string(path).expect("docs/operations/metrics.md is there");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `icn_"));
    // Other tables have conditions in their first column.
    let listed: BTreeSet<_> = rows
        .filter_map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next()?.strip_suffix('`').filter(|name| !name.contains(' '))?;
            Some((format!("icn_{name}"), cells.next()?.to_owned()))
        })
        .collect();
    let text = expose(facts()).expect("text");
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exposed: BTreeSet<_> = families
        .filter_map(|family| family.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        // Not every machine has it.
        .chain([("icn_memory_limit_bytes".to_owned(), "gauge".to_owned())])
        .collect();
    assert_eq!(listed, exposed);
}
