//! A mall that is killed and started again on the same disk, on a paused clock, on one thread, seeded. What fault tests
//! share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mallard_db::{CommitFate, CommitHook, MemoryDisk};
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::cart::v1::{AddLineRequest, Cart, GetCartRequest};
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{CreateProductRequest, ProductStatus, UpdateProductRequest, VariantInput};
use mallard_proto::common::v1::{Address, Check, Money};
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::inventory::v1::{BatchGetReservationsRequest, BatchGetStockRequest, ReservationState, Stock};
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::*;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::{Payment, PaymentInput, RefundStatus, ScanPaymentsRequest, ScanRefundsRequest};
use mallard_rpc::{Fault, FaultAction, ServiceChannel};
use mallard_runtime::{Chance, Clock, Mall, Settings, Storage};
use mallard_testkit::{as_system, as_user, cheap};
use mallard_types::{Error, id};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::time::Instant;

/// 2026-01-01, when every world begins, in microseconds.
pub const BEGIN: i64 = 1_767_225_600_000_000;
/// Seconds an unpaid order waits in a world.
pub const PAYMENT_TIMEOUT_S: u64 = 60;
/// Seconds a hold outlives the order's deadline in a world.
pub const HOLD_GRACE_S: u64 = 30;
/// A crash breaks every promise of an answer; after this many seconds nothing of it is left, whatever was broken off:
/// deadline and grace of the longest hold, and the round that notices.
pub const RECOVERY_S: u64 = PAYMENT_TIMEOUT_S + HOLD_GRACE_S + 3;

/// One disk and the lives of the mall on it.
pub struct World {
    /// Decides everything that chance decides.
    pub seed: u64,
    /// What survives a crash.
    pub disk: MemoryDisk,
    now: i64,
    lives: u64,
    config: Vec<(String, Value)>,
    switches: Vec<String>,
    /// Services that do not run: sockets know nothing of the paused clock.
    left_out: Vec<&'static str>,
    fault: Option<Arc<dyn Fault>>,
}

impl World {
    /// Makes an empty disk.
    pub fn new(seed: u64) -> World {
        World {
            seed,
            disk: MemoryDisk::new(),
            now: BEGIN,
            lives: 0,
            config: Vec::new(),
            switches: Vec::new(),
            left_out: vec!["gateway", "web"],
            fault: None,
        }
    }

    /// Changes a setting of every life to come.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> World {
        self.config.push((key.to_owned(), value.into()));
        self
    }

    /// Leaves a service out of every life to come.
    #[must_use]
    pub fn without(mut self, service: &'static str) -> World {
        self.left_out.push(service);
        self
    }

    /// Plants a bug in every life to come.
    #[must_use]
    pub fn switch(mut self, name: &str) -> World {
        self.switches.push(name.to_owned());
        self
    }

    /// Puts a fault layer between the services in every life to come.
    #[must_use]
    pub fn faults(mut self, fault: impl Fault + 'static) -> World {
        self.fault = Some(Arc::new(fault));
        self
    }

    /// Takes the fault layer away.
    pub fn calm(&mut self) {
        self.fault = None;
    }

    fn settings(&self) -> Settings {
        let seed = self.seed.wrapping_mul(31).wrapping_add(self.lives);
        let mut config = cheap(mallard_runtime::Config::defaults(mallard::DEFAULT_CONFIG))
            .set("identity.hash_inline", true)
            .set("order.payment_timeout_s", PAYMENT_TIMEOUT_S)
            .set("order.hold_grace_s", HOLD_GRACE_S);
        for (key, value) in &self.config {
            config = config.set(key, value);
        }
        let known = mallard::services().into_iter().filter(|spec| !self.left_out.contains(&spec.name)).collect();
        let mut settings = Settings::new(known, config, Storage::Memory(self.disk.clone()));
        settings.clock = Clock::simulated(self.now);
        settings.chance = Chance::seeded(seed);
        settings.seed = Some(seed);
        settings.switches = self.switches.iter().cloned().collect();
        settings.fault.clone_from(&self.fault);
        settings
    }

    /// Runs one life of the process: starts the mall, does the work, stops in order. `None` when it was killed before the
    /// work ended; the work is broken off then, as its process would be.
    pub fn live<T>(&mut self, work: impl AsyncFnOnce(&Mall) -> T) -> Option<T> {
        self.lives += 1;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let disk = self.disk.clone();
        let (ended, elapsed) = runtime.block_on(async {
            let begun = Instant::now();
            let settings = self.settings();
            let life = async {
                let mall = mallard_testkit::start(settings).await;
                let ended = work(&mall).await;
                mall.stop().await;
                ended
            };
            let ended = tokio::select! {
                biased;
                () = disk.wait_crash() => None,
                ended = life => Some(ended),
            };
            (ended, begun.elapsed())
        });
        drop(runtime);
        self.disk.clear_hook();
        self.disk.restart();
        self.now += i64::try_from(elapsed.as_micros()).unwrap_or(0) + 1_000_000;
        ended
    }

    /// Runs a life that must not be killed.
    pub fn calmly<T>(&mut self, work: impl AsyncFnOnce(&Mall) -> T) -> T {
        self.live(work).expect("nothing kills this life")
    }

    /// Runs a life that must be killed, by this hook.
    pub fn killed_by(&mut self, hook: impl CommitHook + 'static, work: impl AsyncFnOnce(&Mall)) {
        self.disk.set_hook(Arc::new(hook));
        assert!(self.live(work).is_none(), "seed {}: the process was to be killed and lived", self.seed);
    }
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Just before the commit: the transaction is rolled back.
    Before,
    /// Just after the commit: it stays, nobody is told.
    After,
}

/// Kills the process at the first commit of a transaction of a service.
pub struct KillAt {
    at: At,
    service: &'static str,
    tx: &'static str,
}

impl KillAt {
    /// Names the commit.
    pub fn new(at: At, service: &'static str, tx: &'static str) -> KillAt {
        KillAt { at, service, tx }
    }

    fn fate(&self, at: At, service: &str, tx: &str) -> CommitFate {
        if self.at == at && self.service == service && self.tx == tx { CommitFate::Crash } else { CommitFate::Proceed }
    }
}

impl CommitHook for KillAt {
    fn before_commit(&self, service: &str, tx: &str) -> CommitFate {
        self.fate(At::Before, service, tx)
    }

    fn after_commit(&self, service: &str, tx: &str) -> CommitFate {
        self.fate(At::After, service, tx)
    }
}

/// Kills the process at its n-th commit from now on.
pub struct KillNth {
    at: At,
    left: AtomicU64,
}

impl KillNth {
    /// Counts from 1.
    pub fn new(at: At, nth: u64) -> KillNth {
        KillNth { at, left: AtomicU64::new(nth) }
    }

    fn fate(&self, at: At) -> CommitFate {
        let left = self.left.load(Ordering::Relaxed);
        if self.at != at || left == 0 {
            return CommitFate::Proceed;
        }
        self.left.store(left - 1, Ordering::Relaxed);
        if left == 1 { CommitFate::Crash } else { CommitFate::Proceed }
    }
}

impl CommitHook for KillNth {
    fn before_commit(&self, _: &str, _: &str) -> CommitFate {
        self.fate(At::Before)
    }

    fn after_commit(&self, _: &str, _: &str) -> CommitFate {
        self.fate(At::After)
    }
}

/// Writes down every commit, as `service transaction`.
#[derive(Clone, Default)]
pub struct Commits(Arc<Mutex<Vec<String>>>);

impl Commits {
    /// Returns those seen so far.
    pub fn seen(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl CommitHook for Commits {
    fn before_commit(&self, _: &str, _: &str) -> CommitFate {
        CommitFate::Proceed
    }

    fn after_commit(&self, service: &str, tx: &str) -> CommitFate {
        self.0.lock().push(format!("{service} {tx}"));
        CommitFate::Proceed
    }
}

/// Delays some of the calls between services, by seed.
pub struct Delays {
    percent: u32,
    ms_max: u64,
    rng: Mutex<StdRng>,
}

impl Delays {
    /// Delays this share of the calls by up to this long.
    pub fn new(seed: u64, percent: u32, ms_max: u64) -> Delays {
        Delays { percent, ms_max, rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }
}

impl Fault for Delays {
    fn decide(&self, _: &str, _: &str) -> FaultAction {
        let mut rng = self.rng.lock();
        if rng.random_range(0..100) >= self.percent {
            return FaultAction::Pass;
        }
        FaultAction::Delay(Duration::from_micros(rng.random_range(0..self.ms_max * 1_000)))
    }
}

/// Runs every call of some methods twice.
pub struct Twice(pub &'static [&'static str]);

impl Fault for Twice {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        let name = format!("{service}.{method}");
        if self.0.contains(&name.as_str()) { FaultAction::Duplicate } else { FaultAction::Pass }
    }
}

/// Returns the id of the i-th SKU of a world.
pub fn sku(i: u8) -> String {
    id::make("sku", BEGIN, [i; 10])
}

/// Returns the id of the product of the i-th SKU.
pub fn product(i: u8) -> String {
    id::make("prod", BEGIN, [i; 10])
}

/// Returns the id of the i-th user of a world.
pub fn user(i: u32) -> String {
    let mut random = [7; 10];
    random[..4].copy_from_slice(&i.to_be_bytes());
    id::make("usr", BEGIN, random)
}

/// Returns so much CNY.
pub fn cny(amount: i64) -> Money {
    Money { amount, currency: "CNY".into() }
}

/// Lists a product with the i-th SKU.
pub async fn list(mall: &Mall, i: u8, price: i64, stock: i64) {
    list_of(mall, "", i, price, stock).await;
}

/// Lists a product of a seller's, empty for the house, with the i-th SKU.
pub async fn list_of(mall: &Mall, seller_id: &str, i: u8, price: i64, stock: i64) {
    let mut catalog: CatalogServiceClient<ServiceChannel> = mall.client();
    let variant =
        VariantInput { id: sku(i), title: format!("Thing {i}"), price: Some(cny(price)), stock, ..Default::default() };
    let request = CreateProductRequest {
        id: product(i),
        seller_id: seller_id.into(),
        title: format!("Thing {i}"),
        variants: vec![variant],
        status: ProductStatus::Listed as i32,
        ..Default::default()
    };
    as_system(catalog.create_product(request)).await.expect("a product is made");
}

/// Changes the price of the i-th SKU.
pub async fn reprice(mall: &Mall, i: u8, price: i64) {
    let mut catalog: CatalogServiceClient<ServiceChannel> = mall.client();
    let variant =
        VariantInput { id: sku(i), title: format!("Thing {i}"), price: Some(cny(price)), ..Default::default() };
    let request = UpdateProductRequest { id: product(i), variants: vec![variant], ..Default::default() };
    as_system(catalog.update_product(request)).await.expect("a product is changed");
}

/// Returns a card.
pub fn card(number: &str) -> PaymentInput {
    PaymentInput {
        method: "card".into(),
        number: number.into(),
        exp_month: 12,
        exp_year: 2030,
        cvc: "123".into(),
        ..Default::default()
    }
}

/// Returns the choice to pay later.
pub fn later() -> PaymentInput {
    PaymentInput { method: "later".into(), ..Default::default() }
}

/// Returns an order of these units; none means the whole cart.
pub fn order(key: &str, units: &[(u8, i64)], total: i64, payment: PaymentInput) -> PlaceOrderRequest {
    let lines =
        units.iter().map(|(i, quantity)| LineInput { sku_id: sku(*i), quantity: *quantity, ..Default::default() });
    PlaceOrderRequest {
        address: Some(Address { name: "Ada".into(), country: "CN".into(), street: "1".into(), ..Default::default() }),
        payment: Some(payment),
        expected_total: Some(cny(total)),
        lines: lines.collect(),
        idempotency_key: key.into(),
        ..Default::default()
    }
}

/// A shopper of a world.
#[derive(Clone)]
pub struct Buyer {
    /// `usr_…`
    pub user: String,
    orders: OrderServiceClient<ServiceChannel>,
    carts: CartServiceClient<ServiceChannel>,
}

impl Buyer {
    /// Lets the i-th user of a world in.
    pub fn new(mall: &Mall, i: u32) -> Buyer {
        Buyer { user: user(i), orders: mall.client(), carts: mall.client() }
    }

    /// Adds units to the cart.
    pub async fn add(&self, i: u8, quantity: i64) -> Result<Cart, Error> {
        let request = AddLineRequest { sku_id: sku(i), quantity, ..Default::default() };
        let mut carts = self.carts.clone();
        let added = as_user(&self.user, carts.add_line(request)).await.map_err(mallard_rpc::error)?;
        Ok(added.into_inner().cart.unwrap_or_default())
    }

    /// Reads the cart.
    pub async fn cart(&self) -> Cart {
        let mut carts = self.carts.clone();
        let answer = as_user(&self.user, carts.get_cart(GetCartRequest::default())).await.expect("the cart is read");
        answer.into_inner().cart.unwrap_or_default()
    }

    /// Places an order.
    pub async fn place(&self, request: PlaceOrderRequest) -> Result<PlaceOrderResponse, Error> {
        let mut orders = self.orders.clone();
        Ok(as_user(&self.user, orders.place_order(request)).await.map_err(mallard_rpc::error)?.into_inner())
    }

    /// Pays an order that waits.
    pub async fn pay(&self, id: &str, key: &str, payment: PaymentInput) -> Result<Order, Error> {
        let request = PayOrderRequest {
            id: id.into(),
            payment: Some(payment),
            idempotency_key: key.into(),
            ..PayOrderRequest::default()
        };
        let mut orders = self.orders.clone();
        let paid = as_user(&self.user, orders.pay_order(request)).await.map_err(mallard_rpc::error)?;
        Ok(paid.into_inner().order.unwrap_or_default())
    }

    /// Cancels an order.
    pub async fn cancel(&self, id: &str) -> Result<Order, Error> {
        let request = CancelOrderRequest { id: id.into(), ..Default::default() };
        let mut orders = self.orders.clone();
        let cancelled = as_user(&self.user, orders.cancel_order(request)).await.map_err(mallard_rpc::error)?;
        Ok(cancelled.into_inner().order.unwrap_or_default())
    }
}

/// Reads every order.
pub async fn orders(mall: &Mall) -> Vec<Order> {
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let mut all: Vec<Order> = Vec::new();
    loop {
        let after_id = all.last().map(|order| order.id.clone()).unwrap_or_default();
        let answer = as_system(client.scan_orders(ScanOrdersRequest { after_id, limit: 1_000 })).await.expect("orders");
        let page = answer.into_inner().orders;
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Reads every payment.
pub async fn payments(mall: &Mall) -> Vec<Payment> {
    let mut client: PaymentServiceClient<ServiceChannel> = mall.client();
    let mut all: Vec<Payment> = Vec::new();
    loop {
        let after_id = all.last().map(|payment| payment.id.clone()).unwrap_or_default();
        let answer =
            as_system(client.scan_payments(ScanPaymentsRequest { after_id, limit: 1_000 })).await.expect("payments");
        let page = answer.into_inner().payments;
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Reads the stock of the i-th SKU.
pub async fn stock(mall: &Mall, i: u8) -> Stock {
    let mut client: InventoryServiceClient<ServiceChannel> = mall.client();
    let answer =
        as_system(client.batch_get_stock(BatchGetStockRequest { sku_ids: vec![sku(i)] })).await.expect("stock");
    answer.into_inner().stocks.pop().expect("the stock row")
}

/// Reads what became of the hold of an order.
pub async fn hold(mall: &Mall, order_id: &str) -> Option<ReservationState> {
    let mut client: InventoryServiceClient<ServiceChannel> = mall.client();
    let request = BatchGetReservationsRequest { ids: vec![order_id.to_owned()] };
    let answer = as_system(client.batch_get_reservations(request)).await.expect("reservations");
    answer.into_inner().reservations.first().map(|hold| hold.state())
}

/// Tells whether an order was paid and not given back.
pub fn is_sold(order: &Order) -> bool {
    matches!(
        order.status(),
        OrderStatus::Paid | OrderStatus::PartiallyShipped | OrderStatus::Shipped | OrderStatus::Delivered
    )
}

/// Waits until nothing is under way: every order and refund at rest, no unit held, no flow left. Returns how long it took.
///
/// # Panics
/// When it takes longer than the bound, saying what is still under way.
pub async fn settled(mall: &Mall, skus: u8, within_s: u64) -> Duration {
    let begun = Instant::now();
    loop {
        let mut under_way = Vec::new();
        let waiting = |order: &&Order| matches!(order.status(), OrderStatus::PendingPayment | OrderStatus::Refunding);
        under_way.extend(
            orders(mall)
                .await
                .iter()
                .filter(waiting)
                .map(|order| format!("order {} is {:?}", order.id, order.status())),
        );
        let mut payment: PaymentServiceClient<ServiceChannel> = mall.client();
        let refunds = as_system(payment.scan_refunds(ScanRefundsRequest { limit: 1_000, ..Default::default() }))
            .await
            .expect("refunds");
        let pending =
            refunds.into_inner().refunds.into_iter().filter(|refund| refund.status() == RefundStatus::Pending);
        under_way.extend(pending.map(|refund| format!("refund {} is pending", refund.id)));
        for i in 0..skus {
            let reserved = stock(mall, i).await.reserved;
            if reserved != 0 {
                under_way.push(format!("{reserved} of SKU {i} are held"));
            }
        }
        let flows = mall.context("order").expect("order runs here").flows().list(false, 100).await.expect("flows");
        under_way.extend(flows.iter().map(|flow| format!("flow {} {} goes on", flow.name, flow.key)));
        if under_way.is_empty() {
            return begun.elapsed();
        }
        assert!(
            begun.elapsed() < Duration::from_secs(within_s),
            "not settled after {within_s} s: {}",
            under_way.join("; ")
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Returns the checks that are red.
pub async fn red(mall: &Mall) -> Vec<Check> {
    mallard::check::run(mall).await.into_iter().filter(|check| !check.ok).collect()
}

/// Asserts that every book balances.
pub async fn green(mall: &Mall) {
    let red: Vec<_> = red(mall).await.into_iter().map(|check| format!("{}: {}", check.name, check.detail)).collect();
    assert!(red.is_empty(), "{}", red.join("\n"));
}

/// Asserts that no unit of the i-th SKU was lost or made: what is on hand and what was sold is what there was.
pub async fn conserved(mall: &Mall, i: u8, begun_with: i64) {
    let id = sku(i);
    let sold: i64 = orders(mall)
        .await
        .iter()
        .filter(|order| is_sold(order))
        .flat_map(|order| &order.lines)
        .filter(|line| line.sku_id == id)
        .map(|line| line.quantity - line.returned)
        .sum();
    let stock = stock(mall, i).await;
    assert_eq!((stock.on_hand + sold, stock.reserved), (begun_with, 0), "{sold} units of SKU {i} are sold, {stock:?}");
}
