//! From painted cells to bytes for a terminal: only what changed, in sequences that a VT100 knows.

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use crate::state::Size;

/// Default attributes, ASCII as character set, UTF-8, no cursor, no wrapping at the right edge
/// (the last cell of the screen would scroll it).
const PREPARE: &str = "\x1b[0m\x1b(B\x1b%G\x1b[?25l\x1b[?7l";

/// Undoes [`PREPARE`] and leaves an empty screen.
pub(crate) const RESTORE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[2J\x1b[H";

/// What the terminal shows, as far as is known from here.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    shown: Option<Buffer>,
}

impl Canvas {
    /// An empty picture for a terminal of this size.
    pub(crate) fn blank(size: Size) -> Buffer {
        Buffer::empty(Rect::new(0, 0, size.width, size.height))
    }

    /// Forgets what the terminal shows, so that the next picture is sent whole.
    pub(crate) fn forget(&mut self) {
        self.shown = None;
    }

    /// The bytes that make the terminal show `next`.
    pub(crate) fn show(&mut self, next: Buffer) -> Vec<u8> {
        let mut pen = Pen::default();
        match &self.shown {
            Some(shown) if shown.area == next.area => {
                for (x, y, cell) in shown.diff(&next) {
                    pen.put(x, y, cell);
                }
            }
            _ => whole(&next, &mut pen),
        }
        self.shown = Some(next);
        pen.bytes()
    }
}

/// Sends every row. Nothing is erased beforehand: a picture that is there already must not
/// flicker.
fn whole(picture: &Buffer, pen: &mut Pen) {
    pen.out.push_str(PREPARE);
    let width = usize::from(picture.area.width).max(1);
    for (y, row) in (0_u16..).zip(picture.content.chunks(width)) {
        let blank = |cell: &Cell| *cell == Cell::EMPTY;
        let end = row.iter().rposition(|cell| !blank(cell)).map_or(0, |at| at + 1);
        pen.go(0, y);
        for (x, cell) in (0_u16..).zip(row.iter().take(end)) {
            pen.put(x, y, cell);
        }
        if end < width {
            pen.erase_to_end_of_line();
        }
    }
}

/// Where the cursor is and which attributes are set.
#[derive(Debug, Default)]
struct Pen {
    out: String,
    at: Option<(u16, u16)>,
    sgr: Option<String>,
}

impl Pen {
    fn put(&mut self, x: u16, y: u16, cell: &Cell) {
        self.go(x, y);
        let sgr = sgr(cell);
        if self.sgr.as_ref() != Some(&sgr) {
            self.out.push_str(&sgr);
            self.sgr = Some(sgr);
        }
        self.out.push_str(cell.symbol());
        self.at = Some((x + 1, y));
    }

    fn go(&mut self, x: u16, y: u16) {
        if self.at != Some((x, y)) {
            self.out.push_str(&format!("\x1b[{};{}H", y + 1, x + 1));
            self.at = Some((x, y));
        }
    }

    fn erase_to_end_of_line(&mut self) {
        // Attributes first: some terminals erase with the background that is set.
        self.out.push_str("\x1b[0m\x1b[K");
        self.sgr = None;
    }

    fn bytes(mut self) -> Vec<u8> {
        if self.sgr.is_some() {
            self.out.push_str("\x1b[0m");
        }
        self.out.into_bytes()
    }
}

/// Select Graphic Rendition with the 16 colours that every colour terminal has (ECMA-48, 8.3.117).
fn sgr(cell: &Cell) -> String {
    let mut codes = String::from("\x1b[0");
    let attributes =
        [(Modifier::BOLD, ";1"), (Modifier::UNDERLINED, ";4"), (Modifier::REVERSED, ";7")];
    for (attribute, code) in attributes {
        if cell.modifier.contains(attribute) {
            codes.push_str(code);
        }
    }
    if let Some(code) = foreground(cell.fg) {
        codes.push_str(code);
    }
    if cell.bg == Color::Black {
        codes.push_str(";40");
    }
    codes.push('m');
    codes
}

fn foreground(color: Color) -> Option<&'static str> {
    Some(match color {
        Color::Black => ";30",
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Blue => ";34",
        Color::Magenta => ";35",
        Color::Cyan => ";36",
        Color::Gray => ";37",
        // No bright colours, and none beyond the 16: a VT220 or minicom takes them for others.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Style;

    const SIZE: Size = Size { width: 6, height: 2 };

    fn sent(canvas: &mut Canvas, first: &str, second: &str) -> String {
        let mut picture = Canvas::blank(SIZE);
        picture.set_string(0, 0, first, Style::new());
        picture.set_string(0, 1, second, Style::new().fg(Color::Red));
        String::from_utf8(canvas.show(picture)).expect("UTF-8")
    }

    #[test]
    fn the_first_picture_is_sent_whole_without_erasing_the_screen() {
        let bytes = sent(&mut Canvas::default(), "ab", "abcdef");
        let rest = bytes.strip_prefix(PREPARE).expect("the terminal is prepared");
        assert_eq!(rest, "\x1b[1;1H\x1b[0mab\x1b[0m\x1b[K\x1b[2;1H\x1b[0;31mabcdef\x1b[0m");
    }

    #[test]
    fn later_only_what_changed_is_sent() {
        let mut canvas = Canvas::default();
        sent(&mut canvas, "ab", "abc");
        assert_eq!(sent(&mut canvas, "ab", "abc"), "");
        assert_eq!(sent(&mut canvas, "ab", "aXc"), "\x1b[2;2H\x1b[0;31mX\x1b[0m");
    }

    #[test]
    fn a_forgotten_picture_is_sent_whole_again() {
        let mut canvas = Canvas::default();
        let first = sent(&mut canvas, "ab", "abc");
        canvas.forget();
        assert_eq!(sent(&mut canvas, "ab", "abc"), first);
    }
}
