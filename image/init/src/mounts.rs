//! What is mounted where, and the folders that services find there.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::users::{AGENT, CHRONY, ROOT};

/// One file system.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Kind, and source where the kind has none.
    pub kind: &'static str,
    /// Where; the folder is there.
    pub target: &'static str,
    pub flags: MountFlags,
    pub options: &'static str,
    /// Whether a node can do without.
    pub needed: bool,
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const NO_SUID: MountFlags = MountFlags::NOSUID;

/// What stage 1 needs; it moves along to the root file system.
pub(crate) const EARLY: [Mount; 4] = [
    needed("proc", "/proc", SAFE, ""),
    needed("sysfs", "/sys", SAFE, ""),
    needed("devtmpfs", "/dev", NO_SUID, "mode=0755"),
    // Programs may be here, as init's link for dhcpcd is. Half a GiB is far above the log's 2 MiB
    // and the seed's 4 MiB, and bounds what a service gone wild can take of the memory.
    needed("tmpfs", "/run", MountFlags::NOSUID.union(MountFlags::NODEV), "mode=0755,size=512m"),
];

/// What stage 2 adds. /data holds nothing but mount points: its size keeps a service that writes
/// beside them from filling the memory.
pub(crate) const LATE: [Mount; 10] = [
    needed("devpts", "/dev/pts", NO_SUID.union(MountFlags::NOEXEC), "gid=5,mode=620,ptmxmode=666"),
    needed("tmpfs", "/dev/shm", SAFE, "mode=1777,size=64m"),
    needed("tmpfs", "/tmp", SAFE, "mode=1777,size=256m"),
    needed("tmpfs", "/var", SAFE, "mode=0755,size=256m"),
    needed("tmpfs", "/data", SAFE, "mode=0755,size=1m"),
    wanted("cgroup2", "/sys/fs/cgroup", ""),
    wanted("efivarfs", "/sys/firmware/efi/efivars", ""),
    wanted("securityfs", "/sys/kernel/security", ""),
    wanted("debugfs", "/sys/kernel/debug", "mode=0700"),
    wanted("pstore", "/sys/fs/pstore", ""),
];

const fn needed(
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
) -> Mount {
    Mount { kind, target, flags, options, needed: true }
}

const fn wanted(kind: &'static str, target: &'static str, options: &'static str) -> Mount {
    Mount { kind, target, flags: SAFE, options, needed: false }
}

/// A folder that a service needs: path, mode, owner, group.
type Folder = (&'static str, u32, u32, u32);

/// Folders on /run, /var and /dev, parents before children.
///
/// /run/icn is writable for the agent, which makes its socket there; it is sticky, so that the
/// agent can touch nothing of the others.
const FOLDERS: [Folder; 15] = [
    ("/run/icn", 0o1775, ROOT, AGENT),
    ("/run/icn/init", 0o755, ROOT, ROOT),
    ("/run/icn/init/leases", 0o755, ROOT, ROOT),
    ("/run/icn/init/seed", 0o700, ROOT, ROOT),
    ("/run/icn/log", 0o750, ROOT, AGENT),
    ("/run/icn/seed", 0o750, ROOT, AGENT),
    ("/run/chrony", 0o750, CHRONY, CHRONY),
    ("/run/lock", 0o755, ROOT, ROOT),
    ("/var/lib", 0o755, ROOT, ROOT),
    ("/var/lib/chrony", 0o750, CHRONY, CHRONY),
    ("/var/lib/dhcpcd", 0o755, ROOT, ROOT),
    ("/var/lib/icn-agent", 0o750, AGENT, AGENT),
    ("/var/lib/icn-disks", 0o700, ROOT, ROOT),
    ("/var/log", 0o755, ROOT, ROOT),
    ("/var/tmp", 0o1777, ROOT, ROOT),
];

/// Symbolic links on /var and /dev, as programs expect them.
const LINKS: [(&str, &str); 6] = [
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Mounts one file system.
///
/// # Errors
///
/// As the kernel gives them.
pub(crate) fn attach(entry: &Mount) -> io::Result<()> {
    let options = std::ffi::CString::new(entry.options).map_err(io::Error::other)?;
    Ok(mount(entry.kind, entry.target, entry.kind, entry.flags, options.as_c_str())?)
}

/// Mounts what stage 2 adds and makes the folders. Gives what failed, in words.
pub(crate) fn complete() -> Vec<String> {
    let mut failures = Vec::new();
    for folder in ["/dev/pts", "/dev/shm"] {
        let _ = fs::create_dir(folder);
    }
    for entry in &LATE {
        if let Err(error) = attach(entry)
            && entry.needed
        {
            failures.push(format!("cannot mount {} on {}: {error}", entry.kind, entry.target));
        }
    }
    // What icn-disks mounts below /data is seen by all, also by services with a name space of
    // their own.
    if let Err(error) =
        mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
    {
        failures.push(format!("cannot share the mounts below /: {error}"));
    }
    for folder in FOLDERS {
        if let Err(error) = make(Path::new("/"), folder) {
            failures.push(format!("cannot make {}: {error}", folder.0));
        }
    }
    for (link, target) in LINKS {
        // Some are made by the kernel already.
        let _ = std::os::unix::fs::symlink(target, link);
    }
    failures
}

fn make(root: &Path, (path, mode, owner, group): Folder) -> io::Result<()> {
    let path = root.join(path.trim_start_matches('/'));
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => (),
    }
    chown(&path, Some(owner), Some(group))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children() {
        let mounted: Vec<&str> = EARLY.iter().chain(&LATE).map(|entry| entry.target).collect();
        let mut there: Vec<&str> = mounted;
        for (path, ..) in FOLDERS {
            let (parent, _) = path.rsplit_once('/').expect("absolute");
            assert!(there.contains(&parent), "{path} comes before {parent}");
            there.push(path);
        }
    }

    #[test]
    fn no_service_but_the_agent_can_write_to_the_run_folder_and_it_only_its_own() {
        let (_, mode, owner, group) = FOLDERS[0];
        assert_eq!((mode & 0o1000, mode & 0o002, owner, group), (0o1000, 0, ROOT, AGENT));
        for (path, mode, owner, _) in FOLDERS {
            assert!(mode & 0o022 == 0 || mode & 0o1000 != 0, "{path}");
            assert!(mode & 0o020 == 0 || owner == ROOT, "{path}");
        }
    }

    #[test]
    fn a_folder_gets_its_mode_also_when_it_was_there() {
        let root = tempfile::TempDir::new().expect("temporary folder");
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        for mode in [0o755, 0o1700] {
            make(root.path(), ("/x", mode, uid, gid)).expect("folder");
            let found = fs::metadata(root.path().join("x")).expect("folder").permissions().mode();
            assert_eq!(found & 0o7777, mode);
        }
    }
}
