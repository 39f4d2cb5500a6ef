//! What stands where: the sections of a screen and how they share its rows. Pure.

use ratatui::text::Line;

use crate::hints;
use crate::screen::Section;
use crate::sections::{self, sheet};
use crate::shelf;
use crate::state::State;

/// Rows above all sections: the title, the names of the screens.
const HEAD_ROWS: usize = 2;

/// Rows below all sections: the keys, and that settings of the network are tried.
pub(crate) fn foot_rows(state: &State) -> usize {
    hints::lines(state).len() + usize::from(sheet::banner(state).is_some())
}

/// Rows outside all sections.
fn frame_rows(state: &State) -> usize {
    HEAD_ROWS + foot_rows(state)
}

/// A section in its place.
#[derive(Debug, Clone)]
pub(crate) struct Pane {
    /// Which one.
    pub(crate) section: Section,
    /// The words in the rule above it.
    pub(crate) title: String,
    /// All of its lines, those in sight and those scrolled away.
    pub(crate) lines: Vec<Line<'static>>,
    /// Rows for lines, without the rule.
    pub(crate) rows: usize,
    /// Lines scrolled away above.
    pub(crate) above: usize,
}

impl Pane {
    /// The lines in sight.
    pub(crate) fn in_sight(&self) -> &[Line<'static>] {
        let end = (self.above + self.rows).min(self.lines.len());
        self.lines.get(self.above..end).unwrap_or_default()
    }

    /// Lines hidden below.
    pub(crate) fn below(&self) -> usize {
        self.lines.len().saturating_sub(self.above + self.rows)
    }
}

/// The sections of the screen that there are now.
pub(crate) fn sections(state: &State) -> Vec<Section> {
    let mut all = state.screen.sections().to_vec();
    if sections::problems::all(state).is_empty() {
        all.retain(|section| *section != Section::Problems);
    }
    all
}

/// Lays out the screen.
pub(crate) fn panes(state: &State) -> Vec<Pane> {
    let width = usize::from(state.size.width);
    let present = sections(state);
    let full: Vec<_> =
        present.iter().map(|section| sections::lines(*section, state, width)).collect();
    let height = usize::from(state.size.height).saturating_sub(frame_rows(state) + present.len());
    let wanted: Vec<Need> = present
        .iter()
        .zip(&full)
        .map(|(section, lines)| Need {
            least: section.least_rows(lines.len(), height),
            wanted: if *section == Section::Log { height } else { lines.len() },
        })
        .collect();
    let focus = present.iter().position(|section| Some(*section) == state.focus);
    let rows = share(height, &wanted, focus);
    present
        .into_iter()
        .zip(full)
        .zip(rows)
        .map(|((section, full), rows)| place(state, section, full, rows, width))
        .collect()
}

fn place(
    state: &State,
    section: Section,
    full: Vec<Line<'static>>,
    rows: usize,
    width: usize,
) -> Pane {
    let focused = state.focus == Some(section);
    let lines = if focused || full.len() <= rows {
        full
    } else {
        sections::short_lines(section, state, width, rows).unwrap_or(full)
    };
    let furthest = lines.len().saturating_sub(rows);
    let scroll = if focused { state.scroll.min(furthest) } else { 0 };
    let above = match section {
        Section::Log => furthest - scroll,
        // The selected disk stands in the middle where there is something above and below.
        Section::Disks => {
            let selected = shelf::selected_index(&shelf::rows(state), state);
            selected.saturating_sub(rows / 2).min(furthest)
        }
        _ => scroll,
    };
    Pane { section, title: sections::title(section, state), lines, rows, above }
}

/// Rows of the focused section, and the furthest that it can be scrolled.
pub(crate) fn focused_extent(state: &State) -> (usize, usize) {
    panes(state)
        .into_iter()
        .find(|pane| Some(pane.section) == state.focus)
        .map_or((0, 0), |pane| (pane.rows, pane.lines.len().saturating_sub(pane.rows)))
}

/// What takes the place of the sections, with the lines that are scrolled away above.
pub(crate) fn page(state: &State) -> Option<(sheet::Page, usize)> {
    let page = sheet::page(state, usize::from(state.size.width))?;
    let rows = page_rows(state);
    let furthest = page.lines.len().saturating_sub(rows);
    // The focused line stands in the middle where there is something above and below.
    let above = match page.focus {
        0 => page.scroll,
        focus => focus.saturating_sub(rows / 2 + 1),
    };
    Some((page, above.min(furthest)))
}

fn page_rows(state: &State) -> usize {
    usize::from(state.size.height).saturating_sub(frame_rows(state) + 1)
}

/// Rows of what takes the place of the sections, and the furthest that it can be scrolled.
pub(crate) fn sheet_extent(state: &State) -> (usize, usize) {
    let rows = page_rows(state);
    let lines =
        sheet::page(state, usize::from(state.size.width)).map_or(0, |page| page.lines.len());
    (rows, lines.saturating_sub(rows))
}

/// Rows of a section.
pub(crate) fn rows_of(state: &State, section: Section) -> usize {
    panes(state).into_iter().find(|pane| pane.section == section).map_or(0, |pane| pane.rows)
}

/// Lines that the log section grows by when `lines` take the place of the log of `state`: what
/// stands behind the last line of the old log.
pub(crate) fn log_growth(state: &State, lines: &[String]) -> usize {
    let Some(last) = state.log.last() else { return 0 };
    let new = lines.iter().rposition(|line| line == last).map_or(0, |at| at + 1);
    let width = usize::from(state.size.width);
    let shown = lines.iter().skip(new).filter(|line| sections::log::passes(&state.filter, line));
    shown.map(|line| sections::log::wrapped(line, width).len()).sum()
}

/// Rows that a section needs.
#[derive(Debug, Clone, Copy)]
struct Need {
    least: usize,
    wanted: usize,
}

/// Shares `height` rows: the least to everybody from the top as far as it goes, then to the
/// focused section what it wants, then to the others from the top.
fn share(height: usize, needs: &[Need], focus: Option<usize>) -> Vec<usize> {
    let mut left = height;
    let mut rows: Vec<usize> = needs
        .iter()
        .map(|need| {
            let given = need.least.min(left);
            left -= given;
            given
        })
        .collect();
    let focus_first = focus.into_iter().chain((0..needs.len()).filter(|i| Some(*i) != focus));
    for index in focus_first {
        if let (Some(rows), Some(need)) = (rows.get_mut(index), needs.get(index)) {
            let given = need.wanted.saturating_sub(*rows).min(left);
            *rows += given;
            left -= given;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn need(least: usize, wanted: usize) -> Need {
        Need { least, wanted }
    }

    #[test]
    fn the_focused_section_gets_what_is_left_after_the_least() {
        let needs = [need(4, 9), need(4, 60), need(2, 20)];
        assert_eq!(share(19, &needs, None), [9, 8, 2]);
        assert_eq!(share(19, &needs, Some(1)), [4, 13, 2]);
        assert_eq!(share(19, &needs, Some(2)), [4, 4, 11]);
    }

    proptest! {
        #[test]
        fn no_row_is_given_twice_and_none_is_lost(
            height in 0_usize..60,
            needs in prop::collection::vec((0_usize..5, 0_usize..70), 1..5),
            focus in prop::option::of(0_usize..5),
        ) {
            let needs: Vec<_> =
                needs.into_iter().map(|(least, more)| need(least, least + more)).collect();
            let rows = share(height, &needs, focus);
            let wanted: usize = needs.iter().map(|need| need.wanted).sum();
            prop_assert_eq!(rows.iter().sum::<usize>(), height.min(wanted));
        }
    }
}
