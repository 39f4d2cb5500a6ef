//! Our own programs, built so that the same sources give the same bits wherever they lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::layout::{self, Layout};
use crate::process;

/// The only target of the image; it is named so that flags do not reach build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The services and what steers them: package and program. They are dynamic, as libudev exists only as a shared library.
const SERVICES: [(&str, &str); 4] = [
    ("disk-manager", "icn-disks"),
    ("agent", "icn-agent"),
    ("tui", "icn-console"),
    ("tui", "icnctl"),
];

/// The programs that a build made.
#[derive(Debug)]
pub(crate) struct Binaries {
    /// PID 1, static: it runs before the root file system is mounted.
    pub init: PathBuf,
    /// The services, which go to `/usr/bin`.
    pub services: Vec<PathBuf>,
    /// The directory that the services are in.
    pub dir: PathBuf,
}

/// Builds them all; cargo decides what has changed.
///
/// # Errors
///
/// When a build fails.
pub(crate) fn build(layout: &Layout) -> Result<Binaries> {
    let mut dynamic = Vec::new();
    for (package, program) in SERVICES {
        dynamic.extend(["-p", package, "--bin", program]);
    }
    let services = cargo(layout, "image-services", &dynamic, &[])?;
    let init = cargo(
        layout,
        "image-init",
        &["-p", "image-init", "--bin", "init"],
        &["-Ctarget-feature=+crt-static"],
    )?;
    Ok(Binaries {
        init: init.join("init"),
        services: SERVICES.iter().map(|(_, program)| services.join(program)).collect(),
        dir: services,
    })
}

/// Runs cargo with a target directory of its own, so that other flags elsewhere do not make it
/// build anew, and returns where the programs are.
fn cargo(layout: &Layout, name: &str, what: &[&str], flags: &[&str]) -> Result<PathBuf> {
    let target = layout.target.join(name);
    let remaps = remaps(layout, &target)?;
    // Cargo forgets the profile's `strip` for a package that has a section of its own there.
    let mut rustflags = OsString::from("-Cstrip=symbols");
    for (from, to) in &remaps {
        push_flag(&mut rustflags, &format!("--remap-path-prefix={}={to}", from.display()));
    }
    flags.iter().for_each(|flag| push_flag(&mut rustflags, flag));
    let mut command = Command::new(layout::cargo());
    command
        .current_dir(&layout.root)
        .args(["build", "--release", "--locked", "--target", TARGET])
        .args(what)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", &rustflags)
        .env("CFLAGS", c_flags(&remaps))
        .env_remove("RUSTFLAGS");
    process::run(&mut command).with_context(|| format!("cannot build {name}"))?;
    Ok(target.join(TARGET).join("release"))
}

/// Directories that must not show in a program, and what stands there instead. The last that fits
/// a path holds, so the inner directories come last.
fn remaps(layout: &Layout, target: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    Ok(vec![
        (layout.root.clone(), "/icn"),
        (layout::cargo_home()?, "/cargo"),
        (target.to_owned(), "/target"),
    ])
}

/// The same for C sources in third-party crates.
fn c_flags(remaps: &[(PathBuf, &str)]) -> String {
    let flags: Vec<_> = remaps
        .iter()
        .map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display()))
        .collect();
    flags.join(" ")
}

/// Encoded flags have the character 0x1F between them, so that spaces in paths do no harm.
fn push_flag(flags: &mut OsString, flag: &str) {
    if !flags.is_empty() {
        flags.push("\x1f");
    }
    flags.push(flag);
}
