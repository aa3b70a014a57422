//! The crash hook: lets a simulation kill a database just before or just after a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What becomes of a process at a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFate {
    /// It goes on.
    Proceed,
    /// It dies here: whoever waits on the database never gets an answer.
    Crash,
}

/// Decides about every commit of a database. Runs on the thread that commits; it must be quick and must not use the
/// database.
pub trait CommitHook: Send + Sync {
    /// Is asked before the commit; [`CommitFate::Crash`] rolls the transaction back and answers nobody.
    fn before_commit(&self, service: &str, tx: &str) -> CommitFate;

    /// Is asked after the commit; [`CommitFate::Crash`] leaves it committed and answers nobody.
    fn after_commit(&self, service: &str, tx: &str) -> CommitFate;
}

/// Which incarnation of the process is alive. Odd: crashed. Handles of an earlier incarnation are dead for ever.
#[derive(Default)]
pub(crate) struct Faults {
    hook: Mutex<Option<Arc<dyn CommitHook>>>,
    epoch: AtomicU64,
    crashed: Notify,
}

impl Faults {
    pub(crate) fn set_hook(&self, hook: Option<Arc<dyn CommitHook>>) {
        *self.hook.lock() = hook;
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn is_crashed(&self) -> bool {
        self.epoch() % 2 == 1
    }

    pub(crate) fn crash(&self) {
        self.epoch.fetch_or(1, Ordering::SeqCst);
        self.crashed.notify_waiters();
    }

    /// Begins the next incarnation, if the present one has crashed.
    pub(crate) fn restart(&self) {
        let epoch = self.epoch();
        if epoch % 2 == 1 {
            // A lost race means that somebody else has restarted it.
            let _ = self.epoch.compare_exchange(epoch, epoch + 1, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    pub(crate) async fn wait_crash(&self) {
        loop {
            let crashed = self.crashed.notified();
            if self.is_crashed() {
                return;
            }
            crashed.await;
        }
    }

    /// Tells whether a handle of incarnation `epoch` must not answer any more.
    pub(crate) fn is_dead(&self, epoch: u64) -> bool {
        let now = self.epoch();
        now != epoch || now % 2 == 1
    }

    /// Asks the hook before a commit; true when the process died.
    pub(crate) fn dies_before(&self, service: &str, tx: &str) -> bool {
        self.dies(|hook| hook.before_commit(service, tx))
    }

    /// Asks the hook after a commit; true when the process died.
    pub(crate) fn dies_after(&self, service: &str, tx: &str) -> bool {
        self.dies(|hook| hook.after_commit(service, tx))
    }

    fn dies(&self, ask: impl FnOnce(&dyn CommitHook) -> CommitFate) -> bool {
        let hook = self.hook.lock().clone();
        let Some(hook) = hook else { return self.is_crashed() };
        if ask(hook.as_ref()) == CommitFate::Crash {
            self.crash();
        }
        self.is_crashed()
    }
}
