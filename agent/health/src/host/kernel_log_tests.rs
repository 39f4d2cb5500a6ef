use proptest::prelude::*;

use super::*;

fn message(sequence: u64, at_seconds: u64, text: &str) -> KernelMessage {
    KernelMessage { sequence, level: 3, at_us: at_seconds * 1_000_000, text: text.to_owned() }
}

#[test]
fn messages_of_faults_are_told_apart_with_their_device() {
    for (text, complaint, device) in [
        (
            "ata3.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen",
            Complaint::Ata,
            "ata3.00",
        ),
        ("ata3: hard resetting link", Complaint::Ata, "ata3"),
        (
            "nvme nvme0: I/O tag 24 (8018) QID 1 timeout, aborting req_op:READ(0)",
            Complaint::Nvme,
            "nvme0",
        ),
        ("nvme nvme12: controller is down; will reset: CSTS=0xffffffff", Complaint::Nvme, "nvme12"),
        (
            "nvme0n1: I/O Cmd(0x2) @ LBA 8, 8 blocks, I/O Error (sct 0x2 / sc 0x81) MORE DNR",
            Complaint::Nvme,
            "nvme0n1",
        ),
        ("I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x80700", Complaint::Block, "sdb"),
        ("critical medium error, dev sdc, sector 99 op 0x0:(READ)", Complaint::Block, "sdc"),
        ("sd 0:0:1:0: [sdd] tag#7 Sense Key : Medium Error [current]", Complaint::Scsi, "sdd"),
        ("mce: [Hardware Error]: Machine check events logged", Complaint::MachineCheck, ""),
        ("EDAC MC0: 1 UE memory read error on CPU_SrcID#0", Complaint::MachineCheck, "MC0"),
        (
            "pcieport 0000:00:1c.0: AER: Corrected error received: 0000:01:00.0",
            Complaint::Pcie,
            "0000:00:1c.0",
        ),
        (
            "INFO: task xfsaild/sda2:431 blocked for more than 120 seconds.",
            Complaint::HungTask,
            "xfsaild",
        ),
        (
            "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:99]",
            Complaint::Stall,
            "",
        ),
        (
            "Out of memory: Killed process 12 (icn-agent) total-vm:1kB",
            Complaint::OutOfMemory,
            "icn-agent",
        ),
        (
            "XFS (sda2): metadata I/O error in \"xfs_imap_to_bp\" at daddr 0x40",
            Complaint::FileSystem,
            "sda2",
        ),
        ("EXT4-fs error (device sdb1): ext4_lookup:1785: inode #2", Complaint::FileSystem, "sdb1"),
        ("ixgbe 0000:01:00.0 eno1: NIC Link is Down", Complaint::LinkDown, "eno1"),
        ("CPU3: Package temperature above threshold, cpu clock throttled", Complaint::Thermal, ""),
        ("BUG: unable to handle page fault for address: 0", Complaint::Bug, ""),
    ] {
        assert_eq!(classify(text), Some((complaint, device)), "{text}");
    }
}

#[test]
fn other_messages_are_not_counted() {
    for text in [
        "",
        "ata1: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
        "nvme nvme0: 8/0/0 default/read/poll queues",
        "nvme nvme0: missing or invalid SUBNQN field.",
        "XFS (sda2): Mounting V5 Filesystem",
        "XFS (sda2): Ending clean mount",
        "sd 0:0:0:0: [sda] Attached SCSI disk",
        "pcieport 0000:00:1c.0: AER: enabled with IRQ 122",
        "Disabling lock debugging due to kernel taint",
    ] {
        assert_eq!(classify(text), None, "{text}");
    }
}

#[test]
fn a_complaint_stands_for_a_day_after_its_last_message_and_messages_count_once() {
    let mut log = KernelLog::default();
    let messages =
        [message(4, 10, "ata3: hard resetting link"), message(5, 600, "ata3: hard resetting link")];
    log.take_in(&messages, 0);
    log.take_in(&messages, 2);
    assert_eq!(log.last, Some(5));
    let verdict = log.assess(Duration::from_secs(660)).remove(0);
    assert_eq!((verdict.health, verdict.name.as_str()), (Health::Warning, "ata ata3"));
    let wanted = "2 messages since the machine was started, the last 1 min ago: errors of a SATA \
                  port: check the disk and its cable";
    assert_eq!(verdict.evidence, [wanted]);
    let seen: Vec<_> = log.samples().iter().map(|s| (s.series(), s.value)).collect();
    let series = "kernel_complaints{kind=\"ata\",device=\"ata3\"}".to_owned();
    assert_eq!(seen, [(series, 2.0), ("kernel_messages_lost".to_owned(), 2.0)]);
    let later = log.assess(Duration::from_secs(600 + 24 * 3600 + 1));
    assert_eq!(later[0].health, Health::Healthy);
}

#[test]
fn more_devices_than_a_machine_has_are_counted_together() {
    let mut log = KernelLog::default();
    for number in 0..2000 {
        log.take_in(&[message(number, 1, &format!("I/O error, dev sd{number}, sector 1"))], 0);
    }
    assert!(log.samples().len() <= PAIRS_MAX + 2);
    let counted: f64 = log.samples().iter().map(|sample| sample.value).sum();
    assert_eq!(counted, 2000.0);
}

proptest! {
    #[test]
    fn any_text_is_sorted_without_a_crash(text in "(?s).{0,200}") {
        let _ = classify(&text);
    }

    #[test]
    fn a_device_is_a_short_name(
        head in "(sd 0:0:0:0|nvme|ata1|XFS|INFO: task|Killed process 1)",
        tail in "(?s).{0,200}",
    ) {
        for text in [format!("{head}: {tail}"), format!("{head} ({tail}"), format!("{tail} error, dev {tail}")] {
            if let Some((_, device)) = classify(&text) {
                prop_assert!(device.len() <= DEVICE_MAX);
                prop_assert!(device.chars().all(|c| c.is_ascii_alphanumeric() || "._-:".contains(c)));
            }
        }
    }
}
