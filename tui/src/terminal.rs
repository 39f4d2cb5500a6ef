//! The terminal on standard input and output.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;

use crate::canvas::{Canvas, RESTORE};
use crate::draw::draw;
use crate::state::{Event, Key, Size, State, VT100};

/// A terminal larger than this, or with no cells at all, is a wrong answer.
const SIZE_MAX: u16 = 500;

/// The smallest that is believed.
const SIZE_MIN: Size = Size { width: 20, height: 5 };

/// Sends the cursor far off and asks where it stopped (ECMA-48: CUP, DSR 6).
const ASK_POSITION: &[u8] = b"\x1b[999;999H\x1b[6n";

/// How long a terminal may take to say where its cursor is: what crossterm waits, enough for one
/// that is reached over two networks.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Bytes to look for the answer in: it takes 10, the rest is what was typed before it.
const ANSWER_MAX: usize = 256;

/// A terminal that hands over every key at once and shows nothing by itself. Set back when
/// dropped.
#[derive(Debug)]
pub(crate) struct Terminal {
    canvas: Canvas,
}

impl Terminal {
    /// Takes over standard input and output.
    ///
    /// # Errors
    /// When they are no terminal.
    pub(crate) fn open() -> io::Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(io::Error::other(
                "standard input and output are no terminal; --once prints the status as text",
            ));
        }
        crossterm::terminal::enable_raw_mode()?;
        Ok(Self { canvas: Canvas::default() })
    }

    /// The size of the terminal: as the kernel knows it, else, on a serial line, as the terminal
    /// says where its cursor stops, else that of a VT100.
    pub(crate) fn measure(&self) -> Size {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Size { width: size.ws_col, height: size.ws_row }
            }
            _ => furthest_cursor().unwrap_or(VT100),
        }
    }

    /// Waits for a key or a new size, at most `timeout`.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<Option<Event>> {
        // Keys that crossterm has read already do not show on the descriptor.
        input_within(Duration::ZERO)?;
        if !event::poll(Duration::ZERO)? {
            input_within(timeout)?;
            if !event::poll(Duration::ZERO)? {
                return Ok(None);
            }
        }
        Ok(match event::read()? {
            event::Event::Key(press) if press.kind != KeyEventKind::Release => {
                Some(Event::Key(key(press)))
            }
            event::Event::Resize(width, height) if width > 0 && height > 0 => {
                Some(Event::Resized(Size { width, height }))
            }
            _ => None,
        })
    }

    /// Sends what changed.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn show(&mut self, state: &State) -> io::Result<()> {
        let mut picture = Canvas::blank(state.size);
        draw(state, &mut picture);
        let bytes = self.canvas.show(picture);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }

    /// Makes the next [`Terminal::show`] send everything.
    pub(crate) fn forget(&mut self) {
        self.canvas.forget();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nobody is left to hear of a terminal that cannot be set back.
        let _ = io::stdout().write_all(RESTORE.as_bytes());
        let _ = io::stdout().flush();
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Waits until something can be read, or a signal came, at most `timeout`; true where something
/// can be read. A terminal that is gone is told here: crossterm would read its end for ever.
fn input_within(timeout: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut input = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut input, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => return Ok(false),
        other => other?,
    };
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    if input.iter().any(|fd| fd.revents().intersects(gone)) {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone"));
    }
    Ok(input.iter().any(|fd| fd.revents().contains(PollFlags::IN)))
}

/// Where the terminal says that its cursor stops; `None` where no answer comes in time, or a
/// signal or the terminal's end comes before it. Keys pressed meanwhile are lost.
///
/// crossterm can ask as well, but goes on for ever where the terminal goes away meanwhile.
fn furthest_cursor() -> Option<Size> {
    let mut out = io::stdout();
    out.write_all(ASK_POSITION).and_then(|()| out.flush()).ok()?;
    let until = Instant::now() + ANSWER_WITHIN;
    let mut read = Vec::new();
    while read.len() < ANSWER_MAX {
        if !input_within(until.saturating_duration_since(Instant::now())).ok()? {
            return None;
        }
        let mut chunk = [0; ANSWER_MAX];
        let length = rustix::io::read(io::stdin(), &mut chunk).ok().filter(|&length| length > 0)?;
        read.extend(chunk.get(..length)?);
        if let Some(size) = position(&read) {
            return Some(size);
        }
    }
    None
}

/// The first believable answer to [`ASK_POSITION`]: `ESC [ row ; column R`.
fn position(read: &[u8]) -> Option<Size> {
    let read = String::from_utf8_lossy(read);
    let mut answers = read.split("\x1b[").skip(1).filter_map(|after| {
        let (row, column) = after.split_once('R')?.0.split_once(';')?;
        Some(Size { width: column.parse().ok()?, height: row.parse().ok()? })
    });
    answers.find(|size| {
        (SIZE_MIN.width..=SIZE_MAX).contains(&size.width)
            && (SIZE_MIN.height..=SIZE_MAX).contains(&size.height)
    })
}

fn key(press: KeyEvent) -> Key {
    let control = press.modifiers.contains(KeyModifiers::CONTROL);
    match press.code {
        KeyCode::Char('c') if control => Key::Quit,
        // Ctrl-L repaints in every terminal program.
        KeyCode::Char('l') if control => Key::Repaint,
        KeyCode::Char('r' | 'R') => Key::Repaint,
        KeyCode::Char('s' | 'S') => Key::Secret,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Top,
        KeyCode::End => Key::Bottom,
        KeyCode::Tab => Key::Next,
        KeyCode::BackTab => Key::Previous,
        KeyCode::Esc => Key::Overview,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_among_keys_and_believed_only_where_it_can_be() {
        let size = |width, height| Some(Size { width, height });
        for (read, expected) in [
            (&b"\x1b[24;80R"[..], size(80, 24)),
            (b"r\x1b[A\x1b[43;132Rs", size(132, 43)),
            // Shift-F3 of xterm looks like an answer.
            (b"\x1b[1;2R\x1b[24;80R", size(80, 24)),
            (b"\xff\x1b[24;80R", size(80, 24)),
            (b"\x1b[24;80", None),
            (b"24;80R", None),
            (b"\x1b[24;80H", None),
            (b"\x1b[999;999R", None),
            (b"\x1b[0;0R", None),
            (b"\x1b[-5;80R", None),
            (b"\x1b[99999999;80R", None),
            (b"", None),
        ] {
            assert_eq!(position(read), expected, "{}", String::from_utf8_lossy(read));
        }
    }
}
