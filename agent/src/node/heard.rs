//! What another service told last, and whether it still talks.

/// News of another service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard<T> {
    /// What it told last, however long ago.
    pub(crate) latest: Option<T>,
    /// Why it does not talk now, in words; `None` while it does.
    pub(crate) silent: Option<String>,
}

impl<T> Default for Heard<T> {
    fn default() -> Self {
        Self { latest: None, silent: None }
    }
}
