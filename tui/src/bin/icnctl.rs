//! icnctl: the node on the command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tui::ctl::{Arguments, run};

fn main() -> Result<ExitCode> {
    run(&Arguments::parse())
}
