//! The whole mall on a paused clock, one thread, seeded: lost requests and replies, duplicates, refused payments, unknown
//! results, crashes at any commit, deadlines racing payments. After each run the books must balance.
//!
//! A failure prints its seed as a command.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mallard_db::{CommitFate, CommitHook, MemoryDisk};
use mallard_proto::cart::v1::AddLineRequest;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{CreateProductRequest, ProductStatus, VariantInput};
use mallard_proto::common::v1::{Address, Money};
use mallard_proto::inventory::v1::BatchGetStockRequest;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::*;
use mallard_proto::payment::v1::PaymentInput;
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Chance, Clock, Mall, Settings, Storage};
use mallard_testkit::{Odds, SeededFaults, as_system, as_user, cheap};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SKUS: usize = 3;
const STOCK: i64 = 6;
const SHOPPERS: usize = 4;
const ACTIONS: usize = 4;
const PRICE: i64 = 990;
/// 2026-01-01
const BEGIN: i64 = 1_767_225_600_000_000;
const CARDS: [&str; 4] = ["4242424242424242", "4000000000000002", "4000000000000119", "5555555555554444"];

/// Kills the process at one commit.
struct KillAt {
    left: AtomicU64,
    before: bool,
}

impl KillAt {
    fn fate(&self) -> CommitFate {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return CommitFate::Proceed;
        }
        self.left.store(left - 1, Ordering::Relaxed);
        if left == 1 { CommitFate::Crash } else { CommitFate::Proceed }
    }
}

impl CommitHook for KillAt {
    fn before_commit(&self, _: &str, _: &str) -> CommitFate {
        if self.before { self.fate() } else { CommitFate::Proceed }
    }

    fn after_commit(&self, _: &str, _: &str) -> CommitFate {
        if self.before { CommitFate::Proceed } else { self.fate() }
    }
}

/// What all runs met together: a simulation that never meets a fault proves nothing.
#[derive(Default)]
struct Met {
    orders: AtomicU64,
    cancelled: AtomicU64,
    refunded: AtomicU64,
    crashes: AtomicU64,
    timed_out: AtomicU64,
}

static MET: Met = Met {
    orders: AtomicU64::new(0),
    cancelled: AtomicU64::new(0),
    refunded: AtomicU64::new(0),
    crashes: AtomicU64::new(0),
    timed_out: AtomicU64::new(0),
};

impl Met {
    fn order(&self, order: &Order) {
        self.orders.fetch_add(1, Ordering::Relaxed);
        match order.status() {
            OrderStatus::Cancelled => self.cancelled.fetch_add(1, Ordering::Relaxed),
            OrderStatus::Refunded => self.refunded.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        if order.cancel_reason == "payment_timeout" {
            self.timed_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> [u64; 5] {
        [&self.orders, &self.cancelled, &self.refunded, &self.crashes, &self.timed_out]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// What the shoppers were told, which must stay true.
#[derive(Default)]
struct Told {
    /// Order id to paid or not, as answered.
    orders: BTreeMap<String, bool>,
}

struct World {
    seed: u64,
    disk: MemoryDisk,
    now: i64,
    told: Arc<Mutex<Told>>,
    switches: Vec<&'static str>,
}

impl World {
    fn new(seed: u64) -> World {
        World { seed, disk: MemoryDisk::new(), now: BEGIN, told: Arc::default(), switches: Vec::new() }
    }

    fn settings(&self, life: u64, faulty: bool) -> Settings {
        let seed = self.seed.wrapping_mul(31).wrapping_add(life);
        let mut config = cheap(mallard_runtime::Config::defaults(mallard::DEFAULT_CONFIG))
            .set("identity.hash_inline", true)
            .set("order.payment_timeout_s", 60)
            .set("order.hold_grace_s", 30);
        if faulty && seed.is_multiple_of(2) {
            for call in ["charge", "query", "withdraw", "refund"] {
                config = config
                    .set(&format!("payment.acquirer.{call}.unknown_before_percent"), 5)
                    .set(&format!("payment.acquirer.{call}.unknown_after_percent"), 5);
            }
        }
        let known = mallard::services().into_iter().filter(|spec| !["gateway", "web"].contains(&spec.name)).collect();
        let mut settings = Settings::new(known, config, Storage::Memory(self.disk.clone()));
        settings.clock = Clock::simulated(self.now);
        settings.chance = Chance::seeded(seed);
        settings.seed = Some(seed);
        settings.switches = self.switches.iter().map(|name| (*name).to_owned()).collect();
        if faulty {
            let odds = Odds { lose_request: 20, lose_reply: 20, duplicate: 20, delay: 40 };
            settings.fault = Some(Arc::new(SeededFaults::new(seed, odds)));
        }
        settings
    }

    /// Runs one life of the process on a thread of its own clock.
    fn live<F, Fut>(&mut self, life: u64, faulty: bool, work: F)
    where
        F: FnOnce(Mall) -> Fut,
        Fut: Future<Output = ()>,
    {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let disk = self.disk.clone();
        let elapsed = runtime.block_on(async {
            let begun = tokio::time::Instant::now();
            let settings = self.settings(life, faulty);
            tokio::select! {
                () = async { work(mallard_testkit::start(settings).await).await } => {}
                () = disk.wait_crash() => {
                    MET.crashes.fetch_add(1, Ordering::Relaxed);
                }
            }
            begun.elapsed()
        });
        drop(runtime);
        self.disk.restart();
        self.now += i64::try_from(elapsed.as_micros()).unwrap_or(0) + 1_000_000;
    }

    fn run(mut self) {
        let mut rng = StdRng::seed_from_u64(self.seed);
        self.live(0, false, seed_shop);
        for life in 1..=rng.random_range(1..4u64) {
            if rng.random_range(0..3) > 0 {
                self.disk.set_hook(Arc::new(KillAt {
                    left: AtomicU64::new(rng.random_range(1..120)),
                    before: rng.random_range(0..2) == 0,
                }));
            }
            let (seed, told) = (self.seed.wrapping_mul(1_000).wrapping_add(life), self.told.clone());
            self.live(life, true, |mall| shop_for_a_while(mall, seed, told));
            self.disk.clear_hook();
        }
        let told = self.told.clone();
        self.live(99, false, |mall| settle_and_check(mall, told));
    }
}

async fn seed_shop(mall: Mall) {
    let mut catalog: CatalogServiceClient<ServiceChannel> = mall.client();
    for i in 0..SKUS {
        let variant = VariantInput {
            id: sku(i),
            title: format!("Thing {i}"),
            price: Some(Money { amount: PRICE, currency: "CNY".into() }),
            stock: STOCK,
            ..VariantInput::default()
        };
        let request = CreateProductRequest {
            id: mallard_types::id::make("prod", BEGIN, [i as u8; 10]),
            title: format!("Thing {i}"),
            variants: vec![variant],
            status: ProductStatus::Listed as i32,
            ..CreateProductRequest::default()
        };
        as_system(catalog.create_product(request)).await.expect("a product is made");
    }
    mall.stop().await;
}

fn sku(i: usize) -> String {
    mallard_types::id::make("sku", BEGIN, [i as u8; 10])
}

fn user(i: usize) -> String {
    mallard_types::id::make("usr", BEGIN, [i as u8; 10])
}

async fn shop_for_a_while(mall: Mall, seed: u64, told: Arc<Mutex<Told>>) {
    let mut shoppers = tokio::task::JoinSet::new();
    for i in 0..SHOPPERS {
        let shopper = Shopper {
            cart: mall.client(),
            order: mall.client(),
            user: user(i),
            rng: StdRng::seed_from_u64(seed.wrapping_mul(100).wrapping_add(i as u64)),
            told: told.clone(),
            tag: format!("{seed}-{i}"),
        };
        shoppers.spawn(shopper.shop());
    }
    while shoppers.join_next().await.is_some() {}
    mall.stop().await;
}

struct Shopper {
    cart: CartServiceClient<ServiceChannel>,
    order: OrderServiceClient<ServiceChannel>,
    user: String,
    rng: StdRng,
    told: Arc<Mutex<Told>>,
    tag: String,
}

impl Shopper {
    async fn shop(mut self) {
        let user = self.user.clone();
        for action in 0..ACTIONS {
            let pause = Duration::from_millis(self.rng.random_range(0..20_000));
            tokio::time::sleep(pause).await;
            as_user(&user, self.act(action)).await;
        }
    }

    async fn act(&mut self, action: usize) {
        let lines: Vec<LineInput> = (0..self.rng.random_range(1..3usize))
            .map(|_| LineInput {
                sku_id: sku(self.rng.random_range(0..SKUS)),
                quantity: self.rng.random_range(1..3),
                ..LineInput::default()
            })
            .collect();
        let from_cart = self.rng.random_range(0..2) == 0;
        if from_cart {
            for line in &lines {
                let request = AddLineRequest {
                    sku_id: line.sku_id.clone(),
                    quantity: line.quantity,
                    ..AddLineRequest::default()
                };
                let _ = self.cart.add_line(request).await;
            }
        }
        let pay_later = self.rng.random_range(0..3) == 0;
        let quote =
            QuoteRequest { lines: if from_cart { Vec::new() } else { lines.clone() }, ..QuoteRequest::default() };
        let Ok(quote) = self.order.quote(quote).await else { return };
        let request = PlaceOrderRequest {
            address: Some(Address {
                name: "Ada".into(),
                country: "CN".into(),
                street: "1".into(),
                ..Address::default()
            }),
            payment: Some(if pay_later { later() } else { self.card() }),
            expected_total: quote.into_inner().quote.and_then(|quote| quote.total),
            lines: if from_cart { Vec::new() } else { lines },
            idempotency_key: format!("{}-{action}", self.tag),
            ..PlaceOrderRequest::default()
        };
        // Impatient: the same request up to three times, as after lost answers.
        let mut placed = None;
        for _ in 0..self.rng.random_range(1..4) {
            if let Ok(answer) = self.order.place_order(request.clone()).await {
                let order = answer.into_inner().order.unwrap_or_default();
                self.tell(&order);
                if let Some(before) = &placed {
                    assert_eq!(before, &order.id, "one key made two orders");
                }
                placed = Some(order.id);
            }
        }
        let Some(id) = placed else { return };
        if pay_later {
            self.go_on(&id, action).await;
        } else if self.rng.random_range(0..4) == 0 {
            let request = AdminRefundOrderRequest {
                id,
                reason: "broken".into(),
                idempotency_key: "refund".into(),
                ..Default::default()
            };
            for _ in 0..2 {
                let _ = as_system(self.order.admin_refund_order(request.clone())).await;
            }
        }
    }

    /// Pays, cancels, does both at once, or lets the deadline pass; around the deadline as often as not.
    async fn go_on(&mut self, id: &str, action: usize) {
        let wait = if self.rng.random_range(0..2) == 0 {
            self.rng.random_range(58_000..62_000)
        } else {
            self.rng.random_range(0..5_000)
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let pay = PayOrderRequest {
            id: id.to_owned(),
            payment: Some(self.card()),
            idempotency_key: format!("pay-{}-{action}", self.tag),
            ..PayOrderRequest::default()
        };
        let cancel = CancelOrderRequest { id: id.to_owned(), ..CancelOrderRequest::default() };
        let (mut first, mut second) = (self.order.clone(), self.order.clone());
        match self.rng.random_range(0..4) {
            0 => {}
            1 => {
                let _ = first.cancel_order(cancel).await;
            }
            2 => {
                let (paid, _) = tokio::join!(first.pay_order(pay), second.cancel_order(cancel));
                self.tell_paid(paid);
            }
            _ => {
                let (paid, again) = tokio::join!(first.pay_order(pay.clone()), second.pay_order(pay));
                self.tell_paid(paid);
                self.tell_paid(again);
            }
        }
    }

    fn tell_paid(&self, paid: Result<tonic::Response<PayOrderResponse>, tonic::Status>) {
        if let Ok(paid) = paid {
            self.tell(&paid.into_inner().order.unwrap_or_default());
        }
    }

    fn tell(&self, order: &Order) {
        let paid = !matches!(order.status(), OrderStatus::PendingPayment | OrderStatus::Cancelled);
        let mut told = self.told.lock();
        let known = told.orders.entry(order.id.clone()).or_default();
        *known |= paid;
    }

    fn card(&mut self) -> PaymentInput {
        let number = CARDS[self.rng.random_range(0..CARDS.len())].to_owned();
        PaymentInput {
            method: "card".into(),
            number,
            exp_month: 12,
            exp_year: 2030,
            cvc: "123".into(),
            ..PaymentInput::default()
        }
    }
}

fn later() -> PaymentInput {
    PaymentInput { method: "later".into(), ..PaymentInput::default() }
}

async fn settle_and_check(mall: Mall, told: Arc<Mutex<Told>>) {
    // Every deadline passes, every retry comes.
    tokio::time::sleep(Duration::from_secs(240)).await;
    let checks = mallard::check::run(&mall).await;
    let red: Vec<_> =
        checks.iter().filter(|check| !check.ok).map(|check| format!("{}: {}", check.name, check.detail)).collect();
    assert!(red.is_empty(), "{}", red.join("\n"));
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let scanned = as_system(client.scan_orders(ScanOrdersRequest { after_id: String::new(), limit: 1_000 }))
        .await
        .expect("orders");
    let orders: BTreeMap<String, Order> =
        scanned.into_inner().orders.into_iter().map(|order| (order.id.clone(), order)).collect();
    orders.values().for_each(|order| MET.order(order));
    for (id, paid) in &told.lock().orders {
        let order = orders.get(id).unwrap_or_else(|| panic!("order {id} was acknowledged and is gone"));
        if *paid {
            assert!(order.status() != OrderStatus::Cancelled, "order {id} was acknowledged as paid and is cancelled");
        }
        assert!(order.status() != OrderStatus::PendingPayment, "order {id} never came to rest");
    }
    let mut sold = BTreeMap::<String, i64>::new();
    for order in orders.values().filter(|order| order.status() != OrderStatus::Cancelled) {
        for line in &order.lines {
            *sold.entry(line.sku_id.clone()).or_default() += line.quantity - line.returned;
        }
    }
    let mut inventory: InventoryServiceClient<ServiceChannel> = mall.client();
    let stocks = as_system(inventory.batch_get_stock(BatchGetStockRequest { sku_ids: (0..SKUS).map(sku).collect() }))
        .await
        .expect("stock");
    for stock in stocks.into_inner().stocks {
        assert_eq!(stock.reserved, 0, "{} still holds units", stock.sku_id);
        assert_eq!(
            stock.on_hand + sold.get(&stock.sku_id).copied().unwrap_or(0),
            STOCK,
            "units of {} were lost or made",
            stock.sku_id
        );
    }
    mall.stop().await;
}

fn run_seed(seed: u64) {
    let outcome = std::panic::catch_unwind(|| World::new(seed).run());
    if let Err(panic) = outcome {
        eprintln!("seed {seed} failed; repeat it with: cargo run -p xtask -- sim --seed {seed}");
        std::panic::resume_unwind(panic);
    }
}

fn run_seeds(from: u64, count: u64) {
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        break;
                    }
                    run_seed(seed);
                }
            });
        }
    });
}

#[test]
fn five_hundred_seeds_leave_the_books_balanced() {
    run_seeds(0, 500);
    let [orders, cancelled, refunded, crashes, timed_out] = MET.counts();
    println!(
        "{orders} orders, {cancelled} cancelled, {timed_out} of them by the deadline, {refunded} refunded, {crashes} crashes"
    );
    assert!(
        orders > 1_000 && cancelled > 100 && refunded > 50 && crashes > 100 && timed_out > 20,
        "the simulation met too little"
    );
}

#[test]
fn seeds_of_the_environment_leave_the_books_balanced() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let (Some(seed), Some(count)) = (number("MALLARD_SIM_SEED"), number("MALLARD_SIM_COUNT")) {
        run_seeds(seed, count);
    }
}
