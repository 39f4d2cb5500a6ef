//! Main memory as /proc/meminfo tells it.

use std::fs;
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
