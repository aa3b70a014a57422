//! Returns as messages, and back: for the wire, for the rows and for the stream.

use mallard_proto::Timestamp;
use mallard_proto::order::v1 as pb;
use mallard_types::Result;

use super::money;
use super::status::{return_status_from_proto, return_status_to_proto};
use crate::domain::{OpenRefund, Order, Return, ReturnLine, TakenUnits};

/// Makes the public message of a return of this order.
pub fn return_to_proto(order: &Order, of: &Return) -> pb::Return {
    pb::Return {
        order_id: order.id.clone(),
        order_number: order.number.clone(),
        user_id: order.user_id.clone(),
        idempotency_key: String::new(),
        ..return_to_row(of)
    }
}

/// Makes the message of a return inside its order's row or stream, which know the order already.
pub(super) fn return_to_row(of: &Return) -> pb::Return {
    let line = |line: &ReturnLine| pb::ReturnLine {
        sku_id: line.sku_id.clone(),
        title: line.title.clone(),
        quantity: line.quantity,
        amount: Some(line.amount.into()),
    };
    pb::Return {
        id: of.id.clone(),
        status: return_status_to_proto(of.status) as i32,
        lines: of.lines.iter().map(line).collect(),
        reason: of.reason.clone(),
        amount: Some(of.amount.into()),
        answer: of.answer.clone(),
        refund_id: of.refund_id.clone(),
        created_at: Some(Timestamp::from_micros(of.created_at)),
        updated_at: Some(Timestamp::from_micros(of.updated_at)),
        idempotency_key: of.idempotency_key.clone(),
        ..pb::Return::default()
    }
}

/// Reads a return back.
///
/// # Errors
/// `corrupt_order` when an amount is missing.
pub(super) fn return_from_row(row: pb::Return) -> Result<Return> {
    let line = |line: pb::ReturnLine| {
        let amount = money(line.amount)?;
        Ok(ReturnLine { sku_id: line.sku_id, title: line.title, quantity: line.quantity, amount })
    };
    Ok(Return {
        status: return_status_from_proto(row.status()),
        lines: row.lines.into_iter().map(line).collect::<Result<_>>()?,
        amount: money(row.amount)?,
        created_at: row.created_at.map_or(0, |t| t.micros()),
        updated_at: row.updated_at.map_or(0, |t| t.micros()),
        id: row.id,
        reason: row.reason,
        answer: row.answer,
        refund_id: row.refund_id,
        idempotency_key: row.idempotency_key,
    })
}

/// Makes the message of an open refund inside its order's row.
pub(super) fn open_refund_to_row(of: &OpenRefund) -> pb::OpenRefund {
    let units = |taken: &TakenUnits| {
        // An order has at most 2,000 lines.
        let line = i32::try_from(taken.line).unwrap_or(i32::MAX);
        pb::TakenUnits { line, quantity: taken.quantity, sent: taken.sent }
    };
    pb::OpenRefund { refund_id: of.refund_id.clone(), units: of.units.iter().map(units).collect() }
}

/// Reads an open refund back.
pub(super) fn open_refund_from_row(row: pb::OpenRefund) -> OpenRefund {
    let units = |taken: pb::TakenUnits| {
        let line = usize::try_from(taken.line).unwrap_or(usize::MAX);
        TakenUnits { line, quantity: taken.quantity, sent: taken.sent }
    };
    OpenRefund { refund_id: row.refund_id, units: row.units.into_iter().map(units).collect() }
}
