//! The Debian packages that the commands need on this machine, and their installation.
//!
//! Only what a fresh Debian 12 with Rust and git may lack is listed. A package is looked for by a
//! file or program of it and not by asking dpkg, so a program that came in another way counts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, step};

/// What a command does, as far as it needs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Compile the workspace.
    Compile,
    /// Fetch packages and compose the image.
    Image,
    /// Run it in a virtual machine.
    Machine,
    /// Use it with an S3 client from PyPI.
    Client,
    /// Lay out disks for tests, and look at what a node serves.
    Test,
    /// Measure what a disk can do.
    Measure,
    /// Build the fuzzer.
    Fuzz,
    /// Compile and test the settlement contracts.
    Contracts,
}

impl Need {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self::Compile,
        Self::Image,
        Self::Machine,
        Self::Client,
        Self::Test,
        Self::Measure,
        Self::Fuzz,
        Self::Contracts,
    ];
}

/// How to see that a package is there.
#[derive(Debug, Clone, Copy)]
enum Probe {
    /// A program on the path.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// A module that Python can import.
    Python(&'static str),
}

#[rustfmt::skip]
const PACKAGES: [(Need, &str, Probe); 27] = [
    (Need::Compile, "gcc", Probe::Program("cc")),
    (Need::Compile, "libc6-dev", Probe::File("/usr/include/stdio.h")),
    (Need::Compile, "libudev-dev", Probe::File("/usr/include/libudev.h")),
    (Need::Compile, "pkg-config", Probe::Program("pkg-config")),
    (Need::Image, "binutils", Probe::Program("objcopy")),
    (Need::Image, "debian-archive-keyring", Probe::File("/usr/share/keyrings/debian-archive-keyring.gpg")),
    (Need::Image, "dosfstools", Probe::Program("mkfs.vfat")),
    (Need::Image, "fdisk", Probe::Program("sfdisk")),
    (Need::Image, "kmod", Probe::Program("depmod")),
    (Need::Image, "mtools", Probe::Program("mcopy")),
    (Need::Image, "squashfs-tools", Probe::Program("mksquashfs")),
    (Need::Image, "xz-utils", Probe::Program("xz")),
    (Need::Machine, "mtools", Probe::Program("mcopy")),
    (Need::Machine, "ovmf", Probe::File("/usr/share/OVMF/OVMF_CODE_4M.fd")),
    (Need::Machine, "qemu-system-x86", Probe::Program("qemu-system-x86_64")),
    (Need::Machine, "socat", Probe::Program("socat")),
    (Need::Client, "ca-certificates", Probe::File("/etc/ssl/certs/ca-certificates.crt")),
    (Need::Client, "python3-venv", Probe::Python("ensurepip")),
    (Need::Test, "e2fsprogs", Probe::Program("mkfs.ext4")),
    (Need::Test, "gdisk", Probe::Program("sgdisk")),
    (Need::Test, "openssl", Probe::Program("openssl")),
    (Need::Test, "xfsprogs", Probe::Program("mkfs.xfs")),
    (Need::Test, "zstd", Probe::Program("zstd")),
    (Need::Measure, "fio", Probe::Program("fio")),
    (Need::Fuzz, "g++", Probe::Program("c++")),
    (Need::Contracts, "nodejs", Probe::Program("node")),
    (Need::Contracts, "npm", Probe::Program("npm")),
];

/// Makes sure that everything for `needs` is installed; installs what is missing.
///
/// # Errors
///
/// When packages are missing and cannot be installed; the message names them.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing).with_context(|| {
        format!(
            "these Debian packages are needed and could not be installed: {names}\n\
             install them yourself and try again:\n  \
             apt-get install --no-install-recommends {names}\n\
             where apt reports a conflict with a package from backports, take all of them from \
             there: add `-t RELEASE-backports`",
            names = missing.join(" ")
        )
    })?;
    let still = self::missing(needs);
    if !still.is_empty() {
        bail!("apt-get reported success, but these packages are still missing: {still:?}");
    }
    Ok(())
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    let mut names: Vec<_> = PACKAGES
        .iter()
        .filter(|(need, _, probe)| needs.contains(need) && !present(*probe))
        .map(|(_, name, _)| *name)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn present(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => process::find(name).is_some(),
        Probe::File(path) => Path::new(path).exists(),
        Probe::Python(module) => {
            process::output(process::command("python3").args(["-c", &format!("import {module}")]))
                .is_ok()
        }
    }
}

fn install(names: &[&str]) -> Result<()> {
    if process::find("apt-get").is_none() {
        bail!("this machine has no apt-get");
    }
    let sudo = process::output(Command::new("id").arg("-u"))?.trim() != "0";
    if sudo && process::find("sudo").is_none() {
        bail!("installing needs root, and this machine has no sudo");
    }
    let step = format!("installing missing Debian packages: {}", names.join(" "));
    if sudo {
        eprintln!("{step}");
        // Asks for the password now and not beneath the counting time.
        process::run(process::command("sudo").arg("--validate"))?;
    }
    step::timed(&step, || {
        process::output(apt_get(sudo).arg("update"))?;
        process::output(
            apt_get(sudo).args(["install", "--yes", "--no-install-recommends"]).args(names),
        )
        .map(drop)
    })
}

/// apt-get as root, without questions.
fn apt_get(sudo: bool) -> Command {
    if !sudo {
        let mut command = process::command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return command;
    }
    let mut command = process::command("sudo");
    command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_missing() {
        assert!(present(Probe::Program("sh")));
        assert!(present(Probe::File("/etc/passwd")));
        assert!(!present(Probe::Program("no-such-program-here")));
    }

    #[test]
    fn every_need_has_packages() {
        for need in Need::ALL {
            assert!(PACKAGES.iter().any(|(n, ..)| n == need), "{need:?}");
        }
    }
}
