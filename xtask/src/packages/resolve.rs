//! Asks the mirror for the newest version of every listed package, with an apt state of its own:
//! neither the packages nor the sources of this machine are read or changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::list::{List, Wanted};
use super::lock::{Archive, Lock, Pinned};
use super::mirror::Mirror;
use crate::layout::Layout;
use crate::process;
use crate::step;

/// Signs every Debian release.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Makes a new lock for the list.
///
/// # Errors
///
/// When no mirror is known or reachable, or it lacks a package.
pub(crate) fn resolve(layout: &Layout, list: &List) -> Result<Lock> {
    let mirror = Mirror::find()?;
    let apt = PrivateApt::new(&layout.target.join("apt"), list, &mirror)?;
    step::timed("package index", || process::output(apt.command("apt-get").arg("update")))?;
    let packages = step::timed("versions", || pins(&apt, &mirror, list))?;
    Ok(Lock::new(&list.suite, packages))
}

/// Pins all packages. apt is asked about many at a time, as it reads its whole index each time.
fn pins(apt: &PrivateApt, mirror: &Mirror, list: &List) -> Result<Vec<Pinned>> {
    let mut records = BTreeMap::new();
    apt.records(list.packages.iter().map(|wanted| wanted.name.as_str()), &mut records)?;
    let names: Vec<String> =
        list.packages.iter().map(|wanted| actual_name(wanted, &records)).collect::<Result<_>>()?;
    let new: Vec<&str> =
        names.iter().filter(|name| !records.contains_key(*name)).map(String::as_str).collect();
    apt.records(new.into_iter(), &mut records)?;
    let archives = apt.archives(mirror, &names)?;
    list.packages
        .iter()
        .zip(names)
        .map(|(wanted, name)| {
            let record = record_of(&records, &name)?;
            Ok(Pinned {
                wanted_as: (wanted.name != name).then(|| wanted.name.clone()),
                version: field(record, "Version")?,
                architecture: field(record, "Architecture")?,
                archive: *archives
                    .get(&name)
                    .with_context(|| format!("apt gives {name} no address on the mirror"))?,
                path: field(record, "Filename")?,
                size: field(record, "Size")?.parse().context("a size is not a number")?,
                sha256: field(record, "SHA256")?,
                name,
            })
        })
        .collect()
}

/// The package itself: for a metapackage, that one of its dependencies that is wanted.
fn actual_name(wanted: &Wanted, records: &BTreeMap<String, String>) -> Result<String> {
    let record = record_of(records, &wanted.name)?;
    let Some(prefix) = &wanted.dependency else {
        return Ok(wanted.name.clone());
    };
    field(record, "Depends")?
        .split(',')
        .filter_map(|one| one.split_whitespace().next())
        .find(|name| name.starts_with(prefix.as_str()))
        .map(str::to_owned)
        .with_context(|| format!("{} depends on nothing named {prefix}…", wanted.name))
}

fn record_of<'a>(records: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str> {
    let record = records.get(name).map(String::as_str);
    record.with_context(|| format!("{}: the mirror has no package {name}", List::FILE))
}

/// A field of a package record.
fn field(record: &str, name: &str) -> Result<String> {
    record
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .with_context(|| format!("the index has a package without {name}:\n{record}"))
}

/// apt with sources, lists and status of its own.
struct PrivateApt {
    config: PathBuf,
}

impl PrivateApt {
    fn new(dir: &Path, list: &List, mirror: &Mirror) -> Result<Self> {
        let make = |sub: &str| {
            let path = dir.join(sub);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
            Ok::<PathBuf, anyhow::Error>(path)
        };
        let lists = make("lists/partial")?;
        let lists = lists.parent().unwrap_or(&lists).to_owned();
        let cache = make("cache/archives/partial")?;
        let cache = cache.ancestors().nth(2).unwrap_or(&cache).to_owned();
        let status = dir.join("status");
        step::replace_file(&status, b"")?;
        let sources = dir.join("sources.list");
        step::replace_file(&sources, sources_list(list, mirror).as_bytes())?;
        let config = dir.join("apt.conf");
        step::replace_file(&config, configuration(&sources, &lists, &cache, &status).as_bytes())?;
        Ok(Self { config })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = process::command(program);
        command.arg("--config-file").arg(&self.config);
        command
    }

    /// Adds the index record of the newest version of each package.
    fn records<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        into: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let text = process::output(
            self.command("apt-cache").args(["show", "--no-all-versions"]).args(names),
        )
        .with_context(|| format!("the mirror lacks a package of {}", List::FILE))?;
        for record in text.split("\n\n").filter(|record| !record.trim().is_empty()) {
            into.insert(field(record, "Package")?, record.to_owned());
        }
        Ok(())
    }

    /// Which archive the newest version of each package comes from.
    fn archives(&self, mirror: &Mirror, names: &[String]) -> Result<BTreeMap<String, Archive>> {
        let text = process::output(
            self.command("apt-get").args(["download", "--print-uris"]).args(names),
        )?;
        // 'ADDRESS' NAME_VERSION_ARCHITECTURE.deb SIZE SHA256:…
        let archive = |line: &str| {
            let mut words = line.split_whitespace();
            let (archive, _) = mirror.split(words.next()?.trim_matches('\''))?;
            let (name, _) = words.next()?.split_once('_')?;
            Some((name.to_owned(), archive))
        };
        Ok(text.lines().filter_map(archive).collect())
    }
}

fn sources_list(list: &List, mirror: &Mirror) -> String {
    let mut text = String::new();
    let suite = &list.suite;
    for (archive, suffixes) in
        [(Archive::Main, &["", "-updates"] as &[&str]), (Archive::Security, &["-security"])]
    {
        for suffix in suffixes {
            if let Some(base) = mirror.base(archive) {
                let areas = list.components.join(" ");
                let _ = writeln!(text, "deb [signed-by={KEYRING}] {base} {suite}{suffix} {areas}");
            }
        }
    }
    text
}

/// Read by apt after this machine's own configuration, so that its proxies hold but neither its
/// sources nor its hooks.
fn configuration(sources: &Path, lists: &Path, cache: &Path, status: &Path) -> String {
    format!(
        r#"Dir::Etc::SourceList "{sources}";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "{lists}";
Dir::State::status "{status}";
Dir::Cache "{cache}";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi;
"#,
        sources = sources.display(),
        lists = lists.display(),
        status = status.display(),
        cache = cache.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_by_whole_name() {
        let record = "Package: kmod\nVersion: 34.2-2\nInstalled-Size: 9\nSize: 95704\n";
        assert_eq!(field(record, "Size").unwrap(), "95704");
        assert_eq!(field(record, "Package").unwrap(), "kmod");
        assert!(field(record, "SHA256").is_err());
    }
}
