//! Reading from identity again and again: the fallback to events.

use std::future::Future;
use std::time::Duration;

use mallard_runtime::Shutdown;
use mallard_types::Result;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// Pause between removals of what is not needed any more.
const TIDY_PAUSE: Duration = Duration::from_secs(60);

/// Reads after each pause, and at once when woken, until shutdown. Says once that reading fails and once that it works again.
/// Tidies up once a minute.
pub async fn keep_fresh<F>(
    what: &'static str,
    pause: Duration,
    wake: &Notify,
    shutdown: &Shutdown,
    read: impl Fn() -> F,
    tidy: impl Fn(),
) where
    F: Future<Output = Result<()>>,
{
    let mut tidied_at = Instant::now();
    let mut failing = false;
    loop {
        match read().await {
            Ok(()) if failing => {
                tracing::info!(what, "identity can be read again");
                failing = false;
            }
            Ok(()) => {}
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, what, "identity could not be read; what was read last stays in force");
                }
                failing = true;
            }
        }
        if tidied_at.elapsed() >= TIDY_PAUSE {
            tidied_at = Instant::now();
            tidy();
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = wake.notified() => {}
            () = shutdown.wait() => return,
        }
    }
}
