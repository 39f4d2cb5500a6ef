//! `cargo xtask image`: the node's whole operating system as one EFI program, and the stick that
//! boots it. Needs neither root nor loop devices. `image/README.md` explains the parts.

mod binaries;
mod build;
mod disk;
mod elf;
mod initrd;
mod modules;
mod reproduce;
mod root;
mod sizes;
mod uki;
mod version;

use std::path::PathBuf;

use anyhow::Result;

use crate::deps::{self, Need};
use crate::layout::Layout;
pub(crate) use build::{Built, Compression};
pub(crate) use disk::Fat;

use version::Version;

/// Arguments of `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compress less: for development, saves most of the time and costs 10 % in size.
    #[arg(long)]
    fast: bool,

    /// Build a second time in another directory and fail unless all bits are the same.
    #[arg(long)]
    verify_reproducible: bool,

    /// Where to put the results [default: image in cargo's target directory; image-fast with
    /// --fast].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Builds the image of this workspace for other commands, into its usual directory.
///
/// # Errors
///
/// When a step fails.
pub(crate) fn build(layout: &Layout, compression: Compression) -> Result<Built> {
    build::build(layout, &Version::of(layout)?, compression, None)
}

/// `cargo xtask image`.
///
/// # Errors
///
/// When a step fails, or the image is larger than allowed.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(&[Need::Compile, Need::Image])?;
    let layout = Layout::find()?;
    let version = Version::of(&layout)?;
    let compression = if args.fast { Compression::Fast } else { Compression::Release };
    let built = build::build(&layout, &version, compression, args.out.as_deref())?;
    println!("{}", built.sizes.table());
    println!("{}\n{}", built.uki.display(), built.stick.display());
    println!("programs, which run here as well: {}", built.bin_dir.display());
    built.sizes.check()?;
    if args.verify_reproducible {
        reproduce::verify(&layout, &version, compression, &built)?;
    }
    Ok(())
}
