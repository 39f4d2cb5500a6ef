//! The kernel modules of the image: `image/modules.txt` with what those modules depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::step;

/// The group whose modules init loads before the root file system is mounted.
const INITRAMFS: &str = "initramfs";

/// How many files one xz decompresses: keeps its command line short.
const FILES_PER_XZ: usize = 64;

/// The modules chosen, unpacked below a directory that stands for `/`.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The directory: it holds `lib/modules/RELEASE`.
    pub dir: PathBuf,
    /// The kernel's release, such as `6.12.1-amd64`.
    pub release: String,
}

impl Modules {
    /// The modules that an earlier [`choose`] put below `dir`.
    ///
    /// # Errors
    ///
    /// When there is not exactly one kernel release.
    pub(crate) fn below(dir: &Path) -> Result<Self> {
        Ok(Self { dir: dir.to_owned(), release: release_below(&dir.join("lib/modules"))? })
    }

    /// Where the modules are.
    pub(crate) fn release_dir(&self) -> PathBuf {
        self.dir.join("lib/modules").join(&self.release)
    }

    /// The files that init loads from the initramfs, in order.
    ///
    /// # Errors
    ///
    /// When the list written by [`choose`] cannot be read.
    pub(crate) fn initramfs(&self) -> Result<Vec<PathBuf>> {
        let path = self.dir.join(INITRAMFS);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().map(|line| self.release_dir().join(line)).collect())
    }
}

/// Takes the modules of the list `wanted` out of an unpacked kernel package, decompresses them
/// (the squashfs compresses better as a whole) and indexes them.
///
/// # Errors
///
/// When the list names an unknown module, or a program fails.
pub(crate) fn choose(wanted: &str, kernel: &Path, into: &Path) -> Result<()> {
    let list = parse(wanted)?;
    let release = release_below(&kernel.join("usr/lib/modules"))?;
    let from = kernel.join("usr/lib/modules").join(&release);
    let index = Index::of(kernel, &release, &from)?;

    let modules = Modules { dir: into.to_owned(), release };
    if into.exists() {
        fs::remove_dir_all(into).with_context(|| format!("cannot remove {}", into.display()))?;
    }
    let chosen = index.with_dependencies(list.values().flatten())?;
    copy(&chosen, &from, &modules.release_dir())?;
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let target = modules.release_dir().join(name);
        fs::copy(from.join(name), &target)
            .with_context(|| format!("cannot make {}", target.display()))?;
    }
    let early: Vec<String> = index
        .with_dependencies(list.get(INITRAMFS).into_iter().flatten())?
        .iter()
        .map(|path| format!("{}\n", uncompressed(path)))
        .collect();
    step::replace_file(&into.join(INITRAMFS), early.concat().as_bytes())?;
    process::output(process::command("depmod").arg("-b").arg(into).arg(&modules.release))?;
    Ok(())
}

/// Group → names, both as written but with underscores.
fn parse(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut group = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            group = Some(groups.entry(name.to_owned()).or_default());
            continue;
        }
        for name in line.split_whitespace() {
            match &mut group {
                Some(names) => names.push(name.replace('-', "_")),
                None => bail!("modules.txt: {name} stands before the first [group]"),
            }
        }
    }
    ensure!(groups.contains_key(INITRAMFS), "modules.txt has no group [{INITRAMFS}]");
    Ok(groups)
}

/// What the kernel package has.
struct Index {
    /// Module name → its file, and the files it depends on in the order in which to load them.
    modules: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
}

impl Index {
    fn of(kernel: &Path, release: &str, dir: &Path) -> Result<Self> {
        // depmod looks below lib, where Debian has had usr/lib since version 12.
        let link = kernel.join("lib");
        if !link.exists() {
            std::os::unix::fs::symlink("usr/lib", &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
        }
        process::output(process::command("depmod").arg("-b").arg(kernel).arg(release))?;
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Self::parse(&read("modules.dep")?, &read("modules.builtin")?))
    }

    /// Reads `modules.dep` (`file: dependencies`, the one to load first at the end) and
    /// `modules.builtin`.
    fn parse(dependencies: &str, builtin: &str) -> Self {
        let modules = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(file, needs)| {
                let needs = needs.split_whitespace().rev().map(str::to_owned).collect();
                (name_of(file), (file.to_owned(), needs))
            })
            .collect();
        Self { modules, builtin: builtin.lines().map(name_of).collect() }
    }

    /// The files of the named modules and of all they depend on, each once, in an order in which
    /// they can be loaded.
    fn with_dependencies<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<Vec<String>> {
        let mut files = Vec::new();
        let mut add = |file: &String| {
            if !files.contains(file) {
                files.push(file.clone());
            }
        };
        let mut unknown = Vec::new();
        for name in names {
            match self.modules.get(name) {
                Some((file, needs)) => {
                    needs.iter().for_each(&mut add);
                    add(file);
                }
                None if self.builtin.contains(name) => {}
                None => unknown.push(name.as_str()),
            }
        }
        ensure!(unknown.is_empty(), "modules.txt: the kernel has no {}", unknown.join(", "));
        Ok(files)
    }
}

fn copy(files: &[String], from: &Path, to: &Path) -> Result<()> {
    for file in files {
        let target = to.join(file);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::copy(from.join(file), &target)
            .with_context(|| format!("cannot make {}", target.display()))?;
    }
    let compressed: Vec<_> = files.iter().filter(|file| file.ends_with(".xz")).collect();
    for some in compressed.chunks(FILES_PER_XZ) {
        process::output(process::command("xz").current_dir(to).arg("-d").args(some))?;
    }
    Ok(())
}

fn uncompressed(file: &str) -> &str {
    file.strip_suffix(".xz").unwrap_or(file)
}

fn name_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

fn release_below(dir: &Path) -> Result<String> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let names: Vec<_> = entries.flatten().map(|e| e.file_name()).collect();
    match names.as_slice() {
        [one] => Ok(one.to_string_lossy().into_owned()),
        _ => bail!("{} holds {} kernel releases, expected one", dir.display(), names.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\n\
        kernel/lib/libcrc32c.ko.xz:\n\
        kernel/drivers/nvme/host/nvme.ko.xz: kernel/drivers/nvme/host/nvme-core.ko.xz \
        kernel/drivers/nvme/common/nvme-auth.ko.xz\n\
        kernel/drivers/nvme/host/nvme-core.ko.xz: kernel/drivers/nvme/common/nvme-auth.ko.xz\n\
        kernel/drivers/nvme/common/nvme-auth.ko.xz:\n";

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn dependencies_come_before_what_needs_them() {
        let index = Index::parse(DEP, "kernel/net/ipv6/ipv6.ko\n");
        let files = index.with_dependencies(names(&["nvme", "nvme_core", "ipv6"]).iter()).unwrap();
        let found: Vec<_> = files.iter().map(|file| name_of(file)).collect();
        assert_eq!(found, ["nvme_auth", "nvme_core", "nvme"]);
    }

    #[test]
    fn an_unknown_module_is_named() {
        let index = Index::parse(DEP, "");
        let error = index.with_dependencies(names(&["xfs", "nope"]).iter()).unwrap_err();
        assert_eq!(error.to_string(), "modules.txt: the kernel has no nope");
    }

    #[test]
    fn the_list_is_read_by_group() {
        let groups = parse("# why\n[initramfs]\nloop squashfs # both\n[x]\nnvme-core\n").unwrap();
        assert_eq!(groups["initramfs"], ["loop", "squashfs"]);
        assert_eq!(groups["x"], ["nvme_core"]);
        assert!(parse("loop\n").is_err());
    }
}
