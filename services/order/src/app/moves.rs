//! Moves of an order that is there: cancel, address, deliver.

use std::sync::Arc;

use mallard_types::Result;

use super::{App, Nothing, WakeCheckout, refused, require_operator};
use crate::domain::{Address, Order};
use crate::error;
use crate::flows::Checkout;

impl App {
    /// Cancels an unpaid order of the caller's.
    pub async fn cancel(self: &Arc<Self>, id: &str, reason: &str, if_version: Option<i64>) -> Result<Order> {
        let caller = mallard_rpc::current().caller;
        let user_id = caller.require_user()?.to_owned();
        self.cancel_order(id, reason, if_version, Some(user_id)).await
    }

    /// Cancels any unpaid order.
    pub async fn admin_cancel(self: &Arc<Self>, id: &str, reason: &str, if_version: Option<i64>) -> Result<Order> {
        require_operator()?;
        self.cancel_order(id, reason, if_version, None).await
    }

    async fn cancel_order(
        self: &Arc<Self>,
        id: &str,
        reason: &str,
        if_version: Option<i64>,
        owner: Option<String>,
    ) -> Result<Order> {
        let reason =
            if reason.is_empty() { "cancelled_by_request".to_owned() } else { reason.chars().take(500).collect() };
        let order = self
            .decide(
                "order.cancel",
                id,
                move |order| {
                    check(order, owner.as_deref(), if_version)?;
                    order.cancel(&reason).map_err(refused)
                },
                WakeCheckout,
            )
            .await?;
        // Stock and money go back now if they can, later if they cannot.
        self.engine.drive::<Checkout>(id).await?;
        Ok(order)
    }

    /// Changes the address of an order of the caller's that has not been shipped.
    pub async fn change_address(
        self: &Arc<Self>,
        id: &str,
        address: Address,
        if_version: Option<i64>,
    ) -> Result<Order> {
        let caller = mallard_rpc::current().caller;
        let user_id = caller.require_user()?.to_owned();
        super::place::check_address(&address)?;
        self.decide(
            "order.address",
            id,
            move |order| {
                check(order, Some(&user_id), if_version)?;
                order.change_address(address.clone()).map_err(refused)
            },
            Nothing,
        )
        .await
    }

    /// Records that an order arrived.
    pub async fn deliver(self: &Arc<Self>, id: &str, if_version: Option<i64>) -> Result<Order> {
        require_operator()?;
        self.decide(
            "order.deliver",
            id,
            move |order| {
                check(order, None, if_version)?;
                order.deliver().map_err(refused)
            },
            Nothing,
        )
        .await
    }
}

/// Checks whose the order is and whether it is the one that was seen.
pub(super) fn check(order: &Order, owner: Option<&str>, if_version: Option<i64>) -> Result<()> {
    if owner.is_some_and(|owner| order.user_id != owner) {
        return Err(error::not_found());
    }
    match if_version {
        Some(version) if version != order.version => Err(error::version_mismatch(order.version)),
        _ => Ok(()),
    }
}
