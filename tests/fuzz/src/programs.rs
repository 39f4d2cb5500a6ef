//! What programs and the kernel say of disks. A disk can put names of its own into some of it.

use agent_health::Health;
use agent_health::drive::{DriveReading, ObservedCalls, Thresholds, assess, decode};
use disk_manager_plan::observe::{Answer, Smart};
use disk_manager_plan::report::DiskId;

use crate::Given;
use crate::kmsg;
use crate::mountinfo::{parse_mountinfo, unescape};
use crate::smartctl;
use crate::wipefs::read_wipefs;

pub(crate) const TARGETS: &[Given] = &[
    ("smartctl", health, healths),
    ("wipefs", signatures, signed),
    ("mountinfo", mounts, mounted),
    ("drive", drive, drives),
    ("kmsg", record, records),
];

/// The first byte is the exit status.
fn health(bytes: &[u8]) {
    let Some((status, text)) = bytes.split_first() else { return };
    let (status, text) = (i32::from(*status), String::from_utf8_lossy(text));
    let found = smartctl::read(status, &text);
    // Whoever says that it failed, or that there is nothing to say, is never taken for healthy.
    assert!(found != Smart::Passed || status & 0b1011 == 0, "{status}: {text}");
    assert_eq!(smartctl::read(status, &text), found);
}

fn healths() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 4] = [
        b"\0{\"smart_status\":{\"passed\":true},\"smart_support\":{\"available\":true}}",
        b"\x08{\"smart_status\":{\"passed\":false,\"nvme\":{\"value\":5}}}",
        b"\x08{\"smart_status\":{\"passed\":false,\"scsi\":{\"ie_string\":\"FAILURE\"}}}",
        b"\x02{\"smartctl\":{\"messages\":[{\"string\":\"Device is in STANDBY mode\"}]}}",
    ];
    texts.map(<[u8]>::to_vec).into()
}

fn signatures(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // Only silence means that there is none, or a list of none.
    if read_wipefs(&text) == Answer::Is(Vec::new()) {
        assert!(text.trim().is_empty() || text.contains('['), "{text}");
    }
}

fn signed() -> Vec<Vec<u8>> {
    let signature = r#"{"device":"sda","offset":"0x1fe","type":"dos","uuid":null,"label":null}"#;
    let list = format!(r#"{{"signatures":[{signature},{signature}]}}"#);
    vec![list.into_bytes(), br#"{"signatures":[]}"#.to_vec(), b"\n".to_vec()]
}

fn mounts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let found = parse_mountinfo(&text);
    assert!(found.len() <= text.lines().count());
    for mount in found {
        assert!(text.contains(&mount.device), "{mount:?}");
    }
    assert!(unescape(&text).len() <= text.len());
}

fn mounted() -> Vec<Vec<u8>> {
    let text = "22 1 0:21 / / rw - tmpfs tmpfs rw\n\
        30 22 8:2 / /data/a\\040b rw,noatime shared:1 master:2 - xfs /dev/sda2 rw\n";
    vec![text.into()]
}

/// Bits of smartctl's exit status that mean that there are no data, or that the disk fails.
const NEVER_HEALTHY: i32 = 0b1001_1011;

/// The first byte is the exit status.
fn drive(bytes: &[u8]) {
    let Some((status, text)) = bytes.split_first() else { return };
    let (status, text) = (i32::from(*status), String::from_utf8_lossy(text));
    let reading = decode(status, &text);
    for sample in reading.samples(&DiskId("disk".to_owned())) {
        assert!(sample.value.is_finite(), "{sample:?}");
    }
    let verdict = assess(&reading, &[], &ObservedCalls::default(), &Thresholds::default());
    if verdict.health == Health::Healthy {
        assert_eq!(status & NEVER_HEALTHY, 0, "{text}");
        assert!(text.contains("true") && text.contains("passed"), "{text}");
        assert!(matches!(reading, DriveReading::Known(_)), "{text}");
    }
    assert_eq!(verdict.health == Health::Healthy, verdict.evidence.is_empty(), "{text}");
}

fn drives() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../agent/health/fixtures/smartctl/nvme.json"),
        include_str!("../../../agent/health/fixtures/smartctl/nvme-critical-warning.json"),
        include_str!("../../../agent/health/fixtures/smartctl/ata-after-self-test.json"),
        include_str!("../../../agent/health/fixtures/smartctl/scsi-without-smart.json"),
    ];
    texts.map(|text| [b"\0", text.as_bytes()].concat()).into()
}

fn record(bytes: &[u8]) {
    let Some(record) = kmsg::parse(bytes) else { return };
    let message = record.message;
    assert!(message.level <= 7 && message.text.chars().count() <= 512, "{message:?}");
    assert!(!message.text.chars().any(char::is_control), "{message:?}");
}

fn records() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 2] = [
        b"4,1037,5212345,-;ata1.00: exception Emask 0x0\n SUBSYSTEM=scsi\n DEVICE=b8:0\n",
        b"3,1038,5212399,-,caller=T1;I/O error, dev sda, sector 8 op 0x0:(READ)\n",
    ];
    texts.map(<[u8]>::to_vec).into()
}
