//! Round robin: one endpoint after the other.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::View;

/// Remembers whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin(AtomicUsize);

impl RoundRobin {
    /// Chooses the next; one that starts slowly lets some of its turns pass.
    pub(crate) fn choose(&self, view: &View<'_>) -> usize {
        let count = view.group.len();
        for _ in 0..count {
            let place = self.0.fetch_add(1, Ordering::Relaxed) % count;
            if let Some(index) = view.group.nth(place)
                && view.chance.below(1_000) < view.members[index].ramp(view.now)
            {
                return index;
            }
        }
        view.any()
    }
}
