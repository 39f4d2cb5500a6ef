//! The root file system: files of the packages, kernel modules, our programs and a few files of
//! `image/root`, as one squashfs.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::binaries::Binaries;
use super::elf;
use super::modules::Modules;
use super::sizes::RootSizes;
use super::version::Version;
use crate::packages::{List, Part, Unpacked, Wanted};
use crate::process;
use crate::step;

/// What the root file system is made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// Every package of the list with its unpacked files.
    pub packages: Vec<(&'a Wanted, Unpacked)>,
    /// The kernel modules.
    pub modules: &'a Modules,
    /// Our programs.
    pub binaries: &'a Binaries,
    /// `image/root`: files copied as they are.
    pub overlay: PathBuf,
    /// What `/etc/os-release` says.
    pub version: &'a Version,
}

/// Empty directories that something is mounted on at run time, and dhcpcd's empty root for the
/// part of it that runs without privileges.
const MOUNT_POINTS: [&str; 10] =
    ["data", "dev", "mnt", "proc", "root", "run", "sys", "tmp", "var", "usr/lib/dhcpcd"];

/// Link → target. The first four make one tree of `/` and `/usr`, as Debian has it; the resolver's
/// configuration is written at run time.
const LINKS: [(&str, &str); 7] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("etc/resolv.conf", "/run/resolv.conf"),
    ("etc/mtab", "/proc/self/mounts"),
    ("etc/os-release", "../usr/lib/os-release"),
];

/// Programs that must not be on the image under any of their names: there is nothing to log in to
/// and nothing that runs a script.
const FORBIDDEN: [&str; 16] = [
    "sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "busybox", "toybox", "ssh", "sshd",
    "dropbear", "perl", "python3", "login", "sulogin",
];

/// Puts the root together below `root`, which is replaced, and checks it.
///
/// # Errors
///
/// When a file is missing, a pattern of the package list matches nothing, a program lacks a
/// library, or something forbidden is in it.
pub(crate) fn assemble(sources: &Sources<'_>, root: &Path) -> Result<RootSizes> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for dir in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc"].iter().chain(&MOUNT_POINTS) {
        make_dir(&root.join(dir))?;
    }
    for (link, target) in LINKS {
        symlink(target, root.join(link)).with_context(|| format!("cannot make {link}"))?;
    }
    let mut parts: BTreeMap<Part, u64> = BTreeMap::new();
    for (wanted, unpacked) in &sources.packages {
        if !matches!(wanted.part, Part::Boot | Part::Kernel) {
            *parts.entry(wanted.part).or_default() += take(wanted, unpacked, root)?;
        }
    }
    let sizes = RootSizes {
        packages: parts.get(&Part::Root).copied().unwrap_or_default(),
        firmware: parts.get(&Part::Firmware).copied().unwrap_or_default(),
        modules: copy_tree(&sources.modules.dir.join("lib"), &root.join("usr/lib"))?,
        programs: install_programs(sources.binaries, root)?,
    };
    copy_tree(&sources.overlay, root)?;
    step::replace_file(&root.join("usr/lib/os-release"), sources.version.os_release().as_bytes())?;
    set_modes(root)?;
    elf::check_libraries(root)?;
    check_nothing_forbidden(root)?;
    Ok(sizes)
}

/// Makes the squashfs. Its bits depend on the tree and the level alone: no times, no owners, no
/// extended attributes.
///
/// # Errors
///
/// When mksquashfs fails.
pub(crate) fn squash(root: &Path, level: u8, into: &Path) -> Result<()> {
    let _ = fs::remove_file(into);
    process::output(
        process::command("mksquashfs")
            .args([root, into])
            .args(["-noappend", "-no-progress", "-no-xattrs", "-no-exports", "-all-root"])
            .args(["-mkfs-time", "0", "-all-time", "0", "-b", "256K"])
            .args(["-comp", "zstd", "-Xcompression-level", &level.to_string()]),
    )?;
    Ok(())
}

/// Copies the files of a package that the list keeps, and its copyright file; returns their bytes.
fn take(wanted: &Wanted, package: &Unpacked, root: &Path) -> Result<u64> {
    let mut unmatched: Vec<_> = wanted.keep.iter().collect();
    let copyright = format!("usr/share/doc/{}/copyright", wanted.name);
    let mut bytes = 0;
    for path in step::files_below(&package.dir)? {
        let relative = path.strip_prefix(&package.dir).unwrap_or(&path);
        let text = relative.to_string_lossy();
        let kept = wanted.keep.iter().any(|pattern| pattern.matches(&text));
        unmatched.retain(|pattern| !pattern.matches(&text));
        if kept || text == copyright {
            bytes += copy_file(&path, &root.join(relative))?;
        }
    }
    if let Some(pattern) = unmatched.first() {
        bail!("{}: {} has no {pattern}", List::FILE, wanted.name);
    }
    Ok(bytes)
}

fn install_programs(binaries: &Binaries, root: &Path) -> Result<u64> {
    let mut bytes = copy_file(&binaries.init, &root.join("usr/sbin/init"))?;
    for program in &binaries.services {
        let name = program.file_name().context("a program without a name")?;
        bytes += copy_file(program, &root.join("usr/bin").join(name))?;
    }
    Ok(bytes)
}

fn copy_tree(from: &Path, to: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in step::files_below(from)? {
        bytes += copy_file(&path, &to.join(path.strip_prefix(from).unwrap_or(&path)))?;
    }
    Ok(bytes)
}

/// Copies a file or symbolic link and returns its bytes; never replaces one.
fn copy_file(from: &Path, to: &Path) -> Result<u64> {
    ensure!(to.symlink_metadata().is_err(), "{} comes from two places", to.display());
    if let Some(parent) = to.parent() {
        make_dir(parent)?;
    }
    let failed = || format!("cannot copy {} to {}", from.display(), to.display());
    if from.is_symlink() {
        symlink(fs::read_link(from).with_context(failed)?, to).with_context(failed)?;
        return Ok(0);
    }
    fs::copy(from, to).with_context(failed)
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// Modes that do not depend on the umask of who builds: programs and directories 0755, other files
/// 0644; set-user-ID bits go.
fn set_modes(root: &Path) -> Result<()> {
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let failed = || format!("cannot set the mode of {}", path.display());
        let metadata = path.symlink_metadata().with_context(failed)?;
        if metadata.is_symlink() {
            continue;
        }
        let program = metadata.is_dir() || metadata.permissions().mode() & 0o111 != 0;
        let mode = if program { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).with_context(failed)?;
        if metadata.is_dir() {
            for entry in path.read_dir().with_context(failed)? {
                waiting.push(entry.with_context(failed)?.path());
            }
        }
    }
    Ok(())
}

/// Fails where a forbidden program or a script is below `root`.
fn check_nothing_forbidden(root: &Path) -> Result<()> {
    let mut found = Vec::new();
    for path in step::files_below(root)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let inside = path.strip_prefix(root).unwrap_or(&path).display();
        if FORBIDDEN.contains(&name.as_ref()) {
            found.push(format!("/{inside}: no shell and no login belongs on the image"));
        } else if is_script(&path)? {
            found.push(format!("/{inside}: a script, and nothing on the image can run it"));
        }
    }
    ensure!(found.is_empty(), "the root file system must not hold:\n  {}", found.join("\n  "));
    Ok(())
}

fn is_script(path: &Path) -> Result<bool> {
    let read = || -> std::io::Result<bool> {
        let metadata = path.symlink_metadata()?;
        if metadata.is_symlink() || metadata.permissions().mode() & 0o111 == 0 {
            return Ok(false);
        }
        let mut start = Vec::new();
        fs::File::open(path)?.take(2).read_to_end(&mut start)?;
        Ok(start == b"#!")
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("usr/bin")).unwrap();
            Self(dir)
        }

        fn write(&self, path: &str, content: &str, mode: u32) {
            fs::write(self.0.join(path), content).unwrap();
            fs::set_permissions(self.0.join(path), Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_shell_or_a_script_is_refused() {
        let root = Scratch::new("forbidden");
        root.write("usr/bin/tool", "\x7fELF", 0o755);
        root.write("usr/bin/data", "#!not run", 0o644);
        check_nothing_forbidden(&root.0).unwrap();
        symlink("tool", root.0.join("usr/bin/sh")).unwrap();
        root.write("usr/bin/start", "#!/bin/sh\n", 0o755);
        let error = check_nothing_forbidden(&root.0).unwrap_err().to_string();
        assert!(error.contains("/usr/bin/sh:") && error.contains("/usr/bin/start:"), "{error}");
        assert!(!error.contains("/usr/bin/tool"), "{error}");
    }

    #[test]
    fn modes_do_not_depend_on_the_builder() {
        let root = Scratch::new("modes");
        root.write("usr/bin/su", "\x7fELF", 0o4711);
        root.write("usr/text", "x", 0o600);
        set_modes(&root.0).unwrap();
        let mode = |path: &str| root.0.join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("usr/bin/su"), mode("usr/text"), mode("usr")), (0o755, 0o644, 0o755));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error() {
        let package = Scratch::new("package");
        package.write("usr/bin/tool", "\x7fELF", 0o755);
        let root = Scratch::new("root");
        let wanted: Wanted =
            toml::from_str("name = \"p\"\nwhy = \"w\"\nkeep = [\"usr/bin/tool\", \"usr/lib/*\"]")
                .unwrap();
        let unpacked = Unpacked { dir: package.0.clone() };
        let error = take(&wanted, &unpacked, &root.0).unwrap_err().to_string();
        assert_eq!(error, "image/packages.toml: p has no usr/lib/*");
    }
}
