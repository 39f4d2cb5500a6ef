//! Whose one disk is. The rules A, B and C of docs/design/disk-ownership.md, each a [`Reason`]: a
//! disk is [`Ownership::Blank`] only when every question was answered and every answer is good.

use uuid::Uuid;

use crate::identity::Identity;
use crate::inventory::{Neighbours, Policy, foreign_mount, has_seed, is_for};
use crate::label::{ClaimState, MAX_NAME, NodeId, Record};
use crate::layout::{Layout, MIN_DISK, TYPE_DATA};
use crate::observe::{
    Access, Answer, Blkid, Bus, Content, DataSeen, DeviceKind, LabelSeen, ObservedDisk, Smart,
    TableMatch, Trouble,
};
use crate::reason::Reason;
use crate::report::Ownership;
use crate::slots::Verdict;

/// What is thought of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Whose it is.
    pub ownership: Ownership,
    /// Why, most important first. Empty only for a disk of ours without a complaint.
    pub reasons: Vec<Reason>,
    /// For a disk of ours: its volume and how far its claim went.
    pub ours: Option<(Uuid, ClaimState)>,
}

/// Judges one disk among its neighbours.
pub(crate) fn judge(
    disk: &ObservedDisk,
    policy: &Policy,
    identity: &Identity,
    neighbours: &Neighbours,
) -> Judgement {
    let of = |ownership, reasons| Judgement { ownership, reasons, ours: None };
    if let DeviceKind::Virtual(kind) = &disk.kind {
        return of(Ownership::Foreign, vec![Reason::NotADisk { kind: kind.clone() }]);
    }
    let boot = boot_reasons(disk, policy, neighbours);
    if !boot.is_empty() {
        return of(Ownership::Boot, boot);
    }
    let with = neighbours.same_identity(disk);
    if !with.is_empty() {
        return of(Ownership::Foreign, vec![Reason::SharedIdentity { with }]);
    }
    match &disk.label {
        Answer::Is(label) if is_labelled(label) => {
            judge_labelled(disk, label, identity, neighbours)
        }
        _ => judge_unlabelled(disk, policy, neighbours),
    }
}

/// Rule A2.
fn boot_reasons(disk: &ObservedDisk, policy: &Policy, neighbours: &Neighbours) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if disk.loader {
        reasons.push(Reason::BootLoader);
    }
    if has_seed(disk) {
        reasons.push(Reason::Seed);
    }
    if let Some(at) = foreign_mount(disk, policy) {
        reasons.push(Reason::Mounted { at: at.clone() });
    }
    if neighbours.is_boot_twin(disk) {
        reasons.push(Reason::BootTwin { serial: disk.serial.clone() });
    }
    reasons
}

fn is_labelled(label: &LabelSeen) -> bool {
    label.verdict != Verdict::Absent || label.partitions.iter().any(|p| !p.is_seed())
}

/// Rules B.
fn judge_labelled(
    disk: &ObservedDisk,
    label: &LabelSeen,
    identity: &Identity,
    neighbours: &Neighbours,
) -> Judgement {
    let foreign =
        |reason| Judgement { ownership: Ownership::Foreign, reasons: vec![reason], ours: None };
    let (record, other_damaged) = match &label.verdict {
        Verdict::Valid { record, other_damaged, .. } => (record, *other_damaged),
        Verdict::Absent => return foreign(Reason::NoLabel),
        Verdict::Newer { version } => return foreign(Reason::NewerLabel { version: *version }),
        Verdict::BadSignature => return foreign(Reason::BadSignature),
        Verdict::Damaged { what } => return foreign(Reason::DamagedLabel { what: what.clone() }),
    };
    if !is_for(record, disk) {
        return foreign(Reason::CopyOf { disk: record.disk.clone() });
    }
    let with = neighbours.same_volume(disk);
    if !with.is_empty() {
        return foreign(Reason::SharedVolume { with });
    }
    match identity {
        Identity::Known(node) if *node == record.node() => {}
        Identity::Known(_) => return foreign(Reason::OtherNode { node: record.node() }),
        Identity::Tie(nodes) => return foreign(Reason::NodeUndecided { nodes: nodes.clone() }),
        Identity::Waiting | Identity::Held(_) | Identity::None => {
            return foreign(Reason::NodeUndecided { nodes: Vec::new() });
        }
    }
    if let Some(reason) = standing_reason(disk, label, record, (other_damaged, neighbours)) {
        return foreign(reason);
    }
    let mut reasons = Vec::new();
    if let Smart::Failing(how) = &disk.smart {
        reasons.push(Reason::SmartFailing { how: how.clone() });
    }
    let ours = Some((record.volume, record.state));
    Judgement { ownership: Ownership::Ours, reasons, ours }
}

/// What keeps a disk with this node's own label from being used: for a complete claim a missing
/// data partition, for a begun one anything that the claim did not write itself.
fn standing_reason(
    disk: &ObservedDisk,
    label: &LabelSeen,
    record: &Record,
    (other_damaged, neighbours): (bool, &Neighbours),
) -> Option<Reason> {
    let state = record.state;
    let disturbed = |what: String| Some(Reason::ClaimDisturbed { state, what });
    if state == ClaimState::Ready {
        let guid = Layout::data_guid(record.volume);
        let whole = label.partitions.iter().any(|p| p.kind == TYPE_DATA && p.guid == guid);
        return (!whole).then_some(Reason::TableMismatch);
    }
    if other_damaged {
        return disturbed("the other label record is damaged".to_owned());
    }
    if let Some(reason) = use_reasons(disk).into_iter().next() {
        return disturbed(format!("it is in use: {reason}"));
    }
    match (state, label.table) {
        (_, TableMatch::Exact) | (ClaimState::Claiming, TableMatch::Begun) => {}
        _ => return disturbed("its partition table is not ours".to_owned()),
    }
    if state == ClaimState::Claiming {
        match &disk.content {
            Answer::Is(Content::Uniform(_)) => {}
            Answer::Is(Content::Data { offset }) if neighbours.is_given_up(disk, *offset) => {}
            Answer::Is(Content::Data { offset }) => {
                return disturbed(format!("there is data at byte {offset}"));
            }
            Answer::NotAsked => return disturbed("its content was not looked at".to_owned()),
            Answer::Failed(trouble) => return disturbed(trouble.to_string()),
        }
    }
    match (&disk.data, state) {
        (Answer::Is(DataSeen::Blank), _)
        | (Answer::Is(DataSeen::OurXfs), ClaimState::Formatting) => None,
        (Answer::Is(DataSeen::OurXfs), _) => {
            disturbed("there is a file system before its time".to_owned())
        }
        (Answer::Is(DataSeen::Other(name)), _) => {
            disturbed(format!("the data partition has {name}"))
        }
        (Answer::NotAsked, _) => disturbed("its content was not looked at".to_owned()),
        (Answer::Failed(trouble), _) => disturbed(trouble.to_string()),
    }
}

/// Rules A, and Failing.
fn judge_unlabelled(disk: &ObservedDisk, policy: &Policy, neighbours: &Neighbours) -> Judgement {
    let mut reasons = shape_reasons(disk, policy);
    reasons.extend(use_reasons(disk));
    if !disk.partitions.is_empty() {
        reasons.push(Reason::Partitions { names: disk.partitions.clone() });
    }
    reasons.extend(signature_reasons(disk));
    let failing = failing_reasons(disk);
    let is_erased = |offset: &u64| neighbours.is_given_up(disk, *offset);
    if matches!(reasons.as_slice(), [Reason::Data { offset }] if is_erased(offset))
        && failing.is_empty()
    {
        return blank(disk, Some(Reason::Erased));
    }
    if reasons.is_empty() && failing.is_empty() {
        return blank(disk, None);
    }
    if let Answer::Failed(trouble) = &disk.label {
        // It may be ours: nothing else that it shows matters as long as that is not known.
        reasons.insert(0, Reason::Unreadable { trouble: trouble.clone() });
        return Judgement { ownership: Ownership::Failing, reasons, ours: None };
    }
    let ownership = if reasons.is_empty() { Ownership::Failing } else { Ownership::Foreign };
    reasons.extend(failing);
    Judgement { ownership, reasons, ours: None }
}

/// All questions were answered well; each is asked once more here, so that a question that nobody
/// put can never pass for a good answer. Of an erased disk only the ends are.
fn blank(disk: &ObservedDisk, erased: Option<Reason>) -> Judgement {
    let unanswered = |question| Judgement {
        ownership: Ownership::Foreign,
        reasons: vec![Reason::Unanswered { question, trouble: None }],
        ours: None,
    };
    let reason = match (&disk.content, erased) {
        (Answer::Is(Content::Uniform(fill)), _) => {
            Reason::Blank { fill: *fill, smart: disk.smart.clone() }
        }
        (Answer::Is(Content::Data { .. }), Some(erased)) => erased,
        _ => return unanswered("it is empty"),
    };
    if disk.label.known().is_none() {
        return unanswered("it has a label");
    }
    if disk.access.known() != Some(&Access::Free) {
        return unanswered("it is in use");
    }
    if disk.wipefs.known().is_none()
        || disk.blkid.known().is_none()
        || disk.own.known().is_none()
        || disk.smart == Smart::NotAsked
    {
        return unanswered("it carries a signature");
    }
    Judgement { ownership: Ownership::Blank, reasons: vec![reason], ours: None }
}

/// Rules A1, A3 and A4: what the disk is, before any look at its content.
#[must_use]
pub fn shape_reasons(disk: &ObservedDisk, policy: &Policy) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if disk.read_only {
        reasons.push(Reason::ReadOnly);
    }
    let least = policy.min_size.max(MIN_DISK);
    if disk.size < least {
        reasons.push(Reason::TooSmall { size: disk.size, least });
    }
    if disk.block != 512 && disk.block != 4096 {
        reasons.push(Reason::BlockSize { block: disk.block });
    }
    let removable = disk.removable || matches!(disk.bus, Bus::Usb | Bus::Mmc);
    let asked_for = !disk.serial.is_empty() && policy.allow_removable.contains(&disk.serial);
    if removable && !asked_for {
        let bus = if matches!(disk.bus, Bus::Usb | Bus::Mmc) { disk.bus } else { Bus::Other };
        reasons.push(Reason::Removable { bus });
    }
    match &disk.id {
        None => reasons.push(Reason::NoIdentity),
        Some(id) if id.0.len() > MAX_NAME || disk.serial.len() > MAX_NAME => {
            reasons.push(Reason::NameTooLong);
        }
        Some(_) => {}
    }
    reasons
}

/// Rule A5 but for partitions.
#[must_use]
pub fn use_reasons(disk: &ObservedDisk) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !disk.holders.is_empty() {
        reasons.push(Reason::Holders { names: disk.holders.clone() });
    }
    if !disk.slaves.is_empty() {
        reasons.push(Reason::Slaves { names: disk.slaves.clone() });
    }
    if disk.swap {
        reasons.push(Reason::Swap);
    }
    match &disk.access {
        Answer::Is(Access::Busy) => reasons.push(Reason::Busy),
        Answer::Is(Access::Denied(error)) => {
            reasons.push(Reason::Denied { error: error.clone() });
        }
        Answer::Is(Access::Free) | Answer::NotAsked | Answer::Failed(_) => {}
    }
    reasons
}

/// Rules A6 to A8: anything found, and any question without an answer but for read errors.
fn signature_reasons(disk: &ObservedDisk) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for found in disk.wipefs.known().into_iter().flatten() {
        let (name, offset) = (found.name.clone(), Some(found.offset));
        reasons.push(Reason::Signature { by: "wipefs", name, offset });
    }
    match disk.blkid.known() {
        Some(Blkid::Found(name)) => {
            reasons.push(Reason::Signature { by: "blkid", name: name.clone(), offset: None });
        }
        Some(Blkid::Ambivalent) => reasons.push(Reason::Ambivalent),
        Some(Blkid::Nothing) | None => {}
    }
    for found in disk.own.known().into_iter().flatten() {
        let (name, offset) = (found.name.clone(), found.offset);
        reasons.push(Reason::OwnSignature { name, offset });
    }
    if let Some(Content::Data { offset }) = disk.content.known() {
        reasons.push(Reason::Data { offset: *offset });
    }
    let unanswered = |question, trouble: Option<&Trouble>| match trouble {
        Some(trouble @ Trouble::Program { .. }) => {
            Some(Reason::Unanswered { question, trouble: Some(trouble.clone()) })
        }
        _ => None,
    };
    reasons.extend(unanswered("it carries a signature", trouble(&disk.wipefs)));
    reasons.extend(unanswered("it carries a file system", trouble(&disk.blkid)));
    reasons
}

/// Read errors, time-outs and SMART.
fn failing_reasons(disk: &ObservedDisk) -> Vec<Reason> {
    let mut reasons: Vec<_> = disk
        .troubles()
        .into_iter()
        .filter(|trouble| !matches!(trouble, Trouble::Program { .. }))
        .map(|trouble| Reason::Unreadable { trouble: trouble.clone() })
        .collect();
    match &disk.smart {
        Smart::Failing(how) => reasons.push(Reason::SmartFailing { how: how.clone() }),
        Smart::Unreadable(why) => reasons.push(Reason::SmartUnreadable { why: why.clone() }),
        Smart::Asleep => {
            reasons.push(Reason::SmartUnreadable { why: "the disk is asleep".to_owned() });
        }
        Smart::NotAsked | Smart::NotSupported(_) | Smart::Passed => {}
    }
    reasons
}

fn trouble<T>(answer: &Answer<T>) -> Option<&Trouble> {
    match answer {
        Answer::Failed(trouble) => Some(trouble),
        Answer::NotAsked | Answer::Is(_) => None,
    }
}

/// Whether a disk may hold data of another: anything but blank or this node's own.
#[must_use]
pub fn is_untouchable(judgement: &Judgement) -> bool {
    !matches!(judgement.ownership, Ownership::Blank | Ownership::Ours)
}

/// The node that a label names, where it is valid.
#[must_use]
pub fn labelled_node(disk: &ObservedDisk) -> Option<NodeId> {
    match &disk.label.known()?.verdict {
        Verdict::Valid { record, .. } => Some(record.node()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
