//! What of this process is broken although it still answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Remembers which background work of the process is down, for `/readyz`. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failing: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Health {
    /// Returns what is down, by name: nothing when all is well. Why it is down is in the log, not for everybody.
    pub fn failing(&self) -> Vec<String> {
        self.failing.lock().keys().cloned().collect()
    }

    /// Returns what is down and why, for operators.
    pub fn reasons(&self) -> BTreeMap<String, String> {
        self.failing.lock().clone()
    }

    pub(crate) fn fail(&self, name: &str, reason: &str) {
        self.failing.lock().insert(name.to_owned(), reason.to_owned());
    }

    pub(crate) fn recover(&self, name: &str) {
        self.failing.lock().remove(name);
    }
}
