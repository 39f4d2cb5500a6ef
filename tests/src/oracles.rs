//! SLA oracles on the host, as [`test_network`] starts them.

use std::path::Path;

use anyhow::Result;
use test_network::{Network, Settings};

use crate::artefacts::tool;

/// Starts oracles below `dir`, with eras of this length in seconds; they settle on no chain. Nobody is admitted yet.
///
/// # Errors
/// The program is not built or one does not start, with what it said.
pub fn start(dir: &Path, oracles: u8, era_seconds: u32) -> Result<Network> {
    let settings = Settings {
        oracle: tool("reference-oracle")?,
        oracles,
        era_seconds,
        // An emulated node has little to compute with.
        samples: 12,
        report_every: 10,
        chain: None,
    };
    Network::start(dir, settings)
}
