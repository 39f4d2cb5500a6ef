//! `cargo xtask contracts`: builds and tests the settlement contracts, and keeps what is made from them.
//!
//! Compiler, test runner and libraries are npm packages that package-lock.json pins with their hashes. They
//! lie beside the other downloads and are linked into the folder.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::deps::{self, Need};
use crate::layout::Layout;
use crate::process;
use crate::step::{self, Inputs, Stamps};

/// The folder of the contracts, from the workspace's root.
const FOLDER: &str = "agent/settlement/contracts";

/// Where forge is among the npm packages.
const FORGE: &str = "@foundry-rs/forge-linux-amd64/bin/forge";

/// The contracts whose ABI others need.
const CONTRACTS: [&str; 7] = [
    "CollateralVault",
    "Disputes",
    "EraManager",
    "NodeRegistry",
    "OracleRegistry",
    "RewardClaims",
    "SlaSettlement",
];

/// Where the table of gas stands, from the workspace's root.
const TABLE_FILE: &str = "docs/design/settlement.md";

/// What the table stands between.
const TABLE_MARKS: (&str, &str) = ("<!-- gas: begin -->", "<!-- gas: end -->");

/// Arguments of `cargo xtask contracts`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name matches this.
    filter: Option<String>,
    /// Write ABI, gas and its table as they are now, where without this a difference is an error.
    #[arg(long)]
    update: bool,
}

/// Runs the contracts' tests.
///
/// # Errors
///
/// When one fails, what is kept is not what is so, or something cannot be fetched or built.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(&[Need::Contracts])?;
    let layout = Layout::find()?;
    let folder = layout.root.join(FOLDER);
    let forge = forge(&layout)?;
    step::timed("contracts", || test(&forge, &folder, args))?;
    // Gas is complete only where all tests ran.
    if args.filter.is_some() {
        return Ok(());
    }
    for contract in CONTRACTS {
        let abi = abi(&folder, contract)?;
        keep(&folder.join("abi").join(format!("{contract}.json")), &abi, args.update)?;
    }
    let path = layout.root.join(TABLE_FILE);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let renewed = step::between(&text, TABLE_MARKS, &table(&folder)?)
        .with_context(|| format!("{TABLE_FILE} has no marks for the table of gas"))?;
    keep(&path, &renewed, args.update)
}

/// The local chain that tests settle on.
///
/// # Errors
///
/// When it cannot be fetched.
pub(crate) fn anvil(layout: &Layout) -> Result<PathBuf> {
    let modules = modules(layout, &layout.root.join(FOLDER))?;
    Ok(modules.join("@foundry-rs/anvil-linux-amd64/bin/anvil"))
}

/// What deploys the contracts to a local chain; its libraries are linked into their folder.
///
/// # Errors
///
/// When it cannot be fetched.
pub(crate) fn forge(layout: &Layout) -> Result<PathBuf> {
    let folder = layout.root.join(FOLDER);
    let modules = modules(layout, &folder)?;
    link(&modules, &folder.join("node_modules"))?;
    Ok(modules.join(FORGE))
}

/// The folder with the npm packages of the lock; fetched where they are not there.
fn modules(layout: &Layout, folder: &Path) -> Result<PathBuf> {
    let inputs = Inputs::new()
        .file(&folder.join("package-lock.json"))?
        .file(&folder.join("package.json"))?;
    let place = layout.cache.join("contracts");
    let modules = place.join("node_modules");
    Stamps::open(&place.join("stamps"))?.step("npm packages", &inputs, &modules, || {
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            let from = folder.join(name);
            fs::copy(&from, place.join(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        process::output(process::command("npm").arg("ci").current_dir(&place)).map(drop)
    })?;
    Ok(modules)
}

/// Makes `link` lead to `target`, unless it does.
fn link(target: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| {
                format!("cannot remove {}: remove it yourself, it is made anew", link.display())
            });
        }
        _ => {}
    }
    symlink(target, link).with_context(|| format!("cannot make the link {}", link.display()))
}

fn test(forge: &Path, folder: &Path, args: &Args) -> Result<()> {
    let program = |argument: &str| -> Command {
        let mut command = process::command(&forge.to_string_lossy());
        command.arg(argument).current_dir(folder);
        command
    };
    process::output(program("fmt").arg("--check"))?;
    let mut command = program("test");
    if let Some(filter) = &args.filter {
        command.args(["--match-test", filter]);
    }
    if args.update {
        command.env("FORGE_SNAPSHOT_CHECK", "false");
    }
    process::output(&mut command).map(drop)
}

/// The ABI of a contract that was built: functions, events and errors, an entry a line.
fn abi(folder: &Path, contract: &str) -> Result<String> {
    let artefact = read(&folder.join(format!("out/{contract}.sol/{contract}.json")))?;
    let entries = artefact
        .get("abi")
        .and_then(Value::as_array)
        .with_context(|| format!("forge made no ABI of {contract}"))?;
    let lines: Vec<String> = entries.iter().map(|entry| minimal(entry).to_string()).collect();
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// An entry without what only tells where its types come from.
fn minimal(entry: &Value) -> Value {
    match entry {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "internalType")
            .map(|(name, value)| (name.clone(), minimal(value)))
            .collect(),
        Value::Array(values) => values.iter().map(minimal).collect(),
        other => other.clone(),
    }
}

/// The table of gas, from what the tests measured.
fn table(folder: &Path) -> Result<String> {
    let snapshot: BTreeMap<String, String> =
        serde_json::from_value(read(&folder.join("snapshots/Gas.json"))?)
            .context("snapshots/Gas.json is not what forge writes")?;
    let mut table = "| call | gas |\n|---|---|\n".to_owned();
    for (call, gas) in snapshot {
        writeln!(table, "| {call} | {gas} |")?;
    }
    Ok(table)
}

fn read(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// That a file says `text`; with `update`, it does afterwards.
fn keep(path: &Path, text: &str, update: bool) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    if !update {
        bail!(
            "{} is not what the contracts are now: run `cargo xtask contracts --update` and look \
             at what changed",
            path.display()
        );
    }
    step::replace_file(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_types_come_from_is_left_out_at_every_depth() {
        let entry: Value = serde_json::from_str(
            r#"{"type":"function","inputs":[{"name":"a","internalType":"struct A",
                "components":[{"name":"b","type":"uint8","internalType":"enum B"}]}]}"#,
        )
        .unwrap();
        let left = minimal(&entry).to_string();
        assert!(!left.contains("internalType") && left.contains(r#""name":"b""#), "{left}");
    }

    #[test]
    fn what_is_kept_is_changed_only_where_that_is_wanted() {
        let folder = std::env::temp_dir().join(format!("icn-keep-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("kept");
        assert!(keep(&path, "new", false).is_err());
        keep(&path, "new", true).unwrap();
        keep(&path, "new", false).unwrap();
        assert!(keep(&path, "newer", false).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_link_is_made_and_made_anew() {
        let folder = std::env::temp_dir().join(format!("icn-link-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let place = folder.join("link");
        for target in ["a", "a", "b"] {
            link(&folder.join(target), &place).unwrap();
            assert_eq!(fs::read_link(&place).unwrap(), folder.join(target));
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
