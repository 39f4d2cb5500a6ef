//! Measures what docs/performance.md shows. Run it as `cargo xtask bench`.
//!
//! Prints one JSON object per measurement on standard output and progress on standard error.
#![expect(clippy::print_stdout, reason = "the results go to standard output")]

mod boot;
mod limits;
mod s3;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let results = match arguments.next().as_deref() {
        Some("boot") => boot::measure()?,
        Some("s3") => s3::measure()?,
        other => bail!("`boot` or `s3` was wanted, not {other:?}"),
    };
    println!("{}", serde_json::to_string_pretty(&results)?);
    Ok(())
}
