//! Background work that is watched: what ends before it should is logged, counted, and begun again or reported.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use crate::{Health, Shutdown};

/// Pause before the first restart; it doubles with every failure in a row.
const RESTART_FIRST: Duration = Duration::from_millis(200);
/// Longest pause before a restart.
const RESTART_LONGEST: Duration = Duration::from_secs(30);
/// Work that has run this long is well: earlier failures no longer count.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// Failures in a row from which on the process says that it is not ready.
const FAILURES_TOLERATED: u32 = 2;

/// Background work of a service, with a name that is unique in the service.
pub struct Task {
    name: String,
    run: Run,
}

enum Run {
    Once(BoxFuture<'static, ()>),
    Again(Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>),
}

impl Task {
    /// Makes a task that cannot be begun again: when it ends before shutdown the process is not ready any more.
    pub fn once(name: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task { name: name.into(), run: Run::Once(work.boxed()) }
    }

    /// Makes a task that is begun again, after a pause, whenever it panics or ends before shutdown.
    pub fn restarting<F>(name: impl Into<String>, mut begin: impl FnMut() -> F + Send + 'static) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Task { name: name.into(), run: Run::Again(Box::new(move || begin().boxed())) }
    }

    /// Puts the service's name before the task's.
    pub(crate) fn of(self, service: &str) -> Task {
        Task { name: format!("{service}.{}", self.name), ..self }
    }

    /// Runs the task until shutdown and reports on it.
    pub(crate) async fn supervise(self, health: Health, shutdown: Shutdown) {
        let Task { name, run } = self;
        match run {
            Run::Once(work) => {
                if let Err(reason) = ended(work).await.or_shutdown(&shutdown) {
                    failed(&name, &reason);
                    health.fail(&name, &reason);
                }
            }
            Run::Again(begin) => restart(&name, begin, &health, &shutdown).await,
        }
    }
}

async fn restart(
    name: &str,
    mut begin: Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>,
    health: &Health,
    shutdown: &Shutdown,
) {
    let mut failures: u32 = 0;
    loop {
        let begun = Instant::now();
        let mut work = pin!(ended(begin()));
        let outcome = tokio::select! {
            biased;
            outcome = &mut work => outcome,
            () = sleep(STEADY_AFTER) => {
                if failures > 0 {
                    info!(task = name, "background work runs steadily again");
                    health.recover(name);
                }
                work.await
            }
        };
        let Err(reason) = outcome.or_shutdown(shutdown) else { return };
        failures = if begun.elapsed() >= STEADY_AFTER { 1 } else { failures.saturating_add(1) };
        failed(name, &reason);
        if failures > FAILURES_TOLERATED {
            health.fail(name, &reason);
        }
        tokio::select! {
            () = sleep(pause(failures)) => {}
            () = shutdown.wait() => return,
        }
    }
}

/// How a piece of work ended: by itself, or by a panic with this text.
enum Ended {
    Returned,
    Panicked(String),
}

impl Ended {
    /// Returns why the work should still be running; nothing is wrong with work that returns after the shutdown.
    fn or_shutdown(self, shutdown: &Shutdown) -> Result<(), String> {
        match self {
            Ended::Returned if shutdown.is_set() => Ok(()),
            Ended::Returned => Err("it ended".to_owned()),
            Ended::Panicked(text) => Err(format!("it panicked: {text}")),
        }
    }
}

async fn ended(work: BoxFuture<'static, ()>) -> Ended {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(()) => Ended::Returned,
        Err(panic) => Ended::Panicked(panic_text(&*panic)),
    }
}

fn failed(name: &str, reason: &str) {
    metrics::counter!("mallard_task_failures_total", "task" => name.to_owned()).increment(1);
    error!(task = name, reason, "background work ended before shutdown");
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}

fn pause(failures: u32) -> Duration {
    RESTART_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RESTART_LONGEST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn surroundings() -> (Health, Shutdown) {
        (Health::default(), Shutdown::new())
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_cannot_be_repeated_is_reported_when_it_ends_early() {
        for work in [async { panic!("planted") }.boxed(), async {}.boxed()] {
            let (health, shutdown) = surroundings();
            Task::once("payment.settle", work).supervise(health.clone(), shutdown).await;
            assert_eq!(health.failing(), ["payment.settle"]);
        }
        let (health, shutdown) = surroundings();
        let ends = shutdown.clone();
        let supervised =
            Task::once("payment.settle", async move { ends.wait().await }).supervise(health.clone(), shutdown.clone());
        let running = tokio::spawn(supervised);
        shutdown.begin();
        running.await.unwrap();
        assert!(health.failing().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_can_be_repeated_is_and_its_failures_show_while_they_last() {
        let (health, shutdown) = surroundings();
        let begun = Arc::new(AtomicU32::new(0));
        let (count, ends) = (Arc::clone(&begun), shutdown.clone());
        let task = Task::restarting("cart.prune", move || {
            let (nth, ends) = (count.fetch_add(1, Ordering::SeqCst), ends.clone());
            async move {
                assert!(nth >= 4, "planted");
                ends.wait().await;
            }
        });
        let running = tokio::spawn(task.supervise(health.clone(), shutdown.clone()));
        // Pauses of 0.2, 0.4, 0.8 and 1.6 s: the third failure comes at 0.6 s, the fifth begin at 3 s.
        sleep(Duration::from_millis(500)).await;
        assert_eq!((begun.load(Ordering::SeqCst), health.failing().len()), (2, 0));
        sleep(Duration::from_millis(500)).await;
        assert_eq!((begun.load(Ordering::SeqCst), health.failing()), (3, vec!["cart.prune".to_owned()]));
        sleep(Duration::from_secs(3)).await;
        assert_eq!(begun.load(Ordering::SeqCst), 5);
        assert_eq!(health.reasons()["cart.prune"], "it panicked: planted");
        sleep(STEADY_AFTER).await;
        assert!(health.failing().is_empty());
        shutdown.begin();
        running.await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<u128> = [1, 2, 3, 8, 9, u32::MAX].map(|failures| pause(failures).as_millis()).to_vec();
        assert_eq!(pauses, [200, 400, 800, 25_600, 30_000, 30_000]);
    }
}
