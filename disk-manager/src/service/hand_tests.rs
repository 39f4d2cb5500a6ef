//! Claims by hand as the service decides about them and carries them out, on a disk in memory.

use std::sync::Mutex;

use disk_manager_plan::ObservedDisk;
use disk_manager_plan::by_hand::Fingerprint;
use disk_manager_plan::label::NodeKey;
use disk_manager_plan::observe::Smart;
use disk_manager_plan::report::HandClaimState;

use super::*;
use crate::apply::Context;
use crate::by_hand::WAIT;
use crate::erase::erase;
use crate::erase::tests::{Fake, PARTITION, id, observe, policy, presence, used};
use crate::service::known::Known;
use crate::volume::Owner;

/// How long a thread may take on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A service that knows one disk, which somebody else used.
struct Bench {
    service: Service,
    disk: Arc<Mutex<Fake>>,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let context = Context {
            sysfs: "/nonexistent".into(),
            policy: policy(),
            loader: None,
            owner: Owner { user: 0, group: 0 },
        };
        let disk = Arc::new(Mutex::new(Fake::new(used())));
        let mut service = Service::unwatched(context, Vec::new());
        service.key = Some(NodeKey::from_seed(&[5; 32]));
        let held = Arc::clone(&disk);
        service.eraser = Arc::new(move |_: &Context, at: &Presence, wanted: &Fingerprint| {
            assert_eq!(*at, presence());
            let look = |disk: &mut Fake| Ok(observe(disk, Smart::Passed));
            Ok(erase(&mut *held.lock().unwrap(), wanted, &[PARTITION], look)?)
        });
        let seen = observe(&*disk.lock().unwrap(), Smart::NotAsked);
        let mut known = Known::new(presence(), seen.clone(), start);
        known.begin_look(start).expect("a look is due");
        known.end_look(seen);
        service.disks.insert(presence().name, known);
        Self { service, disk, start }
    }

    /// One on which the disk is claimed by hand.
    fn claimed() -> Self {
        let mut bench = Self::new();
        bench.ask("0K7D1P").unwrap();
        bench
    }

    fn ask(&mut self, end: &str) -> Result<(), String> {
        let (disk, serial_end) = (id(), end.to_owned());
        let request = HandRequest::Claim { disk, serial_end, smart: Smart::Passed };
        self.service.decide_by_hand(&request, self.start)
    }

    /// Does what is due so long after the claim was asked for, and says whether the disk is being erased.
    fn turn(&mut self, after: Duration) -> bool {
        self.service.start_erasing(self.start + after);
        self.known().work.is_some()
    }

    /// Waits for an erasure to end, and takes that in.
    fn hear(&mut self) {
        let event = self.service.receiver.recv_timeout(LONG).expect("an erasure ends");
        assert!(matches!(event, Event::Erased(..)));
        self.service.hear(event);
    }

    fn known(&mut self) -> &mut Known {
        self.service.disks.get_mut(&presence().name).expect("the disk")
    }

    fn seen(&mut self) -> &mut ObservedDisk {
        self.known().seen.as_mut().expect("it was looked at")
    }

    fn writes(&self) -> usize {
        self.disk.lock().unwrap().writes
    }

    fn told(&self) -> HandClaimState {
        let told = self.service.by_hand.told(self.start + WAIT);
        let [claim] = told.as_slice() else { panic!("{told:?}") };
        claim.state.clone()
    }

    fn failure(&self) -> String {
        let HandClaimState::Failed { reason } = self.told() else { panic!("{:?}", self.told()) };
        reason
    }
}

#[test]
fn a_disk_is_erased_once_when_its_minute_is_over() {
    let mut bench = Bench::new();
    let refused = bench.ask("OTHER1").unwrap_err();
    assert!(refused.contains("not the end of its serial number"), "{refused}");
    bench.ask("0k7d1p").unwrap();
    assert!(bench.ask("0k7d1p").is_err(), "it is claimed already");
    assert!(!bench.turn(WAIT - Duration::from_millis(1)));

    let disk = Arc::clone(&bench.disk);
    let held = disk.lock().unwrap();
    assert!(bench.turn(WAIT));
    bench.turn(WAIT);
    // A thread that waits for the disk has one of its own.
    assert_eq!(Arc::strong_count(&bench.service.eraser), 2, "not a second time while it goes on");
    assert_eq!(held.writes, 0);
    drop(held);
    bench.hear();
    let writes = bench.writes();
    assert!(writes > 0);
    assert_eq!(bench.told(), HandClaimState::Erasing, "until it is this node's");
    assert_eq!(bench.service.by_hand.given_up(), [id()]);
    assert!(!bench.turn(2 * WAIT), "nor after it");
    assert_eq!(bench.writes(), writes);
}

#[test]
fn a_claim_that_is_taken_back_in_its_last_second_writes_nothing() {
    let mut bench = Bench::claimed();
    let (undo, late) = (HandRequest::Undo { disk: id() }, WAIT - Duration::from_secs(1));
    bench.service.decide_by_hand(&undo, bench.start + late).unwrap();
    assert!(!bench.turn(WAIT));
    assert_eq!(bench.writes(), 0);
}

#[test]
fn a_disk_that_changed_in_its_minute_is_not_written_to() {
    let mut bench = Bench::claimed();
    bench.disk.lock().unwrap().disk.put(0, b"LUKS\xba\xbe");
    bench.turn(WAIT);
    bench.hear();
    let failure = bench.failure();
    assert!(
        failure.contains("not as it was") && failure.contains("nothing was written"),
        "{failure}"
    );
    assert_eq!(bench.writes(), 0);
    assert!(bench.service.by_hand.given_up().is_empty(), "nor claimed as a blank one");
}

#[test]
fn the_rules_are_compared_again_when_the_minute_is_over() {
    type Case = (fn(&mut Bench), &'static str);
    let changes: [Case; 3] = [
        (|bench| bench.service.context.policy.claim = false, "claiming is off"),
        (|bench| bench.seen().holders.push("dm-0".to_owned()), "dm-0"),
        (|bench| bench.seen().read_only = true, "read-only"),
    ];
    for (change, why) in changes {
        let mut bench = Bench::claimed();
        change(&mut bench);
        assert!(!bench.turn(WAIT), "{why}");
        let failure = bench.failure();
        assert!(failure.contains(why) && failure.contains("nothing was written"), "{failure}");
        assert_eq!(bench.writes(), 0, "{why}");
    }
}

#[test]
fn a_disk_that_is_looked_at_when_its_minute_is_over_is_erased_after_the_look() {
    let mut bench = Bench::claimed();
    let now = bench.start + WAIT;
    let start = bench.start;
    bench.known().look_soon(start);
    bench.known().begin_look(now).expect("a look is due");
    assert!(!bench.turn(WAIT));
    assert_eq!(bench.told(), HandClaimState::Waiting { seconds_left: 0 });
    let seen = bench.seen().clone();
    bench.known().end_look(seen);
    assert!(bench.turn(WAIT));
    bench.hear();
    assert!(bench.writes() > 0);
}
