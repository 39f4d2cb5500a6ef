//! Decoders of bytes that come from a disk or the network, fed with what no encoder of ours made.
//!
//! A [`Target`] takes any bytes. It must not panic, must not hold much more memory than it was given
//! bytes, and what it takes for whole must be the same when it is written and read again.
//! `cargo xtask fuzz` runs them under libFuzzer, the test `replay` with inputs that failed once and
//! with random changes of the seeds.

#![expect(
    clippy::expect_used,
    reason = "a test ends with a message where its own assumption fails"
)]

mod disks;
mod formats;
mod hardware;
mod http;
#[path = "../../../disk-manager/src/hardware/record.rs"]
mod kmsg;
mod messages;
#[path = "../../../disk-manager/src/mountinfo.rs"]
#[expect(unreachable_pub, reason = "the disk manager's, where it is public")]
mod mountinfo;
mod outbox;
mod patches;
mod programs;
#[path = "../../../agent/src/state/record.rs"]
#[expect(dead_code, reason = "the agent's: not all of it is needed here")]
mod record;
mod sla;
#[path = "../../../disk-manager/src/probe/smartctl.rs"]
mod smartctl;
mod sys;
mod volumes;
#[path = "../../../disk-manager/src/probe/wipefs.rs"]
mod wipefs;

use std::path::{Path, PathBuf};

/// Most bytes that a decoder may hold for each byte of input: a text of one character becomes a string
/// of its own in a list.
const HELD_PER_BYTE: usize = 128;

/// Most bytes that it may hold beside: serde reserves up to 1 MiB for a list on the word of its length.
const HELD: usize = 3 << 20;

/// Something that takes any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
    /// Whether what it holds is bounded by its input; else it works on a whole store.
    is_bounded: bool,
}

/// A name, what is done with the bytes, and bytes to begin with, as the crates below give them.
type Given = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

impl Target {
    const fn bounded((name, run, seeds): Given) -> Self {
        Self { name, run, seeds, is_bounded: true }
    }

    const fn whole((name, run, seeds): Given) -> Self {
        Self { name, run, seeds, is_bounded: false }
    }

    /// Feeds it.
    ///
    /// # Panics
    /// When it does not keep what is promised of it.
    pub fn check(&self, bytes: &[u8]) {
        let held = sys::most_held(|| (self.run)(bytes));
        let most = HELD + HELD_PER_BYTE * bytes.len();
        assert!(
            !self.is_bounded || held <= most,
            "{} held {held} bytes for an input of {}",
            self.name,
            bytes.len()
        );
    }

    /// Bytes to begin with, from real encoders.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }

    /// Inputs that failed once.
    ///
    /// # Panics
    /// When one cannot be read.
    #[must_use]
    pub fn regressions(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(self.name);
        let Ok(files) = std::fs::read_dir(&folder) else { return Vec::new() };
        let read = |path: PathBuf| {
            let bytes = std::fs::read(&path);
            let bytes = bytes.unwrap_or_else(|error| unreachable!("{}: {error}", path.display()));
            (path, bytes)
        };
        let mut all: Vec<_> = files.flatten().map(|file| read(file.path())).collect();
        all.sort_unstable();
        all
    }

    /// Writes what to begin with to a folder, each to a file.
    ///
    /// # Panics
    /// When one cannot be written.
    pub fn write_seeds(&self, folder: &Path) {
        let regressions = self.regressions().into_iter().map(|(_, bytes)| bytes);
        for (number, bytes) in self.seeds().into_iter().chain(regressions).enumerate() {
            let path = folder.join(format!("seed-{number}"));
            let written = std::fs::write(&path, bytes);
            written.unwrap_or_else(|error| unreachable!("{}: {error}", path.display()));
        }
    }
}

/// All targets.
#[must_use]
pub fn targets() -> Vec<Target> {
    let bounded = [
        agent_object_store::fuzzing::TARGETS,
        agent_s3::fuzzing::TARGETS,
        formats::TARGETS,
        messages::TARGETS,
        disks::TARGETS,
        programs::TARGETS,
        hardware::TARGETS,
        outbox::TARGETS,
        sla::TARGETS,
    ];
    let bounded = bounded.into_iter().flatten().copied().map(Target::bounded);
    let whole = [volumes::TARGETS, http::TARGETS];
    bounded.chain(whole.into_iter().flatten().copied().map(Target::whole)).collect()
}

/// The target of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn find(name: &str) -> Target {
    let all = targets();
    let names: Vec<&str> = all.iter().map(|target| target.name).collect();
    let found = all.iter().find(|target| target.name == name).copied();
    found.unwrap_or_else(|| unreachable!("no target {name:?}; there are {}", names.join(" ")))
}
