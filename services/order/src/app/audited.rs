//! What the audit log says of a decision about an order. No names, no addresses.

use mallard_types::Money;
use serde_json::{Value, json};

use crate::domain::{EventKind, Order, Units};

/// Tells what an order was, and what it is after a decision and why.
pub(super) fn change(before: &Order, after: &Order, kind: &EventKind) -> (Value, Value) {
    let mut now = fields(after);
    if let (Value::Object(now), Value::Object(details)) = (&mut now, details(kind)) {
        now.extend(details);
    }
    (fields(before), now)
}

fn fields(order: &Order) -> Value {
    json!({
        "status": order.status.as_str(),
        "cancel_reason": order.cancel_reason,
        "refunded": money(order.refunded),
        "refunding": money(order.refunding),
    })
}

fn details(kind: &EventKind) -> Value {
    match kind {
        EventKind::Shipped { carrier, tracking_number, units } => {
            json!({ "carrier": carrier, "tracking_number": tracking_number, "units": pairs(units) })
        }
        // Why goods come back is the shopper's text, which the record leaves where it is.
        EventKind::RefundRequested { refund_id, amount, units, return_id, .. } if !return_id.is_empty() => json!({
            "return_id": return_id,
            "refund_id": refund_id,
            "amount": money(*amount),
            "units": pairs(units),
        }),
        EventKind::RefundRequested { refund_id, amount, reason, units, .. } => json!({
            "refund_id": refund_id,
            "amount": money(*amount),
            "reason": reason,
            "units": pairs(units),
        }),
        EventKind::ReturnRefused { return_id, answer } => json!({ "return_id": return_id, "answer": answer }),
        _ => json!({}),
    }
}

fn pairs(units: &[Units]) -> Value {
    units.iter().map(|unit| json!([unit.sku_id, unit.quantity])).collect()
}

fn money(money: Money) -> Value {
    json!({ "amount": money.amount, "currency": money.currency.as_str() })
}
