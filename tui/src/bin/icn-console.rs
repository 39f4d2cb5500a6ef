//! icn-console: the node on tty1 and the serial lines.

use anyhow::Result;
use clap::Parser;
use tui::console::{Arguments, run};

fn main() -> Result<()> {
    run(&Arguments::parse())
}
