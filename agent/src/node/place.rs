//! A folder on one of the data volumes, for what can move to another.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use disk_manager_plan::report::{DiskReport, Ownership, VolumePhase};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::Node;
use super::identity::is_being_mounted;

/// How long disks that are not mounted yet are waited for, as the folder may be on one of them: longer than they take after
/// a start.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long volumes may take to say whether they have the folder: longer, and one of them hangs.
const LOOK: Duration = Duration::from_secs(30);

/// A folder below a data volume's root: on one volume as long as it is mounted, then on another; none while there is
/// none. Only volumes whose record is settled count.
pub(super) fn follow(node: &Arc<Node>, name: &'static str) -> watch::Receiver<Option<PathBuf>> {
    let (sender, receiver) = watch::channel(None);
    let (mut reports, mut held) = (node.disks.subscribe(), node.held.subscribe());
    tokio::spawn(async move {
        let patience = Instant::now() + PATIENCE;
        loop {
            let is_patient = Instant::now() < patience;
            let report = reports.borrow_and_update().latest.clone();
            let seen = Seen::of(report.as_ref(), &held.borrow_and_update().settled);
            let waits = is_patient && seen.is_partial;
            let before = sender.borrow().clone();
            let look = spawn_blocking(move || choose(before, &seen.usable(), name, waits));
            // Where a volume hangs it stays as it is, until there is news of it.
            if let Ok(Ok(next)) = timeout(LOOK, look).await {
                sender.send_if_modified(|chosen| {
                    let is_other = *chosen != next;
                    *chosen = next;
                    is_other
                });
            }
            tokio::select! {
                changed = reports.changed() => if changed.is_err() { return },
                changed = held.changed() => if changed.is_err() { return },
                () = sleep_until(patience), if is_patient => {}
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

/// The node's data volumes, as far as they are known.
#[derive(Debug, Default)]
struct Seen {
    mounts: Vec<PathBuf>,
    /// Whether the node has disks that are not mounted or settled yet, or not here.
    is_partial: bool,
}

impl Seen {
    fn of(report: Option<&DiskReport>, settled: &BTreeSet<PathBuf>) -> Self {
        let Some(report) = report else { return Self::default() };
        let mut seen = Self { mounts: Vec::new(), is_partial: !report.missing.is_empty() };
        for disk in report.disks.iter().filter(|disk| disk.ownership == Ownership::Ours) {
            match disk.volume.as_ref().map(|volume| &volume.phase) {
                Some(VolumePhase::Mounted { mount }) if settled.contains(mount) => {
                    seen.mounts.push(mount.clone());
                }
                Some(VolumePhase::Mounted { .. } | VolumePhase::Claiming) | None => {
                    seen.is_partial = true;
                }
                Some(phase @ VolumePhase::Unavailable { .. }) => {
                    seen.is_partial |= is_being_mounted(phase);
                }
            }
        }
        seen
    }

    /// Those that are not to be left. Reads of the disks.
    fn usable(self) -> Vec<PathBuf> {
        let mounts = self.mounts.into_iter();
        mounts.filter(|mount| !agent_object_store::is_retired(mount)).collect()
    }
}

/// The folder on the volume that has it, else on the first, unless others are waited for. Reads of the disks.
fn choose(chosen: Option<PathBuf>, mounts: &[PathBuf], name: &str, waits: bool) -> Option<PathBuf> {
    let folder = |mount: &PathBuf| mount.join(name);
    let stays = chosen.filter(|chosen| mounts.iter().any(|mount| folder(mount) == *chosen));
    let first = || mounts.first().filter(|_| !waits).map(folder);
    stays.or_else(|| mounts.iter().map(folder).find(|folder| folder.exists())).or_else(first)
}

#[cfg(test)]
mod tests {
    use disk_manager_plan::report::{Bytes, DiskClass, DiskStatus, VolumeStatus};

    use super::*;

    #[test]
    fn only_a_volume_whose_record_is_settled_gets_the_folder() {
        let disk = |name: &str| DiskStatus {
            id: None,
            device: PathBuf::from(name),
            model: String::new(),
            serial: String::new(),
            size: Bytes(0),
            class: DiskClass::Virtual,
            ownership: Ownership::Ours,
            reasons: Vec::new(),
            volume: Some(VolumeStatus {
                id: name.to_owned(),
                phase: VolumePhase::Mounted { mount: PathBuf::from(name) },
            }),
        };
        let report = DiskReport { disks: vec![disk("/a"), disk("/b")], ..DiskReport::default() };
        let mounts = |settled: &[&str]| {
            let seen = Seen::of(Some(&report), &settled.iter().map(PathBuf::from).collect());
            (seen.mounts, seen.is_partial)
        };
        assert_eq!(mounts(&[]), (vec![], true));
        assert_eq!(mounts(&["/b", "/c"]), (vec![PathBuf::from("/b")], true));
        assert_eq!(mounts(&["/a", "/b"]), (vec![PathBuf::from("/a"), PathBuf::from("/b")], false));
    }

    #[test]
    fn a_folder_stays_on_its_volume_and_goes_to_one_that_has_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::create_dir_all(b.join("state/x")).expect("a folder");
        let choose = |chosen: Option<&PathBuf>, mounts: &[&PathBuf], waits| {
            let mounts: Vec<_> = mounts.iter().map(|mount| (*mount).clone()).collect();
            choose(chosen.map(|chosen| chosen.join("state/x")), &mounts, "state/x", waits)
        };
        let on = |mount: &PathBuf| Some(mount.join("state/x"));
        assert_eq!(choose(None, &[], false), None);
        assert_eq!(choose(None, &[&a], false), on(&a));
        assert_eq!(choose(None, &[&a], true), None, "it may be on a disk that is not there yet");
        assert_eq!(choose(None, &[&a, &b], true), on(&b));
        assert_eq!(choose(Some(&a), &[&b, &a], true), on(&a), "it stays where it is");
        assert_eq!(choose(Some(&a), &[&c, &b], false), on(&b));
        assert_eq!(choose(Some(&b), &[], false), None);
    }
}
