//! What a seller may know of an order.

use mallard_proto::order::v1 as pb;
use mallard_types::{Money, Result};

use super::order_to_proto;
use super::status::payment_status_to_proto;
use crate::domain::{Line, Order, PaymentStatus, Status};

/// Makes the message of an order as one of its sellers sees it: the seller's lines and their sums, and where they go. Of the
/// money only that it came: not who paid, how, how much in all, or what others gave back.
///
/// # Errors
/// `amount_overflow`, which no order that was paid has.
pub fn order_to_seller(order: &Order, seller_id: &str) -> Result<pb::Order> {
    let lines: Vec<&Line> = order.lines.iter().filter(|line| line.seller_id == seller_id).collect();
    let sum = |of: fn(&Line) -> Money| Money::sum(order.total.currency, lines.iter().map(|line| of(line)));
    let (total, discount) = (sum(|line| line.line_total)?, sum(|line| line.discount)?);
    let subtotal = total.add(discount)?;
    let payment_status = match order.status {
        Status::Refunded => PaymentStatus::Refunded,
        _ => PaymentStatus::Captured,
    };
    let whole = order_to_proto(order);
    Ok(pb::Order {
        id: whole.id,
        number: whole.number,
        status: whole.status,
        payment_status: payment_status_to_proto(payment_status) as i32,
        lines: whole.lines.into_iter().filter(|line| line.seller_id == seller_id).collect(),
        subtotal: Some(subtotal.into()),
        discount: Some(discount.into()),
        total: Some(total.into()),
        address: whole.address,
        note: whole.note,
        created_at: whole.created_at,
        updated_at: whole.updated_at,
        version: whole.version,
        ..pb::Order::default()
    })
}
