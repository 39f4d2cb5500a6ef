use std::collections::BTreeSet;
use std::path::Path;

use agent_object_store::{
    ContentStatus, IndexMemory, Measured, PoolStatus, Requests, ScrubStatus, StandbyStatus,
    UnixMillis, VolumeId, VolumeState, VolumeStatus,
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
        standby: Some(StandbyStatus::InStep),
        index: Some(IndexMemory::default()),
        served: Some(Requests { bytes_in: 11, ..Requests::default() }),
        volumes: vec![volume("a"), volume("b")],
        ..PoolStatus::default()
    };
    pool.healing.by_missing = vec![0, 3];
    Facts {
        pool: Some(pool),
        s3: Some(RequestCounts::default()),
        hardware: Some(hardware()),
        settlement: Some(settlement()),
    }
}

/// A node that is warned, and was paid something.
fn settlement() -> SettlementStatus {
    use agent_api::settlement::{Amounts, GasStatus, Seen, Standing, Trouble};
    SettlementStatus {
        seen: Some(Seen {
            age_seconds: 5,
            standing: Standing::Warned,
            hp_account: None,
            daemon: None,
            is_bound: true,
            exit_at: None,
            era: None,
            roots: None,
        }),
        amounts: Amounts { paid: Some("2500000000000000000".to_owned()), ..Amounts::default() },
        gas: Some(GasStatus {
            address: "0x1".to_owned(),
            balance_wei: Some("500000000000000000".to_owned()),
        }),
        alarms: vec!["look".to_owned()],
        error: Some(Trouble { what: "down".to_owned(), age_seconds: 1, lasts_seconds: 90 }),
        ..SettlementStatus::default()
    }
}

/// A sample of every family, with a label that has to be escaped, and one verdict.
fn hardware() -> HardwareFacts {
    let sample = |family: &agent_health::Family| {
        family.sample(vec![("name", "a \"b\" \\ c\nd".to_owned())], 1.5)
    };
    let verdict = agent_health::Verdict {
        kind: agent_health::Kind::PowerSupply,
        name: "PS1".to_owned(),
        health: agent_health::Health::Failing,
        evidence: Vec::new(),
    };
    let one = agent_api::hardware::Component { verdict, age_ms: 0 };
    let samples = hardware::all_families().map(sample).collect();
    HardwareFacts { samples, components: vec![one.clone(), one] }
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
    let text = expose(Facts { pool, ..Facts::default() }).expect("text");
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
        "# UNIT icn_sensor_temperature_celsius celsius",
        "icn_network_errors_total{name=\"a \\\"b\\\" \\\\ c\\nd\"} 1.5",
        "icn_component_health{kind=\"power_supply\",name=\"PS1\",health=\"failing\"} 1",
        "icn_component_health{kind=\"power_supply\",name=\"PS1\",health=\"healthy\"} 0",
        "icn_settlement_tokens{stage=\"paid\"} 2.5",
        "icn_settlement_standing{standing=\"warned\"} 1",
        "icn_settlement_standing{standing=\"healthy\"} 0",
        "icn_settlement_gas_ether 0.5",
        "icn_settlement_unseen_seconds 90.0",
        "icn_settlement_key_bound 1",
        "icn_settlement_alarms 1",
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

/// As `promtool check metrics` has it, and stricter where the form is.
#[test]
fn names_units_and_series_are_as_the_form_wants_them() {
    let text = expose(facts()).expect("text");
    let body = text.strip_suffix("# EOF\n").expect("an end");
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let mut kind = ("", "");
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("help");
            assert!(help.len() > 3 && !help.ends_with('.'), "{line}");
            assert!(families.insert(name), "{name} stands there twice");
            let is_letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
            assert!(name.starts_with("icn_") && name.bytes().all(is_letter), "{name}");
            for end in ["_total", "_info", "_count", "_sum", "_bucket", "_created"] {
                assert!(!name.ends_with(end), "{name}");
            }
            for wrong in ["milli", "micro", "kilo", "mega", "percent", "_ms_", "minutes", "hours"] {
                assert!(!name.contains(wrong), "{name}: base units");
            }
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            kind = of.split_once(' ').expect("a kind");
            assert!(families.contains(kind.0), "{line}: help first");
        } else if let Some(of) = line.strip_prefix("# UNIT ") {
            let (name, unit) = of.split_once(' ').expect("a unit");
            assert!(name == kind.0 && name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let (one, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(one), "{line} stands there twice");
            let name = one.split('{').next().unwrap_or_default();
            let suffix = name.strip_prefix(kind.0).unwrap_or_else(|| panic!("{line} in {kind:?}"));
            let wanted: &[&str] = match kind.1 {
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(wanted.contains(&suffix), "{line} in {kind:?}");
        }
    }
    for (unit, name) in
        [("seconds", "_seconds"), ("bytes", "_bytes"), ("celsius", "_celsius"), ("volts", "_volts")]
    {
        for family in families.iter().filter(|family| family.ends_with(name)) {
            let line = format!("# UNIT {family} {unit}");
            assert!(body.lines().any(|is| is == line), "{line}");
        }
    }
}

#[test]
fn every_alert_asks_for_series_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/alerts.yml");
    let rules = std::fs::read_to_string(path).expect("docs/operations/alerts.yml is there");
    let text = expose(facts()).expect("text");
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut asked = BTreeSet::new();
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let words = expression.split(|c| !is_name(c)).filter(|word| word.starts_with("icn_"));
        let before = asked.len();
        asked.extend(words);
        assert!(asked.len() > before || expression.contains("icn_"), "{expression}");
    }
    assert!(asked.len() > 10, "{asked:?}");
    for name in asked {
        assert!(names.contains(name), "{name} is asked for in alerts.yml and never told");
    }
    // Each rule says what it is and what to do.
    let count = |word: &str| rules.lines().filter(|line| line.trim().starts_with(word)).count();
    let alerts = count("- alert: ");
    for word in ["expr: ", "severity: ", "summary: ", "description: "] {
        assert_eq!(count(word), alerts, "{word}");
    }
}
