//! From keys to a line, and from a line to a command. Pure.

use clap::{CommandFactory as _, Parser};

use crate::ctl::{Command, LevelArgument};
use crate::state::Key;

/// The longest line in characters; every command is shorter.
const LINE_MAX: usize = 200;

/// Wipes one character on a terminal of any kind.
const WIPE: &str = "\u{8} \u{8}";

/// A line that is being typed.
#[derive(Debug, Default)]
pub(super) struct Editor {
    typed: String,
}

/// What comes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edited {
    /// This is to be shown.
    Echo(String),
    /// The line is done.
    Line(String),
    /// The console is to end.
    Quit,
}

impl Editor {
    /// Whether nothing is typed.
    pub(super) fn is_empty(&self) -> bool {
        self.typed.is_empty()
    }

    /// Takes in a key.
    pub(super) fn press(&mut self, key: Key) -> Edited {
        Edited::Echo(match key {
            Key::Quit => return Edited::Quit,
            Key::Enter => return Edited::Line(std::mem::take(&mut self.typed)),
            Key::Char(letter) if self.typed.len() < LINE_MAX => {
                self.typed.push(letter);
                letter.to_string()
            }
            Key::Erase => self.typed.pop().map_or_else(String::new, |_| WIPE.to_owned()),
            Key::Escape => WIPE.repeat(std::mem::take(&mut self.typed).len()),
            _ => String::new(),
        })
    }
}

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// It is empty.
    Nothing,
    /// What can be typed.
    Menu,
    /// This command.
    Command(Command),
    /// It is no command; what to say.
    Wrong(String),
}

/// A line as the command line that it is.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, name = "icn>", disable_version_flag = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// The commands that can be typed and have no number.
pub(super) fn words() -> Vec<String> {
    const NUMBERED: [&str; 9] =
        ["status", "identity", "disks", "log", "health", "pool", "reboot", "poweroff", "secret"];
    let all = Line::command();
    let names = all.get_subcommands().map(|command| command.get_name().to_owned());
    names.filter(|name| !NUMBERED.contains(&name.as_str())).collect()
}

/// What a line asks for: a number of the menu or a command of icnctl.
pub(super) fn wish(line: &str) -> Wish {
    Wish::Command(match line.trim() {
        "" => return Wish::Nothing,
        "?" | "menu" => return Wish::Menu,
        "1" => Command::Status,
        "2" => Command::Network { what: None },
        "3" => Command::Disks,
        "4" => Command::Identity,
        "5" => Command::Log { lines: 20, level: LevelArgument::All, text: String::new() },
        "6" => Command::Health { all: false },
        "7" => Command::Pool,
        "8" => Command::Reboot,
        "9" => Command::Poweroff,
        "s" => Command::Secret,
        words => match Line::try_parse_from(words.split_whitespace()) {
            Ok(Line { command }) => command,
            Err(error) => return Wish::Wrong(error.to_string()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::{DiskCommand, Led};

    fn typed(editor: &mut Editor, text: &str) -> String {
        let echo = |letter| match editor.press(Key::Char(letter)) {
            Edited::Echo(text) => text,
            other => panic!("{other:?}"),
        };
        text.chars().map(echo).collect()
    }

    #[test]
    fn a_line_is_echoed_and_can_be_corrected_and_dropped() {
        let mut editor = Editor::default();
        assert_eq!(typed(&mut editor, "statos"), "statos");
        assert_eq!(editor.press(Key::Erase), Edited::Echo(WIPE.to_owned()));
        editor.press(Key::Erase);
        typed(&mut editor, "us");
        assert_eq!(editor.press(Key::Enter), Edited::Line("status".to_owned()));
        assert_eq!(editor.press(Key::Erase), Edited::Echo(String::new()));
        typed(&mut editor, "ab");
        assert_eq!(editor.press(Key::Escape), Edited::Echo(WIPE.repeat(2)));
        assert!(editor.is_empty());
        assert_eq!(typed(&mut editor, &"x".repeat(500)).len(), LINE_MAX);
        assert_eq!(editor.press(Key::Quit), Edited::Quit);
    }

    #[test]
    fn every_command_is_a_number_or_a_word_of_the_menu() {
        let words = words();
        for wanted in ["network", "disk", "events", "sla", "settlement"] {
            assert!(words.iter().any(|word| word == wanted), "{wanted} in {words:?}");
        }
        assert!(!words.iter().any(|word| word == "reboot"));
    }

    #[test]
    fn numbers_and_words_are_the_same_commands() {
        for (number, word) in [("1", "status"), ("3", "disks"), ("6", "health"), ("8", "reboot")] {
            assert_eq!(wish(number), wish(word));
            assert!(matches!(wish(number), Wish::Command(_)));
        }
        let what = DiskCommand::Locate { disk: "000002".to_owned(), led: Led::On };
        assert_eq!(wish(" disk  locate 000002 on "), Wish::Command(Command::Disk { what }));
        assert_eq!((wish(""), wish("?")), (Wish::Nothing, Wish::Menu));
        let Wish::Wrong(text) = wish("statsu") else { panic!("taken") };
        assert!(text.contains("status"), "{text}");
        assert!(matches!(wish("help"), Wish::Wrong(text) if text.contains("poweroff")));
    }
}
