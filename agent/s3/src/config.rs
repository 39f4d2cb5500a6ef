//! What the service is told when it starts: who may sign in, and under which names it is reached.

use std::fmt;

use agent_object_store::Owner;
use zeroize::Zeroizing;

/// Longest access key in bytes (IAM: 16 to 128).
const ACCESS_KEY_MAX_BYTES: usize = 128;

/// How the service behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// Who may sign requests.
    pub users: Vec<User>,
    /// The region that buckets are said to be in. Requests signed for another region are taken as
    /// well: a node has one region, so clients need not be set up for it.
    pub region: String,
    /// Host names, without ports, below which the first label is a bucket: with `s3.example.org`
    /// a request to `photos.s3.example.org` is one to the bucket `photos`. On any other name, and
    /// with none of these, the bucket is the first part of the path.
    pub domains: Vec<String>,
}

/// Someone who may sign requests. Several users may share a name: they are then one owner with
/// several keys, so that keys can be exchanged without a gap.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The owner of the buckets made with these keys.
    pub name: Owner,
    /// Access key: public, part of every request.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Zeroizing<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a configuration. Never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An access key cannot be part of a request.
    #[error("the access key of user {name} must have 1 to 128 letters, digits or -_.+=@")]
    AccessKey {
        /// Whose.
        name: Owner,
    },
    /// A secret key is empty.
    #[error("the secret key of user {name} is empty")]
    SecretKey {
        /// Whose.
        name: Owner,
    },
    /// Two users have the same access key.
    #[error("users {first} and {second} have the same access key")]
    SameAccessKey {
        /// One of them.
        first: Owner,
        /// The other one.
        second: Owner,
    },
    /// The region cannot be part of a request.
    #[error("region {region:?} must have 1 to 64 lower-case letters, digits or hyphens")]
    Region {
        /// The region.
        region: String,
    },
    /// A domain is not a host name.
    #[error("domain {domain:?} must be a host name without a port, such as s3.example.org")]
    Domain {
        /// The domain.
        domain: String,
    },
}

impl User {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let name = self.name.clone();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.+=@".contains(&b);
        let length = self.access_key.len();
        if !(1..=ACCESS_KEY_MAX_BYTES).contains(&length) || !self.access_key.bytes().all(allowed) {
            return Err(ConfigError::AccessKey { name });
        }
        if self.secret_key.is_empty() {
            return Err(ConfigError::SecretKey { name });
        }
        Ok(())
    }
}

/// Checks the name of a region.
pub(crate) fn check_region(region: &str) -> Result<(), ConfigError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if region.is_empty() || region.len() > 64 || !region.bytes().all(allowed) {
        return Err(ConfigError::Region { region: region.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(access: &str, secret: &str) -> User {
        User {
            name: Owner::new("alice").unwrap(),
            access_key: access.to_owned(),
            secret_key: Zeroizing::new(secret.to_owned()),
        }
    }

    #[test]
    fn keys_that_no_request_could_carry_are_refused() {
        assert!(user("AKIAEXAMPLE", "s3cr3t").check().is_ok());
        for bad in ["", "a/b", "a b", "é", &"a".repeat(129)] {
            assert!(user(bad, "s3cr3t").check().is_err(), "{bad}");
        }
        assert!(user("AKIAEXAMPLE", "").check().is_err());
    }

    #[test]
    fn a_user_is_shown_without_the_secret() {
        let shown = format!("{:?}", user("AKIAEXAMPLE", "s3cr3t"));
        assert!(shown.contains("AKIAEXAMPLE") && !shown.contains("s3cr3t"));
    }

    #[test]
    fn regions_are_lower_case_words() {
        assert!(check_region("eu-central-1").is_ok());
        for bad in ["", "EU", "a/b", "a b"] {
            assert!(check_region(bad).is_err(), "{bad}");
        }
    }
}
