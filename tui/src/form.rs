//! A form: fields one below the other, and below them the row that hands it in. Pure.

use agent_api::control::Secret;

use crate::state::Key;

/// The longest text of a field, in characters: sixteen IPv6 addresses of 39 with their prefix lengths and what
/// stands between them.
pub(crate) const TEXT_MAX: usize = 16 * (39 + "/128".len() + ", ".len());

/// A form. Keys that every serial line has move in it; nothing hangs on a function key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// The fields, from top to bottom.
    pub(crate) fields: Vec<Field>,
    /// The field that keys go to; that behind the last is the row that hands it in.
    pub(crate) at: usize,
    /// What that row says.
    pub(crate) send: String,
    /// What is wrong with no single field.
    pub(crate) error: Option<String>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Tells it from the others of its form.
    pub(crate) key: &'static str,
    /// What stands before it.
    pub(crate) label: &'static str,
    /// What can be entered, for the line below the form.
    pub(crate) hint: &'static str,
    /// What is entered.
    pub(crate) value: Value,
    /// What is wrong with it.
    pub(crate) error: Option<String>,
}

/// What is entered in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text.
    Text {
        /// So much is typed.
        typed: String,
        /// Where the next character goes, in characters from its beginning.
        cursor: usize,
        /// So many characters at most.
        most: usize,
    },
    /// One of several.
    Choice {
        /// What can be chosen.
        options: Vec<String>,
        /// What is.
        at: usize,
    },
    /// Yes or no.
    Flag(bool),
    /// A text that nobody sees.
    Secret {
        /// So much is typed.
        typed: Secret,
        /// So many characters at most.
        most: usize,
    },
}

/// What comes of a key in a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pressed {
    /// It stays open.
    Open,
    /// It is left.
    Left,
    /// It is handed in.
    Sent,
}

impl Value {
    /// A text field with this in it.
    pub(crate) fn text(typed: impl Into<String>, most: usize) -> Self {
        let typed: String = typed.into().chars().take(most).collect();
        Self::Text { cursor: typed.chars().count(), typed, most }
    }

    /// An empty secret.
    pub(crate) fn secret(most: usize) -> Self {
        Self::Secret { typed: Secret::new(String::new()), most }
    }
}

impl Field {
    /// A field without a mistake.
    pub(crate) fn new(
        key: &'static str,
        label: &'static str,
        hint: &'static str,
        value: Value,
    ) -> Self {
        Self { key, label, hint, value, error: None }
    }
}

impl Form {
    /// A form whose first field has the keys.
    pub(crate) fn new(fields: Vec<Field>, send: &str) -> Self {
        Self { fields, at: 0, send: send.to_owned(), error: None }
    }

    /// The field that keys go to; none on the row that hands it in.
    pub(crate) fn field(&self) -> Option<&Field> {
        self.fields.get(self.at)
    }

    /// What is entered in a field; empty where there is none such.
    pub(crate) fn text(&self, key: &str) -> &str {
        match self.value(key) {
            Some(Value::Text { typed, .. }) => typed.trim(),
            Some(Value::Choice { options, at }) => options.get(*at).map_or("", String::as_str),
            _ => "",
        }
    }

    /// The place of what is chosen in a field.
    pub(crate) fn chosen(&self, key: &str) -> usize {
        match self.value(key) {
            Some(Value::Choice { at, .. }) => *at,
            _ => 0,
        }
    }

    /// Whether a question is answered with yes.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.value(key) == Some(&Value::Flag(true))
    }

    /// A secret that is entered.
    pub(crate) fn secret(&self, key: &str) -> Option<&Secret> {
        match self.value(key) {
            Some(Value::Secret { typed, .. }) => Some(typed),
            _ => None,
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.key == key).map(|field| &field.value)
    }

    /// Says what is wrong with a field, or with the whole where there is none such, and goes there.
    pub(crate) fn fault(&mut self, key: &str, text: String) {
        match self.fields.iter().position(|field| field.key == key) {
            Some(at) => {
                // The first mistake is shown first; what follows may come of it.
                if self.faults() == 0 {
                    self.at = at;
                }
                if let Some(field) = self.fields.get_mut(at) {
                    field.error.get_or_insert(text);
                }
            }
            None => {
                self.error.get_or_insert(text);
            }
        }
    }

    /// How many fields are wrong, with the whole.
    pub(crate) fn faults(&self) -> usize {
        self.fields.iter().filter(|field| field.error.is_some()).count()
            + usize::from(self.error.is_some())
    }

    /// Forgets what was wrong.
    pub(crate) fn clear_faults(&mut self) {
        self.error = None;
        for field in &mut self.fields {
            field.error = None;
        }
    }

    /// Takes in a key.
    pub(crate) fn press(&mut self, key: Key) -> Pressed {
        let last = self.fields.len();
        match key {
            Key::Escape => return Pressed::Left,
            Key::Enter if self.at >= last => return Pressed::Sent,
            Key::Enter | Key::Down => self.at = (self.at + 1).min(last),
            Key::Next => self.at = (self.at + 1) % (last + 1),
            Key::Previous => self.at = (self.at + last) % (last + 1),
            Key::Up => self.at = self.at.saturating_sub(1),
            Key::PageUp => self.at = 0,
            Key::PageDown => self.at = last,
            other => {
                if let Some(field) = self.fields.get_mut(self.at) {
                    let before = field.value.clone();
                    field.value.press(other);
                    if !field.value.says_the_same(&before) {
                        field.error = None;
                        self.error = None;
                    }
                }
            }
        }
        Pressed::Open
    }
}

impl Value {
    /// Whether the same is entered, wherever the cursor is.
    fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text { typed, .. }, Self::Text { typed: other, .. }) => typed == other,
            _ => self == other,
        }
    }

    fn press(&mut self, key: Key) {
        match self {
            Self::Text { typed, cursor, most } => edit(typed, cursor, *most, key),
            Self::Choice { options, at } => {
                let count = options.len().max(1);
                match key {
                    Key::Right | Key::Char(' ') => *at = (*at + 1) % count,
                    Key::Left => *at = (*at + count - 1) % count,
                    Key::Top => *at = 0,
                    Key::Bottom => *at = count - 1,
                    // By the first letter, as in other forms; the next one where several have it.
                    Key::Char(letter) => {
                        let starts = |option: &String| {
                            let first = option.chars().next();
                            first.is_some_and(|first| first.eq_ignore_ascii_case(&letter))
                        };
                        let places = (1..=count).map(|step| (*at + step) % count);
                        let found = places
                            .into_iter()
                            .find(|place| options.get(*place).is_some_and(starts));
                        *at = found.unwrap_or(*at);
                    }
                    _ => {}
                }
            }
            Self::Flag(is_set) => match key {
                Key::Left | Key::Right | Key::Char(' ') => *is_set = !*is_set,
                Key::Char('y' | 'Y' | '1' | '+') => *is_set = true,
                Key::Char('n' | 'N' | '0' | '-') => *is_set = false,
                _ => {}
            },
            Self::Secret { typed, most } => match key {
                Key::Char(letter) if typed.0.chars().count() < *most => typed.0.push(letter),
                Key::Erase => {
                    typed.0.pop();
                }
                _ => {}
            },
        }
    }
}

fn edit(typed: &mut String, cursor: &mut usize, most: usize, key: Key) {
    let length = typed.chars().count();
    *cursor = (*cursor).min(length);
    let byte =
        |typed: &str, at: usize| typed.char_indices().nth(at).map_or(typed.len(), |(byte, _)| byte);
    match key {
        Key::Left => *cursor = cursor.saturating_sub(1),
        Key::Right => *cursor = (*cursor + 1).min(length),
        Key::Top => *cursor = 0,
        Key::Bottom => *cursor = length,
        Key::Erase if *cursor > 0 => {
            *cursor -= 1;
            typed.remove(byte(typed, *cursor));
        }
        Key::Char(letter) if length < most => {
            typed.insert(byte(typed, *cursor), letter);
            *cursor += 1;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form() -> Form {
        let options = ["DHCP", "static", "none"].map(str::to_owned).to_vec();
        let fields = vec![
            Field::new("name", "Name", "", Value::text("ab", 5)),
            Field::new("way", "Way", "", Value::Choice { options, at: 0 }),
            Field::new("sure", "Sure", "", Value::Flag(false)),
            Field::new("pin", "PIN", "", Value::secret(4)),
        ];
        Form::new(fields, "Do it")
    }

    fn keys(form: &mut Form, keys: &str) -> Pressed {
        let mut last = Pressed::Open;
        for letter in keys.chars() {
            last = form.press(match letter {
                '\n' => Key::Enter,
                '\t' => Key::Next,
                '<' => Key::Left,
                '>' => Key::Right,
                '^' => Key::Top,
                '#' => Key::Erase,
                letter => Key::Char(letter),
            });
        }
        last
    }

    #[test]
    fn a_recorded_sequence_fills_every_kind_of_field_and_hands_it_in() {
        let mut form = form();
        assert_eq!(keys(&mut form, "cd<<x#^y\n"), Pressed::Open);
        assert_eq!(form.text("name"), "yabcd");
        keys(&mut form, "s\n");
        assert_eq!((form.text("way"), form.chosen("way")), ("static", 1));
        keys(&mut form, "y\t258000#5\n");
        assert_eq!(form.fields[2].value, Value::Flag(true));
        assert_eq!(form.secret("pin").map(Secret::reveal), Some("2585"));
        assert_eq!((form.at, form.field()), (4, None));
        assert_eq!(keys(&mut form, "\n"), Pressed::Sent);
        assert_eq!(form.press(Key::Escape), Pressed::Left);
    }

    #[test]
    fn tab_goes_round_and_arrows_stop_at_both_ends() {
        let mut form = form();
        form.press(Key::Previous);
        assert_eq!(form.at, 4);
        form.press(Key::Down);
        assert_eq!(form.at, 4);
        form.press(Key::Next);
        assert_eq!(form.at, 0);
        form.press(Key::Up);
        assert_eq!(form.at, 0);
        form.press(Key::PageDown);
        assert_eq!(form.at, 4);
        form.press(Key::PageUp);
        assert_eq!(form.at, 0);
    }

    #[test]
    fn a_choice_goes_round_by_arrows_and_blank_and_to_a_first_letter() {
        let mut form = form();
        form.press(Key::Down);
        for (key, wanted) in [(">", 1), (" ", 2), (">", 0), ("<", 2), ("D", 0), ("n", 2), ("x", 2)]
        {
            keys(&mut form, key);
            assert_eq!(form.chosen("way"), wanted, "{key:?}");
        }
    }

    #[test]
    fn a_mistake_has_the_keys_and_goes_once_it_is_corrected() {
        let mut form = form();
        form.fault("way", "not this one".to_owned());
        form.fault("name", "too short".to_owned());
        form.fault("nothing", "of the whole".to_owned());
        assert_eq!((form.at, form.faults()), (1, 3), "the first that was told");
        keys(&mut form, ">");
        assert_eq!((form.faults(), form.fields[1].error.as_ref()), (1, None));
        form.press(Key::Up);
        keys(&mut form, ">");
        assert!(form.fields[0].error.is_some(), "moving the cursor corrects nothing");
        keys(&mut form, "c");
        assert_eq!(form.faults(), 0);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let mut form = form();
        form.at = 3;
        keys(&mut form, "2580");
        assert!(!format!("{form:?}").contains("2580"));
    }

    proptest! {
        #[test]
        fn any_keys_keep_the_limits(
            pressed in prop::collection::vec(prop::sample::select(vec![
                Key::Next, Key::Previous, Key::Down, Key::Up, Key::PageDown, Key::PageUp,
                Key::Top, Key::Bottom, Key::Left, Key::Right, Key::Enter, Key::Erase,
                Key::Char('x'), Key::Char(' '), Key::Char('s'), Key::Other,
            ]), 0..200),
        ) {
            let mut form = form();
            for key in pressed {
                form.press(key);
                prop_assert!(form.at <= form.fields.len());
                let Value::Text { typed, cursor, most } = &form.fields[0].value else {
                    panic!("a text")
                };
                prop_assert!(typed.chars().count() <= *most);
                prop_assert!(*cursor <= typed.chars().count());
                prop_assert!(form.chosen("way") < 3);
                let pin = form.secret("pin").map_or(0, |pin| pin.reveal().len());
                prop_assert!(pin <= 4);
            }
        }
    }
}
