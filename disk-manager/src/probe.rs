//! Looks at one disk and writes down what it sees, without a judgement and without a write.
//!
//! Questions are put in the order of their cost, and none once the disk is known to be left alone:
//! a judgement takes an unasked question for a bad answer, so that this can never make a disk blank.

pub mod content;
pub mod label;
pub mod signatures;
pub mod smart;
mod smartctl;
pub mod tools;
mod wipefs;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use disk_manager_plan::inventory::Policy;
use disk_manager_plan::judge::{shape_reasons, use_reasons};
use disk_manager_plan::label::ClaimState;
use disk_manager_plan::layout::{DATA_START, Extent};
use disk_manager_plan::observe::{
    Access, Answer, Blkid, Bus, Content, DeviceKind, ObservedDisk, Smart, Trouble,
};
use disk_manager_plan::{Layout, Record, plan};
use tracing::debug;
use uuid::Uuid;

use crate::firmware::Loader;
use crate::held::{Held, access};

/// Beats with every answer of a disk: one that hangs is told by the silence.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The disk has answered.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has answered.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a look does about the health of a disk that is in service already. (A disk that is to be
/// claimed is always asked.) Watching it is the agent's task; here it is asked once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Not now: smartctl takes its time, and the volume is wanted.
    Later,
    /// Ask the disk.
    Ask,
    /// An earlier look has asked.
    Known(Smart),
}

/// What a look at a disk may use beside the disk itself.
#[derive(Debug, Clone)]
pub struct Look<'a> {
    /// What the operator wants.
    pub policy: &'a Policy,
    /// What the firmware said of the boot loader.
    pub loader: Option<Loader>,
    /// What is done about the health of a disk in service.
    pub health: Health,
    /// Beats with every answer.
    pub pulse: Pulse,
}

/// Where the bytes of a disk are read.
#[derive(Debug)]
pub enum Source<'a> {
    /// By name; whether it is free is found out by opening it.
    Name,
    /// Through a descriptor that holds the disk for us alone (rule A10).
    Held(&'a Held),
}

/// Looks at a disk whose facts from sysfs are in `seen`, and fills in the rest.
#[must_use]
pub fn observe(mut seen: ObservedDisk, look: &Look<'_>, source: &Source<'_>) -> ObservedDisk {
    if seen.kind != DeviceKind::Disk {
        return seen;
    }
    let (file, path) = match open(&seen, source) {
        Ok(opened) => opened,
        Err(trouble) => {
            seen.label = Answer::Failed(trouble);
            return seen;
        }
    };
    let own = match label::look(&file, seen.size, seen.block) {
        Ok(found) => {
            seen.loader = look.loader.is_some_and(|loader| loader.is_among(&found.partitions));
            seen.label = Answer::Is(found.label);
            found.own
        }
        Err(trouble) => {
            seen.label = Answer::Failed(trouble);
            return seen;
        }
    };
    look.pulse.beat();
    match plan::record_of(&seen).map(Stage::of) {
        Some(Stage { state: ClaimState::Ready, .. }) => {
            seen.smart = match &look.health {
                Health::Later => Smart::NotAsked,
                Health::Ask => smart::smart(&path, seen.bus),
                Health::Known(smart) => smart.clone(),
            };
        }
        Some(stage) => {
            seen.access = ask_access(&seen, source);
            look_at_begun(&mut seen, &path, stage, &own, look);
        }
        None => {
            if seen.mounts.is_empty() && !seen.loader {
                seen.access = ask_access(&seen, source);
                look_at_unlabelled(&mut seen, look, &file, &path);
            }
        }
    }
    seen
}

#[derive(Clone, Copy)]
struct Stage {
    state: ClaimState,
    volume: Uuid,
}

impl Stage {
    fn of(record: &Record) -> Self {
        Self { state: record.state, volume: record.volume }
    }
}

/// A claim that was cut off: is there anything but what it wrote itself?
fn look_at_begun(
    seen: &mut ObservedDisk,
    path: &Path,
    stage: Stage,
    own: &[Extent],
    look: &Look<'_>,
) {
    if stage.state == ClaimState::Claiming {
        seen.content = ask_content(seen, path, own, &look.pulse);
    }
    if let Ok(layout) = Layout::new(seen.size, seen.block, stage.volume) {
        seen.data = tools::data_area(path, DATA_START, layout.data_length(), stage.volume);
    }
    look.pulse.beat();
    seen.smart = smart::smart(path, seen.bus);
}

fn look_at_unlabelled(seen: &mut ObservedDisk, look: &Look<'_>, file: &File, path: &Path) {
    seen.wipefs = tools::wipefs(path);
    look.pulse.beat();
    seen.blkid = tools::blkid(path);
    look.pulse.beat();
    seen.own = match signatures::own_signatures(file, seen.size.0, seen.block) {
        Ok(found) => Answer::Is(found),
        Err(trouble) => Answer::Failed(trouble),
    };
    look.pulse.beat();
    let clean = seen.wipefs == Answer::Is(Vec::new())
        && seen.blkid == Answer::Is(Blkid::Nothing)
        && seen.own == Answer::Is(Vec::new())
        && seen.partitions.is_empty()
        && seen.label.known().is_some_and(|label| label.partitions.is_empty())
        && shape_reasons(seen, look.policy).is_empty()
        && use_reasons(seen).is_empty();
    if !clean {
        return;
    }
    seen.content = ask_content(seen, path, &[], &look.pulse);
    // Also where there is data: it may have been given up.
    if matches!(seen.content, Answer::Is(Content::Uniform(_) | Content::Data { .. })) {
        seen.smart = smart::smart(path, seen.bus);
    }
}

fn ask_content(seen: &ObservedDisk, path: &Path, own: &[Extent], pulse: &Pulse) -> Answer<Content> {
    let seed = match getrandom::u64() {
        Ok(seed) => seed,
        Err(error) => {
            return Answer::Failed(Trouble::Program {
                program: "getrandom".to_owned(),
                error: error.to_string(),
            });
        }
    };
    debug!(device = %seen.device.display(), seed, "sampling");
    let content = open_direct(path)
        .and_then(|file| content::content(&file, seen.size.0, seen.block, seed, own, pulse));
    match content {
        Ok(content) => Answer::Is(content),
        Err(trouble) => Answer::Failed(trouble),
    }
}

fn ask_access(seen: &ObservedDisk, source: &Source<'_>) -> Answer<Access> {
    Answer::Is(match source {
        Source::Name => access(&seen.device),
        Source::Held(_) => Access::Free,
    })
}

/// The disk's bytes, and the path by which other programs read the very same device.
fn open(seen: &ObservedDisk, source: &Source<'_>) -> Result<(File, PathBuf), Trouble> {
    let failed =
        |error: std::io::Error| Trouble::Read { offset: 0, lba: 0, error: error.to_string() };
    match source {
        Source::Name => {
            let file = File::open(&seen.device).map_err(failed)?;
            Ok((file, seen.device.clone()))
        }
        Source::Held(held) => {
            let file = held.disk().try_clone().map_err(failed)?;
            Ok((file, held.path()))
        }
    }
}

/// Opens a disk for reads that come from the disk itself and not from the kernel's cache; a file
/// system that knows no such reads (a test's image file may stand on one) gives ordinary ones.
fn open_direct(path: &Path) -> Result<File, Trouble> {
    let failed =
        |error: std::io::Error| Trouble::Read { offset: 0, lba: 0, error: error.to_string() };
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECT);
    match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => File::open(path),
        other => other,
    }
    .map_err(failed)
}

/// A disk of which nothing is known but its facts, as a question to it did not end in time.
#[must_use]
pub fn timed_out(mut seen: ObservedDisk, seconds: u64) -> ObservedDisk {
    let what = "the disk".to_owned();
    seen.label = Answer::Failed(Trouble::TimedOut { what, seconds });
    seen
}

/// Facts alone: every question unasked.
#[must_use]
pub fn unasked(device: PathBuf, kind: DeviceKind) -> ObservedDisk {
    ObservedDisk {
        device,
        id: None,
        model: String::new(),
        serial: String::new(),
        size: disk_manager_plan::report::Bytes(0),
        block: 512,
        class: disk_manager_plan::report::DiskClass::Hdd,
        kind,
        bus: Bus::Other,
        removable: false,
        read_only: false,
        holders: Vec::new(),
        slaves: Vec::new(),
        partitions: Vec::new(),
        mounts: Vec::new(),
        swap: false,
        loader: false,
        access: Answer::NotAsked,
        label: Answer::NotAsked,
        data: Answer::NotAsked,
        wipefs: Answer::NotAsked,
        blkid: Answer::NotAsked,
        own: Answer::NotAsked,
        content: Answer::NotAsked,
        smart: Smart::NotAsked,
    }
}
