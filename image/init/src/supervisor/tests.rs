use proptest::prelude::*;

use super::*;

const T0: Time = Duration::from_secs(100);

fn rules(name: &str, after: &[&str], stop_order: StopOrder) -> Rules {
    Rules {
        name: name.to_owned(),
        after: after.iter().map(|&name| name.to_owned()).collect(),
        stop_order,
        stop_within: Duration::from_secs(20),
    }
}

fn seconds(seconds: u64) -> Time {
    T0 + Duration::from_secs(seconds)
}

fn exited(id: Id) -> Event {
    Event::Exited(id, "exit code 1".to_owned())
}

/// A service that runs since [`T0`].
fn one_running() -> (Supervisor, Id) {
    let mut supervisor = Supervisor::new();
    let id = supervisor.add(rules("agent", &[], StopOrder::Agent));
    assert_eq!(supervisor.step(T0, Event::Tick), [Action::Start(id)]);
    assert_eq!(supervisor.step(T0, Event::Started(id, 10)), []);
    (supervisor, id)
}

#[test]
fn a_service_starts_once_those_before_it_have_started() {
    let mut supervisor = Supervisor::new();
    let agent = supervisor.add(rules("agent", &["disks"], StopOrder::Agent));
    let disks = supervisor.add(rules("disks", &["absent"], StopOrder::Disks));
    assert_eq!(supervisor.step(T0, Event::Tick), [Action::Start(disks)]);
    assert_eq!(supervisor.step(T0, Event::Tick), []);
    assert_eq!(supervisor.step(T0, Event::Started(disks, 1)), [Action::Start(agent)]);
    supervisor.step(T0, Event::Started(agent, 2));
    assert_eq!((supervisor.owner(1), supervisor.owner(2)), (Some(disks), Some(agent)));
    assert_eq!(supervisor.owner(3), None);
}

#[test]
fn the_delay_doubles_up_to_a_minute() {
    let (mut supervisor, id) = one_running();
    let mut now = T0;
    for delay in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert_eq!(supervisor.step(now, exited(id)), []);
        let until = now + Duration::from_secs(delay);
        assert_eq!(supervisor.deadline(), Some(until));
        assert_eq!(supervisor.step(until - Duration::from_millis(1), Event::Tick), []);
        assert_eq!(supervisor.step(until, Event::Tick), [Action::Start(id)]);
        supervisor.step(until, Event::Started(id, 10));
        now = until;
    }
    let status: Vec<_> = supervisor.status().collect();
    assert_eq!(status, [("agent", ServiceState::Running, 9, "exit code 1")]);
}

#[test]
fn a_minute_in_health_forgets_earlier_ends() {
    let (mut supervisor, id) = one_running();
    supervisor.step(T0, exited(id));
    supervisor.step(seconds(1), Event::Tick);
    supervisor.step(seconds(1), Event::Started(id, 11));
    supervisor.step(seconds(61), exited(id));
    assert_eq!(supervisor.deadline(), Some(seconds(62)));
}

#[test]
fn a_service_that_cannot_be_made_is_tried_again() {
    let mut supervisor = Supervisor::new();
    let id = supervisor.add(rules("agent", &[], StopOrder::Agent));
    supervisor.step(T0, Event::Tick);
    supervisor.step(T0, Event::StartFailed(id, "no memory".to_owned()));
    let status: Vec<_> = supervisor.status().collect();
    assert_eq!(status, [("agent", ServiceState::BackingOff, 0, "no memory")]);
    assert_eq!(supervisor.step(seconds(1), Event::Tick), [Action::Start(id)]);
}

#[test]
fn a_restart_needs_no_back_off_and_counts_as_no_failure() {
    let (mut supervisor, id) = one_running();
    assert_eq!(supervisor.step(T0, Event::Restart(id)), [Action::Terminate(id, 10)]);
    assert_eq!(supervisor.step(T0, exited(id)), [Action::Start(id)]);
    supervisor.step(T0, Event::Started(id, 11));
    supervisor.step(T0, exited(id));
    assert_eq!(supervisor.deadline(), Some(seconds(1)));
}

#[test]
fn a_service_that_will_not_end_for_its_restart_is_killed_and_never_started_twice() {
    let (mut supervisor, id) = one_running();
    supervisor.step(T0, Event::Restart(id));
    assert_eq!(supervisor.step(seconds(20), Event::Tick), [Action::Kill(id, 10)]);
    assert_eq!(supervisor.step(seconds(22), Event::Tick), []);
    assert_eq!(supervisor.step(seconds(500), Event::Tick), []);
    assert_eq!(supervisor.step(seconds(500), exited(id)), [Action::Start(id)]);
}

#[test]
fn a_service_that_hangs_in_its_restart_does_not_hold_the_stop() {
    let (mut supervisor, id) = one_running();
    supervisor.step(T0, Event::Restart(id));
    supervisor.step(seconds(20), Event::Tick);
    supervisor.step(seconds(22), Event::Tick);
    assert_eq!(supervisor.step(seconds(22), Event::Stop(Goal::PowerOff)), []);
    assert_eq!(supervisor.step(seconds(24), Event::Tick), [Action::Finish(Goal::PowerOff)]);
}

#[test]
fn the_system_stops_order_by_order() {
    let mut supervisor = Supervisor::new();
    let ids: Vec<Id> = StopOrder::ALL
        .iter()
        .zip(["console", "agent", "disks", "udevd"])
        .map(|(order, name)| supervisor.add(rules(name, &[], *order)))
        .collect();
    supervisor.step(T0, Event::Tick);
    for id in &ids {
        supervisor.step(T0, Event::Started(*id, i32::try_from(id.0).expect("small") + 10));
    }
    let stop = Event::Stop(Goal::Reboot);
    assert_eq!(supervisor.step(T0, stop.clone()), [Action::Terminate(ids[0], 10)]);
    assert_eq!(supervisor.step(T0, stop), [], "a second request changes nothing");
    assert_eq!(supervisor.step(T0, exited(ids[0])), [Action::Terminate(ids[1], 11)]);
    // The agent does not end: it is killed after its time, and given up after some more.
    assert_eq!(supervisor.step(seconds(19), Event::Tick), []);
    assert_eq!(supervisor.step(seconds(20), Event::Tick), [Action::Kill(ids[1], 11)]);
    assert_eq!(supervisor.step(seconds(22), Event::Tick), [Action::Terminate(ids[2], 12)]);
    assert_eq!(supervisor.step(seconds(22), exited(ids[2])), [Action::Terminate(ids[3], 13)]);
    assert_eq!(supervisor.step(seconds(22), exited(ids[3])), [Action::Finish(Goal::Reboot)]);
    assert_eq!(supervisor.step(seconds(99), Event::Tick), []);
    assert!(supervisor.status().all(|(_, state, ..)| state == ServiceState::Stopped));
}

#[test]
fn a_system_without_services_stops_at_once() {
    let mut supervisor = Supervisor::new();
    let stopped = supervisor.step(T0, Event::Stop(Goal::PowerOff));
    assert_eq!(stopped, [Action::Finish(Goal::PowerOff)]);
    supervisor.add(rules("late", &[], StopOrder::First));
    assert_eq!(supervisor.step(T0, Event::Tick), []);
}

/// What the test does at random; the number chooses the service.
#[derive(Debug, Clone)]
enum Move {
    Pass(u64),
    Answer(bool),
    End(usize),
    Restart(usize),
    Stop,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0_u64..100_000).prop_map(Move::Pass),
        6 => prop::bool::weighted(0.8).prop_map(Move::Answer),
        3 => (0_usize..4).prop_map(Move::End),
        1 => (0_usize..4).prop_map(Move::Restart),
        1 => Just(Move::Stop),
    ];
    prop::collection::vec(one, 0..80)
}

/// The world as the machine's actions have it.
struct World {
    supervisor: Supervisor,
    now: Time,
    asked: Vec<Id>,
    alive: Vec<Option<i32>>,
    next_pid: i32,
    stopping: bool,
    finished: u32,
}

impl World {
    fn new() -> Self {
        let mut supervisor = Supervisor::new();
        for (name, after, order) in [
            ("udevd", vec![], StopOrder::Last),
            ("disks", vec!["udevd"], StopOrder::Disks),
            ("agent", vec!["disks"], StopOrder::Agent),
            ("console", vec![], StopOrder::First),
        ] {
            supervisor.add(rules(name, &after, order));
        }
        let (asked, alive) = (Vec::new(), vec![None; 4]);
        Self { supervisor, now: T0, asked, alive, next_pid: 1, stopping: false, finished: 0 }
    }

    fn step(&mut self, event: Event) {
        for action in self.supervisor.step(self.now, event) {
            match action {
                Action::Start(id) => {
                    assert!(self.alive[id.0].is_none(), "started while it runs");
                    assert!(!self.asked.contains(&id), "started while it starts");
                    assert!(!self.stopping, "started while the system stops");
                    self.asked.push(id);
                }
                Action::Terminate(id, pid) | Action::Kill(id, pid) => {
                    assert_eq!(self.alive[id.0], Some(pid), "signal to a process that is gone");
                }
                Action::Finish(_) => self.finished += 1,
            }
        }
        let due = self.supervisor.deadline();
        assert!(due.is_none_or(|due| due <= self.now + LONGEST_DELAY), "waits too long");
        assert!(self.finished <= 1, "finished twice");
    }

    fn answer(&mut self, started: bool) {
        let Some(id) = self.asked.pop() else { return };
        if started {
            self.alive[id.0] = Some(self.next_pid);
            self.step(Event::Started(id, self.next_pid));
            self.next_pid += 1;
        } else {
            self.step(Event::StartFailed(id, "no".to_owned()));
        }
    }

    fn end(&mut self, index: usize) {
        if self.alive[index].take().is_some() {
            self.step(exited(Id(index)));
        }
    }
}

proptest! {
    #[test]
    fn no_order_of_events_starts_a_service_twice_or_hangs_the_stop(moves in moves()) {
        let mut world = World::new();
        for step in moves {
            match step {
                Move::Pass(millis) => {
                    world.now += Duration::from_millis(millis);
                    world.step(Event::Tick);
                }
                Move::Answer(started) => world.answer(started),
                Move::End(index) => world.end(index),
                Move::Restart(index) => world.step(Event::Restart(Id(index))),
                Move::Stop => {
                    world.stopping = true;
                    world.step(Event::Stop(Goal::PowerOff));
                }
            }
        }
        world.stopping = true;
        world.step(Event::Stop(Goal::PowerOff));
        let began = world.now;
        while world.finished == 0 {
            world.answer(true);
            world.now = world.supervisor.deadline().unwrap_or(world.now).max(world.now);
            world.step(Event::Tick);
            prop_assert!(world.now - began <= Duration::from_secs(4 * 22), "the stop takes too long");
        }
    }
}
