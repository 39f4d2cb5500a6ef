//! Who may sign requests.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use agent_object_store::Owner;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use crate::config::{ConfigError, User};

/// The users. Cloning gives another handle of the same table, which can be replaced as a whole
/// while requests are served.
#[derive(Debug, Clone)]
pub(crate) struct Users(Arc<RwLock<Arc<Table>>>);

type Table = HashMap<String, User>;

impl Users {
    pub(crate) fn new(users: Vec<User>) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(table(users)?)))))
    }

    /// Replaces all users. Requests under way finish as those they began as.
    pub(crate) fn replace(&self, users: Vec<User>) -> Result<(), ConfigError> {
        let table = Arc::new(table(users)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }

    /// Whom an access key belongs to.
    pub(crate) fn owner(&self, access_key: &str) -> Option<Owner> {
        self.now().get(access_key).map(|user| user.name.clone())
    }

    fn now(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn table(users: Vec<User>) -> Result<Table, ConfigError> {
    let mut table: Table = HashMap::with_capacity(users.len());
    for user in users {
        user.check()?;
        if let Some(first) = table.get(&user.access_key) {
            let (first, second) = (first.name.clone(), user.name);
            return Err(ConfigError::SameAccessKey { first, second });
        }
        table.insert(user.access_key.clone(), user);
    }
    Ok(table)
}

#[async_trait::async_trait]
impl S3Auth for Users {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.now().get(access_key) {
            Some(user) => Ok(SecretKey::from(user.secret_key.as_str())),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn user(name: &str, access: &str) -> User {
        User {
            name: Owner::new(name).unwrap(),
            access_key: access.to_owned(),
            secret_key: Zeroizing::new("secret".to_owned()),
        }
    }

    #[test]
    fn users_can_be_replaced_while_serving() {
        let users = Users::new(vec![user("alice", "A1")]).unwrap();
        let other_handle = users.clone();
        users.replace(vec![user("bob", "B1"), user("bob", "B2")]).unwrap();
        assert_eq!(other_handle.owner("A1"), None);
        assert_eq!(other_handle.owner("B2"), Some(Owner::new("bob").unwrap()));
    }

    #[test]
    fn a_wrong_table_leaves_the_old_one_in_place() {
        let users = Users::new(vec![user("alice", "A1")]).unwrap();
        let same = users.replace(vec![user("bob", "X"), user("carol", "X")]);
        assert!(matches!(same, Err(ConfigError::SameAccessKey { .. })));
        assert_eq!(users.owner("A1"), Some(Owner::new("alice").unwrap()));
    }
}
