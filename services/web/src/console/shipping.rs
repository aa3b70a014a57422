//! How many of each line of an order: asked for, and read.

use mallard_proto::order::v1::{LineInput, Order};
use mallard_types::{Error, Result};

use super::form::Input;
use super::text::Words;
use crate::ask::Fields;
use crate::text::fill;
use crate::view::options;

/// Makes the fields that say how many of each line go out.
pub fn fields(c: &'static Words, order: &Order) -> Vec<Input> {
    let open = order.lines.iter().filter(|line| line.quantity > line.shipped);
    open.map(|line| {
        let left = line.quantity - line.shipped;
        let label = format!("{} {} ({})", line.title, options(&line.options), fill(c.of_left, left));
        let input = Input::line(format!("ship.{}", line.sku_id), label, left.to_string()).required();
        Input { inputmode: "numeric", maxlength: 6, ..input }
    })
    .collect()
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
}
