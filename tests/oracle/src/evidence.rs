//! `reference-oracle evidence`.

use std::fs;
use std::path::{Path, PathBuf};

use agent_sla::protocol::parameters::Era;
use anyhow::{Context as _, Result, bail};
use reference_oracle::settle::evidence::{Equivocation, found};
use reference_oracle::setup::parameters;

/// Where evidence is looked for, and where it goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An oracle's folder; nothing in it is changed, and the oracle may be running.
    #[arg(long)]
    data: PathBuf,
    /// The parameters of the network, JSON or TOML.
    #[arg(long)]
    parameters: PathBuf,
    /// Only of this era.
    #[arg(long)]
    era: Option<u64>,
    /// A folder that takes a file for each; without it they go to standard output, a line each.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Writes what shows that oracles voted twice; an error where there is nothing.
pub(crate) fn command(args: &Args) -> Result<()> {
    let parameters = parameters(&args.parameters)?;
    let votes = args.data.join("settle").join("votes");
    if !votes.is_dir() {
        bail!("{} has no votes: name the folder of an oracle that settles", args.data.display());
    }
    let found = found(&votes, &parameters, args.era.map(Era))?;
    if found.is_empty() {
        bail!(
            "no oracle voted twice on a node and era, as far as the votes in {} show",
            votes.display()
        );
    }
    for one in &found {
        match &args.out {
            None => println!("{}", serde_json::to_string(one)?),
            Some(folder) => println!("{}", write(folder, one)?.display()),
        }
    }
    Ok(())
}

/// Writes one, and gives its file. What is there under that name is the same evidence, or of the same oracle and era.
fn write(folder: &Path, one: &Equivocation) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("equivocation-{}-{}.json", one.era(), one.oracle()));
    let text = serde_json::to_string_pretty(one)?;
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
