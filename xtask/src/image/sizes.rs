//! How large the image is, part by part, and how large it may be.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::step;

/// The largest unified kernel image allowed, in bytes: it is held in memory as a whole.
const UKI_BUDGET: u64 = 60_000_000;

/// The largest stick image allowed, in bytes.
const STICK_BUDGET: u64 = 96_000_000;

/// Bytes in the root file system before compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootSizes {
    /// Kernel modules.
    pub modules: u64,
    /// Device firmware.
    pub firmware: u64,
    /// Programs and libraries of Debian packages.
    pub packages: u64,
    /// Our own programs.
    pub programs: u64,
}

/// Bytes of everything; the form of `sizes.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Inside the root file system, uncompressed.
    pub root: RootSizes,
    /// The root file system, compressed.
    pub squashfs: u64,
    /// The kernel.
    pub kernel: u64,
    /// The initramfs, with the root file system in it.
    pub initramfs: u64,
    /// The unified kernel image, with kernel and initramfs in it.
    pub uki: u64,
    /// The stick's image, with the unified kernel image in it.
    pub stick: u64,
}

impl Sizes {
    /// The sizes as a table.
    pub(crate) fn table(&self) -> String {
        let Self { root, squashfs, kernel, initramfs, uki, stick } = self;
        let rows = [
            ("kernel modules (in the root)", root.modules),
            ("firmware (in the root)", root.firmware),
            ("Debian packages (in the root)", root.packages),
            ("our programs (in the root)", root.programs),
            ("root file system, compressed", *squashfs),
            ("kernel", *kernel),
            ("initramfs with the root", *initramfs),
            ("icn-node.efi", *uki),
            ("icn-node.img", *stick),
        ];
        let line = |(name, bytes): &(&str, u64)| {
            format!("  {name:<30} {:>5}.{:02} MB\n", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
        };
        rows.iter().map(line).collect()
    }

    /// Writes `sizes.json`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write sizes as JSON")?;
        step::replace_file(path, format!("{text}\n").as_bytes())
    }

    /// Fails where something is larger than it may be.
    ///
    /// # Errors
    ///
    /// Names what is too large and by how much.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, bytes, budget) in
            [("icn-node.efi", self.uki, UKI_BUDGET), ("icn-node.img", self.stick, STICK_BUDGET)]
        {
            ensure!(
                bytes <= budget,
                "{name} has {bytes} bytes, {} more than allowed: see the table for the part to cut",
                bytes - budget
            );
        }
        Ok(())
    }
}

/// The size of a file in bytes.
///
/// # Errors
///
/// When it cannot be looked at.
pub(crate) fn of(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_over_its_budget_is_refused() {
        let root = RootSizes { modules: 1, firmware: 1, packages: 1, programs: 1 };
        let mut sizes = Sizes {
            root,
            squashfs: 1,
            kernel: 1,
            initramfs: 1,
            uki: 60_000_000,
            stick: 90_000_000,
        };
        sizes.check().unwrap();
        sizes.uki += 1;
        let error = sizes.check().unwrap_err().to_string();
        assert!(error.starts_with("icn-node.efi has 60000001 bytes, 1 more"), "{error}");
    }

    #[test]
    fn the_table_shows_megabytes() {
        let root = RootSizes { modules: 12_345_678, firmware: 0, packages: 0, programs: 0 };
        let sizes = Sizes { root, squashfs: 0, kernel: 0, initramfs: 0, uki: 0, stick: 0 };
        assert!(sizes.table().starts_with("  kernel modules (in the root)      12.34 MB\n"));
    }
}
