//! Every disk of the machine with all that is known of it, in the order in which they stand. Pure.

use agent_api::disks::{DiskId, DiskReport, DiskStatus, HandClaimState, Ownership, VolumePhase};
use agent_api::hardware::Component;
use agent_api::health::{Health, Kind};
use agent_api::pool::{PoolVolume, PoolVolumeState};
use agent_api::status::{DiskSlot, NodeStatus, VolumeState};

use crate::sections::Tone;
use crate::state::State;
use crate::text::safe;

/// A disk, there or missing.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    /// Tells it from every other: its lasting name, else the kernel's.
    pub(crate) key: String,
    /// Its lasting name, where it has one.
    pub(crate) id: Option<&'a str>,
    /// What icn-disks says of it; none where it is missing.
    pub(crate) disk: Option<&'a DiskStatus>,
    /// Where it is, where an enclosure tells.
    pub(crate) slot: Option<&'a DiskSlot>,
    /// The verdict on it; none where it was not judged or the verdicts were not asked for.
    pub(crate) health: Option<&'a Component>,
    /// Its volume in the pool; none where it has none or the pool was not asked.
    pub(crate) volume: Option<&'a PoolVolume>,
    /// How far a claim by hand is; none where nobody claims it.
    pub(crate) claim: Option<&'a HandClaimState>,
    /// What it is used for.
    pub(crate) judgement: Judgement,
}

/// What to say about the use of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// How that is meant.
    pub(crate) tone: Tone,
    /// In a few words.
    pub(crate) word: String,
    /// Why, in words, most important first.
    pub(crate) reasons: Vec<String>,
}

impl Row<'_> {
    /// The kernel's name, such as `nvme0n1`.
    pub(crate) fn name(&self) -> String {
        let Some(disk) = self.disk else { return "missing".to_owned() };
        let name = disk.device.file_name().unwrap_or(disk.device.as_os_str());
        safe(&name.to_string_lossy())
    }

    /// Its serial number, where it gives one.
    pub(crate) fn serial(&self) -> Option<&str> {
        self.disk.map(|disk| disk.serial.as_str()).filter(|serial| !serial.is_empty())
    }

    /// What a person calls it.
    pub(crate) fn called(&self) -> String {
        match (self.serial(), self.disk) {
            (Some(serial), _) => format!("disk {} with serial {}", self.name(), safe(serial)),
            (None, Some(_)) => format!("disk {}", self.name()),
            (None, None) => format!("missing disk {}", safe(&self.key)),
        }
    }

    /// The UUID of its volume, where it is one of this node.
    pub(crate) fn volume_id(&self) -> Option<&str> {
        self.disk?.volume.as_ref().map(|volume| volume.id.as_str())
    }

    /// Whether the pool uses it and nobody takes it out.
    pub(crate) fn is_in_use(&self) -> bool {
        self.judgement.word == IN_USE
    }

    /// Whether it is being emptied.
    pub(crate) fn is_retiring(&self) -> bool {
        self.judgement.word.starts_with(EMPTYING)
    }

    /// Why it cannot be claimed by hand; none where it can.
    pub(crate) fn refusal_to_claim(&self) -> Option<&'static str> {
        match (self.disk.map(|disk| disk.ownership), self.claim) {
            (None, _) => Some("it is not there"),
            (_, Some(HandClaimState::Waiting { .. } | HandClaimState::Erasing)) => {
                Some("that is under way")
            }
            (Some(Ownership::Ours), _) => Some("it is a disk of this node"),
            (Some(Ownership::Boot), _) => Some("this node booted from it"),
            (Some(Ownership::Failing), _) => Some("it is failing"),
            (Some(Ownership::Blank), _) => {
                Some("it is blank: the node takes it by itself where [disks] of node.toml lets it")
            }
            (Some(Ownership::Foreign), _) => match self.id {
                None => Some("it has no lasting name"),
                Some(_) => None,
            },
        }
    }

    /// Whether a claim by hand can be taken back or forgotten.
    pub(crate) fn can_undo(&self) -> bool {
        matches!(self.claim, Some(HandClaimState::Waiting { .. } | HandClaimState::Failed { .. }))
    }

    /// How far it is emptied, in hundredths; none where it is not, or that is not known.
    pub(crate) fn emptied_percent(&self) -> Option<u64> {
        match self.volume?.state {
            PoolVolumeState::Retiring { began_with: began @ 1.., left, .. } => {
                Some(100 * began.saturating_sub(left) / began)
            }
            _ => None,
        }
    }
}

const IN_USE: &str = "in use";
const EMPTYING: &str = "emptying";

/// Every disk: those that are missing, those of slots in the order of these, then the others in the
/// order of their kernel names. In the first steps those that can be claimed by hand, or are being so, come before all
/// others, and the disk that the node booted from behind them.
pub(crate) fn rows(state: &State) -> Vec<Row<'_>> {
    let Some((status, report)) = report(state) else { return Vec::new() };
    let missing = report.missing.iter().map(|DiskId(id)| missing_row(state, id));
    let mut there: Vec<Row<'_>> =
        report.disks.iter().map(|disk| row(state, status, disk)).collect();
    there.sort_by_key(|row| {
        let slot = row.slot.map(|slot| (slot.enclosure.as_str(), natural(&slot.slot)));
        (slot.is_none(), slot)
    });
    let mut all: Vec<_> = missing.chain(there).collect();
    if state.steps.is_open {
        all.sort_by_key(|row| {
            let is_boot = row.disk.is_some_and(|disk| disk.ownership == Ownership::Boot);
            let is_for_claims = row.claim.is_some() || row.refusal_to_claim().is_none();
            (!is_for_claims, is_boot)
        });
    }
    all
}

/// The selected one of `rows`.
pub(crate) fn selected<'r, 'a>(rows: &'r [Row<'a>], state: &State) -> Option<&'r Row<'a>> {
    rows.get(selected_index(rows, state))
}

/// The place of the selected one among `rows`.
pub(crate) fn selected_index(rows: &[Row<'_>], state: &State) -> usize {
    let is_selected = |row: &Row<'_>| Some(&row.key) == state.selected.as_ref();
    rows.iter().position(is_selected).unwrap_or(0)
}

/// The report of icn-disks with the status that it came with.
pub(crate) fn report(state: &State) -> Option<(&NodeStatus, &DiskReport)> {
    let status = state.status.as_deref()?;
    Some((status, status.disks.as_ref()?))
}

/// Numbers in a slot's name count as numbers: slot 10 comes behind slot 9.
fn natural(name: &str) -> (String, u64, &str) {
    let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let (word, rest) = name.split_at(digits);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    (word.to_owned(), number.parse().unwrap_or(u64::MAX), rest)
}

fn missing_row<'a>(state: &'a State, id: &'a str) -> Row<'a> {
    let reasons = vec!["it belongs to this node and is not there: plug it in again".to_owned()];
    Row {
        key: id.to_owned(),
        id: Some(id),
        disk: None,
        slot: None,
        health: health_of(state, id),
        volume: None,
        claim: None,
        judgement: Judgement { tone: Tone::Bad, word: "missing".to_owned(), reasons },
    }
}

fn row<'a>(state: &'a State, status: &'a NodeStatus, disk: &'a DiskStatus) -> Row<'a> {
    let id = disk.id.as_ref().map(|DiskId(id)| id.as_str());
    let key = id.map_or_else(|| disk.device.display().to_string(), str::to_owned);
    let volumes = state.pool.iter().flat_map(|pool| &pool.volumes);
    let volume = disk.volume.as_ref().and_then(|volume| {
        let mut found = volumes.filter(|known| known.id == volume.id);
        found.next()
    });
    let slot = id.and_then(|id| status.slots.iter().find(|slot| slot.disk == id));
    let health = id.and_then(|id| health_of(state, id));
    let claims = status.disks.iter().flat_map(|report| &report.claims);
    let mut claims = claims.filter(|claim| Some(claim.disk.0.as_str()) == id);
    let claim = claims.next().map(|claim| &claim.state);
    let mut judgement = judge(status, disk);
    if let Some(claim) = claim {
        claimed(&mut judgement, claim);
    }
    let mut row = Row { key, id, disk: Some(disk), slot, health, volume, claim, judgement };
    if row.is_retiring()
        && let Some(percent) = row.emptied_percent()
    {
        row.judgement.word = format!("{EMPTYING} {percent} %");
    }
    row
}

/// What a claim by hand makes of the use of a disk.
fn claimed(judgement: &mut Judgement, claim: &HandClaimState) {
    let (tone, word, reason) = match claim {
        HandClaimState::Waiting { seconds_left } => {
            let text = format!("in {seconds_left} s all on it is erased; u takes that back");
            (Tone::Warning, "claim waits", text)
        }
        HandClaimState::Erasing => {
            (Tone::Warning, "being erased", "it is claimed by hand".to_owned())
        }
        HandClaimState::Failed { reason } => {
            (Tone::Bad, "claim failed", format!("{}; u forgets that", safe(reason)))
        }
    };
    (judgement.tone, judgement.word) = (tone, word.to_owned());
    judgement.reasons.insert(0, reason);
}

/// Without the verdicts on hardware the status has none of the disks; these are asked for on the
/// screens that show them.
fn health_of<'a>(state: &'a State, id: &str) -> Option<&'a Component> {
    let components = state.health.iter().flat_map(|report| &report.components);
    let is = |one: &&Component| one.verdict.kind == Kind::Disk && one.verdict.name == id;
    components.filter(is).max_by_key(|one| one.verdict.health)
}

/// How a verdict is meant.
pub(crate) fn tone(health: Health) -> Tone {
    match health {
        Health::Healthy => Tone::Good,
        Health::Unknown => Tone::Faint,
        Health::Warning => Tone::Warning,
        Health::Failing => Tone::Bad,
    }
}

fn judge(status: &NodeStatus, disk: &DiskStatus) -> Judgement {
    let reasons = || disk.reasons.iter().map(|reason| safe(reason));
    let with = |tone, word: &str, first: Option<&str>| Judgement {
        tone,
        word: word.to_owned(),
        reasons: first.map(safe).into_iter().chain(reasons()).collect(),
    };
    match (disk.ownership, &disk.volume) {
        (Ownership::Ours, Some(volume)) => match &volume.phase {
            VolumePhase::Claiming => with(Tone::Warning, "being claimed", None),
            VolumePhase::Unavailable { reason } => with(Tone::Bad, "unavailable", Some(reason)),
            VolumePhase::Mounted { .. } => {
                let state = status.volumes.iter().find(|used| used.id == volume.id);
                match state.map(|used| &used.state) {
                    Some(VolumeState::Attached) => with(Tone::Good, IN_USE, None),
                    Some(VolumeState::Retiring) => with(Tone::Warning, EMPTYING, None),
                    Some(VolumeState::Retired) => {
                        with(Tone::Good, "retired", Some("it may be taken out"))
                    }
                    Some(VolumeState::Failed { reason }) => with(Tone::Bad, "failed", Some(reason)),
                    Some(VolumeState::Attaching) | None => {
                        with(Tone::Warning, "being read in", None)
                    }
                }
            }
        },
        (Ownership::Ours, None) => with(Tone::Warning, "no volume", None),
        (Ownership::Failing, _) => with(Tone::Bad, "failing", None),
        (Ownership::Boot, _) => with(Tone::Faint, "boot", None),
        (Ownership::Blank, _) => with(Tone::Warning, "blank", None),
        (Ownership::Foreign, _) => with(Tone::Warning, "foreign", None),
    }
}

/// How many disks there are of each use, in words: `3 of 5 in use, 1 foreign, 1 missing`.
pub(crate) fn summary(state: &State) -> Option<String> {
    let (_, report) = report(state)?;
    let rows = rows(state);
    let of = |word: &str| rows.iter().filter(|row| row.judgement.word == word).count();
    let mut text = format!("{} of {} in use", of(IN_USE), report.disks.len());
    let emptying = rows.iter().filter(|row| row.is_retiring()).count();
    let others = [
        "blank",
        "being claimed",
        "claim waits",
        "being erased",
        "claim failed",
        "foreign",
        "failing",
        "unavailable",
        "failed",
        "retired",
    ];
    let counted = others.into_iter().map(|word| (of(word), word)).chain([(emptying, EMPTYING)]);
    for (count, word) in counted.chain([(report.missing.len(), "missing")]) {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use agent_api::disks::HandClaim;

    use super::*;
    use crate::fixtures;
    use crate::state::{Event, Size};
    use crate::update::update;

    fn state(status: NodeStatus) -> State {
        let mut state = State::new(Size { width: 80, height: 24 });
        update(&mut state, Event::Status(Box::new(status)));
        state
    }

    #[test]
    fn disks_stand_by_their_slots_and_missing_ones_first() {
        let mut status = fixtures::troubled();
        status.slots =
            [(0, "Slot 10"), (2, "Slot 9")].map(|(disk, slot)| fixtures::slot(disk, slot)).to_vec();
        let state = state(status);
        let names: Vec<_> = rows(&state).iter().map(Row::name).collect();
        assert_eq!(names, ["missing", "nvme2n1", "nvme0n1", "nvme1n1", "nvme3n1"]);
    }

    #[test]
    fn in_the_first_steps_the_disks_to_claim_come_first_and_the_stick_last() {
        let of = |number, ownership| fixtures::disk(number, ownership, &[]);
        let mut status = fixtures::fresh();
        let report = status.disks.as_mut().expect("a report");
        report.disks = vec![
            of(0, Ownership::Boot),
            of(1, Ownership::Failing),
            of(2, Ownership::Foreign),
            of(3, Ownership::Blank),
            of(4, Ownership::Foreign),
        ];
        let names = |state: &State| rows(state).iter().map(Row::name).collect::<Vec<_>>();
        let mut state = state(status);
        assert!(state.steps.is_open);
        assert_eq!(names(&state), ["nvme2n1", "nvme4n1", "nvme1n1", "nvme3n1", "nvme0n1"]);
        assert_eq!(selected_index(&rows(&state), &state), 0);
        // One that is being claimed, and looks blank meanwhile, stays where it is.
        let report = state.status.as_mut().and_then(|status| status.disks.as_mut());
        let report = report.expect("a report");
        report.disks[2].ownership = Ownership::Blank;
        let disk = report.disks[2].id.clone().expect("a lasting name");
        report.claims = vec![HandClaim { disk, state: HandClaimState::Erasing }];
        assert_eq!(names(&state)[..2], ["nvme2n1", "nvme4n1"]);
        state.steps.is_open = false;
        assert_eq!(names(&state)[..2], ["nvme0n1", "nvme1n1"]);
    }

    #[test]
    fn the_selection_stays_with_its_disk_and_falls_back_to_the_first() {
        let mut state = state(fixtures::troubled());
        let key = rows(&state).get(3).expect("a disk").key.clone();
        state.selected = Some(key.clone());
        assert_eq!(selected_index(&rows(&state), &state), 3);
        if let Some(report) = state.status.as_mut().and_then(|status| status.disks.as_mut()) {
            report.missing.clear();
        }
        assert_eq!(selected(&rows(&state), &state).map(|row| row.key.clone()), Some(key));
        state.selected = Some("gone".to_owned());
        assert_eq!(selected_index(&rows(&state), &state), 0);
    }

    #[test]
    fn a_disk_that_is_emptied_tells_how_far_it_is() {
        let mut state = state(fixtures::retiring());
        let word = |state: &State| rows(state).get(1).expect("a disk").judgement.word.clone();
        assert_eq!(word(&state), "emptying");
        update(&mut state, Event::Pool(Box::new(fixtures::pool_retiring())));
        assert_eq!(word(&state), "emptying 45 %");
    }

    #[test]
    fn the_summary_counts_every_use_that_there_is() {
        let text = summary(&state(fixtures::troubled()));
        assert_eq!(text.as_deref(), Some("1 of 4 in use, 1 foreign, 1 failing, 1 missing"));
    }
}
