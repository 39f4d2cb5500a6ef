//! From a plan and the work at hand to the report that clients see.

use std::path::{Path, PathBuf};

use disk_manager_plan::identity::Identity;
use disk_manager_plan::label::ClaimState;
use disk_manager_plan::report::{
    BEING_MOUNTED, DiskReport, DiskStatus, LOOKING, Ownership, VolumePhase, VolumeStatus,
};
use disk_manager_plan::{Inventory, Judgement, ObservedDisk, Plan};
use uuid::Uuid;

/// What is being done with a disk, as far as a report shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// The volume that is being made on it.
    pub claiming: Option<Uuid>,
    /// Why the last step on it did not succeed.
    pub trouble: Option<String>,
}

/// Version of the report's form.
const VERSION: u32 = 1;

/// Makes a report; `generation` is left at 0.
pub fn report<'a>(
    inventory: &Inventory,
    plan: &Plan,
    data_dir: &Path,
    pending: impl Iterator<Item = &'a ObservedDisk>,
    work: impl Fn(&ObservedDisk) -> Work,
) -> DiskReport {
    let judged = inventory.disks.iter().zip(&plan.judgements);
    let mut disks: Vec<DiskStatus> = judged
        .map(|(disk, judgement)| judged_disk(disk, judgement, inventory, data_dir, work(disk)))
        .collect();
    disks.extend(pending.map(|disk| {
        let reasons = vec![LOOKING.to_owned()];
        disk_status(disk, Ownership::Foreign, reasons, None)
    }));
    disks.sort_by_key(|disk| by_name(&disk.device));
    DiskReport {
        version: VERSION,
        generation: 0,
        node_id: node(plan),
        disks,
        missing: plan.missing.clone(),
        claims: Vec::new(),
        problems: problems(plan),
    }
}

/// The node's id, once a disk of ours is in service.
fn node(plan: &Plan) -> Option<String> {
    let in_service = plan
        .judgements
        .iter()
        .any(|judgement| matches!(judgement.ours, Some((_, ClaimState::Ready))));
    match &plan.identity {
        Identity::Known(node) if in_service => Some(node.to_string()),
        _ => None,
    }
}

fn judged_disk(
    disk: &ObservedDisk,
    judgement: &Judgement,
    inventory: &Inventory,
    data_dir: &Path,
    work: Work,
) -> DiskStatus {
    let mut reasons: Vec<String> = judgement.reasons.iter().map(ToString::to_string).collect();
    if let Some(volume) = work.claiming {
        let volume = VolumeStatus { id: volume.to_string(), phase: VolumePhase::Claiming };
        return disk_status(disk, Ownership::Ours, Vec::new(), Some(volume));
    }
    let volume = judgement.ours.map(|(volume, state)| {
        let phase = if inventory.mounted.contains(&volume) {
            VolumePhase::Mounted { mount: data_dir.join(volume.to_string()) }
        } else {
            let waiting = match state {
                ClaimState::Ready => BEING_MOUNTED,
                ClaimState::Claiming | ClaimState::Formatting => "its claim is not finished",
            };
            let reason = reasons.first().map_or(waiting, String::as_str);
            VolumePhase::Unavailable {
                reason: work.trouble.clone().unwrap_or_else(|| reason.to_owned()),
            }
        };
        VolumeStatus { id: volume.to_string(), phase }
    });
    if volume.is_none()
        && let Some(trouble) = work.trouble
    {
        reasons.insert(0, trouble);
    }
    disk_status(disk, judgement.ownership, reasons, volume)
}

fn disk_status(
    disk: &ObservedDisk,
    ownership: Ownership,
    reasons: Vec<String>,
    volume: Option<VolumeStatus>,
) -> DiskStatus {
    DiskStatus {
        id: disk.id.clone(),
        device: disk.device.clone(),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        size: disk.size,
        class: disk.class,
        ownership,
        reasons,
        volume,
    }
}

fn problems(plan: &Plan) -> Vec<String> {
    let names = |disks: &[PathBuf]| {
        let names: Vec<_> = disks.iter().map(|disk| disk.display().to_string()).collect();
        names.join(", ")
    };
    match &plan.identity {
        Identity::Tie(nodes) => {
            let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            vec![format!(
                "equally many disks belong to the nodes {}: none is used until those of the other \
                 node are removed",
                nodes.join(" and ")
            )]
        }
        Identity::Held(disks) => vec![format!(
            "no label verifies, but {} may carry this node's identity: no disk is claimed until \
             they are repaired or removed",
            names(disks)
        )],
        Identity::Known(_) | Identity::Waiting | Identity::None => Vec::new(),
    }
}

/// Kernel names in the order that a person counts: `sdb` before `sdaa`.
fn by_name(device: &Path) -> (usize, PathBuf) {
    (device.as_os_str().len(), device.to_owned())
}
