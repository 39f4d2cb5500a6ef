//! What takes the place of a screen until it is left: forms, and what there is to read. Pure.

use std::time::Duration;

use agent_api::control::Secret;
use agent_api::init::SystemStatus;
use agent_api::local::ResetScope;
use agent_api::support::SupportWritten;

use crate::action::Action;
use crate::dialog::{Confirm, Guarded, PIN_MAX};
use crate::form::{Field, Form, Pressed, Value};
use crate::network::{NetworkForm, Sent};
use crate::state::Key;

/// The fewest digits of a PIN (provisioning-config has the same).
const PIN_MIN: usize = 4;

/// The longest name or address that is tested, in characters; one of a host has at most 253.
const HOST_MAX: usize = 253;

/// How long the recovery words are shown without a key.
pub(crate) const WORDS_SHOWN_FOR: Duration = Duration::from_secs(60);

/// What takes the place of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sheet {
    /// How a port is set up.
    Network(NetworkForm),
    /// What of the network is tested.
    Test(Form),
    /// The PIN of the console.
    Pin(Form),
    /// Something to read.
    Reader {
        /// What it is, as a heading.
        title: String,
        /// The lines; none while the answer is waited for.
        lines: Option<Vec<String>>,
        /// Lines scrolled away above.
        scroll: usize,
    },
    /// The recovery words, until then.
    Words {
        /// The words with blanks between them.
        words: Secret,
        /// When they are blanked, since the console started.
        until: Duration,
    },
    /// The support bundle.
    Support(Support),
    /// What a factory reset may leave.
    Reset,
}

/// How far a support bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Support {
    /// Whether it is to be written.
    Asked,
    /// It is being written.
    Writing {
        /// Since then, since the console started.
        since: Duration,
    },
    /// It is written.
    Written(SupportWritten),
    /// It could not be written; why, in words.
    Failed(String),
}

/// What comes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It stays.
    Stays,
    /// It is left.
    Left,
    /// It stays until this is done.
    Do(Guarded),
    /// The answer to this takes its place.
    Ask(Action),
    /// The lines are scrolled by so many; negative is up.
    Scroll(Scroll),
}

/// How lines are scrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scroll {
    /// A line up.
    Up,
    /// A line down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the beginning.
    Top,
    /// To the end.
    Bottom,
}

impl Sheet {
    /// The form of the network's tests.
    pub(crate) fn test() -> Self {
        let options = ["ping", "DNS", "clock"].map(str::to_owned).to_vec();
        let fields = vec![
            Field::new(
                "what",
                "Test",
                "ping: echoes of a machine; DNS: the addresses of a name; clock: the time servers",
                Value::Choice { options, at: 0 },
            ),
            Field::new(
                "host",
                "Machine",
                "name or address; the clock needs none",
                Value::text("", HOST_MAX),
            ),
        ];
        Self::Test(Form::new(fields, "Test"))
    }

    /// The form of the PIN.
    pub(crate) fn pin() -> Self {
        let fields = vec![
            Field::new("pin", "New PIN", "4 to 16 digits", Value::secret(PIN_MAX)),
            Field::new("again", "Once more", "the same digits", Value::secret(PIN_MAX)),
            Field::new(
                "none",
                "No PIN",
                "y: no PIN any more; whoever stands here can change the node",
                Value::Flag(false),
            ),
        ];
        Self::Pin(Form::new(fields, "Set it"))
    }

    /// Something that is asked for.
    pub(crate) fn awaited(action: &Action) -> Self {
        Self::Reader { title: action.title(), lines: None, scroll: 0 }
    }

    /// Whether letters are typed into it.
    pub(crate) fn takes_text(&self) -> bool {
        matches!(self, Self::Network(_) | Self::Test(_) | Self::Pin(_))
    }

    /// Takes in a key.
    pub(crate) fn press(
        &mut self,
        key: Key,
        system: Option<&SystemStatus>,
        node_id: &str,
    ) -> Turned {
        match self {
            Self::Network(form) => {
                let unknown = SystemStatus::default();
                match form.press(key, system.unwrap_or(&unknown)) {
                    Sent::Open => Turned::Stays,
                    Sent::Left => Turned::Left,
                    Sent::Try(text) => Turned::Do(Guarded::Act(Action::TryNetwork { text })),
                }
            }
            Self::Test(form) => match form.press(key) {
                Pressed::Open => Turned::Stays,
                Pressed::Left => Turned::Left,
                Pressed::Sent => test(form).map_or(Turned::Stays, Turned::Ask),
            },
            Self::Pin(form) => match form.press(key) {
                Pressed::Open => Turned::Stays,
                Pressed::Left => Turned::Left,
                Pressed::Sent => match pin(form) {
                    Some(Some(pin)) => Turned::Do(Guarded::Act(Action::SetPin { pin })),
                    Some(None) => Turned::Do(Guarded::Act(Action::ClearPin)),
                    None => Turned::Stays,
                },
            },
            Self::Reader { .. } | Self::Words { .. } => read(key),
            Self::Support(Support::Asked) if key == Key::Enter => {
                Turned::Do(Guarded::Act(Action::WriteSupport))
            }
            Self::Support(_) => match key {
                Key::Escape | Key::Enter => Turned::Left,
                _ => Turned::Stays,
            },
            Self::Reset => {
                let scope = match key {
                    Key::Char('1') => ResetScope::KeepIdentity,
                    Key::Char('2') => ResetScope::ForgetIdentity,
                    Key::Escape => return Turned::Left,
                    _ => return Turned::Stays,
                };
                Turned::Do(Guarded::Ask(Confirm::factory_reset(scope, node_id)))
            }
        }
    }
}

fn read(key: Key) -> Turned {
    Turned::Scroll(match key {
        Key::Escape | Key::Enter => return Turned::Left,
        Key::Up => Scroll::Up,
        Key::Down => Scroll::Down,
        Key::PageUp => Scroll::PageUp,
        Key::PageDown | Key::Char(' ') => Scroll::PageDown,
        Key::Top => Scroll::Top,
        Key::Bottom => Scroll::Bottom,
        _ => return Turned::Stays,
    })
}

fn test(form: &mut Form) -> Option<Action> {
    form.clear_faults();
    let host = form.text("host").to_owned();
    match form.chosen("what") {
        2 => Some(Action::ClockTest),
        _ if host.is_empty() => {
            form.fault("host", "write a name or an address, such as 192.0.2.1".to_owned());
            None
        }
        1 => Some(Action::LookUp { name: host }),
        _ => Some(Action::Ping { host }),
    }
}

/// The PIN that was typed twice, or that there is to be none; else nothing, with what is wrong.
fn pin(form: &mut Form) -> Option<Option<Secret>> {
    form.clear_faults();
    let typed = |key| form.secret(key).cloned().unwrap_or_else(|| Secret::new(String::new()));
    let (pin, again) = (typed("pin"), typed("again"));
    let is_digits = pin.reveal().bytes().all(|byte| byte.is_ascii_digit());
    let is_empty = pin.reveal().is_empty() && again.reveal().is_empty();
    if form.flag("none") {
        if is_empty {
            return Some(None);
        }
        form.fault("none", "there are digits above: leave these away, or write n".to_owned());
    } else if !is_digits || pin.reveal().len() < PIN_MIN {
        form.fault("pin", format!("a PIN has {PIN_MIN} to {PIN_MAX} digits"));
    } else if pin != again {
        form.fault("again", "these are other digits than above".to_owned());
    } else {
        return Some(Some(pin));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(sheet: &mut Sheet, keys: &str) -> Turned {
        let mut last = Turned::Stays;
        for letter in keys.chars() {
            let key = if letter == '\n' { Key::Enter } else { Key::Char(letter) };
            last = sheet.press(key, None, "7f83b1657ff1fc53");
        }
        last
    }

    fn error(sheet: &Sheet) -> String {
        let (Sheet::Test(form) | Sheet::Pin(form)) = sheet else { panic!("{sheet:?}") };
        form.field().and_then(|field| field.error.clone()).unwrap_or_default()
    }

    #[test]
    fn a_pin_is_typed_twice_or_not_at_all() {
        let set = |keys: &str| typed(&mut Sheet::pin(), keys);
        let pin = Secret::new("2580".to_owned());
        assert_eq!(set("2580\n2580\n\n\n"), Turned::Do(Guarded::Act(Action::SetPin { pin })));
        assert_eq!(set("\n\ny\n\n"), Turned::Do(Guarded::Act(Action::ClearPin)));
        for (keys, wrong) in [
            ("2580\n2581\n\n\n", "other digits"),
            ("258\n258\n\n\n", "4 to 16"),
            ("abcd\nabcd\n\n\n", "4 to 16"),
            ("2580\n\n\n\n", "other digits"),
            ("\n2580\n\n\n", "4 to 16"),
            ("\n\n\n\n", "4 to 16"),
            ("2580\n2580\ny\n\n", "digits above"),
        ] {
            let mut sheet = Sheet::pin();
            assert_eq!(typed(&mut sheet, keys), Turned::Stays, "{keys:?}");
            assert!(error(&sheet).contains(wrong), "{keys:?}: {}", error(&sheet));
        }
    }

    #[test]
    fn each_test_of_the_network_asks_for_what_it_needs() {
        let name = || "192.0.2.1".to_owned();
        for (keys, action) in [
            ("\n192.0.2.1\n\n", Action::Ping { host: name() }),
            ("d\n192.0.2.1\n\n", Action::LookUp { name: name() }),
            ("c\n\n\n", Action::ClockTest),
        ] {
            assert_eq!(typed(&mut Sheet::test(), keys), Turned::Ask(action));
        }
        let mut sheet = Sheet::test();
        assert_eq!(typed(&mut sheet, "\n\n\n"), Turned::Stays);
        assert!(error(&sheet).contains("write a name"));
    }

    #[test]
    fn a_factory_reset_is_asked_about_with_the_end_of_the_node_s_id() {
        for (key, scope) in [("1", ResetScope::KeepIdentity), ("2", ResetScope::ForgetIdentity)] {
            let Turned::Do(Guarded::Ask(confirm)) = typed(&mut Sheet::Reset, key) else {
                panic!("not asked")
            };
            let node_end = "f1fc53".to_owned();
            assert_eq!(confirm.action, Action::FactoryReset { scope, node_end });
            assert!(confirm.accepts("F1FC53") && !confirm.accepts("7f83b1"));
        }
        assert_eq!(typed(&mut Sheet::Reset, "3"), Turned::Stays);
        assert_eq!(Sheet::Reset.press(Key::Escape, None, ""), Turned::Left);
    }
}
