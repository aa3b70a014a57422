//! Order and events as messages, and back: for the wire and for the rows.

mod returns;
mod seller;
mod status;

use mallard_proto::Timestamp;
use mallard_proto::common::v1 as common;
use mallard_proto::order::v1 as pb;
use mallard_types::{Currency, Error, Money, Result};
pub use returns::return_to_proto;
use returns::{open_refund_from_row, open_refund_to_row, return_from_row, return_to_row};
pub use seller::order_to_seller;
use status::{payment_status_from_proto, payment_status_to_proto, status_from_proto, status_to_proto};

use crate::domain::{Address, Event, EventKind, Line, Order, Status, Units};

/// Makes the message of an order.
pub fn order_to_proto(order: &Order) -> pb::Order {
    pb::Order {
        id: order.id.clone(),
        number: order.number.clone(),
        status: status_to_proto(order.status) as i32,
        payment_status: payment_status_to_proto(order.payment_status) as i32,
        lines: order.lines.iter().map(line_to_proto).collect(),
        subtotal: Some(order.subtotal.into()),
        discount: Some(order.discount.into()),
        shipping: Some(order.shipping.into()),
        tax: Some(order.tax.into()),
        total: Some(order.total.into()),
        address: order.address.as_ref().map(address_to_proto),
        note: order.note.clone(),
        expires_at: (order.status == Status::PendingPayment).then(|| Timestamp::from_micros(order.expires_at)),
        created_at: Some(Timestamp::from_micros(order.created_at)),
        updated_at: Some(Timestamp::from_micros(order.updated_at)),
        version: order.version,
        user_id: order.user_id.clone(),
        refunded: Some(order.refunded.into()),
        payment_id: order.payment_id.clone(),
        cancel_reason: order.cancel_reason.clone(),
        reference: order.reference.clone(),
        customer: order.customer.clone(),
        refunding: Some(order.refunding.into()),
        before_refund: String::new(),
        returns: Vec::new(),
        open_refunds: Vec::new(),
    }
}

/// Makes the message of a row: as the public one, with the deadline always in it.
pub fn order_to_row(order: &Order) -> pb::Order {
    pb::Order {
        expires_at: Some(Timestamp::from_micros(order.expires_at)),
        before_refund: order.before_refund.map(|status| status.as_str().to_owned()).unwrap_or_default(),
        returns: order.returns.iter().map(return_to_row).collect(),
        open_refunds: order.open_refunds.iter().map(open_refund_to_row).collect(),
        ..order_to_proto(order)
    }
}

/// Reads an order back.
///
/// # Errors
/// `corrupt_order` when a required part is missing: the row was not written by this service.
pub fn order_from_proto(order: pb::Order) -> Result<Order> {
    let total = money(order.total.clone())?;
    let (status, payment_status) =
        (status_from_proto(order.status()), payment_status_from_proto(order.payment_status()));
    let before_refund = Status::parse(&order.before_refund);
    let mut lines: Vec<Line> = order.lines.into_iter().map(line_from_proto).collect::<Result<_>>()?;
    // Rows of before there were parcels do not say what was sent. Then everything was, at once.
    if was_sent(before_refund.unwrap_or(status)) && lines.iter().all(|line| line.shipped == 0) {
        lines.iter_mut().for_each(|line| line.shipped = line.quantity);
    }
    // Nor which of the units that came back had been: at least those that are more than were never sent.
    for line in &mut lines {
        line.returned_sent = line.returned_sent.max(line.returned + line.shipped - line.quantity);
    }
    Ok(Order {
        status,
        payment_status,
        lines,
        subtotal: money(order.subtotal)?,
        discount: money(order.discount)?,
        shipping: money(order.shipping)?,
        tax: money(order.tax)?,
        total,
        refunded: money(order.refunded)?,
        // Rows of before there was one have none.
        refunding: match order.refunding {
            Some(refunding) => money(Some(refunding))?,
            None => Money::zero(total.currency),
        },
        before_refund,
        returns: order.returns.into_iter().map(return_from_row).collect::<Result<_>>()?,
        open_refunds: order.open_refunds.into_iter().map(open_refund_from_row).collect(),
        address: order.address.map(address_from_proto),
        note: order.note,
        expires_at: order.expires_at.map_or(0, |t| t.micros()),
        created_at: order.created_at.map_or(0, |t| t.micros()),
        updated_at: order.updated_at.map_or(0, |t| t.micros()),
        version: order.version,
        user_id: order.user_id,
        payment_id: order.payment_id,
        cancel_reason: order.cancel_reason,
        reference: order.reference,
        customer: order.customer,
        id: order.id,
        number: order.number,
    })
}

/// Makes the public message of an event.
pub fn event_to_proto(id: &str, event: &Event) -> pb::OrderEvent {
    let data = match &event.kind {
        EventKind::Placed(order) => pb::OrderEventData {
            total: Some(order.total.into()),
            order: Some(order_to_row(order)),
            ..Default::default()
        },
        EventKind::Paid { payment_id, amount } => {
            pb::OrderEventData { payment_id: payment_id.clone(), amount: Some((*amount).into()), ..Default::default() }
        }
        EventKind::PaymentFailed { payment_id, reason } => {
            pb::OrderEventData { payment_id: payment_id.clone(), reason: reason.clone(), ..Default::default() }
        }
        EventKind::Cancelled { reason } => pb::OrderEventData { reason: reason.clone(), ..Default::default() },
        EventKind::AddressChanged { address } => {
            pb::OrderEventData { address: Some(address_to_proto(address)), ..Default::default() }
        }
        EventKind::Shipped { carrier, tracking_number, units } => pb::OrderEventData {
            carrier: carrier.clone(),
            tracking_number: tracking_number.clone(),
            lines: units.iter().map(units_to_proto).collect(),
            ..Default::default()
        },
        EventKind::Delivered => pb::OrderEventData::default(),
        EventKind::RefundRequested { refund_id, amount, reason, units, units_sent, return_id } => pb::OrderEventData {
            refund_id: refund_id.clone(),
            amount: Some((*amount).into()),
            reason: reason.clone(),
            lines: units.iter().map(units_to_proto).collect(),
            units_sent: *units_sent,
            return_id: return_id.clone(),
            ..Default::default()
        },
        EventKind::RefundRefused { refund_id, amount, reason, units } => pb::OrderEventData {
            refund_id: refund_id.clone(),
            amount: Some((*amount).into()),
            reason: reason.clone(),
            lines: units.iter().map(units_to_proto).collect(),
            ..Default::default()
        },
        EventKind::Refunded { refund_id, amount } => {
            pb::OrderEventData { refund_id: refund_id.clone(), amount: Some((*amount).into()), ..Default::default() }
        }
        EventKind::ReturnRequested(asked) => pb::OrderEventData {
            return_id: asked.id.clone(),
            amount: Some(asked.amount.into()),
            reason: asked.reason.clone(),
            lines: asked.units().iter().map(units_to_proto).collect(),
            asked: Some(return_to_row(asked)),
            ..Default::default()
        },
        EventKind::ReturnRefused { return_id, answer } => {
            pb::OrderEventData { return_id: return_id.clone(), reason: answer.clone(), ..Default::default() }
        }
    };
    pb::OrderEvent {
        id: id.into(),
        r#type: event.kind.as_str().into(),
        at: Some(Timestamp::from_micros(event.at)),
        by: event.by.clone(),
        data: Some(data),
    }
}

/// Reads an event back from its row.
///
/// # Errors
/// `corrupt_order` for an unknown kind or a missing part.
pub fn event_from_row(version: i64, kind: &str, at: i64, by: String, data: pb::OrderEventData) -> Result<Event> {
    let kind = match kind {
        "placed" => EventKind::Placed(Box::new(order_from_proto(
            data.order.ok_or_else(|| corrupt("placed event without order"))?,
        )?)),
        "paid" => EventKind::Paid { payment_id: data.payment_id, amount: money(data.amount)? },
        "payment_failed" => EventKind::PaymentFailed { payment_id: data.payment_id, reason: data.reason },
        "cancelled" => EventKind::Cancelled { reason: data.reason },
        "address_changed" => {
            EventKind::AddressChanged { address: data.address.map(address_from_proto).unwrap_or_default() }
        }
        "shipped" => EventKind::Shipped {
            carrier: data.carrier,
            tracking_number: data.tracking_number,
            units: data.lines.into_iter().map(units_from_proto).collect(),
        },
        "delivered" => EventKind::Delivered,
        "refund_requested" => EventKind::RefundRequested {
            refund_id: data.refund_id,
            amount: money(data.amount)?,
            reason: data.reason,
            units: data.lines.into_iter().map(units_from_proto).collect(),
            units_sent: data.units_sent,
            return_id: data.return_id,
        },
        "refund_refused" => EventKind::RefundRefused {
            refund_id: data.refund_id,
            amount: money(data.amount)?,
            reason: data.reason,
            units: data.lines.into_iter().map(units_from_proto).collect(),
        },
        "refunded" => EventKind::Refunded { refund_id: data.refund_id, amount: money(data.amount)? },
        "return_requested" => {
            let asked = data.asked.ok_or_else(|| corrupt("return_requested event without return"))?;
            EventKind::ReturnRequested(Box::new(return_from_row(asked)?))
        }
        "return_refused" => EventKind::ReturnRefused { return_id: data.return_id, answer: data.reason },
        _ => return Err(corrupt("unknown kind of event")),
    };
    Ok(Event { version, at, by, kind })
}

/// Reads a postal address.
pub fn address_from_proto(address: common::Address) -> Address {
    Address {
        name: address.name,
        phone: mallard_types::text::without_direction(&address.phone),
        country: address.country,
        province: address.province,
        city: address.city,
        district: address.district,
        street: address.street,
        postal_code: address.postal_code,
    }
}

/// Makes the message of a postal address.
pub fn address_to_proto(address: &Address) -> common::Address {
    common::Address {
        name: address.name.clone(),
        phone: address.phone.clone(),
        country: address.country.clone(),
        province: address.province.clone(),
        city: address.city.clone(),
        district: address.district.clone(),
        street: address.street.clone(),
        postal_code: address.postal_code.clone(),
    }
}

fn units_to_proto(units: &Units) -> pb::LineInput {
    pb::LineInput { sku_id: units.sku_id.clone(), quantity: units.quantity, agreed_unit_price_nanos: None }
}

/// Reads units of a SKU.
pub fn units_from_proto(line: pb::LineInput) -> Units {
    Units { sku_id: line.sku_id, quantity: line.quantity }
}

fn was_sent(status: Status) -> bool {
    matches!(status, Status::Shipped | Status::Delivered | Status::Completed)
}

fn line_to_proto(line: &Line) -> pb::OrderLine {
    pb::OrderLine {
        id: line.id.clone(),
        sku_id: line.sku_id.clone(),
        product_id: line.product_id.clone(),
        title: line.title.clone(),
        options: line.options.clone(),
        quantity: line.quantity,
        unit_price: Some(line.unit_price.into()),
        discount: Some(line.discount.into()),
        line_total: Some(line.line_total.into()),
        image_url: line.image_url.clone(),
        seller_id: line.seller_id.clone(),
        code: line.code.clone(),
        rounding_nanos: line.rounding_nanos,
        returned: line.returned,
        shipped: line.shipped,
        returned_sent: line.returned_sent,
    }
}

fn line_from_proto(line: pb::OrderLine) -> Result<Line> {
    Ok(Line {
        unit_price: money(line.unit_price)?,
        discount: money(line.discount)?,
        line_total: money(line.line_total)?,
        id: line.id,
        sku_id: line.sku_id,
        product_id: line.product_id,
        seller_id: line.seller_id,
        title: line.title,
        options: line.options,
        quantity: line.quantity,
        image_url: line.image_url,
        code: line.code,
        rounding_nanos: line.rounding_nanos,
        returned: line.returned,
        shipped: line.shipped,
        returned_sent: line.returned_sent,
    })
}

/// Reads a required amount.
///
/// # Errors
/// `corrupt_order` when it is missing, or the currency is none.
pub fn money(money: Option<common::Money>) -> Result<Money> {
    let money = money.ok_or_else(|| corrupt("amount missing"))?;
    Ok(Money::new(money.amount, Currency::parse(&money.currency)?))
}

fn corrupt(what: &'static str) -> Error {
    Error::internal("corrupt_order", what)
}

#[cfg(test)]
mod tests;
