//! Questions that stand in the middle of the screen. Pure.

use agent_api::control::Secret;
use agent_api::local::{RECOVERY_WORDS, ResetScope, SERIAL_END};

use crate::action::Action;
use crate::shelf::Row;
use crate::state::Key;
use crate::text::{decimal_size, sentence};

/// The longest answer in characters; every word that is asked for is shorter, and a text to search
/// for need not be longer.
const ANSWER_MAX: usize = 40;

/// The longest PIN, in digits (provisioning-config has the same).
pub(crate) const PIN_MAX: usize = 16;

/// Characters at the end of the node's id that are typed before a factory reset.
const NODE_END: usize = 6;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dialog {
    /// Whether something is really to be done.
    Confirm(Confirm),
    /// What to look for in the log; so much is typed.
    Search(String),
    /// The PIN.
    Pin {
        /// So much is typed.
        typed: Secret,
        /// What is to be gone on with once it is right.
        then: Guarded,
    },
}

/// What the PIN guards, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guarded {
    /// Showing the secret key.
    Secret,
    /// Something that is asked about first.
    Ask(Confirm),
    /// Something that is done at once.
    Act(Action),
    /// A form in which something is changed.
    Open(Opened),
}

/// A form in which something is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// How a port is set up.
    Network,
    /// The same, for who needs a static address.
    StaticAddress,
    /// The PIN.
    Pin,
}

/// A question that is answered by typing a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirm {
    /// What would be done.
    pub(crate) action: Action,
    /// What that means and what will be lost, a paragraph each.
    pub(crate) means: Vec<String>,
    /// What the word is, for the line that asks for it.
    pub(crate) asks: String,
    /// The word.
    pub(crate) word: String,
    /// What is typed.
    pub(crate) typed: String,
    /// Whether another word was entered.
    pub(crate) is_wrong: bool,
}

/// What comes of a key in a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stays open.
    Open(Dialog),
    /// It is closed and nothing is done.
    Dropped,
    /// It is closed and this is to be done.
    Do(Action),
    /// It is closed and this is to be looked for; nothing where it is empty.
    Find(String),
    /// It is closed and this PIN is to be checked, before what it guards.
    Check(Secret, Guarded),
}

impl Confirm {
    /// Before the node is restarted.
    pub(crate) fn reboot() -> Self {
        Self::new(
            Action::Reboot,
            "reboot",
            "Type reboot",
            &[
                "Requests under way are finished. Then no object can be read or written until the \
                 node is up again, and an oracle that asks meanwhile gets no answer.",
                "Nothing that was acknowledged is lost.",
            ],
        )
    }

    /// Before the node is powered off.
    pub(crate) fn power_off() -> Self {
        Self::new(
            Action::PowerOff,
            "poweroff",
            "Type poweroff",
            &[
                "Requests under way are finished. Then no object can be read or written, and no \
                 oracle is answered, until somebody switches the machine on where it stands.",
                "Nothing that was acknowledged is lost.",
            ],
        )
    }

    /// Before a disk is retired; none where it holds no volume.
    pub(crate) fn retire(row: &Row<'_>) -> Option<Self> {
        let volume = row.volume_id()?.to_owned();
        let word = end(row.serial().or(row.id)?, SERIAL_END);
        let size = decimal_size(row.disk?.size.0);
        let what = format!(
            "{} ({size}): what is on it moves to the other disks, which may take hours; the pool \
             becomes smaller by that disk.",
            sentence(&row.called())
        );
        let lost = "Then its key is destroyed: what is left on it can never be read again. Until \
                    then it can be kept. No object is lost.";
        let action = Action::Retire { volume, called: row.called() };
        let of = if row.serial().is_some() { "serial" } else { "id" };
        let asks = format!("Type the last {SERIAL_END} characters of its {of}");
        Some(Self::new(action, &word, &asks, &[&what, lost]))
    }

    /// Before a disk is claimed that was not proven blank; none where it has no name or serial number.
    pub(crate) fn claim(row: &Row<'_>) -> Option<Self> {
        let (disk, serial_end) = (row.id?.to_owned(), end(row.serial()?, SERIAL_END));
        let size = decimal_size(row.disk?.size.0);
        let found = match row.disk?.reasons.as_slice() {
            [] => "what is on it is not known".to_owned(),
            reasons => reasons.join("; "),
        };
        let what = format!("{} ({size}). Found on it: {found}.", sentence(&row.called()));
        let lost = "All of that is erased and nobody can bring it back. For a minute from now the claim \
                    can be taken back with u; nothing is written until then.";
        let word = serial_end.clone();
        let action = Action::ClaimDisk { disk, called: row.called(), serial_end };
        let asks = format!("Type the last {SERIAL_END} characters of its serial");
        Some(Self::new(action, &word, &asks, &[&what, lost]))
    }

    /// Before the network is set up by node.toml again.
    pub(crate) fn reset_network() -> Self {
        Self::new(
            Action::ResetNetwork,
            "reset",
            "Type reset",
            &[
                "The settings that were made on the node are forgotten, and the network is set up by \
                 node.toml, or by DHCP where that says nothing. Nothing takes this back.",
                "Connections by addresses that node.toml does not have are lost.",
            ],
        )
    }

    /// Before the recovery words are shown.
    pub(crate) fn recovery_words() -> Self {
        let what = format!(
            "The next picture has the {RECOVERY_WORDS} words from which the daemon key of this node can be \
             made again. Whoever has them can speak for the node."
        );
        Self::new(
            Action::RecoveryWords,
            "show",
            "Type show",
            &[&what, "Let nobody look on, write them on paper, and press Esc."],
        )
    }

    /// Before the node is made new.
    pub(crate) fn factory_reset(scope: ResetScope, node_id: &str) -> Self {
        let node_end = end(node_id, NODE_END);
        let lost = "Lost for ever: all objects, buckets and users, the settings of the network that were \
                    made on the node, the PIN that was set on it.";
        let more = match scope {
            ResetScope::KeepIdentity => {
                "Kept: the node's id, its daemon key and its certificate, so it is the same node on \
                 chain; node.toml on the stick."
            }
            ResetScope::ForgetIdentity => {
                "Lost too: the node's daemon key and its certificate. A new daemon key has to be \
                 bound; what is not claimed is claimed by the HP's own key. Kept: node.toml on the \
                 stick."
            }
        };
        let word = node_end.clone();
        let action = Action::FactoryReset { scope, node_end };
        let asks = format!("Type the last {NODE_END} characters of the node id");
        Self::new(action, &word, &asks, &[lost, more, "Then the machine restarts."])
    }

    fn new(action: Action, word: &str, asks: &str, means: &[&str]) -> Self {
        Self {
            action,
            means: means.iter().map(|text| (*text).to_owned()).collect(),
            asks: asks.to_owned(),
            word: word.to_owned(),
            typed: String::new(),
            is_wrong: false,
        }
    }

    /// Whether `typed` is the word; large and small letters are alike.
    pub(crate) fn accepts(&self, typed: &str) -> bool {
        !self.word.is_empty() && typed.trim().eq_ignore_ascii_case(&self.word)
    }
}

/// The last so many characters.
fn end(text: &str, count: usize) -> String {
    text.chars().skip(text.chars().count().saturating_sub(count)).collect()
}

impl Dialog {
    /// Takes in a key.
    pub(crate) fn press(mut self, key: Key) -> Outcome {
        match key {
            Key::Escape => return Outcome::Dropped,
            Key::Enter => return self.enter(),
            Key::Char(letter) => self.put(letter),
            Key::Erase => {
                self.typed().pop();
            }
            _ => {}
        }
        Outcome::Open(self)
    }

    fn put(&mut self, letter: char) {
        let most = if matches!(self, Self::Pin { .. }) { PIN_MAX } else { ANSWER_MAX };
        let typed = self.typed();
        if typed.chars().count() < most {
            typed.push(letter);
        }
    }

    fn typed(&mut self) -> &mut String {
        match self {
            Self::Confirm(confirm) => &mut confirm.typed,
            Self::Search(typed) => typed,
            Self::Pin { typed, .. } => &mut typed.0,
        }
    }

    fn enter(self) -> Outcome {
        match self {
            Self::Search(typed) => Outcome::Find(typed),
            Self::Pin { typed, then } => Outcome::Check(typed, then),
            Self::Confirm(confirm) if confirm.accepts(&confirm.typed) => {
                Outcome::Do(confirm.action)
            }
            Self::Confirm(confirm) => Outcome::Open(Self::Confirm(Confirm {
                typed: String::new(),
                is_wrong: true,
                ..confirm
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(dialog: Dialog, text: &str) -> Outcome {
        let mut dialog = dialog;
        for letter in text.chars() {
            match dialog.press(Key::Char(letter)) {
                Outcome::Open(open) => dialog = open,
                other => return other,
            }
        }
        dialog.press(Key::Enter)
    }

    #[test]
    fn only_the_whole_word_confirms_in_large_letters_or_small() {
        let ask = || Dialog::Confirm(Confirm::reboot());
        assert_eq!(typed(ask(), "Reboot"), Outcome::Do(Action::Reboot));
        for wrong in ["", "y", "reboo", "reboott", "poweroff"] {
            let Outcome::Open(Dialog::Confirm(open)) = typed(ask(), wrong) else {
                panic!("{wrong:?} was taken")
            };
            assert!(open.is_wrong && open.typed.is_empty());
            assert_eq!(typed(Dialog::Confirm(open), "reboot"), Outcome::Do(Action::Reboot));
        }
        assert_eq!(ask().press(Key::Escape), Outcome::Dropped);
    }

    #[test]
    fn an_answer_can_be_corrected_and_does_not_grow_for_ever() {
        let long = "x".repeat(100);
        let Outcome::Find(found) = typed(Dialog::Search(String::new()), &long) else {
            panic!("not a search")
        };
        assert_eq!(found.len(), ANSWER_MAX);
        let Outcome::Open(dialog) = Dialog::Search("warm".to_owned()).press(Key::Erase) else {
            panic!("closed")
        };
        assert_eq!(dialog, Dialog::Search("war".to_owned()));
    }
}
