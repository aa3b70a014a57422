//! Whose money a refund gives back.

use std::collections::BTreeMap;

/// A line of an order as far as refunds go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Empty when it is nobody's in particular.
    pub seller_id: String,
    /// Line total in minor units.
    pub amount: i64,
    pub quantity: i64,
    /// Units given back.
    pub returned: i64,
}

/// Shares what was given back of an order among the sellers of its lines, in minor units. It first pays for the units that
/// came back and then for all lines alike; what is over is the mall's (shipping, tax, fractions). An order that is given back
/// whole gives back exactly what each seller's lines cost.
pub fn shares(parts: &[Part], total: i64, refunded: i64) -> BTreeMap<String, i64> {
    let mut sellers: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for part in parts {
        let amount = i128::from(part.amount);
        let back = if part.quantity > 0 { amount * i128::from(part.returned) / i128::from(part.quantity) } else { 0 };
        let (lines, returned) = sellers.entry(&part.seller_id).or_default();
        *lines += amount;
        *returned += back;
    }
    let (total, refunded) = (i128::from(total), i128::from(refunded));
    let returned: i128 = sellers.values().map(|(_, returned)| returned).sum();
    let share = |lines: i128, back: i128| {
        if refunded >= total {
            lines
        } else if refunded <= returned {
            refunded * back / returned.max(1)
        } else {
            back + (refunded - returned) * (lines - back) / (total - returned)
        }
    };
    let named = sellers.into_iter().filter(|(seller_id, _)| !seller_id.is_empty());
    // Nobody's share is more than the totals of lines, which are amounts of 64 bits.
    named.map(|(id, (lines, back))| (id.to_owned(), i64::try_from(share(lines, back)).unwrap_or(i64::MAX))).collect()
}
