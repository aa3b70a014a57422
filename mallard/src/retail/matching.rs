//! Finds the earlier purchases that a cancellation gives back: the customer's latest orders first.

use std::collections::HashMap;

use mallard_proto::order::v1::Order;

use super::journal::Part;
use super::rows::{NANOS_PER_PENNY, Paper};

/// What can still be given back of an order.
#[derive(Clone, Debug)]
struct Open {
    order_id: String,
    refundable: i64,
    units: HashMap<String, i64>,
}

/// The purchases of every customer, in order of time.
#[derive(Debug, Default)]
pub struct Purchases {
    by_customer: HashMap<String, Vec<Open>>,
}

impl Purchases {
    /// Takes in an order as it is now, new or known.
    pub fn note(&mut self, order: &Order) {
        // Nobody knows which guest came back.
        if order.customer.is_empty() {
            return;
        }
        let amount = |money: &Option<mallard_proto::common::v1::Money>| money.as_ref().map_or(0, |m| m.amount);
        let mut units: HashMap<String, i64> = HashMap::new();
        for line in &order.lines {
            *units.entry(line.code.clone()).or_default() += line.quantity - line.returned;
        }
        let open =
            Open { order_id: order.id.clone(), refundable: amount(&order.total) - amount(&order.refunded), units };
        let orders = self.by_customer.entry(order.customer.clone()).or_default();
        match orders.iter_mut().find(|known| known.order_id == open.order_id) {
            Some(known) => *known = open,
            None => orders.push(open),
        }
    }

    /// Splits a cancellation into parts of orders, and parts of none. Whole pennies only, since no cancellation has others.
    pub fn plan(&self, paper: &Paper) -> Vec<Part> {
        let mut orders = self.by_customer.get(&paper.customer).cloned().unwrap_or_default();
        let mut parts = Vec::new();
        for row in &paper.rows {
            let price = row.price_nanos / NANOS_PER_PENNY;
            let mut left = -row.quantity;
            for order in orders.iter_mut().rev() {
                let out = order.units.get(&row.code).copied().unwrap_or(0);
                let affordable = if price > 0 { order.refundable / price } else { i64::MAX };
                let units = left.min(out).min(affordable);
                if units < 1 {
                    continue;
                }
                order.units.insert(row.code.clone(), out - units);
                order.refundable -= units * price;
                left -= units;
                parts.push(Part {
                    row: row.number,
                    code: row.code.clone(),
                    order_id: order.order_id.clone(),
                    units,
                    amount: units * price,
                });
                if left == 0 {
                    break;
                }
            }
            if left > 0 {
                parts.push(Part {
                    row: row.number,
                    code: row.code.clone(),
                    order_id: String::new(),
                    units: left,
                    amount: left * price,
                });
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use mallard_proto::common::v1::Money;
    use mallard_proto::order::v1::OrderLine;

    use super::super::rows::{Class, Row};
    use super::*;

    fn order(id: &str, units: i64) -> Order {
        let line = OrderLine { code: "A".into(), quantity: units, ..OrderLine::default() };
        Order {
            id: id.into(),
            customer: "1".into(),
            lines: vec![line],
            total: Some(Money { amount: 100 * units, currency: "GBP".into() }),
            ..Order::default()
        }
    }

    fn cancellation(units: i64) -> Paper {
        let row = Row {
            number: 2,
            code: "A".into(),
            description: String::new(),
            quantity: -units,
            at: 0,
            price_nanos: 1_000_000_000,
        };
        Paper {
            invoice: "C1".into(),
            class: Class::Cancellation,
            customer: "1".into(),
            country: String::new(),
            at: 0,
            rows: vec![row],
        }
    }

    #[test]
    fn the_latest_purchase_is_given_back_first_and_the_rest_stays_unmatched() {
        let mut purchases = Purchases::default();
        purchases.note(&order("old", 2));
        purchases.note(&order("new", 3));
        let parts = purchases.plan(&cancellation(6));
        let found: Vec<_> = parts.iter().map(|p| (p.order_id.as_str(), p.units, p.amount)).collect();
        assert_eq!(found, [("new", 3, 300), ("old", 2, 200), ("", 1, 100)]);
    }

    #[test]
    fn never_more_money_goes_back_than_an_order_paid() {
        let mut purchases = Purchases::default();
        let mut cheap = order("cheap", 5);
        cheap.total = Some(Money { amount: 250, currency: "GBP".into() });
        purchases.note(&cheap);
        let parts = purchases.plan(&cancellation(3));
        assert_eq!(parts.iter().map(|p| (p.order_id.as_str(), p.units)).collect::<Vec<_>>(), [("cheap", 2), ("", 1)]);
    }
}
