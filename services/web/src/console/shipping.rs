//! How many of each line of an order: asked for, and read.

use mallard_proto::order::v1::{AdminShipOrderRequest, LineInput, Order, OrderLine};
use mallard_types::{Error, Result};

use super::form::{self, Input};
use super::text::Words;
use crate::ask::Fields;
use crate::text::{Text, fill};
use crate::view::options;

/// Counts the units of a line that were neither sent nor given back before that: what is to be sent.
pub fn unsent(line: &OrderLine) -> i64 {
    (line.quantity - line.shipped - (line.returned - line.returned_sent)).max(0)
}

/// Makes the fields that say how many of each line go out.
pub fn fields(c: &'static Words, order: &Order) -> Vec<Input> {
    let open = order.lines.iter().filter(|line| unsent(line) > 0);
    open.map(|line| {
        let left = unsent(line);
        let label = format!("{} {} ({})", line.title, options(&line.options), fill(c.of_left, left));
        let input = Input::line(format!("ship.{}", line.sku_id), label, left.to_string()).required();
        Input { inputmode: "numeric", maxlength: 6, ..input }
    })
    .collect()
}

/// Reads the form of a parcel: carrier, number, version and what goes in. The version keeps a form that is sent twice from
/// shipping twice; the order tells parcels apart by their number.
///
/// # Errors
/// `required` beside the field that is empty; `quantity_out_of_range` beside one that is no number.
pub fn parcel(form: &Fields, id: &str) -> Result<AdminShipOrderRequest> {
    for name in ["carrier", "tracking_number"] {
        if form.get(name).is_empty() {
            return Err(Error::invalid("required", "a parcel has a carrier and a number").param(name));
        }
    }
    Ok(AdminShipOrderRequest {
        id: id.to_owned(),
        carrier: form.get("carrier").to_owned(),
        tracking_number: form.get("tracking_number").to_owned(),
        if_version: form.number("version"),
        lines: named(form, "ship.", true)?,
    })
}

/// Names the field of the line that the order refused, where the refusal is about one: too many units of it were named.
pub fn at_line(mut error: Error, prefix: &str) -> Error {
    if error.param.as_deref() != Some("lines") {
        return error;
    }
    let sku_id = error.details.as_ref().and_then(|details| details["sku_id"].as_str()).map(str::to_owned);
    if let Some(sku_id) = sku_id {
        error.param = Some(format!("{prefix}{sku_id}").into());
        if error.code == "illegal_transition" {
            error.code = "quantity_out_of_range".into();
        }
    }
    error
}

/// Says above the page what was refused of units that were named.
pub fn above(t: &'static Text, c: &'static Words, error: &Error) -> String {
    match (error.code.as_ref(), error.param.as_deref()) {
        ("quantity_out_of_range", Some("lines")) => c.nothing_to_ship.to_owned(),
        _ => form::above(t, c, error),
    }
}

/// Reads the units named per SKU; a field left empty or 0 names none.
///
/// # Errors
/// `quantity_out_of_range` beside the field; `required` when units must be named and none are.
pub fn named(form: &Fields, prefix: &str, some: bool) -> Result<Vec<LineInput>> {
    let mut lines = Vec::new();
    for (name, value) in form.pairs() {
        let (Some(sku_id), false) = (name.strip_prefix(prefix), value.trim().is_empty()) else { continue };
        let quantity: i64 =
            value.trim().parse().ok().filter(|units| (0..=9_999).contains(units)).ok_or_else(|| {
                Error::invalid("quantity_out_of_range", "a whole number of units").param(name.to_owned())
            })?;
        if quantity > 0 {
            lines.push(LineInput { sku_id: sku_id.to_owned(), quantity, ..LineInput::default() });
        }
    }
    if some && lines.is_empty() {
        return Err(Error::invalid("quantity_out_of_range", "name the units of at least one line").param("lines"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_line_by_line() {
        let read = |text: &str| named(&Fields::parse(text.as_bytes()), "ship.", true);
        let lines = read("ship.sku_1=2&ship.sku_2=&ship.sku_3=0&carrier=9&ship.sku_4=+3").unwrap();
        let named: Vec<(&str, i64)> = lines.iter().map(|line| (line.sku_id.as_str(), line.quantity)).collect();
        assert_eq!(named, [("sku_1", 2), ("sku_4", 3)]);
        assert_eq!(read("ship.sku_1=x").unwrap_err().param.as_deref(), Some("ship.sku_1"));
        assert_eq!(read("ship.sku_1=-1").unwrap_err().code, "quantity_out_of_range");
        assert_eq!(read("ship.sku_1=0").unwrap_err().param.as_deref(), Some("lines"));
        assert!(super::named(&Fields::parse(b"ship.sku_1=0"), "ship.", false).unwrap().is_empty());
    }

    #[test]
    fn what_was_given_back_before_it_was_sent_is_not_to_be_sent() {
        let line = |quantity, shipped, returned, returned_sent| {
            unsent(&OrderLine { quantity, shipped, returned, returned_sent, ..OrderLine::default() })
        };
        assert_eq!(line(3, 0, 0, 0), 3);
        assert_eq!(line(3, 0, 1, 0), 2, "given back unsent");
        assert_eq!(line(3, 2, 1, 0), 0, "the other two are on their way");
        assert_eq!(line(3, 2, 1, 1), 1, "one of those that were sent came back");
        assert_eq!(line(1, 2, 0, 0), 0);
        let three = OrderLine { sku_id: "sku_1".into(), quantity: 3, returned: 3, ..OrderLine::default() };
        let open = OrderLine { sku_id: "sku_2".into(), quantity: 3, returned: 1, ..OrderLine::default() };
        let order = Order { lines: vec![three, open], ..Order::default() };
        let fields = fields(Words::of(crate::domain::Lang::En), &order);
        assert_eq!(fields.len(), 1);
        assert_eq!((fields[0].name.as_str(), fields[0].value.as_str()), ("ship.sku_2", "2"));
    }

    #[test]
    fn a_parcel_has_a_carrier_and_a_number() {
        let param =
            |text: &str| parcel(&Fields::parse(text.as_bytes()), "ord_1").unwrap_err().param.unwrap().into_owned();
        assert_eq!(param("tracking_number=1"), "carrier");
        assert_eq!(param("carrier=SF&tracking_number=+"), "tracking_number");
        let read = parcel(&Fields::parse(b"carrier=SF&tracking_number=1&version=7&ship.sku_1=2"), "ord_1").unwrap();
        assert_eq!((read.id.as_str(), read.carrier.as_str(), read.tracking_number.as_str()), ("ord_1", "SF", "1"));
        assert_eq!((read.if_version, read.lines.len()), (Some(7), 1));
    }

    #[test]
    fn too_many_units_are_refused_beside_their_line() {
        let refused = Error::conflict("illegal_transition", "at most 3").param("lines");
        let at = at_line(refused.clone().details(serde_json::json!({ "sku_id": "sku_1", "left": 3 })), "ship.");
        assert_eq!((at.code.as_ref(), at.param.as_deref()), ("quantity_out_of_range", Some("ship.sku_1")));
        let at = at_line(refused.param("tracking_number"), "ship.");
        assert_eq!((at.code.as_ref(), at.param.as_deref()), ("illegal_transition", Some("tracking_number")));
    }
}
