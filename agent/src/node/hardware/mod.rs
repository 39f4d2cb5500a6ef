//! The health of the hardware: asks the sources, keeps the newest readings and verdicts and their history, and
//! has failing disks emptied.
//!
//! ```text
//! sources ─ sampler (threads) ─→ board ─┬→ control socket, status, metrics
//!                                       ├→ history (thread, on a volume)
//!                                       └→ watch (task) → engine: retire
//! ```

mod board;
mod disks;
mod drain;
mod history;
mod latency;
mod probes;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_api::control::Reply;
use agent_api::hardware::{Component, HealthReport};
use agent_api::status::DiskSlot;
use agent_health::sampler::{Order, Orders, Outcome, sampler};
use agent_health::{Gathered, HardwareSocket, Kind, Sample, Trends};
use disk_manager_plan::hardware::{Answer, Request};
use disk_manager_plan::report::{DiskId, DiskReport};
use tracing::info;

use super::control::refused;
use board::{Board, Now};
use history::{Keeper, Wanted};
use probes::{Source, Sources};

pub(crate) use latency::FAMILY as LATENCY;
pub(super) use watch::watch;

/// How long icn-disks may take to switch a locate LED: an enclosure answers within a second, and
/// one whose disk hangs within the kernel's 30 s.
const LOCATE_ANSWER: Duration = Duration::from_secs(40);

/// Where the machine's own files are, and who does what needs privileges.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    pub(super) sys: PathBuf,
    pub(super) proc: PathBuf,
    pub(super) socket: PathBuf,
}

/// The health of the hardware.
#[derive(Debug)]
pub(super) struct Hardware {
    started: Instant,
    board: Mutex<Board>,
    trends: Arc<Mutex<Trends>>,
    /// What each source is about, by its name.
    subjects: Mutex<BTreeMap<String, (Kind, String)>>,
    sources: Sources,
    disks: Arc<disks::Disks>,
    orders: Orders<Gathered>,
    keeper: Keeper,
    drains: bool,
}

impl Hardware {
    /// Starts asking.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(roots: Roots, drains: bool) -> io::Result<Arc<Self>> {
        let trends = Arc::new(Mutex::new(Trends::default()));
        let (sampler, orders) = sampler();
        let hardware = Arc::new(Self {
            started: Instant::now(),
            board: Mutex::default(),
            keeper: Keeper::start(Arc::clone(&trends))?,
            trends,
            subjects: Mutex::default(),
            sources: Sources {
                sys: roots.sys,
                proc: roots.proc,
                privileged: Arc::new(HardwareSocket(roots.socket)),
                names: Arc::default(),
                log: Arc::default(),
                activity: Arc::default(),
            },
            disks: Arc::default(),
            orders,
            drains,
        });
        hardware.set_disks(None);
        let told = Arc::clone(&hardware);
        let thread = std::thread::Builder::new().name("health".to_owned());
        thread.spawn(move || sampler.run(|name, outcome| told.take(name, outcome)))?;
        Ok(hardware)
    }

    /// These are the machine's disks.
    fn set_disks(&self, report: Option<&DiskReport>) {
        *locked(&self.sources.names) = probes::names_of(report);
        let mut sources: Vec<Source> = probes::of_machine(&self.sources);
        sources.extend(disks::of_disks(&self.sources, &self.disks, report));
        let subjects = sources.iter().map(|one| (one.probe.name.clone(), one.subject.clone()));
        let subjects: BTreeMap<_, _> = subjects.collect();
        let mut kept: BTreeSet<String> = subjects.keys().cloned().collect();
        kept.insert(latency::SOURCE.to_owned());
        locked(&self.board).keep(&kept);
        *locked(&self.subjects) = subjects;
        self.orders.give(Order::Probes(sources.into_iter().map(|one| one.probe).collect()));
    }

    /// Takes in what came of asking a source.
    fn take(&self, name: &str, outcome: Outcome<Gathered>) {
        let Some(subject) = locked(&self.subjects).get(name).cloned() else { return };
        self.take_of(name, &subject, outcome);
    }

    fn take_of(&self, name: &str, subject: &(Kind, String), outcome: Outcome<Gathered>) {
        let samples = match &outcome {
            Outcome::Answer(gathered) => gathered.samples.clone(),
            Outcome::Hung(since) => {
                tracing::warn!(source = name, seconds = since.as_secs(), "a reading hangs");
                Vec::new()
            }
            Outcome::Failed(why) => {
                tracing::warn!(source = name, why, "a reading failed");
                Vec::new()
            }
        };
        let now = self.now();
        let mut trends = locked(&self.trends);
        locked(&self.board).take(name, subject, outcome, &mut trends, now);
        drop(trends);
        self.keeper.record(now.ms, samples);
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(super::since_1970().as_millis()).unwrap_or(u64::MAX);
        Now { running: self.started.elapsed(), ms }
    }

    /// All verdicts, the gravest first.
    pub(super) fn components(&self) -> Vec<Component> {
        locked(&self.board).components(self.started.elapsed())
    }

    /// All numbers.
    pub(super) fn samples(&self) -> Vec<Sample> {
        locked(&self.board).samples()
    }

    /// Where disks are, as far as enclosures tell.
    pub(super) fn slots(&self) -> Vec<DiskSlot> {
        locked(&self.board).slots()
    }

    /// Asks icn-disks for what needs privileges.
    ///
    /// # Errors
    /// There is no thread to ask on, in words.
    pub(super) async fn ask(&self, request: Request, limit: Duration) -> Result<Answer, String> {
        let privileged = Arc::clone(&self.sources.privileged);
        let asking = tokio::task::spawn_blocking(move || privileged.ask(&request, limit));
        asking.await.map_err(|error| format!("asking icn-disks failed: {error}"))
    }

    /// Switches the locate LED of a disk's slot, on the control socket.
    pub(super) async fn locate(&self, disk: String, on: bool) -> Reply {
        let request = Request::Locate { disk: DiskId(disk.clone()), on };
        match self.ask(request, LOCATE_ANSWER).await {
            Ok(Answer::Done) => {
                info!(disk, on, "the locate LED was switched, as asked for on the control socket");
                Reply::Accepted
            }
            Ok(Answer::Absent { what }) => refused(format!("this machine does not have {what}")),
            Ok(Answer::Failed { reason }) => refused(reason),
            Ok(other) => refused(format!("not an answer to switching a LED: {other:?}")),
            Err(reason) => refused(reason),
        }
    }

    /// Answers what is asked about hardware on the control socket.
    pub(super) fn report(&self) -> Reply {
        Reply::Health(Box::new(HealthReport {
            components: self.components(),
            history_awaited: self.keeper.awaited(),
            drains: self.drains,
        }))
    }

    /// The series with a history, on the control socket.
    pub(super) async fn series(&self) -> Reply {
        match self.keeper.series().await {
            Ok(series) => Reply::HealthSeries { series },
            Err(reason) => refused(reason),
        }
    }

    /// A stretch of the history, on the control socket.
    pub(super) async fn stretch(
        &self,
        series: String,
        (from_ms, to_ms): (u64, u64),
        step_ms: u64,
    ) -> Reply {
        let now_ms = self.now().ms;
        let wanted = Wanted { series: series.clone(), from_ms, to_ms, step_ms, now_ms };
        match self.keeper.stretch(wanted).await {
            Ok(Some(stretch)) => Reply::HealthHistory(Box::new(stretch)),
            Ok(None) => refused(format!("no series {series:?}; see the list of series")),
            Err(reason) => refused(reason),
        }
    }

    /// Stops asking, and writes the history.
    pub(super) async fn close(&self) {
        self.orders.give(Order::Stop);
        self.keeper.close().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
