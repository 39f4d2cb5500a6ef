//! The configuration that a person put on a stick: found, copied, decided upon.

mod copy;
mod find;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use provisioning_config::seed::{CONFIG_FILE, LABEL};

pub(crate) use self::copy::copy;
pub(crate) use self::find::{Partition, Sight, look};
use crate::replace::replace;
use crate::users::{AGENT, ROOT};

/// Path below the partition, with slashes, and content of every file of a seed.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What the partitions found amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No partition: the defaults hold.
    None,
    /// One seed, or several that are the same.
    Use(Files),
    /// What the person wanted is open: no disk is claimed.
    Refuse {
        /// For people.
        problem: String,
    },
}

/// What a refusal comes down to.
const CONSEQUENCE: &str = "started with safe defaults (no disk is claimed)";

/// The decision where something that may hold a seed does not show its content in time.
pub(crate) fn hidden(what: &str) -> Decision {
    let problem = format!(
        "{what} does not show its partitions, so a configuration on it could not be read: remove \
         or replace it and restart; {CONSEQUENCE}"
    );
    Decision::Refuse { problem }
}

/// Decides by partition name and its files, or why they cannot be read.
pub(crate) fn decide(mut found: Vec<(String, Result<Files, String>)>) -> Decision {
    for (name, files) in &found {
        if let Err(why) = files {
            let problem = format!(
                "the {LABEL} partition {name} cannot be read ({why}): write the stick anew; \
                 {CONSEQUENCE}"
            );
            return Decision::Refuse { problem };
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    if found.windows(2).any(|pair| matches!(pair, [a, b] if a.1 != b.1)) {
        let problem = format!(
            "{} {LABEL} partitions differ ({}): remove all sticks but one; {CONSEQUENCE}",
            if found.len() == 2 { "two".to_owned() } else { found.len().to_string() },
            names.join(", ")
        );
        return Decision::Refuse { problem };
    }
    match found.pop() {
        Some((_, Ok(files))) => Decision::Use(files),
        _ => Decision::None,
    }
}

/// A configuration that has every process refuse to claim disks.
pub(crate) fn safe_config(problem: &str) -> Files {
    let text = format!(
        "# Written by init: {}\nversion = 1\n\n[disks]\nclaim = \"off\"\n",
        problem.replace(char::is_control, " ")
    );
    Files::from([(CONFIG_FILE.to_owned(), text.into_bytes())])
}

/// Writes the files below a folder, readable for the agent and nobody else.
///
/// # Errors
///
/// When a file cannot be written.
pub(crate) fn write(folder: &Path, files: &Files) -> io::Result<()> {
    for (name, bytes) in files {
        let path = folder.join(name);
        let mut parent = folder.to_owned();
        for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            match fs::create_dir(&parent) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => (),
            }
            hand_over(&parent, 0o750)?;
        }
        replace(&path, bytes)?;
        hand_over(&path, 0o640)?;
    }
    Ok(())
}

/// Makes the agent's group the group of a file. Outside the node, in tests, only root could.
fn hand_over(path: &Path, mode: u32) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(ROOT), Some(AGENT))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(text: &str) -> Files {
        Files::from([(CONFIG_FILE.to_owned(), text.as_bytes().to_vec())])
    }

    fn found(name: &str, text: &str) -> (String, Result<Files, String>) {
        (name.to_owned(), Ok(seed(text)))
    }

    #[test]
    fn no_partition_means_the_defaults_and_one_is_used() {
        assert_eq!(decide(vec![]), Decision::None);
        assert_eq!(decide(vec![found("sda2", "a")]), Decision::Use(seed("a")));
    }

    #[test]
    fn sticks_with_the_same_content_are_as_good_as_one() {
        let all = vec![found("sdb2", "a"), found("sda2", "a"), found("sdc2", "a")];
        assert_eq!(decide(all), Decision::Use(seed("a")));
    }

    #[test]
    fn sticks_that_differ_are_both_refused() {
        let Decision::Refuse { problem } = decide(vec![found("sdb2", "b"), found("sda2", "a")])
        else {
            panic!("used");
        };
        assert_eq!(
            problem,
            "two ICN-SEED partitions differ (sda2, sdb2): remove all sticks but one; started with \
             safe defaults (no disk is claimed)"
        );
        let three = vec![found("sdb2", "a"), found("sda2", "a"), found("sdc2", "c")];
        assert!(matches!(decide(three), Decision::Refuse { problem } if problem.starts_with("3 ")));
    }

    #[test]
    fn a_partition_that_cannot_be_read_is_not_passed_over() {
        let all = vec![found("sda2", "a"), ("sdb2".to_owned(), Err("bad FAT".to_owned()))];
        assert!(matches!(decide(all), Decision::Refuse { problem } if problem.contains("sdb2")));
    }

    #[test]
    fn the_safe_configuration_claims_nothing_whatever_the_problem_says() {
        for problem in ["two differ", "a\n[disks]\nclaim = \"blank-only\"\r", ""] {
            let files = safe_config(problem);
            let (config, problems) = provisioning_config::parse_bytes(&files[CONFIG_FILE]);
            assert_eq!(problems, []);
            assert_eq!(config.disks.claim, provisioning_config::ClaimMode::Off);
        }
    }

    #[test]
    fn files_are_written_for_the_agent_only() {
        let folder = tempfile::TempDir::new().expect("temporary folder");
        let mut files = seed("version = 1\n");
        files.insert("tls/chain/node.pem".to_owned(), b"pem".to_vec());
        for _ in 0..2 {
            write(folder.path(), &files).expect("written");
        }
        let mode = |name: &str| {
            fs::metadata(folder.path().join(name)).expect("there").permissions().mode() & 0o777
        };
        assert_eq!((mode("node.toml"), mode("tls/chain/node.pem")), (0o640, 0o640));
        assert_eq!((mode("tls"), mode("tls/chain")), (0o750, 0o750));
    }
}
