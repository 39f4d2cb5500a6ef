//! What programs, firmware and the kernel say of the machine's hardware.

use agent_health::Trends;
use agent_health::host::disk_activity::activity;
use agent_health::host::kernel_log::{KernelLog, classify};
use agent_health::host::management::{
    Standing, assess_events, assess_sensors, event_samples, parse_events, parse_sensors,
    sensor_samples,
};
use agent_health::host::pcie::{aer_total, link_speed};
use disk_manager_plan::hardware::KernelMessage;

use crate::Given;

pub(crate) const TARGETS: &[Given] = &[
    ("ipmi-sensors", sensors, sensor_texts),
    ("ipmi-events", events, event_texts),
    ("kernel-messages", messages, message_texts),
    ("kernel-counters", counters, counter_texts),
];

fn sensors(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let found = parse_sensors(&text);
    assert!(found.len() <= text.lines().count());
    let judged = found.iter().filter(|sensor| sensor.standing != Standing::NotRead).count();
    assert_eq!(assess_sensors(&found).len(), judged);
    assert!(sensor_samples(&found).iter().all(|sample| sample.value.is_finite()));
}

fn sensor_texts() -> Vec<Vec<u8>> {
    let text = "CPU Temp,45,degrees C,ok\nFAN1,0,RPM,lcr\nFAN2,,,ns\nPS1 Status,0x1,,ok\n";
    vec![text.into(), "Vcpu,1.82,Volts,unc,3.1\n".into()]
}

fn events(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let found = parse_events(&text);
    assert!(found.len() <= text.lines().count());
    assert!(assess_events(&found, 1_705_276_800_000).len() <= found.len());
    assert_eq!(event_samples(&found).len(), 1);
}

fn event_texts() -> Vec<Vec<u8>> {
    let text = "1,01/14/2024,10:00:00,Power Supply PS1,Failure detected,Asserted\n\
        2,Pre-Init,,Memory DIMM_A1,Uncorrectable ECC,Asserted\n\
        3,01/15/2024,11:00:00,Power Supply PS1,Failure detected,Deasserted\n";
    vec![text.into()]
}

fn messages(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut log = KernelLog::default();
    let lines = (0_u64..).zip(text.lines());
    let all: Vec<_> = lines
        .map(|(sequence, text)| KernelMessage {
            sequence,
            level: 3,
            at_us: sequence,
            text: text.to_owned(),
        })
        .collect();
    log.take_in(&all, 0);
    let known = all.iter().filter(|message| classify(&message.text).is_some()).count();
    let counted: f64 = log.samples().iter().map(|sample| sample.value).sum();
    assert!(counted.to_bits() == f64::from(u32::try_from(known).unwrap_or(0)).to_bits());
    // Taken in again, nothing is counted twice.
    let before = log.clone();
    log.take_in(&all, 0);
    assert_eq!(log, before);
    let mut trends = Trends::default();
    trends.record(0, &log.samples());
}

fn message_texts() -> Vec<Vec<u8>> {
    let text = "ata3.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen\n\
        nvme nvme0: I/O tag 24 (8018) QID 1 timeout, aborting req_op:READ(0)\n\
        I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x80700\n\
        sd 0:0:1:0: [sdd] tag#7 Sense Key : Medium Error [current]\n\
        pcieport 0000:00:1c.0: AER: Corrected error received: 0000:01:00.0\n\
        XFS (sda2): metadata I/O error in \"xfs_imap_to_bp\" at daddr 0x40\n\
        INFO: task xfsaild/sda2:431 blocked for more than 120 seconds.\n\
        ixgbe 0000:01:00.0 eno1: NIC Link is Down\n";
    vec![text.into()]
}

fn counters(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        if let Some((device, _)) = activity(line) {
            assert!(line.contains(device) && !device.is_empty());
        }
        assert!(link_speed(line).is_none_or(|speed| (1.0..1000.0).contains(&speed)));
    }
    let _ = aer_total(&text, "TOTAL_ERR_COR");
}

fn counter_texts() -> Vec<Vec<u8>> {
    let disk = "   8       0 sda 100 5 2048 400 50 3 4096 600 0 700 1000 0 0 0 0 0 0\n";
    let errors = "RxErr 0\nBadTLP 3\nTOTAL_ERR_COR 3\n";
    vec![disk.into(), errors.into(), "16.0 GT/s PCIe\n".into()]
}
