//! Facts out of orders and their events.

use std::collections::HashMap;

use mallard_proto::events::{ORDER_PAID_V1, ORDER_PLACED_V1, ORDER_REFUNDED_V1};
use mallard_proto::order::v1 as pb;
use mallard_types::{Micros, Result};

use crate::domain::{Fact, Part, Refunded, Sale, SoldLine, What, shares};
use crate::error::bad_order;

/// Reads the fact out of an event that carries the order as it was then.
///
/// # Errors
/// `bad_order` when the order lacks what every order has.
pub fn of_event(kind: &str, at: Micros, order: &pb::Order) -> Result<Fact> {
    let what = match kind {
        ORDER_PLACED_V1 => What::Placed,
        ORDER_PAID_V1 => What::Paid(sale(order)?),
        ORDER_REFUNDED_V1 => {
            let so_far = order.refunded.as_ref().ok_or_else(|| bad_order("what was refunded"))?.amount;
            What::Refunded(refunded(order, so_far, |line| line.returned)?)
        }
        _ => return Err(bad_order("a kind of event that is known")),
    };
    if order.id.is_empty() || order.version < 1 {
        return Err(bad_order("id or version"));
    }
    Ok(Fact { order_id: order.id.clone(), version: order.version, at, what })
}

/// Reads every fact out of an order and its whole stream, for orders whose events nobody took.
///
/// # Errors
/// As [`of_event`].
pub fn of_stream(order: &pb::Order, events: &[pb::OrderEvent]) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    let mut returned: HashMap<&str, i64> = HashMap::new();
    let mut so_far = 0;
    for (i, event) in events.iter().enumerate() {
        let data = event.data.as_ref();
        let units = || data.map(|data| data.lines.as_slice()).unwrap_or_default();
        let what = match event.r#type.as_str() {
            "placed" => What::Placed,
            "paid" => What::Paid(sale(order)?),
            "refund_requested" => {
                units().iter().for_each(|line| *returned.entry(&line.sku_id).or_default() += line.quantity);
                continue;
            }
            "refund_refused" => {
                units().iter().for_each(|line| *returned.entry(&line.sku_id).or_default() -= line.quantity);
                continue;
            }
            "refunded" => {
                let amount =
                    data.and_then(|data| data.amount.as_ref()).ok_or_else(|| bad_order("a refund's amount"))?;
                so_far += amount.amount;
                let mut left = returned.clone();
                // Units of a SKU come back to its lines in their order, as the order itself counts them.
                What::Refunded(refunded(order, so_far, |line| {
                    let Some(left) = left.get_mut(line.sku_id.as_str()) else { return 0 };
                    let back = (*left).clamp(0, line.quantity);
                    *left -= back;
                    back
                })?)
            }
            _ => continue,
        };
        let at = event.at.as_ref().ok_or_else(|| bad_order("the time of an event"))?.micros();
        // The stream has no gaps and begins at 1; a stream has far fewer events than 64 bits can count.
        facts.push(Fact { order_id: order.id.clone(), version: i as i64 + 1, at, what });
    }
    Ok(facts)
}

fn sale(order: &pb::Order) -> Result<Sale> {
    let total = order.total.as_ref().ok_or_else(|| bad_order("a total"))?;
    let mut lines = Vec::with_capacity(order.lines.len());
    for line in &order.lines {
        lines.push(SoldLine {
            seller_id: line.seller_id.clone(),
            product_id: line.product_id.clone(),
            title: line.title.clone(),
            units: line.quantity,
            revenue: line.line_total.as_ref().ok_or_else(|| bad_order("a line's total"))?.amount,
        });
    }
    Ok(Sale::new(total.currency.clone(), total.amount, lines))
}

fn refunded(order: &pb::Order, so_far: i64, mut returned: impl FnMut(&pb::OrderLine) -> i64) -> Result<Refunded> {
    let total = order.total.as_ref().ok_or_else(|| bad_order("a total"))?;
    let mut parts = Vec::with_capacity(order.lines.len());
    for line in &order.lines {
        parts.push(Part {
            seller_id: line.seller_id.clone(),
            amount: line.line_total.as_ref().ok_or_else(|| bad_order("a line's total"))?.amount,
            quantity: line.quantity,
            returned: returned(line),
        });
    }
    let sellers = shares(&parts, total.amount, so_far);
    Ok(Refunded { currency: total.currency.clone(), total: so_far, sellers })
}

#[cfg(test)]
mod tests;
