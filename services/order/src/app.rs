//! The use cases of orders.

mod audited;
mod moves;
mod place;
mod refold;
mod refund;
mod returns;
mod ship;

use std::sync::Arc;

use mallard_bus::Envelope;
use mallard_db::{Db, Tx};
use mallard_flow::Engine;
use mallard_proto::order::v1::OrderChanged;
use mallard_rpc::Caller;
use mallard_runtime::{Audit, Context};
use mallard_types::{Error, Micros, Result, page};
pub use place::{PayWith, PlaceInput, Placed, goods_of};
pub use refold::refold_until_shutdown;
pub use refund::{RefundInput, Refunded};
pub use returns::ReturnsPage;
pub use ship::ShipInput;

use crate::config::Config;
use crate::domain::{Event, EventKind, Order, Refusal, Status};
use crate::peers::{Basket, Peers, Quote, WantedLine};
use crate::{convert, error, store};

/// How often a decision is taken again when the order moved under it.
const MOVED_TRIES_MAX: u32 = 5;

/// The service behind its RPCs, flows and event handlers.
pub struct App {
    pub(crate) context: Context,
    pub(crate) config: Config,
    pub(crate) peers: Peers,
    pub(crate) db: Db,
    pub(crate) engine: Engine,
}

/// A page of orders.
pub struct Page {
    pub orders: Vec<Order>,
    pub next_cursor: String,
    pub count: Option<i64>,
}

impl App {
    /// Makes the service from its surroundings.
    pub fn new(context: Context, config: Config) -> App {
        App { peers: Peers::new(&context), db: context.db(), engine: context.flows(), context, config }
    }

    /// Prices the caller's cart or the lines given.
    pub async fn quote(&self, lines: Vec<WantedLine>, basket: Basket, address_id: &str) -> Result<Quote> {
        let caller = mallard_rpc::current().caller;
        let user_id = if caller.is_system() { String::new() } else { caller.require_user()?.to_owned() };
        // The mall itself has no cart.
        let from_cart = lines.is_empty() && !user_id.is_empty();
        let lines = if from_cart { self.peers.cart_lines(&user_id).await?.0 } else { lines };
        place::check_lines(&lines, &caller)?;
        let address =
            if address_id.is_empty() { basket.address.clone() } else { Some(self.peers.address(address_id).await?) };
        self.peers.quote(&Basket { lines, user_id, address, ..basket }).await
    }

    /// Reads an order of the caller's.
    pub async fn get(&self, id: &str) -> Result<Order> {
        let caller = mallard_rpc::current().caller;
        let user_id = caller.require_user()?;
        store::get(&self.db, id).await?.filter(|order| order.user_id == user_id).ok_or_else(error::not_found)
    }

    /// Reads any order.
    pub async fn admin_get(&self, id: &str) -> Result<Order> {
        require_operator()?;
        store::get(&self.db, id).await?.ok_or_else(error::not_found)
    }

    /// Reads the stream of an order of the caller's, with the events' ids.
    pub async fn events(&self, id: &str) -> Result<Vec<(String, Event)>> {
        self.get(id).await?;
        store::events(&self.db, id).await
    }

    /// Reads the stream of any order.
    pub async fn admin_events(&self, id: &str) -> Result<Vec<(String, Event)>> {
        self.admin_get(id).await?;
        store::events(&self.db, id).await
    }

    /// Lists the caller's orders, newest first.
    pub async fn list(&self, status: &str, limit: i32, cursor: &str, count: bool) -> Result<Page> {
        let caller = mallard_rpc::current().caller;
        let filter = store::Filter {
            user_id: Some(caller.require_user()?.to_owned()),
            status: parse_status(status)?,
            number: None,
        };
        self.page(filter, limit, cursor, count).await
    }

    /// Lists everybody's orders, newest first.
    pub async fn admin_list(
        &self,
        status: &str,
        user_id: &str,
        number: &str,
        limit: i32,
        cursor: &str,
        count: bool,
    ) -> Result<Page> {
        require_operator()?;
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let filter = store::Filter { user_id: filled(user_id), status: parse_status(status)?, number: filled(number) };
        self.page(filter, limit, cursor, count).await
    }

    async fn page(&self, filter: store::Filter, limit: i32, cursor: &str, count: bool) -> Result<Page> {
        let limit = page::limit(limit)?;
        let before = if cursor.is_empty() { None } else { page::decode_cursor(cursor, 1)?.pop() };
        let orders = store::list(&self.db, &filter, before.as_deref(), limit + 1).await?;
        let count = if count { Some(store::count(&self.db, &filter).await?) } else { None };
        let (orders, next_cursor) = cut(orders, limit, |order| &order.id);
        Ok(Page { orders, next_cursor, count })
    }

    /// Reads whole orders in order of id, for reports and checks.
    pub async fn scan(&self, after_id: &str, limit: i32) -> Result<Vec<Order>> {
        require_operator()?;
        store::scan(&self.db, after_id, i64::from(limit.clamp(1, 1_000))).await
    }

    /// Loads an order, takes a decision, saves it with its event, in one transaction with whatever `then` adds. `name` is the
    /// action in the audit log when an operator decides.
    pub(crate) async fn decide<D, T>(
        self: &Arc<Self>,
        name: &'static str,
        id: &str,
        decide: D,
        then: T,
    ) -> Result<Order>
    where
        D: Fn(&Order) -> Result<EventKind> + Send + Sync + 'static,
        T: AsyncThen,
    {
        Ok(self.consider(name, id, move |order| decide(order).map(Some), then).await?.0)
    }

    /// As [`App::decide`] for what may have been decided already: then nothing is written. Tells whether something was.
    pub(crate) async fn consider<D, T>(
        self: &Arc<Self>,
        name: &'static str,
        id: &str,
        decide: D,
        then: T,
    ) -> Result<(Order, bool)>
    where
        D: Fn(&Order) -> Result<Option<EventKind>> + Send + Sync + 'static,
        T: AsyncThen,
    {
        let (app, id, by, at) = (self.clone(), id.to_owned(), actor(), self.context.now());
        let shared = Arc::new((app, id, by, self.context.audit(), decide, then));
        for _ in 1..MOVED_TRIES_MAX {
            match Self::consider_once(&self.db, name, at, shared.clone()).await {
                // Somebody else was faster; the decision is taken again on what they left.
                Err(error) if error.code == place::ORDER_MOVED => {}
                decided => return decided,
            }
        }
        Self::consider_once(&self.db, name, at, shared).await
    }

    async fn consider_once<D, T>(
        db: &Db,
        name: &'static str,
        at: Micros,
        shared: Arc<(Arc<App>, String, String, Audit, D, T)>,
    ) -> Result<(Order, bool)>
    where
        D: Fn(&Order) -> Result<Option<EventKind>> + Send + Sync + 'static,
        T: AsyncThen,
    {
        db.tx(name, move |tx: Tx| {
            let shared = shared.clone();
            async move {
                let (app, id, by, audit, decide, then) = &*shared;
                let before = store::load(&tx, id).await?;
                let Some(kind) = decide(&before)? else { return Ok((before, false)) };
                then.check(&tx, &before, &kind).await?;
                let order = app.append(&tx, &before, kind.clone(), at, by).await?;
                audit.append(&tx, name, id, || audited::change(&before, &order, &kind)).await?;
                then.run(&tx, &order).await?;
                Ok((order, true))
            }
        })
        .await
    }

    /// Saves one decision inside a transaction and publishes it.
    pub(crate) async fn append(&self, tx: &Tx, order: &Order, kind: EventKind, at: Micros, by: &str) -> Result<Order> {
        let (next, event) = order.then(kind, at, by);
        if !store::save(tx, &next, &event, &self.context.id("evt")).await? {
            let moved = Error::unavailable(place::ORDER_MOVED, "the order changed at the same moment; try again");
            return Err(moved.retry_after_ms(100));
        }
        store::index(tx, order, &next).await?;
        self.publish(tx, &next, &event).await?;
        Ok(next)
    }

    pub(crate) async fn publish(&self, tx: &Tx, order: &Order, event: &Event) -> Result<()> {
        let kind = event.kind.as_str();
        if !matches!(kind, "placed" | "paid" | "cancelled" | "shipped" | "delivered" | "refunded") {
            return Ok(());
        }
        let kind = format!("order.{kind}.v1");
        let outbox = self.context.outbox();
        if !outbox.is_wanted(&kind) {
            return Ok(());
        }
        let message = OrderChanged { order: Some(convert::order_to_proto(order)), event: kind.clone() };
        outbox.append(tx, Envelope::new(self.context.id("evt"), kind, order.id.clone(), event.at, &message)).await
    }
}

/// What a decision's transaction does besides saving it.
pub(crate) trait AsyncThen: Send + Sync + 'static {
    /// Runs inside the transaction before the save, and may refuse it for what the order itself does not know.
    fn check(&self, _: &Tx, _: &Order, _: &EventKind) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Runs inside the transaction, after the save.
    fn run(&self, tx: &Tx, order: &Order) -> impl Future<Output = Result<()>> + Send;
}

/// Nothing besides.
pub(crate) struct Nothing;

impl AsyncThen for Nothing {
    async fn run(&self, _: &Tx, _: &Order) -> Result<()> {
        Ok(())
    }
}

/// Wakes the order's checkout flow.
pub(crate) struct WakeCheckout;

impl AsyncThen for WakeCheckout {
    async fn run(&self, tx: &Tx, order: &Order) -> Result<()> {
        mallard_flow::signal::<crate::flows::Checkout>(tx, &order.id).await?;
        Ok(())
    }
}

/// Refuses anybody but operators and the system itself.
pub(crate) fn require_operator() -> Result<()> {
    let caller = mallard_rpc::current().caller;
    if caller.is_admin() || caller.is_system() {
        return Ok(());
    }
    Err(Error::forbidden("forbidden", "this needs the role admin"))
}

/// Names who does something in an order's stream.
pub(crate) fn actor() -> String {
    let caller: Caller = mallard_rpc::current().caller;
    if caller.is_system() {
        "system".into()
    } else if caller.surface == mallard_rpc::Surface::Admin {
        "operator".into()
    } else if caller.surface == mallard_rpc::Surface::Seller {
        "seller".into()
    } else {
        caller.user_id
    }
}

/// Cuts a page to its size, and makes the cursor of the next one when there is more.
pub(crate) fn cut<T>(mut rows: Vec<T>, limit: usize, id: impl Fn(&T) -> &str) -> (Vec<T>, String) {
    if rows.len() <= limit {
        return (rows, String::new());
    }
    rows.truncate(limit);
    let next_cursor = rows.last().map(|row| page::encode_cursor(&[id(row)])).unwrap_or_default();
    (rows, next_cursor)
}

pub(crate) fn refused(refusal: Refusal) -> Error {
    refusal.into()
}

fn parse_status(status: &str) -> Result<Option<&'static str>> {
    if status.is_empty() {
        return Ok(None);
    }
    match Status::parse(status) {
        Some(status) => Ok(Some(status.as_str())),
        None => Err(Error::invalid("unknown_status", format!("there is no order status {status}")).param("status")),
    }
}
