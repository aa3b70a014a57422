//! Smooth weighted round robin, as nginx does it: five, one and one become a a b a c a a, not a a a a a b c.

use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::View;

/// Keeps two choices from being made at once; the standings are the endpoints' own.
#[derive(Debug, Default)]
pub(crate) struct WeightedRoundRobin(Mutex<()>);

impl WeightedRoundRobin {
    /// Chooses the one that is furthest behind its share.
    pub(crate) fn choose(&self, view: &View<'_>) -> usize {
        let _one_at_a_time = self.0.lock();
        let (mut all, mut best, mut best_turn) = (0, view.any(), i64::MIN);
        for index in view.group.iter() {
            let member = &view.members[index];
            let share = member.share_after_failures(view.now);
            member.forgive();
            all += share;
            let turn = member.turn.fetch_add(share, Ordering::Relaxed) + share;
            if turn > best_turn {
                (best, best_turn) = (index, turn);
            }
        }
        view.members[best].turn.fetch_sub(all, Ordering::Relaxed);
        best
    }
}
