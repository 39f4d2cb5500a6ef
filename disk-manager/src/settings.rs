//! What the operator wants, from the node's configuration.

use std::io;
use std::path::Path;

use disk_manager_plan::Policy;
use disk_manager_plan::report::Bytes;
use provisioning_config::{ClaimMode, Disks, Problem};

/// The configuration could not be read; whether the operator wants disks claimed is not known.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}; no disk is claimed")]
pub struct SettingsError {
    path: String,
    #[source]
    source: io::Error,
}

/// Reads the policy from the configuration at `path`; a missing file means the defaults. A mistake
/// in the file is not an error: [`provisioning_config::parse`] says what stands in for it.
///
/// # Errors
/// The file is there but cannot be read.
pub fn policy(path: &Path, data_dir: &Path) -> Result<(Policy, Vec<Problem>), SettingsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let (config, problems) = provisioning_config::parse(&text);
            Ok((from_config(config.disks, data_dir), problems))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok((from_config(Disks::default(), data_dir), Vec::new()))
        }
        Err(source) => Err(SettingsError { path: path.display().to_string(), source }),
    }
}

/// The policy under which no disk is claimed.
#[must_use]
pub fn claim_nothing(data_dir: &Path) -> Policy {
    from_config(Disks { claim: ClaimMode::Off, ..Disks::default() }, data_dir)
}

fn from_config(disks: Disks, data_dir: &Path) -> Policy {
    Policy {
        claim: match disks.claim {
            ClaimMode::Off => false,
            ClaimMode::BlankOnly => true,
        },
        min_size: Bytes(disks.min_size),
        allow_removable: disks.allow_removable,
        data_dir: data_dir.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_blank_disks_are_claimed_and_with_a_broken_one_none_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let data = Path::new("/data");
        assert!(policy(&path, data).unwrap().0.claim);
        std::fs::write(&path, "version = 1\n[disks]\nclaim = \"off\"\n").unwrap();
        assert!(!policy(&path, data).unwrap().0.claim);
        std::fs::write(&path, "version = 1\n[disks\n").unwrap();
        assert!(!policy(&path, data).unwrap().0.claim);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(policy(folder.path(), Path::new("/data")).is_err());
    }
}
