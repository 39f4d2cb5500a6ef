//! The clock, as an argument.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::names::UnixMillis;

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The present moment. It may go back; versions do not.
    fn now(&self) -> UnixMillis;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
