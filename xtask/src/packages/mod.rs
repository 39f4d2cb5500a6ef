//! The Debian packages that the image is made of: a short list written by hand
//! (`image/packages.toml`), the exact files it stands for (`image/packages.lock`), and the
//! download of those.

mod fetch;
mod glob;
mod list;
mod lock;
mod mirror;
mod resolve;

use anyhow::Result;

pub(crate) use fetch::{Unpacked, fetch, unpack};
pub(crate) use list::{List, Part, Wanted};
pub(crate) use lock::Lock;

use crate::deps::{self, Need};
use crate::layout::Layout;

/// Arguments of `cargo xtask lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {}

/// `cargo xtask lock`: asks the mirror for the newest version of every listed package and writes
/// the lock file anew.
///
/// # Errors
///
/// When the mirror cannot be reached or does not have a package.
pub(crate) fn command(_args: &LockArgs) -> Result<()> {
    deps::ensure(&[Need::Image])?;
    let layout = Layout::find()?;
    let list = List::read(&layout)?;
    let old = Lock::read(&layout).ok();
    let new = resolve::resolve(&layout, &list)?;
    let changes = new.changes_since(old.as_ref());
    new.write(&layout)?;
    if changes.is_empty() {
        println!("{}: {} packages, no change", Lock::FILE, new.packages.len());
    } else {
        for change in &changes {
            println!("  {change}");
        }
        println!("{}: {} packages, {} changed", Lock::FILE, new.packages.len(), changes.len());
    }
    Ok(())
}
