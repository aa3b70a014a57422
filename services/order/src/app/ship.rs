//! Parcels: the operator's, and the seller's of its own lines; and the seller's view of its orders.

use std::sync::Arc;

use mallard_db::Tx;
use mallard_types::{Error, Result, page};

use super::moves::check;
use super::place::check_units;
use super::{App, AsyncThen, Page, cut, refused, require_operator};
use crate::domain::{EventKind, Order, Units};
use crate::{error, store};

/// Longest carrier and tracking number, in characters.
const TEXT_CHARS_MAX: usize = 100;

/// A parcel to be recorded.
#[derive(Clone, Debug)]
pub struct ShipInput {
    pub order_id: String,
    pub carrier: String,
    pub tracking_number: String,
    /// None named: everything that is left.
    pub units: Vec<Units>,
    pub if_version: Option<i64>,
}

impl App {
    /// Ships an order, or some units of it.
    pub async fn ship(self: &Arc<Self>, input: ShipInput) -> Result<Order> {
        require_operator()?;
        self.ship_for(input, None).await
    }

    /// Ships units of the caller's own lines.
    pub async fn seller_ship(self: &Arc<Self>, input: ShipInput) -> Result<(Order, String)> {
        let seller_id = seller()?;
        Ok((self.ship_for(input, Some(seller_id.clone())).await?, seller_id))
    }

    async fn ship_for(self: &Arc<Self>, input: ShipInput, seller_id: Option<String>) -> Result<Order> {
        for (param, text) in [("carrier", &input.carrier), ("tracking_number", &input.tracking_number)] {
            if text.chars().count() > TEXT_CHARS_MAX {
                return Err(Error::invalid("too_long", format!("at most {TEXT_CHARS_MAX} characters")).param(param));
            }
        }
        check_units(&input.units)?;
        let id = input.order_id.clone();
        self.decide(
            "order.ship",
            &id,
            move |order| {
                if let Some(seller_id) = &seller_id {
                    check_seller(order, seller_id)?;
                }
                check(order, None, input.if_version)?;
                let units = (!input.units.is_empty()).then_some(input.units.as_slice());
                order.ship(&input.carrier, &input.tracking_number, units, seller_id.as_deref()).map_err(refused)
            },
            NewParcel,
        )
        .await
    }

    /// Reads an order with lines of the caller's own; returns the seller it is read for.
    pub async fn seller_get(&self, id: &str) -> Result<(Order, String)> {
        let seller_id = seller()?;
        let order = store::get(&self.db, id).await?.ok_or_else(error::not_found)?;
        check_seller(&order, &seller_id)?;
        Ok((order, seller_id))
    }

    /// Lists the paid orders with lines of the caller's own, newest first; returns the seller they are read for.
    pub async fn seller_list(&self, to_ship: bool, limit: i32, cursor: &str) -> Result<(Page, String)> {
        let seller_id = seller()?;
        let limit = page::limit(limit)?;
        let before = if cursor.is_empty() { None } else { page::decode_cursor(cursor, 1)?.pop() };
        let orders = store::seller_page(&self.db, &seller_id, to_ship, before.as_deref(), limit + 1).await?;
        let (orders, next_cursor) = cut(orders, limit, |order| &order.id);
        Ok((Page { orders, next_cursor, count: None }, seller_id))
    }
}

/// Refuses a parcel that was recorded before: the request came twice.
struct NewParcel;

impl AsyncThen for NewParcel {
    async fn check(&self, tx: &Tx, order: &Order, kind: &EventKind) -> Result<()> {
        let EventKind::Shipped { carrier, tracking_number, units } = kind else { return Ok(()) };
        let Some(parcel) = store::parcel(carrier, tracking_number, units) else { return Ok(()) };
        if store::has_event(tx, &order.id, kind.as_str(), &parcel).await? {
            return Err(error::parcel_known(order.status.as_str(), tracking_number));
        }
        Ok(())
    }

    async fn run(&self, _: &Tx, _: &Order) -> Result<()> {
        Ok(())
    }
}

/// Names the seller the caller acts for.
fn seller() -> Result<String> {
    let seller_id =
        mallard_rpc::with_current(|call| call.caller.require_user().map(|_| call.caller.seller_id.clone()))?;
    if seller_id.is_empty() { Err(error::seller_required()) } else { Ok(seller_id) }
}

/// Lets a seller see a paid order with lines of its own; any other is as good as none.
fn check_seller(order: &Order, seller_id: &str) -> Result<()> {
    if order.sellers().contains_key(seller_id) { Ok(()) } else { Err(error::not_found()) }
}
