//! How often one may ask.

/// What one request costs, in thousandths: the unit that tokens are counted in.
const REQUEST: u64 = 1000;

/// Requests at once that a bucket has room for: a session, a spool of 1,000 reports by 64, a challenge.
pub const BURST: u64 = 30;

/// Requests per second that come back: a node speaks a few times in an era, and again after an error.
pub const PER_SECOND: u64 = 1;

/// A bucket of requests that fills with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    tokens: u64,
    filled_at: u64,
}

impl Bucket {
    /// A full one. Times are in milliseconds, of any clock.
    #[must_use]
    pub fn full(now_ms: u64) -> Self {
        Self { tokens: BURST * REQUEST, filled_at: now_ms }
    }

    /// Takes one request out.
    ///
    /// # Errors
    /// It is empty: after how many milliseconds it is not.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        // At one per second a millisecond brings a thousandth of a request.
        let since = now_ms.saturating_sub(self.filled_at);
        let more = since.saturating_mul(PER_SECOND);
        self.tokens = self.tokens.saturating_add(more).min(BURST * REQUEST);
        self.filled_at = now_ms.max(self.filled_at);
        match self.tokens.checked_sub(REQUEST) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err((REQUEST - self.tokens).div_ceil(PER_SECOND)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_one_each_second() {
        let mut bucket = Bucket::full(5000);
        for _ in 0..BURST {
            assert_eq!(bucket.take(5000), Ok(()));
        }
        assert_eq!(bucket.take(5000), Err(1000));
        assert_eq!(bucket.take(5400), Err(600));
        assert_eq!(bucket.take(6000), Ok(()));
        assert_eq!(bucket.take(4000), Err(1000), "a clock that goes back fills nothing");
        for _ in 0..BURST {
            assert_eq!(bucket.take(1_000_000), Ok(()));
        }
        assert!(bucket.take(1_000_000).is_err());
    }
}
