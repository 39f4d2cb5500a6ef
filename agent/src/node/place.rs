//! A folder on one of the data volumes, for what can move to another.

use std::path::PathBuf;
use std::sync::Arc;

use disk_manager_plan::report::{DiskReport, Ownership, VolumePhase};
use tokio::sync::watch;

use super::Node;

/// A folder below a data volume's root: on one volume as long as it is mounted, then on another; none while there is
/// none.
pub(super) fn follow(node: &Arc<Node>, name: &'static str) -> watch::Receiver<Option<PathBuf>> {
    let (sender, receiver) = watch::channel(None);
    let mut reports = node.disks.subscribe();
    tokio::spawn(async move {
        loop {
            let mounts = mounts(reports.borrow_and_update().latest.as_ref());
            sender.send_if_modified(|chosen| choose(chosen, &mounts, name));
            tokio::select! {
                changed = reports.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

fn mounts(report: Option<&DiskReport>) -> Vec<PathBuf> {
    let disks = report.map(|report| report.disks.as_slice()).unwrap_or_default();
    let ours = disks.iter().filter(|disk| disk.ownership == Ownership::Ours);
    let mounted = ours.filter_map(|disk| match &disk.volume.as_ref()?.phase {
        VolumePhase::Mounted { mount } => Some(mount.clone()),
        VolumePhase::Claiming | VolumePhase::Unavailable { .. } => None,
    });
    mounted.filter(|mount| !agent_object_store::is_retired(mount)).collect()
}

/// Chooses a volume, and says whether it is another one than before: one that has the folder, else the first.
fn choose(chosen: &mut Option<PathBuf>, mounts: &[PathBuf], name: &str) -> bool {
    let folder = |mount: &PathBuf| mount.join(name);
    if chosen.as_ref().is_some_and(|chosen| mounts.iter().any(|mount| folder(mount) == *chosen)) {
        return false;
    }
    let with = mounts.iter().map(folder).find(|folder| folder.exists());
    let next = with.or_else(|| mounts.first().map(folder));
    let changed = next != *chosen;
    *chosen = next;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stays_on_its_volume_and_goes_to_one_that_has_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::create_dir_all(b.join("state/x")).expect("a folder");
        let mut chosen = None;
        let choose = |chosen: &mut Option<PathBuf>, mounts: &[&PathBuf]| {
            let mounts: Vec<_> = mounts.iter().map(|mount| (*mount).clone()).collect();
            choose(chosen, &mounts, "state/x")
        };
        assert!(!choose(&mut chosen, &[]));
        assert!(choose(&mut chosen, &[&a]) && chosen == Some(a.join("state/x")));
        assert!(!choose(&mut chosen, &[&b, &a]), "it stays where it is");
        assert!(choose(&mut chosen, &[&c, &b]) && chosen == Some(b.join("state/x")));
        assert!(choose(&mut chosen, &[]) && chosen.is_none());
    }
}
