//! One driver per flow within this process. Between processes the row's version decides.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

type Id = (&'static str, String);

#[derive(Default)]
pub(crate) struct Locks {
    inner: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    held: HashMap<Id, Arc<tokio::sync::Mutex<()>>>,
    // Flows released since the timers began to read what is due: what they read of these may be stale.
    released: HashSet<Id>,
    reading: bool,
}

/// Holds a flow until dropped.
pub(crate) struct Held {
    locks: Arc<Locks>,
    id: Id,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    /// Waits for a flow; the flag tells whether somebody else held it meanwhile.
    pub(crate) async fn lock(self: &Arc<Self>, name: &'static str, key: &str) -> (Held, bool) {
        let id = (name, key.to_owned());
        let lock = Arc::clone(self.inner.lock().held.entry(id.clone()).or_default());
        // Made before waiting, so that a waiter that gives up cleans up as well.
        let mut held = Held { locks: Arc::clone(self), id, guard: None };
        let (guard, waited) = match Arc::clone(&lock).try_lock_owned() {
            Ok(guard) => (guard, false),
            Err(_) => (lock.lock_owned().await, true),
        };
        held.guard = Some(guard);
        (held, waited)
    }

    /// Tells that the timers begin to read what is due.
    pub(crate) fn begin_reading(&self) {
        let mut table = self.inner.lock();
        table.released.clear();
        table.reading = true;
    }

    /// Tells that the timers took what they wanted of what they read.
    pub(crate) fn end_reading(&self) {
        let mut table = self.inner.lock();
        table.released.clear();
        table.reading = false;
    }

    /// Takes a flow the timers have read, unless it is driven or was driven since they began to read.
    pub(crate) fn take_read(self: &Arc<Self>, name: &'static str, key: &str) -> Option<Held> {
        let id = (name, key.to_owned());
        let mut table = self.inner.lock();
        if table.released.contains(&id) || table.held.contains_key(&id) {
            return None;
        }
        let lock = Arc::clone(table.held.entry(id.clone()).or_default());
        let guard = lock.try_lock_owned().ok()?;
        Some(Held { locks: Arc::clone(self), id, guard: Some(guard) })
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.lock().held.len()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.guard.take().is_some();
        let mut table = self.locks.inner.lock();
        if held && table.reading {
            table.released.insert(self.id.clone());
        }
        // A count of one is the table's own: nobody holds the lock or waits for it.
        if table.held.get(&self.id).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            table.held.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flow_has_one_driver_and_the_table_forgets_it_afterwards() {
        let locks = Arc::new(Locks::default());
        let (first, waited) = locks.lock("checkout", "ord_1").await;
        assert!(!waited);
        assert!(locks.take_read("checkout", "ord_1").is_none());
        assert!(locks.take_read("checkout", "ord_2").is_some());
        let second = tokio::spawn({
            let locks = Arc::clone(&locks);
            async move { locks.lock("checkout", "ord_1").await.1 }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap(), "the second did not notice that it had to wait");
        assert_eq!(locks.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let locks = Arc::new(Locks::default());
        let (first, _) = locks.lock("checkout", "ord_1").await;
        let waiter = tokio::spawn({
            let locks = Arc::clone(&locks);
            async move { locks.lock("checkout", "ord_1").await.1 }
        });
        tokio::task::yield_now().await;
        waiter.abort();
        assert!(waiter.await.is_err());
        drop(first);
        assert_eq!(locks.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_timers_do_not_take_what_was_driven_while_they_read() {
        let locks = Arc::new(Locks::default());
        let (held, _) = locks.lock("checkout", "ord_1").await;
        locks.begin_reading();
        drop(held);
        assert!(locks.take_read("checkout", "ord_1").is_none());
        locks.end_reading();
        locks.begin_reading();
        assert!(locks.take_read("checkout", "ord_1").is_some());
    }
}
