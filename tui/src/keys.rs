//! From the bytes that a terminal sends to keys, and to its answers. Pure.

use crate::state::{Key, Size};

/// Longest control sequence that is waited for, in bytes: keys and answers take 3 to 10.
const SEQUENCE_MAX: usize = 32;

const ESCAPE: u8 = 0x1b;

/// What a terminal sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A key was pressed.
    Key(Key),
    /// The cursor is in the last cell of an area of this size (ECMA-48: CPR).
    Cursor(Size),
}

/// Bytes go in as they come, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    rest: Vec<u8>,
}

impl Decoder {
    /// Takes bytes in and gives what is complete now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Input> {
        self.rest.extend(bytes);
        let mut inputs = Vec::new();
        while let Some((length, input)) = first(&self.rest) {
            self.rest.drain(..length.min(self.rest.len()));
            inputs.extend(input);
        }
        inputs
    }

    /// Whether an escape byte waits: the key of that name, or the first byte of another.
    pub(crate) fn may_be_key(&self) -> bool {
        self.rest == [ESCAPE]
    }

    /// No more bytes come: an escape byte alone is the key of that name, and what else has begun
    /// is dropped.
    pub(crate) fn give_up(&mut self) -> Option<Input> {
        let rest = std::mem::take(&mut self.rest);
        (rest == [ESCAPE]).then_some(Input::Key(Key::Escape))
    }
}

/// Length and meaning of the first input; `None` where bytes are missing.
fn first(bytes: &[u8]) -> Option<(usize, Option<Input>)> {
    let key = match bytes {
        [] | [ESCAPE] | [ESCAPE, b'O'] => return None,
        [ESCAPE, b'[', rest @ ..] => {
            return sequence(rest).map(|(length, input)| (2 + length, input));
        }
        // The keypad of a VT100 in its application mode, with its first function keys.
        [ESCAPE, b'O', last, ..] => return Some((3, Some(Input::Key(named(b"", *last))))),
        [ESCAPE, ESCAPE, ..] => Key::Escape,
        // With Alt: the key itself follows.
        [ESCAPE, ..] => return Some((1, None)),
        [0x03, ..] => Key::Quit,
        // Ctrl-L repaints in every terminal program.
        [0x0c, ..] => Key::Repaint,
        [b'\t', ..] => Key::Next,
        [b'\r' | b'\n', ..] => Key::Enter,
        [0x08 | 0x7f, ..] => Key::Erase,
        [letter @ b' '..=b'~', ..] => Key::Char(char::from(*letter)),
        // The first byte of a character in UTF-8 has been taken as a key.
        [0x80..=0xbf, ..] => return Some((1, None)),
        _ => Key::Other,
    };
    Some((1, Some(Input::Key(key))))
}

/// Length and meaning of what follows `ESC [`.
fn sequence(bytes: &[u8]) -> Option<(usize, Option<Input>)> {
    // Function keys of the Linux console: A for F1 to E for F5.
    if let [b'[', rest @ ..] = bytes {
        return rest.first().map(|letter| {
            let number = letter.checked_sub(b'@').filter(|number| (1..=5).contains(number));
            (2, Some(Input::Key(number.map_or(Key::Other, Key::Function))))
        });
    }
    let Some(end) = bytes.iter().position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return (bytes.len() > SEQUENCE_MAX).then_some((bytes.len(), None));
    };
    let (parameters, last) = (bytes.get(..end)?, *bytes.get(end)?);
    Some(match last {
        b'R' => (end + 1, position(parameters).map(Input::Cursor)),
        0x40..=0x7e => (end + 1, Some(Input::Key(named(parameters, last)))),
        // Broken off; what broke it is looked at by itself.
        _ => (end, None),
    })
}

/// The key of a control sequence, with or without Shift, Alt and Ctrl.
fn named(parameters: &[u8], last: u8) -> Key {
    let number = parameters.split(|&byte| byte == b';').next().unwrap_or_default();
    match (last, number) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        // Of xterm and a VT100: P for F1 to S for F4; F5 has no letter.
        (b'P', _) => Key::Function(1),
        (b'Q', _) => Key::Function(2),
        (b'R', _) => Key::Function(3),
        (b'S', _) => Key::Function(4),
        // Of rxvt and PuTTY: 11 for F1 to 15 for F5.
        (b'~', b"11") => Key::Function(1),
        (b'~', b"12") => Key::Function(2),
        (b'~', b"13") => Key::Function(3),
        (b'~', b"14") => Key::Function(4),
        (b'~', b"15") => Key::Function(5),
        (b'H', _) | (b'~', b"1" | b"7") => Key::Top,
        (b'F', _) | (b'~', b"4" | b"8") => Key::Bottom,
        (b'Z', _) => Key::Previous,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        _ => Key::Other,
    }
}

/// `row ; column`, both counted from 1.
fn position(parameters: &[u8]) -> Option<Size> {
    let (row, column) = std::str::from_utf8(parameters).ok()?.split_once(';')?;
    Some(Size { width: column.parse().ok()?, height: row.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Vec<Input> {
        let mut decoder = Decoder::default();
        let mut inputs = decoder.push(bytes);
        inputs.extend(decoder.give_up());
        inputs
    }

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let key = |input| match input {
            Input::Key(key) => Some(key),
            Input::Cursor(_) => None,
        };
        decode(bytes).into_iter().filter_map(key).collect()
    }

    #[test]
    fn the_keys_of_linux_vt220_and_xterm_are_known() {
        for (bytes, expected) in [
            ("\x1b[A", Key::Up),
            ("\x1bOA", Key::Up),
            ("\x1b[1;5A", Key::Up),
            ("\x1b[B", Key::Down),
            ("\x1b[5~", Key::PageUp),
            ("\x1b[6~", Key::PageDown),
            ("\x1b[6;5~", Key::PageDown),
            ("\x1b[H", Key::Top),
            ("\x1bOH", Key::Top),
            ("\x1b[1~", Key::Top),
            ("\x1b[F", Key::Bottom),
            ("\x1b[4~", Key::Bottom),
            ("\t", Key::Next),
            ("\x1b[Z", Key::Previous),
            ("\x1b", Key::Escape),
            ("\x1b[C", Key::Right),
            ("\x1bOD", Key::Left),
            ("\x1b[[A", Key::Function(1)),
            ("\x1b[[E", Key::Function(5)),
            ("\x1b[[F", Key::Other),
            ("\x1b[[@", Key::Other),
            ("\x1bOP", Key::Function(1)),
            ("\x1bOR", Key::Function(3)),
            ("\x1bOS", Key::Function(4)),
            ("\x1b[11~", Key::Function(1)),
            ("\x1b[15~", Key::Function(5)),
            ("\x1b[17~", Key::Other),
            ("\x0c", Key::Repaint),
            ("\x03", Key::Quit),
            ("\r", Key::Enter),
            ("\n", Key::Enter),
            ("\x7f", Key::Erase),
            ("\x08", Key::Erase),
            ("r", Key::Char('r')),
            ("~", Key::Char('~')),
            ("\x1bs", Key::Char('s')),
            ("\x01", Key::Other),
            ("ä", Key::Other),
            ("€", Key::Other),
        ] {
            assert_eq!(keys(bytes.as_bytes()), [expected], "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_is_told_from_keys_around_it() {
        let cursor = Input::Cursor(Size { width: 132, height: 43 });
        let (up, letter) = (Input::Key(Key::Up), Input::Key(Key::Char('x')));
        assert_eq!(decode(b"\x1b[A\x1b[43;132Rx"), [up, cursor, letter]);
        for none in ["\x1b[43R", "\x1b[;R", "\x1b[-5;80R", "\x1b[99999999;80R", "\x1b[1;2;3R"] {
            assert_eq!(decode(none.as_bytes()), [], "{none:?}");
        }
    }

    #[test]
    fn what_is_broken_off_does_not_take_the_next_key_with_it() {
        let escape_up = [Key::Escape, Key::Up];
        assert_eq!(keys(b"\x1b\x1b[A"), escape_up);
        assert_eq!(keys(b"\x1b[5\x1b[A"), [Key::Up]);
        assert_eq!(keys(b"\x1b[\x03"), [Key::Quit]);
        assert_eq!(keys(b"\x1b[12"), []);
        let endless = [b"\x1b[".as_slice(), &[b'1'; 100], b"s"].concat();
        assert_eq!(keys(&endless), [Key::Other]);
    }

    #[test]
    fn a_sequence_without_an_end_is_not_kept_for_ever() {
        let mut decoder = Decoder::default();
        for _ in 0..1000 {
            decoder.push(b"\x1b[1111111111111111");
            assert!(decoder.rest.len() <= 2 * SEQUENCE_MAX);
        }
        decoder.push(&[b'1'; 1000]);
        assert!(decoder.rest.len() <= 2 * SEQUENCE_MAX);
    }

    proptest! {
        #[test]
        fn keys_do_not_depend_on_how_their_bytes_arrive(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "\x1b[A", "\x1bOB", "\x1b[5~", "\x1b[24;80R", "\x1b[[A", "r", "s", "ä", "\t",
                ]),
                0..20,
            ),
        ) {
            let bytes = pieces.concat().into_bytes();
            let whole = decode(&bytes);
            prop_assert_eq!(whole.len(), pieces.len());
            let mut decoder = Decoder::default();
            let single: Vec<Input> =
                bytes.iter().flat_map(|&byte| decoder.push(&[byte])).collect();
            prop_assert_eq!(whole, single);
            prop_assert!(decoder.rest.is_empty());
        }

        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            for byte in bytes {
                decoder.push(&[byte]);
            }
            decoder.give_up();
            prop_assert!(decoder.rest.is_empty());
        }
    }
}
