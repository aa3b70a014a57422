//! What keeps a busy machine out of a test: nothing in the background, and patience with a database that is asked too much.

use std::time::Duration;

use mallard_runtime::Mall;
use mallard_types::{Error, Kind, Result};
use tokio::time::{Instant, sleep};

/// Ends a mall's background work and waits until it has ended; an empty mall takes its place. Whoever holds a client is
/// answered as before, so what is counted from then on is what the callers cost.
pub async fn rest(mall: &mut Mall) {
    let empty = crate::several(Vec::new()).await;
    std::mem::replace(mall, empty).stop().await;
}

/// Tells whether an answer says that too much went on at once: `database_busy`, `cart_busy`, `stock_contended` and the like.
/// Nothing was done then, and whoever asks again is right to.
pub fn is_crowded(error: &Error) -> bool {
    error.kind == Kind::Unavailable
        && (error.code.ends_with("_busy") || error.code.ends_with("_contended") || error.code == "access_changing")
}

/// Asks again while the answer [is crowded](is_crowded). A crowd on a slow machine is turned away now and then, which is not
/// what most tests are about.
///
/// # Errors
/// Those of the answer, after two minutes [crowded](is_crowded) ones too.
pub async fn patiently<T, Fut>(mut ask: impl FnMut() -> Fut) -> Result<T>
where
    Fut: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_crowded(&error) && begun.elapsed() < Duration::from_secs(120) => {}
            answer => return answer,
        }
        sleep(Duration::from_millis(10)).await;
    }
}
