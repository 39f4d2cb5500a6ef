//! What `smartctl --json` of smartmontools answers. Pure; the fuzzer takes this file as it is.

use disk_manager_plan::observe::Smart;
use serde::Deserialize;

/// Bits of smartctl's exit status (smartctl(8)) that mean that there is no data: the command line
/// was not understood, or the device could not be opened or is asleep.
const NO_DATA: i32 = 0b11;
/// The bit for "SMART status check returned DISK FAILING".
const DISK_FAILING: i32 = 1 << 3;

/// The part of smartctl's answer that is read; every field may be missing.
#[derive(Debug, Default, Deserialize)]
struct SmartctlAnswer {
    #[serde(default)]
    smartctl: Invocation,
    smart_status: Option<Status>,
    smart_support: Option<Support>,
}

#[derive(Debug, Default, Deserialize)]
struct Invocation {
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    string: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    passed: Option<bool>,
    nvme: Option<NvmeStatus>,
    scsi: Option<ScsiStatus>,
}

#[derive(Debug, Deserialize)]
struct NvmeStatus {
    value: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ScsiStatus {
    ie_string: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Support {
    available: Option<bool>,
}

/// The disk's health, from exit status and answer.
pub(crate) fn read(status: i32, text: &str) -> Smart {
    let answer: SmartctlAnswer = match serde_json::from_str(text) {
        Ok(answer) => answer,
        Err(error) => return Smart::Unreadable(format!("smartctl's answer: {error}")),
    };
    let messages: Vec<_> = answer.smartctl.messages.iter().map(|m| m.string.as_str()).collect();
    let said = messages.join("; ");
    if status & NO_DATA != 0 {
        let asleep = ["STANDBY", "SLEEP"].iter().any(|word| said.contains(word));
        return if asleep {
            Smart::Asleep
        } else {
            Smart::Unreadable(format!("smartctl exit status {status}: {said}"))
        };
    }
    let health = answer.smart_status;
    let passed = health.as_ref().and_then(|health| health.passed);
    if passed == Some(false) || status & DISK_FAILING != 0 {
        return Smart::Failing(failing_words(health.as_ref()));
    }
    if passed == Some(true) {
        return Smart::Passed;
    }
    match answer.smart_support.and_then(|support| support.available) {
        Some(false) => Smart::NotSupported("the disk says that it has none".to_owned()),
        _ => Smart::Unreadable("smartctl gave no health status".to_owned()),
    }
}

fn failing_words(status: Option<&Status>) -> String {
    let nvme = status.and_then(|s| s.nvme.as_ref()).and_then(|nvme| nvme.value);
    let scsi = status.and_then(|s| s.scsi.as_ref()).and_then(|scsi| scsi.ie_string.clone());
    match (nvme, scsi) {
        (Some(warning), _) => format!("NVMe critical warning 0x{warning:02x}"),
        (None, Some(words)) => words,
        (None, None) => "overall health failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_disk_passes_even_with_warning_bits() {
        let text = r#"{"smart_status":{"passed":true}}"#;
        assert_eq!(read(0, text), Smart::Passed);
        assert_eq!(read(4, text), Smart::Passed, "bit 2 appears on readable disks");
        assert_eq!(read(64, text), Smart::Passed);
    }

    #[test]
    fn a_failing_disk_says_how() {
        let nvme = r#"{"smart_status":{"passed":false,"nvme":{"value":5}}}"#;
        assert_eq!(read(8, nvme), Smart::Failing("NVMe critical warning 0x05".to_owned()));
        assert_eq!(read(8, "{}"), Smart::Failing("overall health failed".to_owned()));
    }

    #[test]
    fn a_sleeping_disk_is_asleep_and_not_failed() {
        let text = r#"{"smartctl":{"messages":[{"string":"Device is in STANDBY mode, exit(2)"}]}}"#;
        assert_eq!(read(2, text), Smart::Asleep);
    }

    #[test]
    fn a_disk_without_smart_says_so_and_one_without_an_answer_does_not_pass() {
        let none = r#"{"smart_support":{"available":false}}"#;
        assert!(matches!(read(0, none), Smart::NotSupported(_)));
        assert!(matches!(read(0, "{}"), Smart::Unreadable(_)));
        assert!(matches!(read(1, "{}"), Smart::Unreadable(_)));
        assert!(matches!(read(0, "nonsense"), Smart::Unreadable(_)));
    }
}
