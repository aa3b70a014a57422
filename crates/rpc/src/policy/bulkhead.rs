//! The bulkhead: calls under way to one method are limited, so that a slow one does not take all there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Limits calls under way.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    max: u32,
    under_way: Arc<AtomicU32>,
}

impl Bulkhead {
    pub(crate) fn new(max: u32) -> Self {
        Bulkhead { max, under_way: Arc::default() }
    }

    /// Takes a place, held until the value is dropped; `None` when there is none.
    pub(crate) fn enter(&self) -> Option<Place> {
        let enter = |under_way| (under_way < self.max).then_some(under_way + 1);
        let entered = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter);
        entered.is_ok().then(|| Place(Arc::clone(&self.under_way)))
    }
}

/// A place among the calls under way.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_enter_and_each_that_leaves_makes_room() {
        let bulkhead = Bulkhead::new(3);
        let mut inside: Vec<_> = (0..10).filter_map(|_| bulkhead.enter()).collect();
        assert_eq!(inside.len(), 3);
        inside.pop();
        assert!(bulkhead.enter().is_some(), "and left again at once");
        inside.extend(bulkhead.enter());
        assert!(bulkhead.enter().is_none());
    }
}
