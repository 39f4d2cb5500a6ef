//! The user that a node makes for itself when its configuration names none.

use zeroize::Zeroizing;

use crate::state::FirstUser;

/// 32 characters that nobody takes for another one: a technician copies them from a console by
/// hand. Five bits each.
const CAPITALS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const SMALL: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// As long as the access keys that S3 clients know.
const ACCESS_KEY_CHARACTERS: usize = 20;

/// As long as the secret keys that S3 clients know: 200 bits.
const SECRET_KEY_CHARACTERS: usize = 40;

/// The user's name.
const NAME: &str = "first-user";

/// Makes a user with new keys.
///
/// # Errors
/// When the kernel gives no random numbers.
pub(crate) fn make() -> Result<FirstUser, getrandom::Error> {
    Ok(FirstUser {
        name: NAME.to_owned(),
        access_key: random(CAPITALS, ACCESS_KEY_CHARACTERS)?,
        secret_key: Zeroizing::new(random(SMALL, SECRET_KEY_CHARACTERS)?),
    })
}

fn random(alphabet: &[u8; 32], length: usize) -> Result<String, getrandom::Error> {
    let mut bytes = Zeroizing::new(vec![0_u8; length]);
    getrandom::fill(&mut bytes)?;
    let pick = |byte: &u8| alphabet.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(bytes.iter().filter_map(pick).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_users_never_have_the_same_keys_and_none_is_short() {
        let (one, other) = (make().expect("a user"), make().expect("a user"));
        assert_ne!(one.access_key, other.access_key);
        assert_ne!(one.secret_key, other.secret_key);
        assert_eq!((one.access_key.len(), one.secret_key.len()), (20, 40));
    }

    #[test]
    fn no_character_is_easily_taken_for_another() {
        for alphabet in [CAPITALS, SMALL] {
            let mut sorted = alphabet.to_vec();
            sorted.dedup();
            assert_eq!(sorted.len(), 32);
            assert!(!alphabet.iter().any(|c| b"01OIlo".contains(c)));
        }
    }
}
