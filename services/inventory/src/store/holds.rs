//! Reservations and what they do to stock. Every move is one unit of work: the reservation's row first, then the stock rows
//! in order of SKU, so that all writers lock in the same order. Guards, not reads, decide every race. The statement that
//! moves units also begins or ends the alert of the row, so that alerts cost no statement and are never behind.

use mallard_db::{Error, Unit, UnitError, params};
use mallard_types::Micros;

use super::{RESERVATION_COLUMNS, Store, encode_lines, in_list, reservation_from, with_ledger};
use crate::domain::{Kind, Reservation, State};

/// Refused: the row of the reservation is not as expected.
const TAG_RESERVATION: u32 = 0;
/// Refused: line `tag - TAG_LINE` finds its stock row not as expected.
const TAG_LINE: u32 = 1;

const INSERT: &str = "INSERT INTO reservations (id, state, line_rows, expires_at, created_at, version) VALUES (?, ?, ?, ?, ?, 1) \
     ON CONFLICT (id) DO NOTHING";
const HOLD: &str = "UPDATE stock SET reserved = reserved + ?, version = version + 1, \
     low_since = CASE WHEN on_hand - reserved - ? >= ? THEN 0 WHEN low_since > 0 THEN low_since ELSE ? END \
     WHERE sku_id = ? AND on_hand - reserved >= ?";
const SELL: &str = "UPDATE stock SET on_hand = on_hand - ?, reserved = reserved - ?, sold = sold + ?, version = version + 1 \
     WHERE sku_id = ? AND reserved >= ?";
const FREE: &str = "UPDATE stock SET reserved = reserved - ?, version = version + 1, \
     low_since = CASE WHEN on_hand - reserved + ? >= ? THEN 0 ELSE low_since END WHERE sku_id = ? AND reserved >= ?";
const END: &str = "UPDATE reservations SET state = ?, version = version + 1 WHERE id = ? AND state = 'held'";
const EXPIRE: &str =
    "UPDATE reservations SET state = ?, version = version + 1 WHERE id = ? AND state = 'held' AND expires_at <= ?";

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// All units are held.
    Done,
    /// The id is taken: read why.
    IdTaken,
    /// The line at this index found too few units, or no stock row.
    Lacking(usize),
}

/// What became of a confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// All units are sold.
    Done,
    /// The reservation is not held: read why.
    NotHeld,
    /// The stock row of the line at this index has fewer units reserved than this hold has. The books are broken.
    Broken(usize),
}

/// What became of ending a hold.
pub type Ended = Confirmed;

impl Store {
    /// Holds all lines or none.
    pub async fn hold(&self, reservation: &Reservation) -> Result<Held, Error> {
        let mut unit = Unit::new("inventory.reserve").guard(INSERT, insert_params(reservation), 1, TAG_RESERVATION);
        for (tag, line) in (TAG_LINE..).zip(reservation.lines.as_slice()) {
            let (units, at) = (line.quantity, reservation.created_at.max(1));
            unit = unit.guard(HOLD, params![units, units, self.alert_below, at, &line.sku_id, units], 1, tag);
        }
        Ok(match self.try_unit(unit).await? {
            None => Held::Done,
            Some(TAG_RESERVATION) => Held::IdTaken,
            Some(tag) => Held::Lacking((tag - TAG_LINE) as usize),
        })
    }

    /// Sells the units of a held reservation and writes their ledger entries. `write_ledger` is false only for the planted
    /// bug that the checker must find.
    pub async fn confirm(&self, reservation: &Reservation, at: Micros, write_ledger: bool) -> Result<Confirmed, Error> {
        let mut unit = Unit::new("inventory.confirm").guard(
            END,
            params![State::Confirmed.as_str(), &reservation.id],
            1,
            TAG_RESERVATION,
        );
        for (tag, line) in (TAG_LINE..).zip(reservation.lines.as_slice()) {
            let quantity = line.quantity;
            unit = unit.guard(SELL, params![quantity, quantity, quantity, &line.sku_id, quantity], 1, tag);
        }
        if write_ledger {
            let entries: Vec<(&str, i64)> =
                reservation.lines.as_slice().iter().map(|line| (line.sku_id.as_str(), -line.quantity)).collect();
            unit = with_ledger(unit, Kind::Sold, &entries, "", &reservation.id, at);
        }
        self.end(unit).await
    }

    /// Gives the units of a held reservation back.
    pub async fn release(&self, reservation: &Reservation) -> Result<Ended, Error> {
        let unit = Unit::new("inventory.release").guard(
            END,
            params![State::Released.as_str(), &reservation.id],
            1,
            TAG_RESERVATION,
        );
        self.end(self.free_lines(unit, reservation)).await
    }

    /// Gives the units of a held reservation back if its time has run out by `now`.
    pub async fn expire(&self, reservation: &Reservation, now: Micros) -> Result<Ended, Error> {
        let params = params![State::Released.as_str(), &reservation.id, now];
        let unit = Unit::new("inventory.expire").guard(EXPIRE, params, 1, TAG_RESERVATION);
        self.end(self.free_lines(unit, reservation)).await
    }

    /// Gives units back without looking at the reservation: the planted bug of a release that runs twice.
    pub async fn release_unguarded(&self, reservation: &Reservation) -> Result<Ended, Error> {
        self.end(self.free_lines(Unit::new("inventory.release_twice"), reservation)).await
    }

    /// Leaves the mark that refuses a later try; false when the id is taken.
    pub async fn refuse_before_try(&self, mark: &Reservation) -> Result<bool, Error> {
        let unit = Unit::new("inventory.refuse_try").guard(INSERT, insert_params(mark), 1, TAG_RESERVATION);
        Ok(self.try_unit(unit).await?.is_none())
    }

    /// Reads a reservation.
    pub async fn reservation(&self, id: &str) -> Result<Option<Reservation>, Error> {
        const SQL: &str = "SELECT id, state, line_rows, expires_at, created_at FROM reservations WHERE id = ?";
        self.db.query_opt(SQL, params![id]).await?.as_ref().map(reservation_from).transpose()
    }

    /// Reads the reservations that exist among these ids.
    pub async fn reservations(&self, ids: &[&str]) -> Result<Vec<Reservation>, Error> {
        let mut found = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(super::CHUNK_ROWS_MAX) {
            let (list, params) = in_list(chunk);
            let sql = format!("SELECT {RESERVATION_COLUMNS} FROM reservations WHERE id IN {list}");
            for row in self.db.query_dyn(sql, params).await? {
                found.push(reservation_from(&row)?);
            }
        }
        Ok(found)
    }

    /// Reads holds whose time has run out by `now`, the longest overdue first.
    pub async fn overdue(&self, now: Micros, rows_max: u32) -> Result<Vec<Reservation>, Error> {
        const SQL: &str = "SELECT id, state, line_rows, expires_at, created_at FROM reservations \
             WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at LIMIT ?";
        self.db.query(SQL, params![now, rows_max]).await?.iter().map(reservation_from).collect()
    }

    fn free_lines(&self, mut unit: Unit, reservation: &Reservation) -> Unit {
        for (tag, line) in (TAG_LINE..).zip(reservation.lines.as_slice()) {
            let units = line.quantity;
            unit = unit.guard(FREE, params![units, units, self.alert_below, &line.sku_id, units], 1, tag);
        }
        unit
    }

    async fn end(&self, unit: Unit) -> Result<Ended, Error> {
        Ok(match self.try_unit(unit).await? {
            None => Ended::Done,
            Some(TAG_RESERVATION) => Ended::NotHeld,
            Some(tag) => Ended::Broken((tag - TAG_LINE) as usize),
        })
    }

    /// Applies a unit; returns the tag of the guard that refused it.
    pub(super) async fn try_unit(&self, unit: Unit) -> Result<Option<u32>, Error> {
        match self.db.apply(unit).await {
            Ok(()) => Ok(None),
            Err(UnitError::Guard { tag, .. }) => Ok(Some(tag)),
            Err(UnitError::Db(error)) => Err(error),
        }
    }
}

fn insert_params(reservation: &Reservation) -> Vec<mallard_db::Value> {
    params![
        &reservation.id,
        reservation.state.as_str(),
        encode_lines(&reservation.lines),
        reservation.expires_at,
        reservation.created_at
    ]
}
