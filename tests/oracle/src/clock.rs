//! The oracle's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock, so many milliseconds ahead; tests put it wrong on purpose.
    System {
        /// Milliseconds ahead; behind if negative.
        ahead_ms: i64,
    },
    /// What a test sets, in milliseconds since 1970.
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::System { ahead_ms } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis())
                    .unwrap_or(u64::MAX)
                    .saturating_add_signed(*ahead_ms)
            }
            Self::Set(at) => at.load(Ordering::SeqCst),
        }
    }
}
