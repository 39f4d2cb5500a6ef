//! The configuration of the machine's node, and the S3 user in it.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The node's S3 user: made by chance, and kept with the disks whose objects it owns.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct User {
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
}

impl User {
    /// The user of the machine in `dir`; a new one where there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read or kept.
    pub(crate) fn kept_in(dir: &Path) -> Result<Self> {
        let path = dir.join("user.json");
        let failed = || format!("cannot read or write {}", path.display());
        if path.exists() {
            let text = fs::read_to_string(&path).with_context(failed)?;
            return serde_json::from_str(&text).with_context(|| format!("in {}", path.display()));
        }
        let user = Self { access_key: random(20)?, secret_key: random(40)? };
        let text = serde_json::to_string(&user).with_context(failed)?;
        // Readable by its owner alone before the secret is in it.
        File::create(&path).with_context(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).with_context(failed)?;
        fs::write(&path, text).with_context(failed)?;
        Ok(user)
    }

    /// The `node.toml` of the machine; its second serial line carries the log.
    pub(crate) fn node_toml(&self) -> String {
        let Self { access_key, secret_key } = self;
        format!(
            "version = 1\n\n[node]\nname = \"icn-run\"\n\n[log]\nserial = \"ttyS1\"\n\n\
             [[s3.user]]\nname = \"run\"\naccess_key = \"{access_key}\"\n\
             secret_key = \"{secret_key}\"\n"
        )
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Capital letters and digits from the kernel's random source, five bits each.
fn random(length: usize) -> Result<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = vec![0; length];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(bytes.iter().filter_map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_made_once_and_is_secret() {
        let dir = std::env::temp_dir().join(format!("xtask-user-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let first = User::kept_in(&dir).unwrap();
        let second = User::kept_in(&dir).unwrap();
        assert_eq!(first.secret_key, second.secret_key);
        assert_eq!((first.access_key.len(), first.secret_key.len()), (20, 40));
        let mode = dir.join("user.json").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(&first.secret_key));
        fs::remove_dir_all(&dir).unwrap();
    }
}
