//! The end of serving: requests under way and the store get time to finish, but not for ever.

use std::io;
use std::time::Duration;

use agent_object_store::Engine;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long requests may take to finish after the end was asked for. Less than the 20 s after
/// which init kills the agent, so that it still tells what it dropped.
const GRACE: Duration = Duration::from_secs(15);

/// How long the store may take to end behind that; a disk that hangs must not keep the process. What
/// was acknowledged is on stable storage without it: only the next start is slower.
const CLOSE_MAX: Duration = Duration::from_secs(4);

/// Ends the store, and gives up on that after [`CLOSE_MAX`].
pub(crate) async fn close(store: &Engine) {
    if timeout(CLOSE_MAX, store.close()).await.is_err() {
        warn!(seconds = CLOSE_MAX.as_secs(), "the store was not closed in time; left as it is");
    }
}

/// Runs `serving`, which ends by itself some time after `cancel`, and gives up on it after
/// [`GRACE`].
///
/// # Errors
/// Those of `serving`.
pub(crate) async fn drained(
    serving: impl Future<Output = io::Result<()>>,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => return served,
        () = cancel.cancelled() => {}
    }
    match timeout(GRACE, serving).await {
        Ok(served) => served,
        Err(_) => {
            warn!(grace_seconds = GRACE.as_secs(), "requests did not finish in time; dropped");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn requests_that_never_finish_are_dropped_after_the_grace() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let started = tokio::time::Instant::now();
        drained(std::future::pending(), &cancel).await.expect("dropped");
        assert_eq!(started.elapsed().as_secs(), GRACE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn serving_goes_on_until_the_end_is_asked_for() {
        let cancel = CancellationToken::new();
        let serving = async {
            sleep(GRACE * 10).await;
            Err(io::Error::other("by itself"))
        };
        assert!(drained(serving, &cancel).await.is_err());
    }
}
