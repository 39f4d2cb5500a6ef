//! SLA oracles on the host, and a chain on which they settle, as [`test_network`] starts them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use test_network::{ChainPrograms, Network, Settings};

use crate::artefacts::{tool, workspace};

/// Starts oracles below `dir`, with eras of this length in seconds; they settle on no chain. Nobody is admitted yet.
///
/// # Errors
/// The program is not built or one does not start, with what it said.
pub fn start(dir: &Path, oracles: u8, era_seconds: u32) -> Result<Network> {
    Network::start(dir, settings(oracles, era_seconds)?)
}

/// The same, with a local chain on which they settle.
///
/// # Errors
/// As for [`start`], and what the chain is made with is not there.
pub fn start_with_chain(dir: &Path, oracles: u8, era_seconds: u32) -> Result<Network> {
    let chain = ChainPrograms {
        anvil: named_by("ICN_ANVIL")?,
        forge: named_by("ICN_FORGE")?,
        contracts: workspace().join("agent/settlement/contracts"),
        settle: tool("icn-settle")?,
    };
    Network::start(dir, Settings { chain: Some(chain), ..settings(oracles, era_seconds)? })
}

fn settings(oracles: u8, era_seconds: u32) -> Result<Settings> {
    Ok(Settings {
        oracle: tool("reference-oracle")?,
        oracles,
        era_seconds,
        // An emulated node has little to compute with.
        samples: 12,
        report_every: 10,
        chain: None,
    })
}

fn named_by(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable);
    path.map(PathBuf::from)
        .with_context(|| format!("{variable} names no program: run `cargo xtask test --node`"))
}
