//! The unified kernel image: systemd's EFI stub with kernel, initramfs and command line as further
//! sections. One file is the whole operating system.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process;

/// What goes into the image.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    /// `linuxx64.efi.stub`.
    pub stub: &'a Path,
    /// The text of `/etc/os-release`; the boot loader shows the name in it.
    pub os_release: &'a str,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// The kernel's release.
    pub release: &'a str,
    /// The initramfs.
    pub initrd: &'a Path,
    /// The kernel.
    pub kernel: &'a Path,
}

/// Sections start at multiples of this: the size of a page of memory.
const ALIGNMENT: u64 = 4096;

/// Writes the image; `scratch` is a directory for the sections' files.
///
/// # Errors
///
/// When a file cannot be read or written, or objcopy fails.
pub(crate) fn write(content: &Content<'_>, scratch: &Path, into: &Path) -> Result<()> {
    let text = |name: &str, text: &str| -> Result<PathBuf> {
        let path = scratch.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    // The kernel comes last: it unpacks itself behind its own section.
    let sections = [
        (".osrel", text("osrel", content.os_release)?),
        (".cmdline", text("cmdline", content.command_line)?),
        (".uname", text("uname", content.release)?),
        (".initrd", content.initrd.to_owned()),
        (".linux", content.kernel.to_owned()),
    ];
    let stub = fs::read(content.stub)
        .with_context(|| format!("cannot read {}", content.stub.display()))?;
    let mut address = end_of_sections(&stub).context("the EFI stub is not a PE32+ program")?;
    let mut objcopy = process::command("objcopy");
    for (name, file) in &sections {
        address = address.next_multiple_of(ALIGNMENT);
        let size =
            file.metadata().with_context(|| format!("cannot look at {}", file.display()))?.len();
        objcopy
            .arg("--add-section")
            .arg(format!("{name}={}", file.display()))
            .arg("--set-section-flags")
            .arg(format!("{name}=data,readonly"))
            .arg("--change-section-vma")
            .arg(format!("{name}={address:#x}"));
        address += size;
    }
    process::output(objcopy.arg(content.stub).arg(into))?;
    clear_time_and_checksum(into)
}

/// A command line as the kernel takes it: words with single spaces between.
pub(crate) fn command_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// objcopy puts the time of day into the header; with it no two builds are the same.
fn clear_time_and_checksum(path: &Path) -> Result<()> {
    let failed = || format!("cannot change {}", path.display());
    let mut image = fs::read(path).with_context(failed)?;
    let header = pe_header(&image).with_context(failed)?;
    for offset in [header + TIME_STAMP, header + CHECKSUM] {
        match image.get_mut(offset..offset + 4) {
            Some(field) => field.fill(0),
            None => bail!("{} ends within its header", path.display()),
        }
    }
    fs::write(path, image).with_context(failed)
}

// Offsets of the PE format (Microsoft PE Format, "COFF File Header", "Optional Header"), from the
// signature `PE\0\0` on.
const SECTION_COUNT: usize = 6;
const TIME_STAMP: usize = 8;
const OPTIONAL_SIZE: usize = 20;
const OPTIONAL: usize = 24;
const IMAGE_BASE: usize = OPTIONAL + 24;
const CHECKSUM: usize = OPTIONAL + 64;
const SECTION_SIZE: usize = 40;
const VIRTUAL_SIZE: usize = 8;
const VIRTUAL_ADDRESS: usize = 12;

/// Where `PE\0\0` stands.
fn pe_header(image: &[u8]) -> Option<usize> {
    let at = usize::try_from(number(image, 0x3c, 4)?).ok()?;
    (image.get(at..at + 4)? == b"PE\0\0").then_some(at)
}

/// The address behind the last section, with the image's base, as objcopy counts.
fn end_of_sections(image: &[u8]) -> Option<u64> {
    let header = pe_header(image)?;
    let base = number(image, header + IMAGE_BASE, 8)?;
    let count = usize::try_from(number(image, header + SECTION_COUNT, 2)?).ok()?;
    let optional = usize::try_from(number(image, header + OPTIONAL_SIZE, 2)?).ok()?;
    let mut end = 0;
    for index in 0..count {
        let section = header + OPTIONAL + optional + index * SECTION_SIZE;
        let size = number(image, section + VIRTUAL_SIZE, 4)?;
        end = end.max(number(image, section + VIRTUAL_ADDRESS, 4)? + size);
    }
    Some(base + end)
}

/// A little-endian number of `size` bytes, at most 8.
fn number(image: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = image.get(offset..offset.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_leave_the_command_line() {
        assert_eq!(command_line("quiet  panic=30\nconsole=tty0\n"), "quiet panic=30 console=tty0");
    }

    #[test]
    fn the_end_of_the_last_section_is_found() {
        let mut image = vec![0; 0x200];
        image[0x3c] = 0x40;
        image[0x40..0x44].copy_from_slice(b"PE\0\0");
        image[0x40 + SECTION_COUNT] = 2;
        image[0x40 + OPTIONAL_SIZE] = 0xf0;
        image[0x40 + IMAGE_BASE + 3] = 0x10;
        for (index, (size, address)) in [(0x30, 0x20), (0x10, 0x10)].iter().enumerate() {
            let section = 0x40 + OPTIONAL + 0xf0 + index * SECTION_SIZE;
            image[section + VIRTUAL_SIZE] = *size;
            image[section + VIRTUAL_ADDRESS + 1] = *address;
        }
        assert_eq!(end_of_sections(&image), Some(0x1000_0000 + 0x2030));
        assert_eq!(end_of_sections(&image[..0x100]), None);
    }
}
