//! What is told: results on standard output, everything else beside them.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use qrcodegen::{QrCode, QrCodeEcc};
use serde_json::Value;

/// The longest answer to a question, in bytes.
const ANSWER_MAX: u64 = 64;

/// What a command found or did.
#[derive(Debug)]
pub(crate) struct Report {
    pub lines: Vec<String>,
    pub json: Value,
}

impl Report {
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, &self.json)
                .context("cannot write the result")?;
            return writeln!(out).context("cannot write the result");
        }
        let lines = self.lines.iter().try_for_each(|line| writeln!(out, "{line}"));
        lines.context("cannot write the result")
    }
}

/// Tells how it goes, on standard error: nobody has to read it.
pub(crate) fn note(line: &str) {
    let _unread = writeln!(io::stderr(), "{line}");
}

/// Asks for a word before something is signed; `yes` answers for scripts.
pub(crate) fn confirm(word: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!(
            "nobody can be asked, as there is no terminal: nothing is signed; say --yes if it is meant"
        );
    }
    let mut err = io::stderr();
    write!(err, "Type `{word}` to sign: ").and_then(|()| err.flush()).context("cannot ask")?;
    let mut answer = String::new();
    let mut input = io::Read::take(io::stdin().lock(), ANSWER_MAX);
    input.read_line(&mut answer).context("cannot read the answer")?;
    if answer.trim() == word { Ok(()) } else { bail!("nothing is signed") }
}

/// A text as a code for a camera: two modules in a character, dark on light, with the margin that readers want.
pub(crate) fn code(text: &str) -> Result<Vec<String>> {
    /// Modules of the margin (ISO/IEC 18004, "quiet zone").
    const MARGIN: i32 = 4;
    let code =
        QrCode::encode_text(text, QrCodeEcc::Low).context("the link is too long for a code")?;
    let end = code.size().saturating_add(MARGIN);
    let dark = |x, y| code.get_module(x, y);
    let mut lines = Vec::new();
    let mut y = -MARGIN;
    while y < end {
        let pair = |x| match (dark(x, y), dark(x, y.saturating_add(1))) {
            (true, true) => ' ',
            (true, false) => '▄',
            (false, true) => '▀',
            (false, false) => '█',
        };
        lines.push((-MARGIN..end).map(pair).collect());
        y = y.saturating_add(2);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_margin_and_its_corners() {
        let lines = code("ethereum:0x01@1/f?uint256=1").unwrap();
        let all: Vec<Vec<char>> = lines.iter().map(|line| line.chars().collect()).collect();
        let width = all[0].len();
        assert!(all.iter().all(|line| line.len() == width));
        assert!(all[..2].iter().flatten().all(|char| *char == '█'), "light above");
        // The first corner's upper edge is seven dark modules over one that is dark at its ends only.
        let edge: String = all[2][4..11].iter().collect();
        assert_eq!(edge, " ▄▄▄▄▄ ");
        assert!(code(&"x".repeat(4000)).is_err());
    }

    #[test]
    fn without_a_terminal_only_yes_is_an_answer() {
        assert!(confirm("yes", true).is_ok());
    }
}
