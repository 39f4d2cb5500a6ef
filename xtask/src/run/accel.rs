//! Hardware virtualisation where it works, else emulation.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{process, step};

/// How long the kernel may take to its panic in the probe; with working virtualisation it takes
/// two.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// What the kernel prints when it has started and finds no root file system.
const STARTED: &str = "Unable to mount root fs";

/// What to run the machine's processor on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accel {
    /// KVM where a kernel really boots with it, else emulation.
    Auto,
    /// KVM.
    Kvm,
    /// Emulation.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "automatic",
            Self::Kvm => "hardware virtualisation",
            Self::Tcg => "emulated processor",
        })
    }
}

impl Accel {
    /// Settles [`Accel::Auto`]: a kernel is booted with KVM, as there are machines where /dev/kvm
    /// opens but guests die. What was found holds until this machine restarts.
    ///
    /// # Errors
    ///
    /// When what was found cannot be kept.
    pub(crate) fn decide(self, image: &Path, place: &Path) -> Result<Self> {
        if self != Self::Auto {
            return Ok(self);
        }
        if File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let note = place.join("kvm-probe");
        let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let known = fs::read_to_string(&note).unwrap_or_default();
        if let Some(found) = known.strip_prefix(&this_boot).filter(|_| !this_boot.is_empty()) {
            return Ok(if found == "works" { Self::Kvm } else { Self::Tcg });
        }
        let works = step::timed("test of hardware virtualisation", || probe(image, place))?;
        fs::write(&note, format!("{this_boot}{}", if works { "works" } else { "broken" }))
            .with_context(|| format!("cannot write {}", note.display()))?;
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }

    /// Arguments of QEMU. One emulated processor is faster than two. Without the flags erms and
    /// fsrm, programs clear memory in another way than by `rep stosb`, which is emulated byte by
    /// byte and otherwise takes a third of the node's start, most of it in udevd.
    pub(crate) fn arguments(self) -> [&'static str; 6] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host", "-smp", "2"],
            Self::Auto | Self::Tcg => {
                ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,-erms,-fsrm", "-smp", "1"]
            }
        }
    }
}

/// Whether the image's kernel starts with KVM.
fn probe(image: &Path, place: &Path) -> Result<bool> {
    let output = place.join("kvm-probe.out");
    let mut child = process::command("qemu-system-x86_64")
        .args(["-M", "q35", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(Accel::Kvm.arguments())
        .args(["-append", "console=ttyS0 panic=-1", "-kernel"])
        .arg(image.join("vmlinuz"))
        .arg("-serial")
        .arg(format!("file:{}", output.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start qemu-system-x86_64")?;
    process::wait_within(&mut child, PROBE_LIMIT);
    Ok(fs::read_to_string(&output).is_ok_and(|text| text.contains(STARTED)))
}
