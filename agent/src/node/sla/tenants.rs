//! Oracles as tenants of the node's S3: each has a user of its own, which no person ever sees.

use agent_object_store::Owner;
use agent_s3::User;
use agent_sla::protocol::Address;
use zeroize::Zeroizing;

use crate::state::SecretKey;

/// What keys of tenants are derived for (BLAKE3, `derive_key`).
const CONTEXT: &str = "ICN Node 2026-11-23 S3 secret key of an oracle";

/// What names and access keys of tenants begin with. Users of `node.toml` cannot have such a name, as it has a
/// colon.
const PREFIX: &str = "oracle:";

/// What an oracle signs its requests with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    /// Access key: letters and digits.
    pub(crate) access_key: String,
    /// Secret key: 64 hex digits, made of the daemon key, so that nothing need be kept.
    pub(crate) secret_key: Zeroizing<String>,
}

/// The tenant that an oracle is.
pub(crate) fn tenant(daemon_key: &SecretKey, oracle: Address) -> Tenant {
    let mut material = Zeroizing::new(daemon_key.to_vec());
    material.extend_from_slice(oracle.as_slice());
    let secret = Zeroizing::new(blake3::derive_key(CONTEXT, &material));
    Tenant {
        access_key: format!("ORACLE{}", hex::encode_upper(oracle)),
        secret_key: Zeroizing::new(hex::encode(*secret)),
    }
}

/// The users that oracles are.
pub(crate) fn users(daemon_key: &SecretKey, oracles: &[[u8; 20]]) -> Vec<User> {
    let user = |oracle: &[u8; 20]| {
        let address = Address::from(*oracle);
        let Tenant { access_key, secret_key } = tenant(daemon_key, address);
        let name = Owner::new(&format!("{PREFIX}{}", hex::encode(oracle))).ok()?;
        Some(User { name, access_key, secret_key })
    };
    oracles.iter().filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_oracle_of_each_node_has_keys_of_its_own_that_stay() {
        let keys = |key: u8, oracle: u8| {
            let users = users(&Zeroizing::new([key; 32]), &[[oracle; 20]]);
            let user = users.first().expect("a user");
            (user.access_key.clone(), user.secret_key.to_string())
        };
        assert_eq!(keys(1, 1), keys(1, 1));
        assert_ne!(keys(1, 1).0, keys(1, 2).0);
        assert_ne!(keys(1, 1).1, keys(1, 2).1);
        assert_ne!(keys(1, 1).1, keys(2, 1).1);
        assert_eq!(keys(1, 1).1.len(), 64);
    }
}
