//! Remembers the holds this instance made, so that confirm and release need not read them first.
//!
//! The lines of a reservation never change, and the statement that ends a hold is guarded by its state: a memory that is
//! out of date costs one more read, never a wrong book.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::Reservation;

/// Holds remembered in two generations: when the young one is full it becomes the old one and the old one is forgotten.
pub struct Open {
    lines_max: usize,
    inner: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<String, Arc<Reservation>>,
    young_lines: usize,
    old: HashMap<String, Arc<Reservation>>,
}

impl Open {
    /// Makes a memory of at most this many lines.
    pub fn new(lines_max: usize) -> Open {
        Open { lines_max, inner: Mutex::new(Generations::default()) }
    }

    /// Remembers a hold that was committed.
    pub fn remember(&self, reservation: Arc<Reservation>) {
        let mut inner = self.inner.lock();
        inner.young_lines += reservation.lines.len();
        inner.young.insert(reservation.id.clone(), reservation);
        if inner.young_lines > self.lines_max / 2 {
            inner.old = std::mem::take(&mut inner.young);
            inner.young_lines = 0;
        }
    }

    /// Takes a hold out: whoever asks is about to end it.
    pub fn take(&self, id: &str) -> Option<Arc<Reservation>> {
        let mut inner = self.inner.lock();
        if let Some(found) = inner.young.remove(id) {
            inner.young_lines -= found.lines.len().min(inner.young_lines);
            return Some(found);
        }
        inner.old.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Line, Lines};

    fn hold(i: usize) -> Arc<Reservation> {
        let lines = Lines::merge(&[Line { sku_id: "sku_1".into(), quantity: 1 }]).unwrap();
        Arc::new(Reservation::hold(format!("ord_{i}"), lines, 0, 0))
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let open = Open::new(10);
        for i in 0..100 {
            open.remember(hold(i));
        }
        let remembered = (0..100).filter(|i| open.take(&format!("ord_{i}")).is_some()).collect::<Vec<_>>();
        assert!(remembered.len() <= 12, "{remembered:?}");
        assert!(remembered.contains(&99) && !remembered.contains(&0));
        assert!(open.take("ord_99").is_none(), "a hold is taken once");
    }
}
