//! The owner of all state: hears of disks, has them looked at, plans, has steps carried out and
//! reports. One thread; everything that may wait for a disk runs on a thread of its own and answers
//! with an event.

mod hand;
mod known;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use disk_manager_plan::by_hand::Fingerprint;
use disk_manager_plan::identity::Identity;
use disk_manager_plan::observe::{Answer, Smart, Trouble};
use disk_manager_plan::plan::record_of;
use disk_manager_plan::report::DiskReport;
use disk_manager_plan::{Inventory, NodeKey, ObservedDisk, Outcome, Plan, Step, plan};
use tracing::{debug, info, warn};
use uuid::Uuid;
use zeroize::Zeroizing;

use self::known::{Known, Work};
use crate::apply::{ApplyError, Context};
use crate::by_hand::ByHand;
use crate::device::{Presence, facts, is_attaching, present};
use crate::hardware::{self, Desk, Directory, HandRequest};
use crate::mounts::InUse;
use crate::probe::{Health, Source};
use crate::serve::{self, Board};
use crate::status;
use crate::survey::volumes;
use crate::volume::detach;
use crate::watch;

/// Events that may wait; their senders wait when there are more. Several for each disk of the
/// largest chassis.
const QUEUE: usize = 1024;

/// How often sysfs is looked at for disks that came or went without an event. A pulled disk must be
/// noticed within 2 s.
const SCAN_EVERY: Duration = Duration::from_millis(1500);

/// The longest sleep without an event.
const TICK: Duration = Duration::from_millis(250);

/// No new identity is made before the kernel was quiet for this long.
const QUIET: Duration = Duration::from_secs(2);

/// Disks that the kernel has found but not brought up are waited for at most this long before a new
/// identity is made: longer than the staggered spin-up of a full shelf.
const ATTACH_LIMIT: Duration = Duration::from_secs(60);

/// There while udev has events to work on (systemd src/libudev/libudev-queue.c).
const UDEV_BUSY: &str = "/run/udev/queue";

/// What the service hears.
enum Event {
    /// udev is done with an event of this disk or a partition of it.
    Uevent(String),
    /// A look at a disk has ended.
    Seen(Presence, Result<Box<ObservedDisk>, ApplyError>),
    /// A step on a disk has ended.
    Done(Presence, &'static str, Result<Outcome, ApplyError>),
    /// A volume was detached.
    Detached(Uuid),
    /// Somebody decides about a disk by hand, and waits for the answer.
    Hand(HandRequest, SyncSender<Result<(), String>>),
    /// The erasure of a disk has ended.
    Erased(Presence, Result<(), ApplyError>),
}

/// Erases a disk that is still what somebody wanted erased.
type Eraser = dyn Fn(&Context, &Presence, &Fingerprint) -> Result<(), ApplyError> + Send + Sync;

/// The service.
pub struct Service {
    context: Context,
    /// [`Context::erase`]; tests erase a disk in memory.
    eraser: Arc<Eraser>,
    problems: Vec<String>,
    board: Arc<Board>,
    directory: Arc<Directory>,
    sender: SyncSender<Event>,
    receiver: Receiver<Event>,
    disks: BTreeMap<String, Known>,
    detaching: Vec<Uuid>,
    by_hand: ByHand,
    key: Option<NodeKey>,
    /// Counts every change of the inventory.
    inventory_generation: u64,
    last_arrival: Instant,
    last_scan: Option<Instant>,
    last_evaluation: Instant,
    changed: bool,
    /// Whose node this is waits for more disks, or for none to come: time alone decides.
    waiting: bool,
    printed_plan: Vec<String>,
    report: DiskReport,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("disks", &self.disks).finish_non_exhaustive()
    }
}

impl Service {
    /// A service that knows no disk yet. `problems` of the configuration stand in every report.
    ///
    /// # Errors
    /// udev's events cannot be listened to.
    pub fn new(context: Context, problems: Vec<String>) -> io::Result<Self> {
        let service = Self::unwatched(context, problems);
        let uevents = service.sender.clone();
        watch::start(move |name| uevents.send(Event::Uevent(name)).is_ok())?;
        Ok(service)
    }

    /// One that udev tells nothing.
    fn unwatched(context: Context, problems: Vec<String>) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let now = Instant::now();
        Self {
            context,
            eraser: Arc::new(Context::erase),
            problems,
            board: Arc::new(Board::default()),
            directory: Arc::new(Directory::default()),
            sender,
            receiver,
            disks: BTreeMap::new(),
            detaching: Vec::new(),
            by_hand: ByHand::default(),
            key: None,
            inventory_generation: 0,
            last_arrival: now,
            last_scan: None,
            last_evaluation: now,
            changed: true,
            waiting: false,
            printed_plan: Vec::new(),
            report: DiskReport::default(),
        }
    }

    /// Serves reports on `socket` and readings on `hardware_socket` until the process is stopped. It may be stopped at any time: a claim that is under
    /// way is taken up at the next start.
    ///
    /// # Errors
    /// A socket cannot be made, or neither sysfs nor /proc can be read.
    pub fn run(mut self, socket: &Path, hardware_socket: &Path) -> io::Result<()> {
        let group = self.context.owner.group;
        serve::start(socket, group, Arc::clone(&self.board))?;
        let desk = Desk::new(Arc::clone(&self.directory), self.context.sysfs.clone());
        let desk = desk.with_hand(hand::asking(self.sender.clone()));
        hardware::start(hardware_socket, group, desk)?;
        loop {
            self.turn(Instant::now())?;
            match self.receiver.recv_timeout(TICK) {
                Ok(event) => self.hear(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            while let Ok(event) = self.receiver.try_recv() {
                self.hear(event);
            }
        }
    }

    /// Everything that is due now.
    fn turn(&mut self, now: Instant) -> io::Result<()> {
        if self.last_scan.is_none_or(|last| now >= last + SCAN_EVERY) {
            self.scan(now)?;
        }
        self.start_looks(now);
        let last = self.last_evaluation;
        let mut changed = self.changed;
        for disk in self.disks.values_mut() {
            changed |= disk.expire_look(now) | disk.is_retry_due(last, now);
        }
        self.start_erasing(now);
        changed |= self.by_hand.told(now) != self.report.claims;
        if changed || self.waiting {
            self.changed = false;
            self.evaluate(now)?;
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Uevent(name) => {
                // Whether it came, went or changed, sysfs says better than the event.
                self.last_scan = None;
                if let Some(disk) = self.disks.get_mut(&name) {
                    disk.look_soon(now);
                }
            }
            Event::Seen(presence, result) => {
                let Some(disk) = self.present_mut(&presence) else { return };
                match result {
                    Ok(seen) => disk.end_look(*seen),
                    Err(error) => {
                        warn!(disk = %presence.name, %error, "cannot look at a disk");
                        let (program, error) = ("icn-disks".to_owned(), error.to_string());
                        let label = Answer::Failed(Trouble::Program { program, error });
                        let given_up = ObservedDisk { label, ..disk.facts.clone() };
                        disk.end_look(given_up);
                    }
                }
                self.changed = true;
            }
            Event::Done(presence, what, result) => {
                let failure = match result {
                    Ok(outcome) => {
                        info!(disk = %presence.name, what, ?outcome, "done");
                        None
                    }
                    Err(error) => {
                        let error = error.to_string();
                        warn!(disk = %presence.name, what, %error, "not done");
                        Some(error)
                    }
                };
                if let Some(disk) = self.present_mut(&presence) {
                    disk.end_work(failure, now);
                }
                self.changed = true;
            }
            Event::Hand(request, answer) => {
                // Who asked may have gone away.
                let _ = answer.send(self.decide_by_hand(&request, now));
                self.changed = true;
            }
            Event::Erased(presence, result) => self.end_erasing(&presence, result, now),
            Event::Detached(volume) => {
                info!(%volume, "detached");
                self.detaching.retain(|other| *other != volume);
                self.changed = true;
            }
        }
    }

    fn present_mut(&mut self, presence: &Presence) -> Option<&mut Known> {
        self.disks.get_mut(&presence.name).filter(|disk| disk.presence == *presence)
    }

    /// Compares sysfs with what is known.
    fn scan(&mut self, now: Instant) -> io::Result<()> {
        self.last_scan = Some(now);
        let present = present(&self.context.sysfs)?;
        let before = self.disks.len();
        self.disks.retain(|_, disk| {
            let stays = present.contains(&disk.presence);
            if !stays {
                let (id, serial) = (id_of(&disk.facts), &disk.facts.serial);
                info!(disk = %disk.presence.name, id, serial, "disk is gone");
            }
            stays
        });
        self.changed |= self.disks.len() != before;
        self.by_hand.keep_present(|presence| present.contains(presence));
        let new = present.into_iter().filter(|disk| !self.disks.contains_key(&disk.name));
        let new: Vec<Presence> = new.collect();
        if new.is_empty() {
            return Ok(());
        }
        let in_use = InUse::read(&self.context.sysfs)?;
        for presence in new {
            let facts = facts(&self.context.sysfs, &presence.name, &in_use);
            let (id, serial) = (id_of(&facts), &facts.serial);
            info!(disk = %presence.name, id, serial, size = %facts.size, "disk is there");
            self.disks.insert(presence.name.clone(), Known::new(presence, facts, now));
            self.last_arrival = now;
            self.changed = true;
        }
        Ok(())
    }

    fn start_looks(&mut self, now: Instant) {
        for disk in self.disks.values_mut() {
            let Some(pulse) = disk.begin_look(now) else { continue };
            let health = health(disk.seen.as_ref());
            let presence = disk.presence.clone();
            let (context, sender) = (self.context.clone(), self.sender.clone());
            spawn(format!("look {}", presence.name), move || {
                let started = Instant::now();
                let seen = context.look(&presence.name, &Source::Name, health, pulse).map(Box::new);
                let took_ms = started.elapsed().as_millis();
                debug!(disk = %presence.name, took_ms, "looked at");
                // The receiver ends with the process.
                let _ = sender.send(Event::Seen(presence, seen));
            });
        }
    }

    /// Plans, starts what can be started and reports.
    fn evaluate(&mut self, now: Instant) -> io::Result<()> {
        self.last_evaluation = now;
        let in_use = InUse::read(&self.context.sysfs)?;
        let inventory = self.inventory(&in_use, now);
        let plan = plan(&inventory, &self.context.policy);
        self.waiting = plan.identity == Identity::Waiting;
        self.adopt_identity(&plan, &inventory);
        self.print_changed(&plan);
        self.settle_by_hand(&inventory, &plan);
        for step in &plan.steps {
            self.start(step, &plan, &inventory, now);
        }
        self.publish(&inventory, &plan);
        Ok(())
    }

    fn inventory(&mut self, in_use: &InUse, now: Instant) -> Inventory {
        self.inventory_generation += 1;
        let (mounted, stale) = volumes(in_use, &self.context.policy.data_dir);
        let mut disks = Vec::new();
        let mut pending = Vec::new();
        for (name, known) in &self.disks {
            match &known.seen {
                Some(seen) => {
                    let mounts = in_use.mounts.get(name).cloned().unwrap_or_default();
                    disks.push(ObservedDisk { mounts, ..seen.clone() });
                }
                None => pending.push(known.facts.device.clone()),
            }
        }
        let quiet = now >= self.last_arrival + QUIET && !Path::new(UDEV_BUSY).exists();
        let attached = now >= self.last_arrival + ATTACH_LIMIT
            || (quiet && !is_attaching(&self.context.sysfs));
        Inventory {
            generation: self.inventory_generation,
            disks,
            pending,
            settled: quiet && attached,
            node: self.key.as_ref().map(NodeKey::node),
            mounted,
            stale,
            erased: self.by_hand.given_up(),
        }
    }

    /// Takes the key of the node that the disks say this is.
    fn adopt_identity(&mut self, plan: &Plan, inventory: &Inventory) {
        let Identity::Known(node) = plan.identity else { return };
        if self.key.is_none() {
            let records = inventory.disks.iter().filter_map(record_of);
            self.key = records.map(|record| &record.key).find(|key| key.node() == node).cloned();
            info!(%node, "this node's identity is on its disks");
        }
    }

    /// Logs the lines of a plan that the plan before did not have.
    fn print_changed(&mut self, plan: &Plan) {
        let lines: Vec<String> = plan.to_string().lines().skip(1).map(str::to_owned).collect();
        for line in lines.iter().filter(|line| !self.printed_plan.contains(line)) {
            info!("plan:{line}");
        }
        self.printed_plan = lines;
    }

    fn start(&mut self, step: &Step, plan: &Plan, inventory: &Inventory, now: Instant) {
        match step {
            Step::MintIdentity => self.mint(),
            Step::Claim { device, .. } => {
                let Some(fresh) = random_volume() else { return };
                self.start_claim(step, device, fresh, inventory, now);
            }
            Step::Resume { device, volume, .. } => {
                self.start_claim(step, device, *volume, inventory, now);
            }
            Step::Mount { device, volume, .. } => {
                let volume = *volume;
                self.start_work(device, "mount", Work::Other, now, move |context, presence| {
                    context.mount(presence, volume)
                });
            }
            Step::WriteLedger { device, volume, .. } => {
                let Some(key) = self.key.clone() else { return };
                if self.is_claiming(plan) {
                    return;
                }
                let (volume, ledger) = (*volume, plan.ledger.clone());
                self.start_work(device, "ledger", Work::Other, now, move |context, presence| {
                    context.write_ledger(presence, volume, &ledger, &key)
                });
            }
            Step::Unmount { volume } => self.start_detach(*volume),
        }
    }

    /// Whether a claim is under way or about to start: the ledger waits, to be written once.
    fn is_claiming(&self, plan: &Plan) -> bool {
        let under_way = self.disks.values().any(|disk| matches!(disk.work, Some(Work::Claim(_))));
        let planned = plan.steps.iter().any(|step| {
            let device = match step {
                Step::Claim { device, .. } | Step::Resume { device, .. } => device,
                _ => return false,
            };
            self.disks.values().any(|disk| disk.facts.device == *device && !disk.is_given_up())
        });
        under_way || planned
    }

    fn mint(&mut self) {
        if self.key.is_some() {
            return;
        }
        let mut seed = Zeroizing::new([0; 32]);
        match getrandom::fill(&mut *seed) {
            Ok(()) => {
                let key = NodeKey::from_seed(&seed);
                info!(node = %key.node(), "made a new node identity");
                self.key = Some(key);
            }
            Err(error) => warn!(%error, "no random bytes: no identity can be made"),
        }
    }

    fn start_claim(
        &mut self,
        step: &Step,
        device: &Path,
        volume: Uuid,
        inventory: &Inventory,
        now: Instant,
    ) {
        let Some(key) = self.key.clone() else { return };
        let (step, inventory) = (step.clone(), inventory.clone());
        self.start_work(device, "claim", Work::Claim(volume), now, move |context, presence| {
            let started = Instant::now();
            let outcome = context.claim(presence, &step, inventory, &key, volume)?;
            let took_ms = started.elapsed().as_millis();
            info!(disk = %presence.name, %volume, took_ms, "claimed");
            Ok(outcome)
        });
    }

    fn start_work(
        &mut self,
        device: &Path,
        what: &'static str,
        work: Work,
        now: Instant,
        act: impl FnOnce(&Context, &Presence) -> Result<Outcome, ApplyError> + Send + 'static,
    ) {
        let is_claim = matches!(work, Work::Claim(_));
        let Some(disk) = self.disks.values_mut().find(|disk| disk.facts.device == device) else {
            return;
        };
        if !disk.is_ready(now, is_claim) {
            return;
        }
        disk.work = Some(work);
        let (presence, context) = (disk.presence.clone(), self.context.clone());
        let sender = self.sender.clone();
        spawn(format!("{what} {}", presence.name), move || {
            let result = act(&context, &presence);
            let _ = sender.send(Event::Done(presence, what, result));
        });
    }

    fn start_detach(&mut self, volume: Uuid) {
        if self.detaching.contains(&volume) {
            return;
        }
        self.detaching.push(volume);
        let at = self.context.policy.data_dir.join(volume.to_string());
        let sender = self.sender.clone();
        spawn("detach".to_owned(), move || {
            detach(&at);
            let _ = sender.send(Event::Detached(volume));
        });
    }

    fn publish(&mut self, inventory: &Inventory, plan: &Plan) {
        self.directory.learn(inventory, plan);
        let pending = self.disks.values().filter(|disk| disk.seen.is_none());
        let work = |seen: &ObservedDisk| {
            let known = self.disks.values().find(|disk| disk.facts.device == seen.device);
            status::Work {
                claiming: known.and_then(|disk| match disk.work {
                    Some(Work::Claim(volume)) => Some(volume),
                    Some(Work::Other) | None => None,
                }),
                trouble: known.and_then(|disk| Some(disk.trouble.as_ref()?.words.clone())),
            }
        };
        let data_dir = &self.context.policy.data_dir;
        let pending = pending.map(|disk| &disk.facts);
        let mut report = status::report(inventory, plan, data_dir, pending, work);
        report.claims = self.by_hand.told(Instant::now());
        report.problems.splice(0..0, self.problems.iter().cloned());
        report.generation = self.report.generation;
        if report == self.report {
            return;
        }
        report.generation += 1;
        if let Err(error) = self.board.post(&report) {
            warn!(%error, "cannot write the report");
        }
        self.report = report;
    }
}

/// Prints a plan for a person.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(plan: &Plan) -> io::Result<()> {
    io::stdout().lock().write_all(plan.to_string().as_bytes())
}

/// A disk is asked about its health at the second look, when its volume is mounted.
fn health(seen: Option<&ObservedDisk>) -> Health {
    match seen.map(|seen| &seen.smart) {
        None => Health::Later,
        Some(smart @ (Smart::Passed | Smart::Failing(_) | Smart::NotSupported(_))) => {
            Health::Known(smart.clone())
        }
        Some(Smart::NotAsked | Smart::Asleep | Smart::Unreadable(_)) => Health::Ask,
    }
}

fn id_of(disk: &ObservedDisk) -> &str {
    disk.id.as_ref().map_or("none", |id| id.0.as_str())
}

fn random_volume() -> Option<Uuid> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(uuid::Builder::from_random_bytes(bytes).into_uuid()),
        Err(error) => {
            warn!(%error, "no random bytes: no volume can be made");
            None
        }
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name).spawn(work) {
        warn!(%error, "cannot start a thread");
    }
}
