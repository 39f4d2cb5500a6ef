//! The initramfs: init, the modules it needs first, and the root file system, as a cpio archive.
//!
//! It is written here and not by cpio, so that a device node needs no root and nothing of the
//! building machine (inodes, owners, times) gets in. Not compressed: nearly all of it is the
//! squashfs, which is.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// What goes into the initramfs.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    /// The static init.
    pub init: &'a Path,
    /// Kernel modules in the order in which init loads them.
    pub modules: Vec<PathBuf>,
    /// The root file system.
    pub root: &'a Path,
}

/// Writes the archive:
///
/// - `/init`
/// - `/modules/*.ko`, and `/modules/order` with one file name a line
/// - `/rootfs.squashfs`
/// - `/dev/null`, for an init that is started without any console;
/// - `/dev/console`, which the kernel opens as init's standard output before `/dev` is mounted
/// - `/sysroot` and the other directories that init mounts on
///
/// # Errors
///
/// When a file cannot be read or the archive cannot be written.
pub(crate) fn write(content: &Content<'_>, into: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", into.display());
    let file = fs::File::create(into).with_context(failed)?;
    let mut archive = Archive { out: io::BufWriter::new(file), written: 0, inode: 0 };
    for dir in ["dev", "modules", "proc", "run", "sys", "sysroot"] {
        archive.entry(dir, DIRECTORY, (0, 0), &[]).with_context(failed)?;
    }
    archive.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[]).with_context(failed)?;
    archive.entry("dev/null", CHARACTER_DEVICE, (1, 3), &[]).with_context(failed)?;
    archive.file("init", PROGRAM, content.init)?;
    let mut order = String::new();
    for module in &content.modules {
        let name = module.file_name().context("a module without a name")?.to_string_lossy();
        archive.file(&format!("modules/{name}"), PLAIN, module)?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.entry("modules/order", PLAIN, (0, 0), order.as_bytes()).with_context(failed)?;
    archive.file("rootfs.squashfs", PLAIN, content.root)?;
    archive.finish().with_context(failed)
}

/// A cpio archive of the form "newc" (Linux, Documentation/driver-api/early-userspace).
struct Archive<W> {
    out: W,
    written: usize,
    inode: u32,
}

impl<W: Write> Archive<W> {
    fn file(&mut self, name: &str, mode: u32, path: &Path) -> Result<()> {
        let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.entry(name, mode, (0, 0), &data).with_context(|| format!("cannot add {name}"))
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        (major, minor): (u32, u32),
        data: &[u8],
    ) -> io::Result<()> {
        let size = u32::try_from(data.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "4 GiB or more"))?;
        self.inode += 1;
        let name_size = u32::try_from(name.len() + 1)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "name too long"))?;
        // ino, mode, uid, gid, nlink, mtime, filesize, dev 0:0, rdev, namesize, check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.put(header.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.align()?;
        self.put(data)?;
        self.align()
    }

    fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()
    }

    fn align(&mut self) -> io::Result<()> {
        let padding = self.written.next_multiple_of(4) - self.written;
        self.put(&vec![0; padding])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it() {
        let mut out = Vec::new();
        let mut archive = Archive { out: &mut out, written: 0, inode: 0 };
        archive.entry("a", PLAIN, (0, 0), b"hello").unwrap();
        archive.finish().unwrap();
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(text.starts_with("07070100000001000081a4"), "{text}");
        assert_eq!(&text[54..62], "00000005", "the size");
        assert_eq!(&out[110..112], b"a\0");
        assert_eq!(&out[112..117], b"hello");
        assert_eq!(&out[120..126], b"070701", "the next header is aligned to 4");
        assert!(text.contains("TRAILER!!!"));
        assert_eq!(out.len() % 4, 0);
    }
}
