//! What is still to be shipped, by whom, and the parcels.

use std::collections::BTreeMap;

use super::{EventKind, Line, Order, Refusal, Status, Units};

impl Line {
    /// Units that were neither sent nor given back.
    pub fn unsent(&self) -> i64 {
        (self.quantity - self.shipped - (self.returned - self.returned_sent)).max(0)
    }

    /// Units that were sent and have not come back.
    pub fn with_shopper(&self) -> i64 {
        self.shipped - self.returned_sent
    }
}

impl Order {
    /// Ships a parcel: these units, or without any named everything that is left; with a seller, of its own lines only.
    ///
    /// # Errors
    /// The order is not paid or wholly shipped, nothing is left, or less than what is named.
    pub fn ship(
        &self,
        carrier: &str,
        tracking_number: &str,
        units: Option<&[Units]>,
        seller_id: Option<&str>,
    ) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::Paid, Status::PartiallyShipped], "ship")?;
        let mine = |line: &Line| seller_id.is_none_or(|seller_id| line.seller_id == seller_id);
        let left = self.count_units(|line| if mine(line) { line.unsent() } else { 0 });
        let units = match units {
            None => left,
            Some(units) => {
                let units = merged(units);
                for wanted in &units {
                    let left = left.iter().find(|left| left.sku_id == wanted.sku_id).map_or(0, |left| left.quantity);
                    if wanted.quantity < 1 || wanted.quantity > left {
                        let sku_id = wanted.sku_id.clone();
                        return Err(Refusal::ShipsTooMany { from: self.status, sku_id, left });
                    }
                }
                units
            }
        };
        if units.is_empty() {
            return Err(Refusal::NothingToShip { from: self.status });
        }
        Ok(EventKind::Shipped { carrier: carrier.into(), tracking_number: tracking_number.into(), units })
    }

    /// Names the sellers of a paid order, and whether each still has something to ship. Nobody before the order is paid.
    pub fn sellers(&self) -> BTreeMap<&str, bool> {
        let mut sellers = BTreeMap::new();
        if !self.is_paid() {
            return sellers;
        }
        let ships = matches!(self.status, Status::Paid | Status::PartiallyShipped);
        for line in self.lines.iter().filter(|line| !line.seller_id.is_empty()) {
            *sellers.entry(line.seller_id.as_str()).or_insert(false) |= ships && line.unsent() > 0;
        }
        sellers
    }

    /// Takes note of a parcel; one without units holds everything.
    pub(super) fn send(&mut self, units: &[Units]) {
        if units.is_empty() {
            for line in &mut self.lines {
                line.shipped += line.unsent();
            }
        }
        for Units { sku_id, quantity } in units {
            let mut rest = *quantity;
            for line in self.lines.iter_mut().filter(|line| line.sku_id == *sku_id) {
                let sent = rest.min(line.unsent());
                line.shipped += sent;
                rest -= sent;
            }
        }
    }

    /// Brings the status in line with what is left: units that were given back need no parcel, and do when they were not
    /// given back after all.
    pub(super) fn settle_shipping(&mut self) {
        let left = self.lines.iter().any(|line| line.unsent() > 0);
        self.status = match self.status {
            // Also after what was to be sent had been delivered: a unit that is paid for is sent, however late.
            Status::PartiallyShipped | Status::Shipped | Status::Delivered | Status::Completed if left => {
                Status::PartiallyShipped
            }
            Status::PartiallyShipped => Status::Shipped,
            status => status,
        };
    }
}

/// Adds up units of the same SKU. Sums stop at the greatest number there is, which no order has.
pub(super) fn merged(units: &[Units]) -> Vec<Units> {
    let mut merged: Vec<Units> = Vec::with_capacity(units.len());
    for Units { sku_id, quantity } in units {
        match merged.iter_mut().find(|known| known.sku_id == *sku_id) {
            Some(known) => known.quantity = known.quantity.saturating_add(*quantity),
            None => merged.push(Units { sku_id: sku_id.clone(), quantity: *quantity }),
        }
    }
    merged
}
