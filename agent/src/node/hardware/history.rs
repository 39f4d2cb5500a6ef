//! The owner of the history: a thread of its own, as the disk that it is on may hang. Who records never waits for
//! it, and who asks waits for a bounded time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use agent_api::hardware as wire;
use agent_health::history::{History, Point, Points};
use agent_health::{Sample, SampleKind, Trends};
use agent_kv::{Disk, StoreError};
use tokio::sync::oneshot;
use tracing::{info, warn};

/// The folder of the history on a volume.
const FOLDER: &str = "health/history";

/// Orders that wait. Probes tell some ten times a minute; a disk that hangs for minutes loses readings.
const ORDERS_MAX: usize = 256;

/// Readings that are kept until there is a volume: those of the first minutes of a machine.
const EARLY_MAX: usize = 128;

/// How long an answer is waited for: a disk under load takes some seconds for a thousand points.
const ANSWER: Duration = Duration::from_secs(10);

/// The same when the agent ends, which has 20 s for all (image/init, `DRAIN`).
const CLOSING: Duration = Duration::from_secs(3);

enum Order {
    Record {
        at_ms: u64,
        samples: Vec<Sample>,
    },
    Homes(Homes),
    Series(oneshot::Sender<Result<Vec<wire::Series>, String>>),
    Stretch(Wanted, oneshot::Sender<Result<Option<wire::Stretch>, String>>),
    /// Write what was read and close.
    Close(oneshot::Sender<()>),
}

/// Where the history may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Homes {
    /// Mounts of the volumes in use; it is kept on one of them.
    pub(super) stay: Vec<PathBuf>,
    /// Mounts of volumes that are being emptied: nothing is to be left there.
    pub(super) leave: Vec<PathBuf>,
}

/// A stretch that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) series: String,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) step_ms: u64,
    pub(super) now_ms: u64,
}

/// Talks to the thread.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    orders: SyncSender<Order>,
    awaited: Arc<Mutex<Option<String>>>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

impl Keeper {
    /// Starts the thread. What the history holds of counters is told to `trends`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(trends: Arc<Mutex<Trends>>) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let awaited = Arc::new(Mutex::new(Some("no volume is in use yet".to_owned())));
        let state = Kept {
            open: None,
            homes: Homes::default(),
            early: VecDeque::new(),
            failed: Vec::new(),
            trends,
            awaited: Arc::clone(&awaited),
        };
        let thread = std::thread::Builder::new().name("health-history".to_owned());
        thread.spawn(move || state.run(&inbox))?;
        Ok(Self { orders, awaited })
    }

    /// Why there is no history; none while there is one.
    pub(super) fn awaited(&self) -> Option<String> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn record(&self, at_ms: u64, samples: Vec<Sample>) {
        if !samples.is_empty() {
            self.tell(Order::Record { at_ms, samples });
        }
    }

    pub(super) fn set_homes(&self, homes: Homes) {
        self.tell(Order::Homes(homes));
    }

    fn tell(&self, order: Order) {
        match self.orders.try_send(order) {
            Ok(()) => {}
            // Lost: the disk that it is on hangs. That is told of the disk itself.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// The series that have a history.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(super) async fn series(&self) -> Result<Vec<wire::Series>, String> {
        let (reply, answer) = oneshot::channel();
        self.tell(Order::Series(reply));
        answered(answer, ANSWER).await?
    }

    /// A stretch of one of them; none where there is none of this name.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(super) async fn stretch(&self, wanted: Wanted) -> Result<Option<wire::Stretch>, String> {
        let (reply, answer) = oneshot::channel();
        self.tell(Order::Stretch(wanted, reply));
        answered(answer, ANSWER).await?
    }

    /// Writes what was read and closes the history, or gives up after a while.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        self.tell(Order::Close(reply));
        if answered(answer, CLOSING).await.is_err() {
            warn!("the history of the hardware was not written to the end");
        }
    }
}

async fn answered<T>(answer: oneshot::Receiver<T>, within: Duration) -> Result<T, String> {
    match tokio::time::timeout(within, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err("the history is busy or closed; ask again later".to_owned()),
        Err(_) => Err("the disk with the history gives no answer".to_owned()),
    }
}

struct Kept {
    open: Option<(PathBuf, History<Disk>)>,
    homes: Homes,
    /// What was read while there was no history, with its times.
    early: VecDeque<(u64, Vec<Sample>)>,
    /// Mounts whose disk refused: not tried again until they were gone.
    failed: Vec<PathBuf>,
    trends: Arc<Mutex<Trends>>,
    awaited: Arc<Mutex<Option<String>>>,
}

impl Kept {
    fn run(mut self, inbox: &Receiver<Order>) {
        for order in inbox {
            match order {
                Order::Record { at_ms, samples } => self.record(at_ms, samples),
                Order::Homes(homes) => {
                    self.failed.retain(|mount| homes.stay.contains(mount));
                    self.homes = homes;
                    self.move_in();
                }
                Order::Series(reply) => {
                    let _ = reply.send(self.series());
                }
                Order::Stretch(wanted, reply) => {
                    let _ = reply.send(self.stretch(&wanted));
                }
                Order::Close(reply) => {
                    self.flush(now_ms());
                    self.open = None;
                    let _ = reply.send(());
                    return;
                }
            }
        }
    }

    fn record(&mut self, at_ms: u64, samples: Vec<Sample>) {
        let Some((_, history)) = &mut self.open else {
            if self.early.len() >= EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back((at_ms, samples));
            return;
        };
        history.record(at_ms, &samples);
        if history.is_due(at_ms) {
            self.flush(at_ms);
        }
    }

    fn flush(&mut self, at_ms: u64) {
        let Some((mount, history)) = &mut self.open else { return };
        let mount = mount.clone();
        match history.flush(at_ms).and_then(|()| history.is_too_large()) {
            Ok(false) => {}
            Ok(true) => {
                warn!(mount = %mount.display(), "the history of the hardware is too large; it begins anew");
                self.open = None;
                remove(&mount);
                self.move_in();
            }
            // What stands there is not known: never tried again on this disk.
            Err(error) => {
                warn!(mount = %mount.display(), %error, "the history of the hardware failed");
                self.open = None;
                self.failed.push(mount);
                self.move_in();
            }
        }
    }

    /// Keeps the history where it is as long as that volume is in use, and else on another.
    fn move_in(&mut self) {
        if let Some((mount, _)) = &self.open {
            if self.homes.stay.contains(mount) {
                return;
            }
            warn!(mount = %mount.display(), "the volume with the history of the hardware goes; it begins anew on another");
            let mount = mount.clone();
            self.open = None;
            if self.homes.leave.contains(&mount) {
                remove(&mount);
            }
        }
        let usable = |mount: &&PathBuf| !self.failed.contains(mount);
        let homes: Vec<PathBuf> = self.homes.stay.iter().filter(usable).cloned().collect();
        let mut why = "no volume is in use yet".to_owned();
        if let Some(mount) = choose(&homes, &written) {
            match self.open_on(mount) {
                Ok(()) => return self.await_because(None),
                Err(error) => {
                    warn!(mount = %mount.display(), %error, "no history of the hardware here");
                    self.failed.push(mount.clone());
                    why = error.to_string();
                }
            }
        }
        self.await_because(Some(why));
    }

    fn open_on(&mut self, mount: &Path) -> Result<(), StoreError> {
        let path = mount.join(FOLDER);
        let (mut history, damage) = History::open(&path)?;
        if let Some(error) = damage {
            warn!(path = %path.display(), %error, "the history of the hardware was set aside; it begins anew");
        }
        let counters = history.series().filter(|(_, kind)| *kind == SampleKind::Counter);
        let names: Vec<String> = counters.map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let values = history.values(&name)?;
            self.trends.lock().unwrap_or_else(PoisonError::into_inner).recall(&name, &values);
        }
        for (at_ms, samples) in self.early.drain(..) {
            history.record(at_ms, &samples);
        }
        info!(path = %path.display(), series = history.series().count(), "the history of the hardware is open");
        self.open = Some((mount.to_owned(), history));
        Ok(())
    }

    fn await_because(&self, why: Option<String>) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn history(&self) -> Result<&History<Disk>, String> {
        let awaited = || self.awaited.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match &self.open {
            Some((_, history)) => Ok(history),
            None => Err(format!("there is no history: {}", awaited().unwrap_or_default())),
        }
    }

    fn series(&self) -> Result<Vec<wire::Series>, String> {
        let of = |(name, kind): (&str, SampleKind)| wire::Series {
            name: name.to_owned(),
            is_counter: kind == SampleKind::Counter,
        };
        Ok(self.history()?.series().map(of).collect())
    }

    fn stretch(&self, wanted: &Wanted) -> Result<Option<wire::Stretch>, String> {
        let Wanted { series, from_ms, to_ms, step_ms, now_ms } = wanted;
        let found = self.history()?.points(series, (*from_ms, *to_ms), *step_ms, *now_ms);
        Ok(found.map_err(|error| error.to_string())?.map(stretch))
    }
}

fn stretch(found: Points) -> wire::Stretch {
    let point = |(at_ms, point): (u64, Point)| {
        let value = match point {
            Point::Gauge { min, mean, max, .. } => {
                let [min, mean, max] = [min, mean, max].map(f64::from);
                wire::PointValue::Gauge { min, mean, max }
            }
            Point::Counter { last } => wire::PointValue::Counter { last },
        };
        wire::Point { at_ms, value }
    };
    let points = found.points.into_iter().map(point).collect();
    wire::Stretch { step_ms: found.step_ms, points }
}

/// The mount with the history that was written last, or else the first.
fn choose<'a>(
    homes: &'a [PathBuf],
    written: &impl Fn(&Path) -> Option<SystemTime>,
) -> Option<&'a PathBuf> {
    let known = homes.iter().filter_map(|mount| Some((written(mount)?, mount)));
    let newest = known.max_by_key(|(at, _)| *at).map(|(_, mount)| mount);
    newest.or_else(|| homes.first())
}

fn written(mount: &Path) -> Option<SystemTime> {
    std::fs::metadata(mount.join(FOLDER).join("db")).ok()?.modified().ok()
}

/// Removes a history that nobody needs any more; that it is left does no harm.
fn remove(mount: &Path) {
    let path = mount.join(FOLDER);
    if let Err(error) = std::fs::remove_dir_all(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        warn!(path = %path.display(), %error, "cannot remove an old history of the hardware");
    }
}

fn now_ms() -> u64 {
    u64::try_from(super::super::since_1970().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: f64) -> Vec<Sample> {
        let labels = vec![("n", "1".to_owned())];
        vec![Sample { name: "faults", labels, kind: SampleKind::Counter, value }]
    }

    fn stay(mounts: &[&PathBuf]) -> Homes {
        Homes { stay: mounts.iter().copied().cloned().collect(), ..Homes::default() }
    }

    const NAME: &str = "faults{n=\"1\"}";

    async fn last(keeper: &Keeper) -> Option<wire::PointValue> {
        points(keeper).await?.last().map(|point| point.value)
    }

    async fn first(keeper: &Keeper) -> Option<u64> {
        points(keeper).await?.first().map(|point| point.at_ms)
    }

    async fn points(keeper: &Keeper) -> Option<Vec<wire::Point>> {
        let wanted = Wanted {
            series: NAME.to_owned(),
            from_ms: 0,
            to_ms: u64::MAX,
            step_ms: 0,
            now_ms: now_ms(),
        };
        Some(keeper.stretch(wanted).await.expect("a history")?.points)
    }

    #[tokio::test]
    async fn a_history_stays_on_its_volume_and_begins_anew_on_another() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        let trends = Arc::new(Mutex::new(Trends::default()));
        let keeper = Keeper::start(Arc::clone(&trends)).expect("a thread");
        let now = now_ms();
        let before = now - 3_600_000;
        keeper.record(before, sample(1.0));
        let why = keeper.series().await.expect_err("no volume");
        assert!(why.contains("no volume is in use yet"), "{why}");
        keeper.set_homes(stay(&[&a, &b]));
        keeper.record(now, sample(2.0));
        assert_eq!(last(&keeper).await, Some(wire::PointValue::Counter { last: 2.0 }));
        assert_eq!(first(&keeper).await, Some(before - before % 3_600_000), "what was read early");
        assert_eq!(keeper.awaited(), None);
        let series = wire::Series { name: NAME.to_owned(), is_counter: true };
        assert_eq!(keeper.series().await, Ok(vec![series]));
        keeper.close().await;

        // After a restart it is found again, and tells what counters did.
        let keeper = Keeper::start(Arc::clone(&trends)).expect("a thread");
        keeper.set_homes(stay(&[&b, &a]));
        assert_eq!(last(&keeper).await, Some(wire::PointValue::Counter { last: 2.0 }));
        let known = trends.lock().expect("no panic").increase(NAME, now, Duration::MAX);
        assert_eq!(known, Some(1.0));
        // Its volume goes, and comes again.
        keeper.set_homes(stay(&[&b]));
        assert_eq!(last(&keeper).await, None);
        assert!(a.join(FOLDER).exists(), "a volume that went may come again");
        keeper.close().await;
        let keeper = Keeper::start(Arc::default()).expect("a thread");
        keeper.set_homes(stay(&[&a]));
        assert_eq!(last(&keeper).await, Some(wire::PointValue::Counter { last: 2.0 }));
        // Its volume is emptied.
        keeper.set_homes(Homes { leave: vec![a.clone()], ..stay(&[&b]) });
        assert_eq!(last(&keeper).await, None);
        assert!(!a.join(FOLDER).exists() && b.join(FOLDER).exists());
        keeper.close().await;
    }

    #[tokio::test]
    async fn a_volume_that_refuses_is_not_tried_again_until_it_was_gone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        std::fs::write(&a, "no folder").expect("written");
        let keeper = Keeper::start(Arc::default()).expect("a thread");
        keeper.set_homes(stay(&[&a]));
        let why = keeper.series().await.expect_err("it refuses");
        assert!(why.starts_with("there is no history: cannot "), "{why}");
        std::fs::remove_file(&a).expect("removed");
        keeper.set_homes(stay(&[&a, &b]));
        assert_eq!(keeper.series().await, Ok(Vec::new()));
        assert!(!a.exists() && b.exists());
        keeper.close().await;
    }

    #[test]
    fn the_history_that_was_written_last_is_taken() {
        let homes = ["a", "b", "c"].map(PathBuf::from);
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let none = |_: &Path| None;
        assert_eq!(choose(&homes, &none), Some(&homes[0]));
        let written = |mount: &Path| match mount.to_str() {
            Some("b") => at(5),
            Some("c") => at(9),
            _ => None,
        };
        assert_eq!(choose(&homes, &written), Some(&homes[2]));
        assert_eq!(choose(&[], &written), None);
    }
}
