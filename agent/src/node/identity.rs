//! Follows the disk reports with the node's own state: certificate, first user and the pool's key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use disk_manager_plan::report::{
    BEING_MOUNTED, DiskReport, DiskStatus, LOOKING, Ownership, VolumePhase,
};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::Node;
use crate::state::{Held, Identity, Keeper, Surroundings};

/// How long after a volume could not be written or emptied that is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// How long after a start disks that are there but not mounted yet are waited for, as one of them may have the newest record:
/// longer than they take.
const MOUNTING: Duration = Duration::from_secs(180);

/// How long after a start disks that are still looked at are waited for, where some of the node's are missing: mostly they are
/// others'. Less than it takes until clients are answered without a store.
const LOOKED_AT: Duration = Duration::from_secs(8);

/// Reads, makes and mirrors the state as volumes come and go, for ever.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut reports = node.disks.subscribe();
    let pays_gas = node.config.settlement.as_ref().is_some_and(|section| section.gas.is_some());
    let fresh = || Keeper::new(node.name.clone()).paying_gas(pays_gas);
    let mut keeper = Some(fresh());
    let started = Instant::now();
    let mut network = node.network.wanted();
    let mut decided = node.local.decided();
    loop {
        let report = reports.borrow_and_update().latest.clone();
        let early = report.as_ref().and_then(awaited).map(|patience| started + patience);
        let early = early.filter(|until| Instant::now() < *until);
        if let Some((mounts, mut surroundings)) = report.as_ref().and_then(surroundings) {
            surroundings.is_early = early.is_some();
            let mut looking = keeper.take().unwrap_or_else(fresh);
            if let Some(wanted) = network.borrow_and_update().clone() {
                looking.keep_network(wanted);
            }
            looking.keep_decided(decided.borrow_and_update().clone());
            let told = Arc::clone(&node);
            // What is in use stays so, whatever becomes of who looks.
            let spare = looking.afresh();
            let look = tokio::task::spawn_blocking(move || {
                let held = looking.look(&mounts, &surroundings, &|held| show(&told, held));
                (looking, held)
            });
            match look.await {
                Ok((kept, held)) => {
                    keeper = Some(kept);
                    show(&node, held);
                }
                Err(error) => {
                    warn!(%error, "looking after the node's state failed");
                    keeper = Some(spare);
                }
            }
        }
        let lacks = !node.held.borrow().is_everywhere;
        tokio::select! {
            () = sleep(RETRY), if lacks => {}
            () = sleep_until(early.unwrap_or(started)), if early.is_some() => {}
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
    Some((mounts, Surroundings { node_id, absent, is_early: false }))
}

/// How long after a start disks that are not mounted are waited for; none where that does not help. Those that are missing are
/// not: icn-disks names the node once what is there has settled.
fn awaited(report: &DiskReport) -> Option<Duration> {
    let patience = |disk: &DiskStatus| match (&disk.volume, disk.ownership) {
        (Some(volume), Ownership::Ours) => is_being_mounted(&volume.phase).then_some(MOUNTING),
        (None, Ownership::Ours) => Some(MOUNTING),
        _ => {
            let is_looked_at = disk.reasons.iter().any(|reason| reason == LOOKING);
            (is_looked_at && !report.missing.is_empty()).then_some(LOOKED_AT)
        }
    };
    report.disks.iter().filter_map(patience).max()
}

/// Whether a volume is just being mounted.
pub(super) fn is_being_mounted(phase: &VolumePhase) -> bool {
    matches!(phase, VolumePhase::Unavailable { reason } if reason == BEING_MOUNTED)
}

#[cfg(test)]
mod tests {
    use disk_manager_plan::report::{Bytes, DiskClass, DiskId, VolumeStatus};

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

    #[test]
    fn disks_that_may_be_mounted_soon_are_waited_for_and_those_that_cannot_be_used_are_not() {
        let mounted = VolumePhase::Mounted { mount: PathBuf::from("/data/a") };
        let unavailable = VolumePhase::Unavailable { reason: "torn".to_owned() };
        let disks = vec![
            disk("a", Ownership::Ours, mounted),
            disk("b", Ownership::Ours, unavailable.clone()),
            DiskStatus { volume: None, ..disk("c", Ownership::Foreign, unavailable.clone()) },
        ];
        let mut report = DiskReport { disks, ..DiskReport::default() };
        assert_eq!(awaited(&report), None);
        let being_mounted = VolumePhase::Unavailable { reason: BEING_MOUNTED.to_owned() };
        let looked_at = DiskStatus {
            reasons: vec![LOOKING.to_owned()],
            volume: None,
            ..disk("f", Ownership::Foreign, being_mounted.clone())
        };
        report.disks.push(looked_at);
        assert_eq!(awaited(&report), None);
        report.missing.push(DiskId("d".to_owned()));
        assert_eq!(awaited(&report), Some(LOOKED_AT));
        report.disks.push(disk("e", Ownership::Ours, being_mounted));
        assert_eq!(awaited(&report), Some(MOUNTING));
        report.disks.drain(3..);
        assert_eq!(awaited(&report), None);
    }
}
