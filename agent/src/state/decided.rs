//! What a person at the console decided that the node's record is to have. Pure.

use agent_api::local::ResetScope;

use super::record::{NodeState, SecretKey};

/// What was decided since the agent was started; each none or false where the record stays at what it has.
#[derive(Clone, Default)]
pub(crate) struct Decided {
    /// The PIN of the console as its hash, or that there is none.
    pub(crate) pin: Option<Option<String>>,
    /// That the first steps are done.
    pub(crate) set_up: bool,
    /// What was decided while there was no record to know it by.
    pub(crate) for_new: ForNew,
    /// The daemon key that somebody had the words of.
    pub(crate) daemon_key: Option<GivenKey>,
    /// That the node is to be made new at the next start.
    pub(crate) reset: Option<ResetScope>,
}

/// What counts for a record that is made after it was decided, and for none that a disk brings: whoever decided it could not
/// be asked for that one's PIN.
#[derive(Clone, Default)]
pub(crate) struct ForNew {
    /// The PIN of the console as its hash.
    pub(crate) pin: Option<String>,
    /// That the first steps are done.
    pub(crate) set_up: bool,
}

/// A daemon key that was given, and which one it was to take the place of.
#[derive(Clone)]
pub(crate) struct GivenKey {
    /// The key.
    pub(crate) key: SecretKey,
    /// The key that the node had then; none where it had none, and then it takes the place of no other that a disk may
    /// bring.
    pub(crate) in_place_of: Option<SecretKey>,
}

impl Decided {
    /// The daemon key for a node that has none.
    pub(super) fn first_daemon_key(&self) -> Option<SecretKey> {
        let given = self.daemon_key.as_ref().filter(|given| given.in_place_of.is_none())?;
        Some(given.key.clone())
    }

    /// A state with what was decided but for the reset; none where it has that already. `is_made` where this process
    /// made it.
    pub(super) fn applied_to(&self, state: &NodeState, is_made: bool) -> Option<NodeState> {
        let mut next = state.clone();
        if is_made {
            next.pin = self.for_new.pin.clone().or(next.pin);
            next.set_up |= self.for_new.set_up;
        }
        if let Some(pin) = &self.pin {
            next.pin.clone_from(pin);
        }
        next.set_up |= self.set_up;
        if let Some(GivenKey { key, in_place_of: Some(before) }) = &self.daemon_key
            && next.daemon_key.as_ref() == Some(before)
        {
            next.daemon_key = Some(key.clone());
        }
        (next != *state).then_some(next)
    }
}

impl std::fmt::Debug for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decided")
            .field("set_up", &self.set_up)
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::state::record::example;

    fn key(byte: u8) -> SecretKey {
        Zeroizing::new([byte; 32])
    }

    #[test]
    fn only_what_was_decided_changes_and_only_once() {
        let state = example("n1", 1).state;
        assert_eq!(Decided::default().applied_to(&state, false), None);
        let pin = Some("hash".to_owned());
        let decided = Decided { pin: Some(pin.clone()), set_up: true, ..Decided::default() };
        let next = decided.applied_to(&state, false).expect("a change");
        assert_eq!((&next.pin, next.set_up), (&pin, true));
        assert_eq!(NodeState { pin: None, set_up: false, ..next.clone() }, state);
        assert_eq!(decided.applied_to(&next, false), None);
        let cleared = Decided { pin: Some(None), ..Decided::default() }.applied_to(&next, false);
        assert_eq!(cleared.expect("a change").pin, None);
    }

    #[test]
    fn what_was_decided_without_a_record_is_for_one_that_is_made_and_no_other() {
        let state = NodeState { pin: Some("kept".to_owned()), ..example("n1", 1).state };
        let for_new = ForNew { pin: Some("stranger".to_owned()), set_up: true };
        let decided = Decided { for_new, ..Decided::default() };
        assert_eq!(decided.applied_to(&state, false), None);
        let made = decided.applied_to(&state, true).expect("a change");
        assert_eq!((made.pin.as_deref(), made.set_up), (Some("stranger"), true));
        let later = Decided { pin: Some(None), ..decided }.applied_to(&made, true);
        assert_eq!(later.expect("a change").pin, None, "what was decided later counts");
    }

    #[test]
    fn a_key_that_was_given_takes_the_place_of_the_one_it_was_given_for_alone() {
        let state = example("n1", 1).state;
        let given = |before: Option<SecretKey>| Decided {
            daemon_key: Some(GivenKey { key: key(9), in_place_of: before }),
            ..Decided::default()
        };
        // example has 0x5a.
        let next = given(Some(key(0x5a))).applied_to(&state, false).expect("a change");
        assert_eq!(next.daemon_key, Some(key(9)));
        assert_eq!(given(Some(key(1))).applied_to(&state, false), None);
        assert_eq!(given(None).applied_to(&state, false), None, "a disk brought another one");
        assert_eq!(given(None).first_daemon_key(), Some(key(9)));
        assert_eq!(given(Some(key(1))).first_daemon_key(), None);
    }
}
