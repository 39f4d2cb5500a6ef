//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::content::SMALL;

/// Measures S3 and the engine below it.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The agent on this machine, from outside.
    S3(Options),
    /// What lies below HTTP.
    Engine(Options),
    /// Serves as something to compare with; started by the others.
    Peer(PeerArguments),
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of each measured round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Objects for listing, reopening and memory.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10..))]
    pub(crate) objects: u64,
    /// Bytes of each of these objects.
    #[arg(long, default_value_t = SMALL, value_parser = object_bytes)]
    pub(crate) object_bytes: usize,
    /// Folders that stand for disks.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=14))]
    pub(crate) disks: u16,
    /// The folder to work in; it must be on a disk.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The agent's program; needed for `s3`.
    #[arg(long)]
    pub(crate) agent: Option<PathBuf>,
    /// Where the figures go as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Only this work; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
}

impl Options {
    /// Whether this work is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Refuses names of works that are not there.
    ///
    /// # Errors
    /// Names the works that are there.
    pub(crate) fn check_only(&self, known: &[&str]) -> Result<()> {
        match self.only.iter().find(|only| !known.contains(&only.as_str())) {
            None => Ok(()),
            Some(only) => bail!("--only {only}: it is one of {}", known.join(", ")),
        }
    }
}

/// Bytes of a small object.
fn object_bytes(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(bytes @ 1..=SMALL) => Ok(bytes),
        _ => bail!("--object-bytes {text}: it is a number from 1 to {SMALL}"),
    }
}

#[derive(Debug, Args)]
pub(crate) struct PeerArguments {
    /// What it does.
    pub(crate) kind: PeerKind,
    /// Where `files` puts its objects.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Folders below it.
    #[arg(long)]
    pub(crate) disks: u16,
}

/// What a peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerKind {
    /// Reads the request, answers, stores nothing.
    Bare,
    /// A file per object: written, synced, renamed, its folder synced.
    Files,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn objects_have_at_least_one_byte_and_at_most_those_of_a_small_one() {
        assert_eq!(object_bytes("1").unwrap(), 1);
        assert_eq!(object_bytes("4096").unwrap(), SMALL);
        for wrong in ["0", "4097", "x"] {
            assert!(object_bytes(wrong).unwrap_err().to_string().contains("1 to 4096"));
        }
    }

    #[test]
    fn a_work_that_is_not_there_is_refused() {
        let line = ["bench", "s3", "--dir", "d", "--only", "get-small"];
        let Command::S3(options) = Arguments::parse_from(line).command else { panic!("s3") };
        assert!(options.wants("get-small") && !options.wants("put-small"));
        options.check_only(&["put-small", "get-small"]).unwrap();
        let error = options.check_only(&["put-small"]).unwrap_err().to_string();
        assert!(error.contains("get-small") && error.contains("put-small"), "{error}");
    }
}
