//! Measures how long a node takes to its first object. Run it as `cargo xtask bench boot`.
//!
//! Prints one JSON object on standard output and progress on standard error.
#![expect(clippy::print_stdout, reason = "the results go to standard output")]

mod boot;

use anyhow::Result;

fn main() -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&boot::measure()?)?);
    Ok(())
}
