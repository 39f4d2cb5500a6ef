//! Readings over HTTP, read back as strictly as OpenMetrics 1.0 allows.

use std::collections::{BTreeMap, BTreeSet};

use crate::fakes::Rig;
use crate::node::{client, ready};
use crate::process::eventually;

/// Values by their series.
type Series = BTreeMap<String, f64>;

/// A family whose samples are being read.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    /// The upper end and number of the last bucket, by the labels beside `le`.
    buckets: BTreeMap<String, (f64, f64)>,
}

/// Reads an exposition; panics at what is not as it should be.
fn parse(text: &str) -> Series {
    let body = text.strip_suffix("# EOF\n").expect("# EOF at the end");
    let (mut series, mut names, mut now) = (Series::new(), BTreeSet::new(), Family::default());
    for line in body.lines() {
        assert_eq!(line, line.trim(), "blanks");
        if let Some(meta) = line.strip_prefix("# ") {
            let [word, name, rest] = meta.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line:?}")
            };
            if word == "HELP" {
                finish(&now, &series);
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                now = Family { name: name.to_owned(), ..Family::default() };
            }
            assert_eq!(name, now.name, "what belongs to {name} stands together");
            match word {
                "HELP" => {}
                "TYPE" => {
                    assert!(["gauge", "counter", "histogram", "info"].contains(&rest), "{line}");
                    rest.clone_into(&mut now.kind);
                }
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line:?}"),
            }
            continue;
        }
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(&now.name).unwrap_or_else(|| panic!("{line} in {now:?}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
        match (now.kind.as_str(), suffix) {
            ("gauge", "") => {}
            ("info", "_info") => assert_eq!(value, 1.0, "{line}"),
            ("counter", "_total") | ("histogram", "_sum" | "_count") => {
                assert!(value.is_finite() && value >= 0.0, "{line}");
            }
            ("histogram", "_bucket") => {
                let end = labels.get("le").unwrap_or_else(|| panic!("{line}"));
                let end: f64 = end.replace("+Inf", "inf").parse().expect("an upper end");
                let others = labels.iter().filter(|(label, _)| **label != "le");
                let others = shown(others);
                if let Some((before, below)) = now.buckets.insert(others, (end, value)) {
                    assert!(before < end && below <= value, "{line}");
                }
            }
            _ => panic!("{line:?} in {now:?}"),
        }
        let key = format!("{name}{}", shown(labels.iter()));
        assert!(series.insert(key, value).is_none(), "{line} is there twice");
    }
    finish(&now, &series);
    series
}

/// A histogram ends with all that it counts.
fn finish(family: &Family, series: &Series) {
    for (labels, (end, all)) in &family.buckets {
        assert_eq!(*end, f64::INFINITY, "{family:?}");
        assert_eq!(series.get(&format!("{}_count{labels}", family.name)), Some(all), "{family:?}");
        assert!(series.contains_key(&format!("{}_sum{labels}", family.name)), "{family:?}");
    }
}

/// Name, labels and value of a line. No value of ours has anything to escape.
fn sample(line: &str) -> (&str, BTreeMap<&str, &str>, &str) {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_lowercase())
            && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
    let Some((name, rest)) = series.split_once('{') else {
        assert!(is_name(series), "{line:?}");
        return (series, BTreeMap::new(), value);
    };
    assert!(is_name(name), "{line:?}");
    let inside = rest.strip_suffix('}').unwrap_or_else(|| panic!("{line:?}"));
    let mut labels = BTreeMap::new();
    // None between the braces is as good as no braces (OpenMetrics 1.0, ABNF of `metricname-and-labels`).
    for label in inside.split(',').filter(|_| !inside.is_empty()) {
        let (label, quoted) = label.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
        let quoted = quoted.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = quoted.unwrap_or_else(|| panic!("{line:?}"));
        assert!(is_name(label) && !value.contains(['"', '\\']), "{line:?}");
        assert!(labels.insert(label, value).is_none(), "{line:?}");
    }
    (name, labels, value)
}

fn shown<'a>(labels: impl Iterator<Item = (&'a &'a str, &'a &'a str)>) -> String {
    let labels: Vec<_> = labels.map(|(label, value)| format!("{label}={value}")).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

fn scrape(rig: &Rig) -> Option<Series> {
    let url = format!("http://127.0.0.1:{}/metrics", rig.metrics_port);
    let mut answer = ureq::get(&url).call().ok()?;
    let form = answer.headers().get("content-type").expect("a form").to_str().expect("text");
    assert_eq!(form, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.body_mut().read_to_string().expect("text");
    assert!(!text.contains("key-of-an-object"), "names no object");
    Some(parse(&text))
}

#[test]
fn readings_are_openmetrics_and_follow_what_the_node_does() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    let _agent = rig.start();
    let status = rig.status("all disks in use", ready);
    let before = eventually("readings of an open store", || {
        scrape(&rig).filter(|series| series.get("icn_pool_open") == Some(&1.0))
    });
    assert_eq!(before.get("icn_object_requests_total{kind=write}"), Some(&0.0));
    assert_eq!(before.get("icn_volume_state{state=in_use,volume=a}"), Some(&1.0));
    assert_eq!(before.get("icn_volume_info{class=ssd,volume=b}"), Some(&1.0));
    for name in
        ["icn_resident_memory_bytes", "icn_body_memory_limit_bytes", "icn_index_cache_limit_bytes"]
    {
        assert!(before.get(name).is_some_and(|bytes| *bytes > 1e6), "{name}: {before:?}");
    }
    let s3 = client(&rig, &status, "a");
    assert_eq!(s3.create_bucket().expect("an answer"), 200);
    assert_eq!(s3.put("key-of-an-object", &[7; 5000]).expect("an answer"), 200);
    assert_eq!(s3.get("key-of-an-object").expect("an answer").0, 200);
    let after = eventually("the requests", || {
        scrape(&rig).filter(|now| now.get("icn_object_sent_bytes_total") == Some(&5000.0))
    });
    assert_eq!(after.get("icn_object_received_bytes_total"), Some(&5000.0));
    assert_eq!(after.get("icn_object_requests_total{kind=write}"), Some(&2.0));
    assert_eq!(after.get("icn_object_requests_total{kind=read}"), Some(&1.0));
    for grows in [
        "icn_s3_requests_total",
        "icn_volume_call_bytes_total{call=sync,volume=a}",
        "icn_volume_call_seconds_count{call=sync,volume=b}",
    ] {
        assert!(before.get(grows) < after.get(grows), "{grows}: {before:?} {after:?}");
    }
    // The same stands on the control socket.
    let pool = rig.client().pool().expect("a state");
    let limit = after.get("icn_body_memory_limit_bytes").copied();
    assert_eq!(limit, Some(pool.memory.bodies.total as f64));
    assert!(pool.memory.resident.is_some() && pool.memory.index.is_some(), "{pool:#?}");
    let other = format!("http://127.0.0.1:{}/", rig.metrics_port);
    assert!(matches!(ureq::get(&other).call(), Err(ureq::Error::StatusCode(404))));
    let there = format!("{other}metrics");
    assert!(matches!(ureq::post(&there).send_empty(), Err(ureq::Error::StatusCode(405))));
}

#[test]
fn a_taken_port_stops_nothing_and_is_told() {
    let rig = Rig::new("");
    let holder = std::net::TcpListener::bind(("127.0.0.1", rig.metrics_port)).expect("the port");
    rig.report(vec![rig.mounted("a")], &[]);
    let agent = rig.start();
    rig.status("the disk in use", ready);
    let wanted = format!("port {} is taken by another program", rig.metrics_port);
    eventually("the reason", || agent.log().contains(&wanted).then_some(()));
    drop(holder);
}
