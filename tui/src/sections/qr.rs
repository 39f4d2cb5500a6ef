//! A text as a QR code (ISO/IEC 18004), in half blocks or in ASCII.

use qrcodegen::{QrCode, QrCodeEcc};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

/// Light modules around a code, as the standard wants them.
const QUIET: i32 = 4;

/// The most modules of a side: a code of version 6, with its rim 49 by 25 cells.
const SIDE_MAX: i32 = 41;

/// Grey on black whatever the terminal's own colours are: a reader wants dark on light, and
/// light modules are painted.
const STYLE: Style = Style::new().fg(Color::Gray).bg(Color::Black);

/// The code of `text`; none where it is too long.
pub(super) fn encode(text: &str) -> Option<QrCode> {
    QrCode::encode_text(text, QrCodeEcc::Medium).ok().filter(|code| code.size() <= SIDE_MAX)
}

/// Two modules to a cell, one above the other.
pub(super) fn half_blocks(code: &QrCode) -> Vec<Line<'static>> {
    let end = code.size() + QUIET;
    let row = |y: i32| -> String {
        let cell = |x: i32| match (is_light(code, x, y), is_light(code, x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (-QUIET..end).map(cell).collect()
    };
    let rows = (-QUIET..end).step_by(2);
    rows.map(|y| Line::from(Span::styled(row(y), STYLE))).collect()
}

/// Two characters to a module, for lines that have no half blocks; readable where they are light on
/// a dark ground.
pub(super) fn ascii(code: &QrCode) -> Vec<Line<'static>> {
    let end = code.size() + QUIET;
    let row = |y: i32| -> String {
        (-QUIET..end).map(|x| if is_light(code, x, y) { "##" } else { "  " }).collect()
    };
    (-QUIET..end).map(|y| Line::from(row(y))).collect()
}

/// Whether a module is light; those around the code are. Below the last row of an odd number of
/// rows there is nothing.
fn is_light(code: &QrCode, x: i32, y: i32) -> bool {
    y < code.size() + QUIET && !code.get_module(x, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";

    fn texts(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_fits_beside_the_text_of_a_small_screen() {
        let lines = texts(&half_blocks(&encode(ADDRESS).expect("a code")));
        let widths: Vec<_> = lines.iter().map(|line| line.chars().count()).collect();
        assert_eq!(
            (lines.len(), widths.iter().max(), widths.iter().min()),
            (19, Some(&37), Some(&37))
        );
        assert_eq!(encode(&"x".repeat(500)).map(|code| code.size()), None);
    }

    #[test]
    fn both_forms_show_the_same_modules() {
        let code = encode(ADDRESS).expect("a code");
        let (blocks, ascii) = (texts(&half_blocks(&code)), texts(&ascii(&code)));
        for (y, line) in ascii.iter().enumerate() {
            for (x, pair) in line.as_bytes().chunks(2).enumerate() {
                let cell = blocks[y / 2].chars().nth(x).expect("a cell");
                let lit = if y % 2 == 0 { "█▀" } else { "█▄" };
                assert_eq!(lit.contains(cell), pair == b"##", "module {x} {y}");
            }
        }
        // The finder pattern of the first corner: seven dark modules behind the rim.
        assert!(ascii[4].starts_with(&format!("{}{}##", "#".repeat(8), " ".repeat(14))));
    }
}
