use std::path::PathBuf;

use agent_api::init::{PortStatus, ServiceStatus};
use agent_api::status::CertificateOrigin;
use agent_object_store::{UnixMillis, VolumeId, VolumeUsage};
use disk_manager_plan::report::{DiskClass, DiskId, VolumeStatus};

use super::*;

fn disk(name: &str, ownership: Ownership) -> DiskStatus {
    let ours = ownership == Ownership::Ours;
    DiskStatus {
        id: Some(DiskId(name.to_owned())),
        device: PathBuf::from(format!("/dev/{name}")),
        model: String::new(),
        serial: format!("SERIAL-{name}"),
        size: Bytes(1 << 40),
        class: DiskClass::Ssd,
        ownership,
        reasons: if ours { Vec::new() } else { vec!["a reason".to_owned()] },
        volume: ours.then(|| VolumeStatus {
            id: name.to_owned(),
            phase: VolumePhase::Mounted { mount: PathBuf::from("/data").join(name) },
        }),
    }
}

fn usage(name: &str, state: agent_object_store::VolumeState) -> VolumeUsage {
    VolumeUsage {
        id: VolumeId::new(name).expect("an id"),
        path: None,
        state,
        capacity_bytes: 1000,
        free_bytes: 400,
        since: UnixMillis::default(),
    }
}

/// A node with two disks where all is well.
fn well() -> Facts {
    use agent_object_store::VolumeState::Attached;
    let port = PortStatus {
        name: "eno1".to_owned(),
        mac: "52:54:00:12:34:56".to_owned(),
        link: true,
        addresses: vec![
            "192.0.2.7/24".to_owned(),
            "fe80::1/64".to_owned(),
            "2001:db8::7/64".into(),
        ],
        ..PortStatus::default()
    };
    Facts {
        name: "node-1".to_owned(),
        listen: ([0_u16; 8], 443).into(),
        uptime: Duration::from_secs(3600),
        running: Duration::from_secs(3600),
        since_1970: Duration::from_secs(1_772_366_400),
        stopping: false,
        system: Heard {
            latest: Some(SystemStatus { ports: vec![port], ..SystemStatus::default() }),
            silent: None,
        },
        disks: Heard {
            latest: Some(DiskReport {
                node_id: Some("n1".to_owned()),
                disks: vec![disk("a", Ownership::Ours), disk("b", Ownership::Ours)],
                ..DiskReport::default()
            }),
            silent: None,
        },
        usage: Usage {
            volumes: vec![usage("a", Attached), usage("b", Attached)],
            ..Usage::default()
        },
        store_awaited: None,
        attach_failures: Failures::new(),
        s3: S3State::Listening,
        s3_problem: None,
        tls: TlsStatus {
            fingerprint: "AA".to_owned(),
            origin: CertificateOrigin::SelfSigned,
            expires: "never".to_owned(),
        },
        tls_problem: None,
        credentials: Credentials::Configured { users: 1 },
        state_problems: Vec::new(),
        network_problem: None,
        network_kept: false,
        daemon: None,
        sla: None,
        settlement: None,
        clock: ClockReading::Synchronised {
            max_error_us: 10,
            estimated_error_us: 5,
            offset_us: -1,
            frequency_ppb: 0,
        },
        memory: MemoryReading::Known { total_bytes: 2, available_bytes: 1 },
        components: Vec::new(),
        slots: Vec::new(),
        console: ConsoleChanges::Anybody,
        set_up: true,
        region: None,
        hardware_class: None,
        support_recipients: 0,
    }
}

fn report(facts: &mut Facts) -> &mut DiskReport {
    facts.disks.latest.get_or_insert_default()
}

fn texts(status: &NodeStatus) -> Vec<String> {
    status.problems.iter().map(|problem| format!("{}: {}", problem.about, problem.text)).collect()
}

#[test]
fn a_node_where_all_is_well_has_no_problems() {
    let status = compose(well());
    assert_eq!(texts(&status), Vec::<String>::new());
    assert_eq!(status.state.word, StateWord::Ready);
    assert_eq!(status.state.why, "serves objects from all 2 disks of this node");
    assert_eq!(status.capacity, Some(Capacity { total: Bytes(2000), used: Bytes(1200) }));
    assert_eq!(status.s3.endpoints, ["https://192.0.2.7", "https://[2001:db8::7]"]);
}

#[test]
fn endpoints_follow_the_listening_address() {
    let mut facts = well();
    facts.listen = ([0, 0, 0, 0], 9000).into();
    assert_eq!(compose(facts.clone()).s3.endpoints, ["https://192.0.2.7:9000"]);
    facts.listen = ([192, 0, 2, 99], 443).into();
    assert_eq!(compose(facts).s3.endpoints, ["https://192.0.2.99"]);
}

#[test]
fn a_store_that_is_not_open_says_what_it_waits_for() {
    use agent_object_store::VolumeState::Attaching;
    let mut facts = well();
    facts.usage.volumes = vec![usage("a", Attaching), usage("b", Attaching)];
    facts.store_awaited = Some("2 of 4 volumes are here".to_owned());
    let status = compose(facts.clone());
    assert_eq!(status.state.word, StateWord::Starting, "nothing is missing: it opens");
    assert_eq!(status.state.why, "2 of 4 volumes are here");
    report(&mut facts).missing = vec![DiskId("c".to_owned())];
    assert_eq!(compose(facts.clone()).state.word, StateWord::Unavailable);
    facts.running = Duration::from_secs(5);
    assert_eq!(compose(facts).state.word, StateWord::Starting, "it may still come");
}

#[test]
fn one_disk_of_several_takes_no_writes() {
    use agent_object_store::VolumeState::Attached;
    let mut facts = well();
    report(&mut facts).disks.pop();
    report(&mut facts).missing = vec![DiskId("b".to_owned())];
    facts.usage.volumes = vec![usage("a", Attached)];
    let why = compose(facts).state.why;
    assert!(why.ends_with("nothing can be written until another one is back"), "{why}");
}

#[test]
fn a_missing_disk_degrades_the_node_and_is_named() {
    let mut facts = well();
    report(&mut facts).missing = vec![DiskId("wwn-9".to_owned())];
    let status = compose(facts);
    assert_eq!(status.state.word, StateWord::Degraded);
    assert_eq!(texts(&status), ["disks: a disk of this node is missing: wwn-9; plug it in again"]);
}

#[test]
fn disks_that_are_just_claimed_or_read_in_do_not_degrade_the_node() {
    let mut facts = well();
    report(&mut facts).disks.push(disk("c", Ownership::Ours));
    let status = compose(facts.clone());
    assert_eq!(status.state.word, StateWord::Starting);
    assert_eq!(
        status.state.why,
        "serves objects from 2 of 3 disks of this node; the others are being read in"
    );
    if let Some(volume) = &mut report(&mut facts).disks[2].volume {
        volume.phase = VolumePhase::Claiming;
    }
    assert_eq!(compose(facts).state.word, StateWord::Ready);
}

#[test]
fn a_node_that_serves_in_spite_of_an_error_is_degraded_by_it() {
    let mut facts = well();
    facts.since_1970 = Duration::from_secs(1);
    let status = compose(facts);
    assert_eq!(status.state.word, StateWord::Degraded);
    assert!(status.state.why.starts_with("serves objects, but clock: "), "{}", status.state.why);
}

#[test]
fn a_volume_that_cannot_be_attached_or_is_fenced_is_named_with_its_serial() {
    let mut facts = well();
    facts.usage.volumes.truncate(1);
    facts.usage.volumes[0].state =
        agent_object_store::VolumeState::Fenced { reason: "a write failed".to_owned() };
    facts.attach_failures.insert("b".to_owned(), "of another pool".to_owned());
    let status = compose(facts);
    assert_eq!(
        texts(&status),
        [
            "disks: a (serial SERIAL-a) cannot be used: a write failed",
            "disks: b (serial SERIAL-b) cannot be used: of another pool",
        ]
    );
    assert_eq!(status.state.word, StateWord::Unavailable);
}

#[test]
fn a_node_without_disks_starts_first_and_then_says_what_to_do() {
    let mut facts = well();
    facts.usage = Usage::default();
    report(&mut facts).disks = vec![disk("c", Ownership::Foreign)];
    facts.running = Duration::from_secs(5);
    assert_eq!(compose(facts.clone()).state.word, StateWord::Starting);
    facts.running = STARTING;
    let status = compose(facts);
    assert_eq!(status.state.word, StateWord::Unavailable);
    assert!(status.state.why.contains("plug in a blank one; 1 with other content"));
    assert_eq!(status.capacity, None);
}

#[test]
fn a_taken_port_comes_first() {
    let mut facts = well();
    facts.s3 = S3State::NotListening { reason: "port 443 is taken".to_owned() };
    facts.clock = ClockReading::Unsynchronised;
    let status = compose(facts);
    assert_eq!(status.state.word, StateWord::Unavailable);
    assert_eq!(status.state.why, "port 443 is taken");
    let abouts: Vec<_> = status.problems.iter().map(|p| p.about.as_str()).collect();
    assert_eq!(abouts, ["s3", "clock"]);
}

#[test]
fn what_init_found_wrong_with_the_configuration_is_shown() {
    let mut facts = well();
    if let Some(system) = &mut facts.system.latest {
        system.problems.push("node.toml line 6: a syntax error; no disk is claimed".to_owned());
        system.services.push(ServiceStatus {
            name: "chronyd".to_owned(),
            state: ServiceState::BackingOff,
            restarts: 3,
            last_exit: "exit status 1".to_owned(),
        });
    }
    let status = compose(facts);
    assert_eq!(
        texts(&status),
        [
            "setup: node.toml line 6: a syntax error; no disk is claimed",
            "chronyd: failed and is started again soon (exit status 1)",
        ]
    );
    assert_eq!(status.state.word, StateWord::Ready, "it serves all the same");
}

#[test]
fn silent_services_are_a_problem_once_they_had_time_to_start() {
    let mut facts = well();
    facts.system.silent = Some("no socket".to_owned());
    facts.disks.silent = Some("no socket".to_owned());
    facts.running = Duration::from_secs(5);
    assert_eq!(texts(&compose(facts.clone())), Vec::<String>::new());
    facts.running = STARTING;
    let status = compose(facts);
    assert_eq!(
        texts(&status),
        ["disks: icn-disks does not answer: no socket", "init: does not answer: no socket",]
    );
    assert_eq!(status.system, None, "old news of init are not shown as news");
}

#[test]
fn nobody_can_sign_in_without_users() {
    let mut facts = well();
    facts.credentials = Credentials::Awaited { reason: "disks are missing".to_owned() };
    let status = compose(facts);
    assert_eq!(status.state.word, StateWord::Unavailable);
    assert_eq!(texts(&status), ["users: nobody can sign in: disks are missing"]);
}

#[test]
fn cables_and_dhcp_are_told_apart() {
    let mut facts = well();
    let ports = |facts: &mut Facts, link| {
        for port in facts.system.latest.iter_mut().flat_map(|system| &mut system.ports) {
            port.addresses = vec!["fe80::1/64".to_owned()];
            port.link = link;
        }
    };
    ports(&mut facts, true);
    assert!(texts(&compose(facts.clone()))[0].contains("DHCP"));
    ports(&mut facts, false);
    assert!(texts(&compose(facts))[0].contains("cables"));
}

#[test]
fn a_stopping_node_says_so() {
    let mut facts = well();
    facts.stopping = true;
    assert_eq!(compose(facts).state.word, StateWord::Stopping);
}

fn component(kind: Kind, name: &str, health: Health) -> Component {
    let evidence = vec!["worn: replace it".to_owned()];
    Component {
        verdict: agent_health::Verdict { kind, name: name.to_owned(), health, evidence },
        age_ms: 0,
    }
}

#[test]
fn hardware_that_fails_degrades_the_node_and_what_is_not_known_does_not() {
    let mut facts = well();
    facts.components = vec![
        component(Kind::Sensor, "fan", Health::Unknown),
        component(Kind::Clock, "system clock", Health::Failing),
        component(Kind::Network, "eno1", Health::Warning),
    ];
    let status = compose(facts.clone());
    assert_eq!(status.state.word, StateWord::Ready);
    assert_eq!(texts(&status), ["network: eno1 is warning: worn: replace it"]);
    facts.components.push(component(Kind::Disk, "a", Health::Failing));
    let status = compose(facts.clone());
    assert_eq!(status.state.word, StateWord::Degraded);
    assert_eq!(texts(&status)[0], "disk: a (serial SERIAL-a) is failing: worn: replace it");
    // One that is not ours degrades nothing.
    report(&mut facts).disks.push(disk("c", Ownership::Foreign));
    facts.components = vec![component(Kind::Disk, "c", Health::Failing)];
    assert_eq!(compose(facts.clone()).state.word, StateWord::Ready);
    facts.components =
        (0..40).map(|n| component(Kind::Sensor, &format!("s{n}"), Health::Warning)).collect();
    let status = compose(facts);
    assert_eq!(status.problems.len(), 25);
    assert!(texts(&status)[24].starts_with("hardware: 16 more components"), "{status:?}");
}
