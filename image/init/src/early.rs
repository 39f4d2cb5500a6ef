//! Stage 1: from the initramfs to the root file system that is packed inside it.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::mount::{MountFlags, mount, mount_move};

use crate::kmsg::{self, Level};
use crate::{mounts, sys};

/// The root file system inside the initramfs; that it is there tells stage 1 from stage 2.
pub(crate) const ROOT_IMAGE: &str = "/rootfs.squashfs";

/// Where the root file system is mounted before it becomes the root.
const NEW_ROOT: &str = "/sysroot";

/// Kernel modules inside the initramfs, and the file that says in which order they are loaded.
const MODULES: &str = "/modules";
const ORDER: &str = "/modules/order";

/// Most modules that stage 1 loads: it needs loop and squashfs, and what they depend on.
const MAX_MODULES: usize = 64;

/// `MODULE_INIT_COMPRESSED_FILE` of linux/module.h: the kernel unpacks the file.
const COMPRESSED: i32 = 4;

/// PID 1 within the root file system.
const INIT: &str = "/usr/sbin/init";

/// Why the root file system cannot be reached. There is no way on from here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EarlyError {
    #[error("cannot mount {kind} on {target}")]
    Mount { kind: &'static str, target: &'static str, source: io::Error },
    #[error("cannot put {ROOT_IMAGE} behind a loop device; is the module loop in {MODULES}?")]
    Loop { source: io::Error },
    #[error("cannot mount {ROOT_IMAGE}: is the module squashfs in {MODULES}, the image whole?")]
    RootImage { source: io::Error },
    #[error("cannot make {NEW_ROOT} the root file system")]
    Switch { source: io::Error },
    #[error("cannot start {INIT} of the root file system")]
    Exec { source: io::Error },
}

/// Runs stage 1; comes back only with an error.
///
/// # Errors
///
/// When the root file system cannot be reached.
pub(crate) fn run() -> Result<Infallible, EarlyError> {
    let start = Instant::now();
    for entry in &mounts::EARLY {
        let _ = fs::create_dir(entry.target);
        mounts::attach(entry).map_err(|source| EarlyError::Mount {
            kind: entry.kind,
            target: entry.target,
            source,
        })?;
    }
    load_modules();
    let device = attach_root_image().map_err(|source| EarlyError::Loop { source })?;
    let _ = fs::create_dir(NEW_ROOT);
    let flags = MountFlags::RDONLY | MountFlags::NODEV;
    mount(&device, NEW_ROOT, "squashfs", flags, c"")
        .map_err(|source| EarlyError::RootImage { source: source.into() })?;
    switch_root().map_err(|source| EarlyError::Switch { source })?;
    let took = start.elapsed().as_millis();
    kmsg::write(Level::Info, &format!("stage 1 (root file system) took {took} ms"));
    Err(EarlyError::Exec { source: Command::new(INIT).exec() })
}

/// Loads the listed modules. One that is missing or does not load is told and passed over: the
/// kernel may have it built in.
fn load_modules() {
    let order = fs::read_to_string(ORDER).unwrap_or_default();
    for name in order.lines().map(str::trim).filter(|name| !name.is_empty()).take(MAX_MODULES) {
        let path = Path::new(MODULES).join(name);
        let flags = if path.extension().is_some_and(|end| end == "ko") { 0 } else { COMPRESSED };
        let loaded = File::open(&path).and_then(|file| {
            match rustix::system::finit_module(file, c"", flags) {
                Err(rustix::io::Errno::EXIST) => Ok(()),
                result => result.map_err(io::Error::from),
            }
        });
        if let Err(error) = loaded {
            let text = format!("cannot load the module {}: {error}", path.display());
            kmsg::write(Level::Error, &text);
        }
    }
}

fn attach_root_image() -> io::Result<PathBuf> {
    let read_write = || OpenOptions::new().read(true).write(true).to_owned();
    let control = read_write().open("/dev/loop-control")?;
    let path = PathBuf::from(format!("/dev/loop{}", sys::loop_free(control)?));
    let device = read_write().open(&path)?;
    sys::loop_attach(device, File::open(ROOT_IMAGE)?)?;
    Ok(path)
}

/// Makes the mounted image the root, with /proc, /sys, /dev and /run of stage 1, and empties the
/// initramfs, whose memory is of no use any more; the image stays, held by its loop device.
fn switch_root() -> io::Result<()> {
    let old = File::open("/")?;
    let filesystem = old.metadata()?.dev();
    for entry in &mounts::EARLY {
        mount_move(entry.target, Path::new(NEW_ROOT).join(entry.target.trim_start_matches('/')))?;
    }
    for entry in fs::read_dir("/")?.flatten() {
        if let Err(error) = remove(&entry.path(), filesystem) {
            let text = format!("cannot remove {}: {error}", entry.path().display());
            kmsg::write(Level::Error, &text);
        }
    }
    rustix::process::chdir(NEW_ROOT)?;
    mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Removes a file or folder of the initramfs and nothing of what is mounted below it.
fn remove(path: &Path, filesystem: u64) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.dev() != filesystem {
        return Ok(());
    }
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    for entry in fs::read_dir(path)?.flatten() {
        remove(&entry.path(), filesystem)?;
    }
    match fs::remove_dir(path) {
        // A mount point is in it.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc_errno::BUSY | libc_errno::NOT_EMPTY)) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Numbers of errors that std has no stable name for.
mod libc_errno {
    pub(super) const BUSY: i32 = rustix::io::Errno::BUSY.raw_os_error();
    pub(super) const NOT_EMPTY: i32 = rustix::io::Errno::NOTEMPTY.raw_os_error();
}
