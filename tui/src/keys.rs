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
        (rest == [ESCAPE]).then_some(Input::Key(Key::Overview))
    }
}

/// Length and meaning of the first input; `None` where bytes are missing.
fn first(bytes: &[u8]) -> Option<(usize, Option<Input>)> {
    let key = match bytes {
        [] | [ESCAPE] | [ESCAPE, b'O'] => return None,
        [ESCAPE, b'[', rest @ ..] => {
            return sequence(rest).map(|(length, input)| (2 + length, input));
        }
        // The keypad of a VT100 in its application mode.
        [ESCAPE, b'O', last, ..] => return Some((3, Some(Input::Key(named(b"", *last))))),
        [ESCAPE, ESCAPE, ..] => Key::Overview,
        // With Alt: the key itself follows.
        [ESCAPE, ..] => return Some((1, None)),
        [0x03, ..] => Key::Quit,
        // Ctrl-L repaints in every terminal program.
        [0x0c | b'r' | b'R', ..] => Key::Repaint,
        [b's' | b'S', ..] => Key::Secret,
        [b'\t', ..] => Key::Next,
        // The first byte of a character in UTF-8 has been taken as a key.
        [0x80..=0xbf, ..] => return Some((1, None)),
        _ => Key::Other,
    };
    Some((1, Some(Input::Key(key))))
}

/// Length and meaning of what follows `ESC [`.
fn sequence(bytes: &[u8]) -> Option<(usize, Option<Input>)> {
    // Function keys of the Linux console.
    if let [b'[', rest @ ..] = bytes {
        return rest.first().map(|_| (2, Some(Input::Key(Key::Other))));
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
            ("\x1b", Key::Overview),
            ("r", Key::Repaint),
            ("R", Key::Repaint),
            ("\x0c", Key::Repaint),
            ("s", Key::Secret),
            ("\x1bs", Key::Secret),
            ("\x03", Key::Quit),
            ("x", Key::Other),
            ("\r", Key::Other),
            ("ä", Key::Other),
            ("€", Key::Other),
            ("\x1b[[A", Key::Other),
            ("\x1b[15~", Key::Other),
            ("\x1bOP", Key::Other),
            ("\x1b[C", Key::Other),
        ] {
            assert_eq!(keys(bytes.as_bytes()), [expected], "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_is_told_from_keys_around_it() {
        let cursor = Input::Cursor(Size { width: 132, height: 43 });
        let (up, other) = (Input::Key(Key::Up), Input::Key(Key::Other));
        assert_eq!(decode(b"\x1b[A\x1b[43;132Rx"), [up, cursor, other]);
        for none in ["\x1b[43R", "\x1b[;R", "\x1b[-5;80R", "\x1b[99999999;80R", "\x1b[1;2;3R"] {
            assert_eq!(decode(none.as_bytes()), [], "{none:?}");
        }
    }

    #[test]
    fn what_is_broken_off_does_not_take_the_next_key_with_it() {
        let escape_up = [Key::Overview, Key::Up];
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
