//! One runner per key in this process: repeats of a request wait for the first instead of asking the provider again.
//! Correctness never depends on it; the provider's keys and the versions of the rows decide between processes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Keys that somebody works on.
#[derive(Default)]
pub struct Flights {
    running: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Holds a key until dropped.
pub struct Flight<'a> {
    flights: &'a Flights,
    key: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits until nobody else works on a key.
    pub async fn board(&self, key: &str) -> Flight<'_> {
        let lock = Arc::clone(self.running.lock().entry(key.to_owned()).or_default());
        // Made before waiting, so that a waiter that gives up cleans up as well.
        let mut flight = Flight { flights: self, key: key.to_owned(), guard: None };
        flight.guard = Some(lock.lock_owned().await);
        flight
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut running = self.flights.running.lock();
        // Waiters hold the lock too; the last one takes the key away.
        if running.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            running.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_key_has_one_runner_and_nothing_is_left_behind() {
        let flights = Arc::new(Flights::default());
        let (inside, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let runs: Vec<_> = (0..20)
            .map(|_| {
                let (flights, inside, most) = (flights.clone(), inside.clone(), most.clone());
                tokio::spawn(async move {
                    let _flight = flights.board("pay_1").await;
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for run in runs {
            run.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert!(flights.running.lock().is_empty());
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let flights = Flights::default();
        let held = flights.board("pay_1").await;
        let waiter = flights.board("pay_1");
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), waiter).await.is_err());
        drop(held);
        assert!(flights.running.lock().is_empty());
    }
}
