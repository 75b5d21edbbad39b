//! Waiting on conditions instead of sleeping.

use std::time::Duration;

use tokio::time::Instant;

/// Long enough for a loaded machine; a test that meets its condition never waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

/// Polls until `check` gives something; panics with `what` when it never does.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    check: impl FnMut() -> F,
) -> T {
    eventually_within(PATIENCE, what, check).await
}

/// As `eventually`, with its own patience.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {patience:?} in vain: {what}"
        );
        tokio::time::sleep(POLL).await;
    }
}
