//! Rules of stock: what a line, a reservation and a stock row may be, and which move follows which.
//!
//! A reservation is the try of a try/confirm/cancel: `held` becomes `confirmed` or `released`, once. A release that comes
//! before the try leaves a released reservation without lines, which refuses the late try.

use mallard_types::Micros;

use crate::error::Refusal;

/// Most lines of one call; the largest order known has 1,114.
pub const LINES_MAX: usize = 10_000;
/// Most units of one line. With at most ten thousand lines a sum stays far inside an `i64`.
pub const QUANTITY_MAX: i64 = 1_000_000_000;
/// Longest id, key, reason or reference in characters.
pub const TEXT_CHARS_MAX: usize = 255;
/// The one location until warehouses are told apart.
pub const LOCATION: &str = "main";

/// Units of one SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// SKU.
    pub sku_id: String,
    /// Units.
    pub quantity: i64,
}

/// Lines as the stock rows see them: every SKU once, in order of SKU, so that all writers lock in one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// Sums and sorts the lines of a request.
    ///
    /// # Errors
    /// [`Refusal::NoLines`], [`Refusal::TooManyLines`], [`Refusal::NoSku`] or [`Refusal::BadQuantity`].
    pub fn merge(lines: &[Line]) -> Result<Lines, Refusal> {
        Lines::merge_from(lines, 1)
    }

    /// Sums and sorts lines of which some may have no units: a SKU whose first delivery is still to come.
    ///
    /// # Errors
    /// As [`Lines::merge`].
    pub fn merge_received(lines: &[Line]) -> Result<Lines, Refusal> {
        Lines::merge_from(lines, 0)
    }

    fn merge_from(lines: &[Line], quantity_min: i64) -> Result<Lines, Refusal> {
        if lines.is_empty() {
            return Err(Refusal::NoLines);
        }
        if lines.len() > LINES_MAX {
            return Err(Refusal::TooManyLines);
        }
        for (i, line) in lines.iter().enumerate() {
            if line.sku_id.is_empty() || line.sku_id.len() > TEXT_CHARS_MAX {
                return Err(Refusal::NoSku(i));
            }
            if !(quantity_min..=QUANTITY_MAX).contains(&line.quantity) {
                return Err(Refusal::BadQuantity(i));
            }
        }
        Ok(summed(lines.to_vec()))
    }

    /// Takes lines that were merged before they were stored.
    pub fn stored(lines: Vec<Line>) -> Lines {
        Lines(lines)
    }

    /// Returns the lines, in order of SKU.
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }

    /// Returns the units of a SKU, 0 when it has no line.
    pub fn quantity(&self, sku_id: &str) -> i64 {
        self.0.binary_search_by(|line| line.sku_id.as_str().cmp(sku_id)).map_or(0, |i| self.0[i].quantity)
    }

    /// Counts the SKUs.
    #[allow(clippy::len_without_is_empty, reason = "only the mark of an early release is empty, and nobody asks")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the units of other lines.
    pub fn plus(&self, other: &Lines) -> Lines {
        let mut all = self.0.clone();
        all.extend_from_slice(&other.0);
        summed(all)
    }
}

fn summed(mut lines: Vec<Line>) -> Lines {
    lines.sort_by(|a, b| a.sku_id.cmp(&b.sku_id));
    lines.dedup_by(|next, kept| {
        let same = next.sku_id == kept.sku_id;
        if same {
            kept.quantity = kept.quantity.saturating_add(next.quantity);
        }
        same
    });
    Lines(lines)
}

/// Where a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Units are promised until the hold ends.
    Held,
    /// Units are sold.
    Confirmed,
    /// Units were given back, or never taken.
    Released,
}

impl State {
    /// Returns the stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Confirmed => "confirmed",
            State::Released => "released",
        }
    }

    /// Parses a stored name.
    pub fn parse(name: &str) -> Option<State> {
        [State::Held, State::Confirmed, State::Released].into_iter().find(|state| state.as_str() == name)
    }
}

/// Units promised to one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The order's id.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// What is promised; empty for the mark a release left before the try.
    pub lines: Lines,
    /// When the hold ends by itself.
    pub expires_at: Micros,
    /// When it was made.
    pub created_at: Micros,
}

/// What a move on an existing reservation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The rows change.
    Apply,
    /// An earlier call did it; answer as that one did.
    Done,
}

impl Reservation {
    /// Makes a hold.
    pub fn hold(id: String, lines: Lines, expires_at: Micros, created_at: Micros) -> Reservation {
        Reservation { id, state: State::Held, lines, expires_at, created_at }
    }

    /// Makes the mark that refuses a try which comes after its cancel.
    pub fn refused_before_try(id: String, now: Micros) -> Reservation {
        Reservation { id, state: State::Released, lines: Lines::default(), expires_at: now, created_at: now }
    }

    /// Decides a try that finds its id taken.
    ///
    /// # Errors
    /// [`Refusal::ReservationReleased`] when the hold has ended or was cancelled before it began.
    pub fn reserve_again(&self) -> Result<Move, Refusal> {
        match self.state {
            State::Held | State::Confirmed => Ok(Move::Done),
            State::Released => Err(Refusal::ReservationReleased),
        }
    }

    /// Decides a confirm.
    ///
    /// # Errors
    /// [`Refusal::ReservationReleased`] when the hold has ended.
    pub fn confirm(&self) -> Result<Move, Refusal> {
        match self.state {
            State::Held => Ok(Move::Apply),
            State::Confirmed => Ok(Move::Done),
            State::Released => Err(Refusal::ReservationReleased),
        }
    }

    /// Decides a release.
    ///
    /// # Errors
    /// [`Refusal::ReservationConfirmed`] when the units are sold.
    pub fn release(&self) -> Result<Move, Refusal> {
        match self.state {
            State::Held => Ok(Move::Apply),
            State::Released => Ok(Move::Done),
            State::Confirmed => Err(Refusal::ReservationConfirmed),
        }
    }

    /// Decides a return of sold units, given what came back before.
    ///
    /// # Errors
    /// [`Refusal::ReservationUnknown`] when nothing was sold, [`Refusal::ReturnExceedsSold`] when more would come back
    /// than was sold.
    pub fn give_back(&self, returned: &Lines, lines: &Lines) -> Result<(), Refusal> {
        if self.state != State::Confirmed {
            return Err(Refusal::ReservationUnknown);
        }
        for line in lines.as_slice() {
            let left = self.lines.quantity(&line.sku_id) - returned.quantity(&line.sku_id);
            if line.quantity > left {
                return Err(Refusal::ReturnExceedsSold { sku_id: line.sku_id.clone(), left });
            }
        }
        Ok(())
    }
}

/// One stock row: units by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// SKU.
    pub sku_id: String,
    /// Units in the house.
    pub on_hand: i64,
    /// Units of these that are promised.
    pub reserved: i64,
    /// Units ever received.
    pub received: i64,
    /// Units ever sold.
    pub sold: i64,
    /// Units ever returned.
    pub returned: i64,
    /// Net units ever added or taken away by hand.
    pub adjusted: i64,
    /// What was last announced: whether any unit can be sold.
    pub in_stock: bool,
    /// Grows by one with every change.
    pub version: i64,
    /// Since when fewer units than the mark can be promised; 0 while there are enough.
    pub low_since: Micros,
}

impl Stock {
    /// Returns the units that can still be promised.
    pub fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }

    /// Tells whether what was last announced is still so.
    pub fn is_announced(&self) -> bool {
        self.in_stock == (self.available() > 0)
    }

    /// Tells whether the row is an alert if and only if fewer units than the mark can be promised.
    pub fn is_alert_right(&self, alert_below: i64) -> bool {
        (self.low_since > 0) == (self.available() < alert_below)
    }

    /// Tells whether the promise rule holds: nothing promised that is not there.
    pub fn is_covered(&self) -> bool {
        0 <= self.reserved && self.reserved <= self.on_hand
    }

    /// Tells whether every unit is accounted for.
    pub fn is_conserved(&self) -> bool {
        self.on_hand == self.received - self.sold + self.returned + self.adjusted
    }
}

/// Why units moved; the kind of a ledger entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First delivery.
    Received,
    /// Left with an order.
    Sold,
    /// Came back from an order.
    Returned,
    /// Counted, broken, found.
    Adjusted,
}

impl Kind {
    /// Returns the stored and public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Received => "received",
            Kind::Sold => "sold",
            Kind::Returned => "returned",
            Kind::Adjusted => "adjusted",
        }
    }
}

/// A correction by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// SKU.
    pub sku_id: String,
    /// Units added or taken away.
    pub delta: i64,
    /// Why, for the ledger.
    pub reason: String,
    /// Paper it comes from; may be empty.
    pub reference: String,
    /// Idempotency key with its scope; empty when the caller sent none.
    pub key: String,
}

impl Adjustment {
    /// Checks the parts.
    ///
    /// # Errors
    /// [`Refusal::BadDelta`] or [`Refusal::BadText`].
    pub fn check(&self) -> Result<(), Refusal> {
        if self.delta == 0 || !(-QUANTITY_MAX..=QUANTITY_MAX).contains(&self.delta) {
            return Err(Refusal::BadDelta);
        }
        text("reason", &self.reason)?;
        text("sku_id", &self.sku_id)?;
        if self.reference.chars().count() > TEXT_CHARS_MAX {
            return Err(Refusal::BadText("reference"));
        }
        Ok(())
    }
}

/// Checks a required text.
///
/// # Errors
/// [`Refusal::BadText`] when it is empty or longer than [`TEXT_CHARS_MAX`] characters.
pub fn text(name: &'static str, value: &str) -> Result<(), Refusal> {
    if value.trim().is_empty() || value.chars().count() > TEXT_CHARS_MAX { Err(Refusal::BadText(name)) } else { Ok(()) }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
