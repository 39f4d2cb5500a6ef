//! What is kept of usage and roots, and where.

use std::path::PathBuf;

use tracing::{info, warn};

use super::book::Book;
use super::file::{self, FileError};
use super::usage::UsageBook;

/// The file of what was used.
const USAGE: &str = "usage.json";

/// The file of what is known of roots.
const ROOTS: &str = "roots.json";

/// So many outboxes in one folder may have been damaged; a disk that damages more is to be replaced.
const OUTBOXES_MAX: u32 = 8;

/// What the outbox leaves where a damaged one was set aside.
const DAMAGED: &str = "outbox.damaged-0";

/// Usage and roots: in memory, and on a data volume while there is one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    folder: Option<PathBuf>,
    /// Whether a folder was read since the start: from then on what is in memory is newer than any file.
    was_read: bool,
    pub(super) usage: UsageBook,
    pub(super) book: Book,
}

impl Memory {
    /// Goes to another folder, or to none; says whether it is another one.
    ///
    /// # Errors
    /// It cannot be used; then there is none.
    pub(super) fn go(&mut self, folder: Option<PathBuf>) -> Result<bool, FileError> {
        if self.folder == folder {
            return Ok(false);
        }
        self.folder = None;
        let Some(folder) = folder else {
            warn!("what was used and settled is kept in memory alone: there is no volume");
            return Ok(true);
        };
        file::make_folder(&folder)?;
        if !self.was_read {
            self.usage = file::read(&folder, USAGE)?.unwrap_or_else(|| self.usage.clone());
            self.book = file::read(&folder, ROOTS)?.unwrap_or_else(|| self.book.clone());
            self.was_read = true;
        }
        info!(folder = %folder.display(), "what was used and settled is kept on a volume");
        self.folder = Some(folder);
        self.keep_usage()?;
        self.keep_book()?;
        Ok(true)
    }

    /// Brings what was used to stable storage.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn keep_usage(&self) -> Result<(), FileError> {
        match &self.folder {
            Some(folder) => file::write(folder, USAGE, &self.usage),
            None => Ok(()),
        }
    }

    /// The same of roots.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn keep_book(&self) -> Result<(), FileError> {
        match &self.folder {
            Some(folder) => file::write(folder, ROOTS, &self.book),
            None => Ok(()),
        }
    }

    /// The folder of the outbox: where one was damaged, the next. None where there is no volume, or too many were.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn outbox(&self) -> Result<Option<PathBuf>, FileError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let places = (0..OUTBOXES_MAX).map(|number| folder.join(format!("outbox-{number}")));
        let Some(place) = places.into_iter().find(|place| !place.join(DAMAGED).exists()) else {
            return Ok(None);
        };
        file::make_folder(&place)?;
        Ok(Some(place))
    }
}

#[cfg(test)]
mod tests {
    use agent_settlement::usage::Reading;

    use super::super::book::tests::place;
    use super::*;

    #[test]
    fn what_is_known_survives_a_restart_and_moves_to_another_volume() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let folder = |name: &str| Some(dir.path().join(name).join("state/settlement"));
        let mut memory = Memory::default();
        // Begun without a volume.
        memory.usage.take(3, Reading::default(), 48);
        assert!(memory.go(folder("a")).expect("a folder"));
        memory.usage.take(4, Reading::default(), 48);
        memory.book.roots.push(place(1, 5));
        memory.keep_usage().expect("kept");
        memory.keep_book().expect("kept");
        let mut restarted = Memory::default();
        assert!(restarted.go(folder("a")).expect("a folder"));
        assert!(!restarted.go(folder("a")).expect("a folder"), "it is there already");
        assert_eq!((&restarted.usage, &restarted.book), (&memory.usage, &memory.book));
        // The volume is pulled; another one gets all, whatever is on it.
        restarted.go(None).expect("none");
        restarted.book.roots.push(place(2, 6));
        assert!(restarted.go(folder("b")).expect("a folder"));
        let mut moved = Memory::default();
        moved.go(folder("b")).expect("a folder");
        assert_eq!(moved.book.roots.len(), 2);
    }

    #[test]
    fn a_damaged_outbox_stays_where_it_is_and_the_next_is_beside_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut memory = Memory::default();
        assert_eq!(memory.outbox().expect("none"), None);
        memory.go(Some(dir.path().join("settlement"))).expect("a folder");
        for number in 0..OUTBOXES_MAX {
            let place = memory.outbox().expect("a folder").expect("a folder");
            assert!(place.ends_with(format!("outbox-{number}")));
            std::fs::write(place.join(DAMAGED), "").expect("written");
        }
        assert_eq!(memory.outbox().expect("none"), None);
    }
}
