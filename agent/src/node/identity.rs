//! Follows the disk reports with the node's own state: certificate, first user and the pool's key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use disk_manager_plan::report::{DiskReport, Ownership, VolumePhase};
use tokio::time::sleep;
use tracing::{info, warn};

use super::Node;
use crate::state::{Held, Identity, Keeper, Surroundings};

/// How long after a volume could not be written or emptied that is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Reads, makes and mirrors the state as volumes come and go, for ever.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut reports = node.disks.subscribe();
    let pays_gas = node.config.settlement.as_ref().is_some_and(|section| section.gas.is_some());
    let fresh = || Keeper::new(node.name.clone()).paying_gas(pays_gas);
    let mut keeper = Some(fresh());
    let mut network = node.network.wanted();
    let mut decided = node.local.decided();
    loop {
        let report = reports.borrow_and_update().latest.clone();
        if let Some((mounts, surroundings)) = report.as_ref().and_then(surroundings) {
            let mut looking = keeper.take().unwrap_or_else(fresh);
            if let Some(wanted) = network.borrow_and_update().clone() {
                looking.keep_network(wanted);
            }
            looking.keep_decided(decided.borrow_and_update().clone());
            let told = Arc::clone(&node);
            let look = tokio::task::spawn_blocking(move || {
                let held = looking.look(&mounts, &surroundings, &|held| show(&told, held));
                (looking, held)
            });
            match look.await {
                Ok((kept, held)) => {
                    keeper = Some(kept);
                    show(&node, held);
                }
                Err(error) => warn!(%error, "looking after the node's state failed"),
            }
        }
        let lacks = {
            let held = node.held.borrow();
            let is_well = held.problems.is_empty() && held.kept_back.is_empty();
            !held.is_everywhere && !is_well
        };
        tokio::select! {
            () = sleep(RETRY), if lacks => {}
            changed = reports.changed() => if changed.is_err() { return },
            changed = network.changed() => if changed.is_err() { return },
            changed = decided.changed() => if changed.is_err() { return },
            () = node.retired.notified() => {
                if let Some(keeper) = &mut keeper {
                    keeper.look_again();
                }
            }
        }
    }
}

fn show(node: &Node, held: Held) {
    if let Identity::Known(state) = &held.identity {
        node.tls.use_kept(state);
    }
    let waits = |held: &Held| match &held.identity {
        Identity::Awaited(why) => Some(why.clone()),
        Identity::Known(_) => None,
    };
    let why = waits(&held);
    let before = waits(&node.held.send_replace(held));
    if let Some(why) = why.filter(|why| before.as_ref() != Some(why)) {
        info!(why, "no certificate, first user and key of this node yet");
    }
}

/// Volumes to look at, and what is absent; `None` while there is no node yet.
fn surroundings(report: &DiskReport) -> Option<(Vec<PathBuf>, Surroundings)> {
    let node_id = report.node_id.clone()?;
    let mut mounts = Vec::new();
    let mut absent: Vec<String> = report.missing.iter().map(|id| id.0.clone()).collect();
    for disk in report.disks.iter().filter(|disk| disk.ownership == Ownership::Ours) {
        match disk.volume.as_ref().map(|volume| &volume.phase) {
            Some(VolumePhase::Mounted { mount }) => mounts.push(mount.clone()),
            // Being made: there is nothing on it yet.
            Some(VolumePhase::Claiming) => {}
            Some(VolumePhase::Unavailable { .. }) | None => absent.push(match &disk.id {
                Some(id) => id.0.clone(),
                None => disk.device.display().to_string(),
            }),
        }
    }
    Some((mounts, Surroundings { node_id, absent }))
}

#[cfg(test)]
mod tests {
    use disk_manager_plan::report::{Bytes, DiskClass, DiskId, DiskStatus, VolumeStatus};

    use super::*;

    fn disk(name: &str, ownership: Ownership, phase: VolumePhase) -> DiskStatus {
        DiskStatus {
            id: Some(DiskId(name.to_owned())),
            device: PathBuf::from(format!("/dev/{name}")),
            model: String::new(),
            serial: String::new(),
            size: Bytes(0),
            class: DiskClass::Virtual,
            ownership,
            reasons: Vec::new(),
            volume: Some(VolumeStatus { id: name.to_owned(), phase }),
        }
    }

    #[test]
    fn only_mounted_volumes_of_ours_are_looked_at_and_unusable_ones_count_as_absent() {
        let mounted = |name: &str| VolumePhase::Mounted { mount: PathBuf::from(name) };
        let unavailable = VolumePhase::Unavailable { reason: "torn".to_owned() };
        let mut report = DiskReport {
            disks: vec![
                disk("a", Ownership::Ours, mounted("/data/a")),
                disk("b", Ownership::Ours, VolumePhase::Claiming),
                disk("c", Ownership::Ours, unavailable),
                disk("d", Ownership::Foreign, mounted("/data/d")),
            ],
            missing: vec![DiskId("e".to_owned())],
            ..DiskReport::default()
        };
        assert_eq!(surroundings(&report), None, "there is no node yet");
        report.node_id = Some("n1".to_owned());
        let (mounts, found) = surroundings(&report).expect("a node");
        assert_eq!(mounts, [PathBuf::from("/data/a")]);
        assert_eq!(found.absent, ["e", "c"]);
    }
}
