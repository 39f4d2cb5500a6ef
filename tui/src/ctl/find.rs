//! From what a person calls a disk to the disk. Pure.

use crate::shelf::{self, Row};
use crate::state::State;

/// The shortest end of a serial number that names a disk.
const END_MIN: usize = 4;

/// Why no disk was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindError {
    /// There is no such disk.
    #[error(
        "no disk is called {0:?}: give its serial number, at least {END_MIN} characters of its end, \
         its lasting name or the kernel's; `disks` lists them"
    )]
    None(String),
    /// Several disks are called so.
    #[error("{count} disks are called {wanted:?}: give the whole serial number")]
    Several {
        /// What was asked for.
        wanted: String,
        /// How many.
        count: usize,
    },
}

/// The disk with this serial number, the end of one, lasting name or kernel's name.
pub(crate) fn find<'a>(state: &'a State, wanted: &str) -> Result<Row<'a>, FindError> {
    let mut rows = shelf::rows(state);
    let is_whole = |row: &Row<'_>| {
        [row.serial(), row.id].into_iter().flatten().any(|name| name.eq_ignore_ascii_case(wanted))
            || (row.disk.is_some() && row.name() == wanted)
    };
    let is_end = |row: &Row<'_>| {
        let serial = row.serial().unwrap_or_default().to_ascii_lowercase();
        wanted.len() >= END_MIN && serial.ends_with(&wanted.to_ascii_lowercase())
    };
    if rows.iter().any(is_whole) {
        rows.retain(is_whole);
    } else {
        rows.retain(is_end);
    }
    match rows.len() {
        0 => Err(FindError::None(wanted.to_owned())),
        1 => rows.pop().ok_or_else(|| FindError::None(wanted.to_owned())),
        count => Err(FindError::Several { wanted: wanted.to_owned(), count }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::pages::PAPER;
    use crate::state::Event;
    use crate::update::update;

    #[test]
    fn a_disk_is_found_by_each_of_its_names_and_never_by_a_guess() {
        let mut status = fixtures::normal();
        if let Some(report) = &mut status.disks {
            report.disks[3].serial = "X4GNE0R000001".to_owned();
        }
        let mut state = State::new(PAPER);
        update(&mut state, Event::Status(Box::new(status)));
        let name = |wanted: &str| find(&state, wanted).map(|row| row.name());
        for wanted in
            ["S64GNE0R000002", "s64gne0r000002", "0002", "nvme2n1", "wwn-0x0000000000000002"]
        {
            assert_eq!(name(wanted).as_deref(), Ok("nvme2n1"), "{wanted}");
        }
        let several = FindError::Several { wanted: "000001".to_owned(), count: 2 };
        assert_eq!(name("000001"), Err(several));
        assert_eq!(name("S64GNE0R000001").as_deref(), Ok("nvme1n1"));
        for wanted in ["", "2", "002", "nvme2", "missing", "S64GNE0R00000"] {
            assert_eq!(name(wanted), Err(FindError::None(wanted.to_owned())), "{wanted}");
        }
    }
}
