//! Placing an order: price, hold, write, charge; and paying one that waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use mallard_db::{Error as DbError, Tx};
use mallard_flow::{At, FIRST_VERSION};
use mallard_proto::promotion::v1 as promo;
use mallard_rpc::{Caller, Surface};
use mallard_types::text::has_hidden;
use mallard_types::{Error, Kind, Money, Result, id};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::{App, WakeCheckout, refused};
use crate::domain::{self, Address, Event, Order, PaymentStatus, Status, Units};
use crate::flows::{Checkout, CheckoutState};
use crate::peers::{self, Basket, Charge, Outcome, Payment, Quote, WantedLine};
use crate::{error, store};

/// Code of the error that says somebody else changed the order at the same moment.
pub(crate) const ORDER_MOVED: &str = "order_moved";

/// Who holds the checkout flow of an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// This request, since it wrote the order.
    Here,
    /// Nobody, or another.
    Elsewhere,
}

/// How the shopper pays: a token stands for the card from here on.
#[derive(Clone, Debug, Default)]
pub struct PayWith {
    pub method: String,
    pub card_token: String,
}

/// Everything a shopper sends to place an order.
#[derive(Clone, Debug)]
pub struct PlaceInput {
    pub lines: Vec<WantedLine>,
    pub address_id: String,
    pub address: Option<Address>,
    pub coupon_codes: Vec<String>,
    pub shipping_method: String,
    pub expected_total: Money,
    /// What [`goods_of`] said of the quote the shopper saw; empty where nobody compares.
    pub expected_goods: String,
    pub note: String,
    pub pay: PayWith,
    pub idempotency_key: String,
    /// System callers only.
    pub on_behalf_of: String,
    pub reference: String,
    pub customer: String,
}

/// A placed order and its payment.
#[derive(Debug)]
pub struct Placed {
    pub order: Order,
    pub payment: Option<Payment>,
}

/// Why a transaction that writes a new order failed.
enum WriteError {
    Db(DbError),
    Other(Error),
}

impl From<DbError> for WriteError {
    fn from(error: DbError) -> Self {
        WriteError::Db(error)
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        WriteError::Other(error)
    }
}

impl App {
    /// Places an order. The same key gives the same order, however often and from wherever it comes.
    pub async fn place(self: &Arc<Self>, input: PlaceInput) -> Result<Placed> {
        let caller = mallard_rpc::current().caller;
        let user_id = if caller.is_system() && !input.on_behalf_of.is_empty() {
            input.on_behalf_of.clone()
        } else {
            caller.require_user()?.to_owned()
        };
        if input.idempotency_key.is_empty() || input.idempotency_key.len() > 255 {
            return Err(error::idempotency_key_required());
        }
        if input.note.chars().count() > domain::NOTE_CHARS_MAX {
            return Err(Error::invalid("note_too_long", "the note has at most 1,000 characters").param("note"));
        }
        let hash = request_hash(&input);
        // A repeat is answered before it can take anything.
        match store::by_key(&self.db, &user_id, &input.idempotency_key).await? {
            Some((_, before)) if before != hash => return Err(error::idempotency_conflict()),
            Some((order, _)) => return self.resume(order, &input.pay).await,
            None => {}
        }
        let refused = match self.place_new(&caller, &user_id, &input, &hash).await {
            Ok(placed) => return Ok(placed),
            // These say that this very order was written and then failed.
            Err(error) if error.kind == Kind::PaymentFailed => return Err(error),
            Err(error) => error,
        };
        // The cart may be empty or the stock gone because this very request has been here before.
        match store::by_key(&self.db, &user_id, &input.idempotency_key).await? {
            Some((_, before)) if before != hash => Err(error::idempotency_conflict()),
            Some((order, _)) => self.resume(order, &input.pay).await,
            None => Err(refused),
        }
    }

    async fn place_new(
        self: &Arc<Self>,
        caller: &Caller,
        user_id: &str,
        input: &PlaceInput,
        hash: &[u8],
    ) -> Result<Placed> {
        let (lines, cart_ref) =
            if input.lines.is_empty() { self.peers.cart_lines(user_id).await? } else { (input.lines.clone(), None) };
        check_lines(&lines, caller)?;
        let address = self.address(caller, input).await?;
        let basket = Basket {
            lines,
            coupon_codes: input.coupon_codes.clone(),
            address,
            shipping_method: input.shipping_method.clone(),
            user_id: user_id.to_owned(),
        };
        let quote = self.peers.quote(&basket).await?;
        let goods = goods_of(&quote.message);
        let are_others = !input.expected_goods.is_empty() && input.expected_goods != goods;
        if quote.total != input.expected_total || are_others {
            return Err(error::price_changed(
                input.expected_total,
                quote.total,
                serde_json::to_value(&quote.message).unwrap_or_default(),
                &goods,
            ));
        }
        let order = self.new_order(user_id, input, &basket, &quote)?;
        let (order, event) = Order::placed(order);
        let units = order.units_out();
        // Of the call's time, which inventory moves to the clock's for a replay.
        let hold_until = order.created_at + (self.config.payment_timeout_s + self.config.hold_grace_s) * 1_000_000;
        if let Err(error) = self.peers.reserve(&order.id, &units, hold_until).await {
            if error.is_retryable() {
                // The hold may exist. Give it back now; if that fails too it ends by itself.
                self.release_quietly(&order.id).await;
            }
            return Err(error);
        }
        let placement = store::Placement {
            idempotency_key: input.idempotency_key.clone(),
            request_hash: hash.to_vec(),
            cart_ref: cart_ref.clone(),
            event_id: self.context.id("evt"),
        };
        if let Err(error) = self.write_placed(&order, event, placement, &input.pay).await {
            let error = match error {
                WriteError::Db(error) => error,
                WriteError::Other(error) => return Err(error),
            };
            // A commit that may have happened keeps its stock; without an order the hold ends by itself.
            let is_there = store::get(&self.db, &order.id).await?.is_some();
            if matches!(error, DbError::Unique { .. }) && !is_there {
                self.release_quietly(&order.id).await;
            }
            if let (true, Some(cart_ref)) = (error.is_unique("orders_cart_ref"), &cart_ref)
                && let Some(id) = store::id_by_cart(&self.db, cart_ref).await?
            {
                return Err(error::cart_already_ordered(&id));
            }
            return Err(error.into());
        }
        let payment = self.charge(&order, &order.payment_id.clone(), &input.pay).await;
        let held = if input.pay.method == "later" { Held::Elsewhere } else { Held::Here };
        self.settle(order, payment, held).await
    }

    async fn write_placed(
        self: &Arc<Self>,
        order: &Order,
        event: Event,
        placement: store::Placement,
        pay: &PayWith,
    ) -> Result<(), WriteError> {
        let later = pay.method == "later";
        let shared = Arc::new((self.clone(), order.clone(), event, placement));
        self.db
            .tx("order.place", move |tx: Tx| {
                let shared = shared.clone();
                async move {
                    let (app, order, event, placement) = &*shared;
                    store::insert(&tx, order, event, placement).await?;
                    if later {
                        mallard_flow::start::<Checkout>(&tx, &order.id, &CheckoutState::AwaitPayment, order.expires_at)
                            .await?;
                    } else {
                        // This request goes on with it; the engine does when the request cannot.
                        app.engine.start_inline::<Checkout>(&tx, &order.id, &CheckoutState::AwaitPayment).await?;
                    }
                    app.publish(&tx, order, event).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Brings the first answer of the payment into the order.
    async fn settle(self: &Arc<Self>, order: Order, payment: Result<Payment>, held: Held) -> Result<Placed> {
        let payment = match payment {
            Ok(payment) => payment,
            Err(error) if is_final(&error) => {
                self.cancel_declined(&order.id, &error.code, held).await?;
                return Err(error);
            }
            Err(error) => {
                // Perhaps it was started, perhaps not: the flow asks until it knows.
                warn!(order_id = order.id, %error, "payment did not answer, the checkout flow goes on");
                return self.resolve_now(order, None, held).await;
            }
        };
        match &payment.outcome {
            Outcome::Captured => {
                let order = match held {
                    Held::Here => self.record_new_payment(order, &payment).await?,
                    Held::Elsewhere => self.record_payment(&order.id, &payment).await?,
                };
                Ok(Placed { order, payment: Some(payment) })
            }
            Outcome::Failed { code, message } => {
                let refusal = error::payment_failed(code, message, &order.id, &payment.id);
                self.cancel_declined(&order.id, code, held).await?;
                Err(refusal)
            }
            Outcome::Pending => Ok(Placed { order, payment: Some(payment) }),
            Outcome::Unknown => self.resolve_now(order, Some(payment), held).await,
        }
    }

    /// The usual end of a checkout: paid event and flow state in one transaction, then confirm and clear.
    async fn record_new_payment(self: &Arc<Self>, order: Order, payment: &Payment) -> Result<Order> {
        let kind = order.pay(&payment.id, payment.amount).map_err(refused)?;
        let at_micros = self.context.now();
        let first = At::new(&order.id, self.context.clock().now());
        let shared = Arc::new((self.clone(), order.clone(), kind, first, super::actor()));
        let saved = self
            .db
            .tx("order.paid", move |tx: Tx| {
                let shared = shared.clone();
                async move {
                    let (app, order, kind, first, by) = &*shared;
                    let next = app.append(&tx, order, kind.clone(), at_micros, by).await?;
                    mallard_flow::save::<Checkout>(&tx, first, &CheckoutState::Fulfil, Some(0)).await?;
                    Ok::<_, Error>(next)
                }
            })
            .await;
        match saved {
            Ok(paid) => {
                // Whatever cannot be done now, the engine does later.
                self.engine.drive_from::<Checkout>(&order.id, FIRST_VERSION + 1, CheckoutState::Fulfil).await?;
                Ok(paid)
            }
            Err(error) if error.kind == Kind::Conflict || error.code == ORDER_MOVED => {
                // The flow, or a cancel, was first. It knows better.
                self.go_on(&order.id, Held::Here).await?;
                self.reload(&order.id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn go_on(&self, order_id: &str, held: Held) -> Result<()> {
        match held {
            Held::Here => {
                self.engine.drive_from::<Checkout>(order_id, FIRST_VERSION, CheckoutState::AwaitPayment).await?
            }
            Held::Elsewhere => self.engine.drive::<Checkout>(order_id).await?,
        };
        Ok(())
    }

    async fn resolve_now(self: &Arc<Self>, order: Order, payment: Option<Payment>, held: Held) -> Result<Placed> {
        self.go_on(&order.id, held).await?;
        let order = self.reload(&order.id).await?;
        let payment = match self.peers.resolve(&order.id).await {
            Ok(found) => found.or(payment),
            Err(_) => payment,
        };
        Ok(Placed { order, payment })
    }

    async fn cancel_declined(self: &Arc<Self>, order_id: &str, code: &str, held: Held) -> Result<()> {
        let reason = format!("payment_failed:{code}");
        let cancelled = self
            .decide("order.declined", order_id, move |order| order.cancel(&reason).map_err(refused), WakeCheckout)
            .await;
        match cancelled {
            Ok(_) => {}
            // Cancelled already: by the shopper or by a repeat of this request.
            Err(error) if error.kind == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
        self.go_on(order_id, held).await
    }

    /// Answers a repeat of a request that made an order before.
    async fn resume(self: &Arc<Self>, order: Order, pay: &PayWith) -> Result<Placed> {
        if order.status == Status::Cancelled && order.cancel_reason.starts_with("payment_failed:") {
            let payment = self.peers.resolve(&order.id).await?;
            let (code, message, payment_id) = match payment {
                Some(Payment { id, outcome: Outcome::Failed { code, message }, .. }) => (code, message, id),
                _ => {
                    (order.cancel_reason["payment_failed:".len()..].to_owned(), String::new(), order.payment_id.clone())
                }
            };
            return Err(error::payment_failed(&code, &message, &order.id, &payment_id));
        }
        if order.status == Status::PendingPayment
            && order.payment_status == PaymentStatus::Pending
            && pay.method != "later"
        {
            let payment = self.charge(&order, &order.payment_id.clone(), pay).await;
            return self.settle(order, payment, Held::Elsewhere).await;
        }
        let payment = self.peers.resolve(&order.id).await?;
        Ok(Placed { order, payment })
    }

    /// Pays an order that waits. A declined card leaves it waiting.
    pub async fn pay(
        self: &Arc<Self>,
        order_id: &str,
        pay: PayWith,
        key: &str,
        if_version: Option<i64>,
    ) -> Result<Placed> {
        if key.is_empty() || key.len() > 255 {
            return Err(error::idempotency_key_required());
        }
        let order = self.get(order_id).await?;
        let payment_id = derived_id("pay", &order, key);
        if order.is_paid() && order.payment_id == payment_id {
            let payment = self.peers.resolve(order_id).await?;
            return Ok(Placed { order, payment });
        }
        super::moves::check(&order, None, if_version)?;
        // Says why not, when it cannot be paid.
        order.pay(&payment_id, order.total).map_err(refused)?;
        let payment = match self.charge(&order, &payment_id, &pay).await {
            Ok(payment) => payment,
            Err(error) if error.is_retryable() => {
                // Perhaps the money has moved: the flow asks until it knows.
                self.wake(order_id).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        match &payment.outcome {
            Outcome::Captured => {
                let order = self.record_payment(order_id, &payment).await?;
                Ok(Placed { order, payment: Some(payment) })
            }
            Outcome::Failed { code, message } => {
                let refusal = error::payment_failed(code, message, order_id, &payment.id);
                let (id, reason) = (payment.id.clone(), code.clone());
                let noted = self
                    .decide(
                        "order.payment_failed",
                        order_id,
                        move |order| order.fail_payment(&id, &reason).map_err(refused),
                        super::Nothing,
                    )
                    .await;
                if let Err(error) = noted
                    && error.kind != Kind::Conflict
                {
                    warn!(order_id, %error, "a declined payment could not be noted");
                }
                Err(refusal)
            }
            Outcome::Pending => Ok(Placed { order, payment: Some(payment) }),
            Outcome::Unknown => {
                self.wake(order_id).await?;
                self.resolve_now(order, Some(payment), Held::Elsewhere).await
            }
        }
    }

    /// Records the payment of an order that was placed some time ago.
    pub(crate) async fn record_payment(self: &Arc<Self>, order_id: &str, payment: &Payment) -> Result<Order> {
        let (id, amount) = (payment.id.clone(), payment.amount);
        let paid = self
            .decide("order.paid", order_id, move |order| order.pay(&id, amount).map_err(refused), WakeCheckout)
            .await;
        self.engine.drive::<Checkout>(order_id).await?;
        match paid {
            Ok(paid) => Ok(paid),
            Err(error) if error.kind == Kind::Conflict => {
                let order = self.reload(order_id).await?;
                if order.is_paid() { Ok(order) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    async fn wake(self: &Arc<Self>, order_id: &str) -> Result<()> {
        let id = order_id.to_owned();
        self.db
            .tx("order.wake", move |tx: Tx| {
                let id = id.clone();
                async move { mallard_flow::signal::<Checkout>(&tx, &id).await.map(|_| ()) }
            })
            .await
    }

    async fn charge(&self, order: &Order, payment_id: &str, pay: &PayWith) -> Result<Payment> {
        let charge = Charge {
            payment_id: payment_id.to_owned(),
            order_id: order.id.clone(),
            user_id: order.user_id.clone(),
            amount: order.total,
            method: pay.method.clone(),
            card_token: pay.card_token.clone(),
            rounding_nanos: order.lines.iter().map(|line| line.rounding_nanos).sum(),
        };
        self.peers.charge(&charge).await
    }

    async fn address(&self, caller: &Caller, input: &PlaceInput) -> Result<Option<Address>> {
        if !input.address_id.is_empty() {
            return Ok(Some(self.peers.address(&input.address_id).await?));
        }
        if let Some(address) = &input.address {
            // An imported order has what its paper says, which may be a country only.
            if !caller.is_system() {
                check_address(address)?;
            }
            return Ok(Some(address.clone()));
        }
        if caller.is_system() { Ok(None) } else { Err(error::address_required()) }
    }

    fn new_order(&self, user_id: &str, input: &PlaceInput, basket: &Basket, quote: &Quote) -> Result<Order> {
        let now = self.context.now();
        // The same request at the same time, as a replay sends it again, means the same order and the same hold.
        let digest =
            Sha256::new().chain_update(user_id).chain_update([0]).chain_update(&input.idempotency_key).finalize();
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        let id = id::make("ord", now, random);
        // The deadline is of the real clock, also for an order placed in the past.
        let expires_at = self.context.clock().now() + self.config.payment_timeout_s * 1_000_000;
        Ok(Order {
            number: domain::number(&id),
            payment_id: self.context.id("pay"),
            user_id: user_id.to_owned(),
            status: Status::PendingPayment,
            payment_status: PaymentStatus::Pending,
            lines: peers::lines_of(&quote.message, || self.context.id("line"))?,
            subtotal: quote.subtotal,
            discount: quote.discount,
            shipping: quote.shipping,
            tax: quote.tax,
            total: quote.total,
            refunded: Money::zero(quote.total.currency),
            refunding: Money::zero(quote.total.currency),
            before_refund: None,
            returns: Vec::new(),
            open_refunds: Vec::new(),
            address: basket.address.clone(),
            note: input.note.clone(),
            cancel_reason: String::new(),
            reference: input.reference.clone(),
            customer: input.customer.clone(),
            expires_at,
            created_at: now,
            updated_at: now,
            version: 0,
            id,
        })
    }

    pub(crate) async fn reload(&self, id: &str) -> Result<Order> {
        store::get(&self.db, id).await?.ok_or_else(error::not_found)
    }

    async fn release_quietly(&self, order_id: &str) {
        if let Err(error) = self.peers.release(order_id).await {
            warn!(order_id, %error, "stock held for an order that was not written ends by itself");
        }
    }
}

/// Tells whether the payment service refused for good: nothing was started and nothing will be.
fn is_final(error: &Error) -> bool {
    matches!(error.kind, Kind::Invalid | Kind::Refused | Kind::Forbidden | Kind::Gone | Kind::Unauthenticated)
}

/// Checks lines against the limits of the surface the caller came through.
pub(super) fn check_lines(lines: &[WantedLine], caller: &Caller) -> Result<()> {
    if lines.is_empty() {
        return Err(error::cart_empty());
    }
    let store = caller.surface == Surface::Store;
    let (lines_max, quantity_max) = if store {
        (domain::LINES_MAX_STORE, domain::QUANTITY_MAX_STORE)
    } else {
        (domain::LINES_MAX, domain::QUANTITY_MAX)
    };
    if lines.len() > lines_max {
        return Err(Error::invalid("too_many_lines", format!("an order has at most {lines_max} lines")).param("lines"));
    }
    for (i, line) in lines.iter().enumerate() {
        if line.quantity < 1 || line.quantity > quantity_max {
            return Err(Error::invalid(
                "quantity_out_of_range",
                format!("quantity must be between 1 and {quantity_max}"),
            )
            .param(format!("lines[{i}].quantity")));
        }
    }
    Ok(())
}

/// Checks named units of an order that is there: some of each, and no more lines than an order has.
pub(super) fn check_units(units: &[Units]) -> Result<()> {
    if units.len() > domain::LINES_MAX {
        let message = format!("an order has at most {} lines", domain::LINES_MAX);
        return Err(Error::invalid("too_many_lines", message).param("lines"));
    }
    match units.iter().position(|unit| unit.quantity < 1 || unit.quantity > domain::QUANTITY_MAX) {
        Some(i) => {
            let message = format!("quantity must be between 1 and {}", domain::QUANTITY_MAX);
            Err(Error::invalid("quantity_out_of_range", message).param(format!("lines[{i}].quantity")))
        }
        None => Ok(()),
    }
}

/// Checks an address a parcel could go to: somebody, somewhere, in some country.
pub(super) fn check_address(address: &Address) -> Result<()> {
    for (name, text) in
        [("address.name", &address.name), ("address.country", &address.country), ("address.street", &address.street)]
    {
        if text.trim().is_empty() {
            return Err(Error::invalid("required", "this part of the address is needed").param(name));
        }
    }
    check_parts(address)
}

/// Keeps every part of an address short enough to print, and as it reads.
fn check_parts(address: &Address) -> Result<()> {
    let parts = [
        ("address.name", &address.name),
        ("address.phone", &address.phone),
        ("address.country", &address.country),
        ("address.province", &address.province),
        ("address.city", &address.city),
        ("address.district", &address.district),
        ("address.street", &address.street),
        ("address.postal_code", &address.postal_code),
    ];
    for (name, text) in parts {
        if text.chars().count() > 200 {
            return Err(Error::invalid("too_long", "each part of an address has at most 200 characters").param(name));
        }
        if has_hidden(text) {
            let message = "this holds characters nobody can see; type it anew";
            return Err(Error::invalid("invalid_text", message).param(name));
        }
    }
    Ok(())
}

/// Makes an id that the same order and key always give.
pub(super) fn derived_id(prefix: &str, order: &Order, key: &str) -> String {
    let digest = Sha256::new().chain_update(&order.id).chain_update([0]).chain_update(key).finalize();
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    id::make(prefix, order.created_at, random)
}

/// Fingerprints the goods of a quote, in whatever order they stand: SKUs and quantities, not prices.
pub fn goods_of(quote: &promo::Quote) -> String {
    let mut goods: BTreeMap<&str, i64> = BTreeMap::new();
    for line in &quote.lines {
        *goods.entry(&line.sku_id).or_default() += line.quantity;
    }
    let mut hash = Sha256::new();
    for (sku_id, quantity) in goods {
        hash.update(format!("{sku_id}:{quantity}\n"));
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fingerprints what the shopper asked for; the card itself is not part of it.
fn request_hash(input: &PlaceInput) -> Vec<u8> {
    let lines: Vec<_> = input.lines.iter().map(|l| (&l.sku_id, l.quantity, l.agreed_unit_price_nanos)).collect();
    let address = input.address.as_ref().map(|a| format!("{a:?}"));
    let total = (input.expected_total.amount, input.expected_total.currency.as_str().to_owned());
    let mut parts = format!(
        "{lines:?}{:?}{address:?}{:?}{:?}{total:?}{:?}{:?}",
        input.address_id, input.coupon_codes, input.shipping_method, input.note, input.pay.method
    );
    // Requests that name no goods keep the fingerprint they had before there were any to name.
    if !input.expected_goods.is_empty() {
        parts.push_str(&format!("{:?}", input.expected_goods));
    }
    Sha256::digest(parts).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(lines: &[(&str, i64)]) -> promo::Quote {
        let line = |&(sku_id, quantity): &(&str, i64)| promo::QuoteLine {
            sku_id: sku_id.into(),
            quantity,
            ..promo::QuoteLine::default()
        };
        promo::Quote { lines: lines.iter().map(line).collect(), ..promo::Quote::default() }
    }

    #[test]
    fn goods_are_told_apart_by_sku_and_quantity_only() {
        let goods = |lines: &[(&str, i64)]| goods_of(&quote(lines));
        assert_eq!(goods(&[("sku_a", 1), ("sku_b", 2)]), goods(&[("sku_b", 1), ("sku_a", 1), ("sku_b", 1)]));
        for other in [&[("sku_a", 1)][..], &[("sku_a", 2), ("sku_b", 2)], &[("sku_a", 1), ("sku_c", 2)], &[]] {
            assert_ne!(goods(&[("sku_a", 1), ("sku_b", 2)]), goods(other));
        }
    }
}
