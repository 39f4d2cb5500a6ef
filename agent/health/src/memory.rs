//! Main memory as /proc/meminfo tells it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Main memory of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "memory")]
pub enum MemoryReading {
    /// Read.
    Known {
        /// Usable memory in bytes (`MemTotal`).
        total_bytes: u64,
        /// Memory that can be had without swapping, in bytes (`MemAvailable`).
        available_bytes: u64,
    },
    /// Not readable.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// Reads `meminfo` below `proc`, which is `/proc` but for tests.
#[must_use]
pub fn read_memory(proc: &Path) -> MemoryReading {
    let path = proc.join("meminfo");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            return MemoryReading::Unknown { reason: format!("{}: {error}", path.display()) };
        }
    };
    match (field_bytes(&text, "MemTotal:"), field_bytes(&text, "MemAvailable:")) {
        (Some(total_bytes), Some(available_bytes)) => {
            MemoryReading::Known { total_bytes, available_bytes }
        }
        _ => MemoryReading::Unknown {
            reason: format!("{}: no MemTotal or MemAvailable in kB", path.display()),
        },
    }
}

/// Memory of this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "resident")]
pub enum ResidentReading {
    /// Read.
    Known {
        /// Memory that it occupies, in bytes (`VmRSS`).
        bytes: u64,
    },
    /// Not readable.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// Reads `self/status` below `proc`, which is `/proc` but for tests.
#[must_use]
pub fn read_resident(proc: &Path) -> ResidentReading {
    let path = proc.join("self/status");
    match fs::read_to_string(&path) {
        Ok(text) => match field_bytes(&text, "VmRSS:") {
            Some(bytes) => ResidentReading::Known { bytes },
            None => {
                ResidentReading::Unknown { reason: format!("{}: no VmRSS in kB", path.display()) }
            }
        },
        Err(error) => ResidentReading::Unknown { reason: format!("{}: {error}", path.display()) },
    }
}

/// How much memory the control group of this process may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "limit")]
pub enum LimitReading {
    /// Read: the least of the group's and those above it.
    Known {
        /// In bytes (`memory.max`).
        bytes: u64,
    },
    /// As much as there is.
    Unlimited,
    /// Not readable.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// Reads which control group (version 2) this process is in below `proc`, and its limit below
/// `groups`; these are `/proc` and `/sys/fs/cgroup` but for tests. A machine without control groups has
/// no limit.
#[must_use]
pub fn read_limit(proc: &Path, groups: &Path) -> LimitReading {
    let path = proc.join("self/cgroup");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return LimitReading::Unlimited,
        Err(error) => {
            return LimitReading::Unknown { reason: format!("{}: {error}", path.display()) };
        }
    };
    let Some(group) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return LimitReading::Unlimited;
    };
    let mut least: Option<u64> = None;
    // The topmost group has no such file, unless it is the one that a container sees there.
    for group in Path::new(group).ancestors() {
        let path = groups.join(group).join("memory.max");
        let limit = match fs::read_to_string(&path) {
            Ok(text) if text.trim() == "max" => continue,
            Ok(text) => text.trim().parse::<u64>().map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => Err(error.to_string()),
        };
        match limit {
            Ok(limit) => least = Some(least.map_or(limit, |least| least.min(limit))),
            Err(error) => {
                return LimitReading::Unknown { reason: format!("{}: {error}", path.display()) };
            }
        }
    }
    least.map_or(LimitReading::Unlimited, |bytes| LimitReading::Known { bytes })
}

/// The value of a line such as `MemTotal:  16303484 kB`, in bytes.
fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
    let kibibytes: u64 = words.next()?.parse().ok()?;
    (words.next()? == "kB").then(|| kibibytes.checked_mul(1024)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading_of(meminfo: &str) -> MemoryReading {
        let proc = tempfile::tempdir().expect("a temporary directory");
        fs::write(proc.path().join("meminfo"), meminfo).expect("meminfo is written");
        read_memory(proc.path())
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(matches!(
            read_memory(Path::new("/proc")),
            MemoryReading::Known { total_bytes: 1.., .. }
        ));
    }

    #[test]
    fn a_missing_field_is_unknown_and_not_zero() {
        assert!(matches!(reading_of("MemTotal: 16 kB\n"), MemoryReading::Unknown { .. }));
    }

    #[test]
    fn a_missing_file_is_unknown_and_names_the_file() {
        let reading = read_memory(Path::new("/nonexistent"));
        let MemoryReading::Unknown { reason } = reading else { panic!("{reading:?}") };
        assert!(reason.contains("/nonexistent/meminfo"), "{reason}");
    }

    #[test]
    fn this_process_occupies_memory() {
        let reading = read_resident(Path::new("/proc"));
        assert!(matches!(reading, ResidentReading::Known { bytes: 1.. }), "{reading:?}");
        let reading = read_resident(Path::new("/nonexistent"));
        let ResidentReading::Unknown { reason } = reading else { panic!("{reading:?}") };
        assert!(reason.contains("/nonexistent/self/status"), "{reason}");
    }

    #[test]
    fn the_least_limit_of_a_control_group_and_those_above_it_counts() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (proc, groups) = (root.path().join("proc"), root.path().join("groups"));
        fs::create_dir_all(proc.join("self")).expect("a folder");
        fs::create_dir_all(groups.join("a/b")).expect("a folder");
        assert_eq!(read_limit(&proc, &groups), LimitReading::Unlimited);
        fs::write(proc.join("self/cgroup"), "1:cpu:/x\n0::/a/b\n").expect("written");
        let limit = |group: &str, limit: &str| {
            fs::write(groups.join(group).join("memory.max"), limit).expect("written");
        };
        limit("a/b", "max\n");
        assert_eq!(read_limit(&proc, &groups), LimitReading::Unlimited);
        limit("a", "1048576\n");
        assert_eq!(read_limit(&proc, &groups), LimitReading::Known { bytes: 1 << 20 });
        limit("a/b", "4096\n");
        assert_eq!(read_limit(&proc, &groups), LimitReading::Known { bytes: 4096 });
        limit("a/b", "much\n");
        let reading = read_limit(&proc, &groups);
        assert!(matches!(reading, LimitReading::Unknown { .. }), "{reading:?}");
    }

    proptest! {
        #[test]
        fn values_are_read_back_in_bytes(total in 0u64..1 << 50, available in 0u64..1 << 50) {
            let text = format!("MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable:  {available} kB\n");
            prop_assert_eq!(reading_of(&text), MemoryReading::Known {
                total_bytes: total * 1024,
                available_bytes: available * 1024,
            });
        }

        #[test]
        fn any_text_is_read_without_a_crash(text in ".{0,200}") {
            let _ = reading_of(&text);
        }
    }
}
