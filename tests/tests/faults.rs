//! The faults of the acceptance page that one process meets: killed at every commit of a checkout, a provider that answers
//! twice or not at all, impatient and malicious shoppers, deadlines that race payments. A paused clock, a disk in memory,
//! seeds; a failure names its seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mallard_proto::inventory::v1::ReservationState;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::{AdminRefundOrderRequest, LineInput, Order, OrderStatus};
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::{AdminRefundRequest, PaymentStatus};
use mallard_rpc::ServiceChannel;
use mallard_runtime::Mall;
use mallard_testkit::{as_system, as_user, eventually};
use mallard_tests::world::*;
use mallard_types::Kind;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

const GOOD: &str = "4242424242424242";
const DECLINED: &str = "4000000000000002";
const TIMES_OUT: &str = "4000000000000119";
const PRICE: i64 = 990;
const STOCK: i64 = 20;
/// What the shopper of a crash test buys: 2 of one thing and 1 of another.
const TOTAL: i64 = 3 * PRICE;

/// A moment of a checkout at which the process dies.
struct Moment {
    name: &'static str,
    at: At,
    service: &'static str,
    tx: &'static str,
    /// Whether the order is paid in the end although nobody asks again.
    paid_unasked: bool,
    /// Seconds after the restart until nothing is under way, nobody asking again.
    within_s: u64,
}

/// The moments of scenario 35, in the order of the checkout, and those between them.
const MOMENTS: [Moment; 12] = [
    Moment {
        name: "after the stock is reserved",
        at: At::After,
        service: "inventory",
        tx: "inventory.reserve",
        paid_unasked: false,
        within_s: RECOVERY_S,
    },
    Moment {
        name: "before the order is written",
        at: At::Before,
        service: "order",
        tx: "order.place",
        paid_unasked: false,
        within_s: RECOVERY_S,
    },
    Moment {
        name: "after the order is written",
        at: At::After,
        service: "order",
        tx: "order.place",
        paid_unasked: false,
        within_s: PAYMENT_TIMEOUT_S + 3,
    },
    Moment {
        name: "before the provider captures",
        at: At::Before,
        service: "acquirer",
        tx: "acquirer.charge",
        paid_unasked: false,
        within_s: PAYMENT_TIMEOUT_S + 3,
    },
    Moment {
        name: "after the provider captured, before our own record",
        at: At::After,
        service: "acquirer",
        tx: "acquirer.charge",
        paid_unasked: true,
        within_s: 15,
    },
    Moment {
        name: "before our own record is written",
        at: At::Before,
        service: "payment",
        tx: "payment.settle",
        paid_unasked: true,
        within_s: 15,
    },
    Moment {
        name: "after our own record is written",
        at: At::After,
        service: "payment",
        tx: "payment.settle",
        paid_unasked: true,
        within_s: 3,
    },
    Moment {
        name: "before the order is marked paid",
        at: At::Before,
        service: "order",
        tx: "order.paid",
        paid_unasked: true,
        within_s: 3,
    },
    Moment {
        name: "after the order is marked paid, before the stock is confirmed",
        at: At::After,
        service: "order",
        tx: "order.paid",
        paid_unasked: true,
        within_s: 3,
    },
    Moment {
        name: "after the stock is confirmed, before the cart is cleared",
        at: At::After,
        service: "inventory",
        tx: "inventory.confirm",
        paid_unasked: true,
        within_s: 3,
    },
    Moment {
        name: "before the cart is cleared",
        at: At::Before,
        service: "cart",
        tx: "cart.remove_ordered",
        paid_unasked: true,
        within_s: 3,
    },
    Moment {
        name: "after the cart is cleared, before the flow ends",
        at: At::After,
        service: "cart",
        tx: "cart.remove_ordered",
        paid_unasked: true,
        within_s: 3,
    },
];

/// Opens a shop in which somebody has paid and somebody else waits, and fills the cart of user 1.
fn shop(seed: u64) -> World {
    let mut world = World::new(seed);
    world.calmly(async |mall| {
        list(mall, 0, PRICE, STOCK).await;
        list(mall, 1, PRICE, STOCK).await;
        let bystander = Buyer::new(mall, 2);
        bystander.place(order("paid", &[(0, 1)], PRICE, card(GOOD))).await.expect("a bystander pays");
        let shopper = Buyer::new(mall, 1);
        shopper.add(0, 2).await.expect("room in the cart");
        shopper.add(1, 1).await.expect("room in the cart");
    });
    world
}

async fn buy(mall: &Mall) -> Order {
    let placed =
        Buyer::new(mall, 1).place(order("checkout", &[], TOTAL, card(GOOD))).await.expect("the order is placed");
    placed.order.expect("an order")
}

/// Repeats the very same request, as a shopper does who never saw an answer, until the order is paid.
async fn ask_until_paid(mall: &Mall, within_s: u64) -> Order {
    let begun = Instant::now();
    loop {
        let answer = Buyer::new(mall, 1).place(order("checkout", &[], TOTAL, card(GOOD))).await;
        match &answer {
            Ok(placed) if placed.order.as_ref().is_some_and(is_sold) => return placed.order.clone().expect("an order"),
            Ok(_) => {}
            Err(error) => assert!(error.is_retryable() || error.code == "payment_in_progress", "{error}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(within_s), "not paid after {within_s} s: {answer:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Asserts what must be true of the shopper's order once nothing is under way, and that nothing else was touched.
async fn nothing_is_lost(mall: &Mall) -> Option<Order> {
    green(mall).await;
    conserved(mall, 0, STOCK).await;
    conserved(mall, 1, STOCK).await;
    let all = orders(mall).await;
    let bystander: Vec<_> = all.iter().filter(|order| order.user_id == user(2)).collect();
    assert!(bystander.len() == 1 && is_sold(bystander[0]), "the bystander had paid: {bystander:?}");
    let mut mine: Vec<_> = all.into_iter().filter(|order| order.user_id == user(1)).collect();
    assert!(mine.len() <= 1, "one request made several orders: {mine:?}");
    let order = mine.pop();
    let moved: i64 = payments(mall)
        .await
        .iter()
        .filter(|payment| payment.user_of(&order))
        .map(|payment| {
            payment.captured.as_ref().map_or(0, |m| m.amount) - payment.refunded.as_ref().map_or(0, |m| m.amount)
        })
        .sum();
    let sold = order.as_ref().is_some_and(is_sold);
    assert_eq!(moved, if sold { TOTAL } else { 0 }, "money and order differ: {order:?}");
    let lines = Buyer::new(mall, 1).cart().await.lines.len();
    assert_eq!(lines, if sold { 0 } else { 2 }, "the cart is cleared if and only if the order is paid");
    order
}

trait Belongs {
    fn user_of(&self, order: &Option<Order>) -> bool;
}

impl Belongs for mallard_proto::payment::v1::Payment {
    fn user_of(&self, order: &Option<Order>) -> bool {
        order.as_ref().is_some_and(|order| order.id == self.order_id)
    }
}

#[test]
fn scenario_35_killed_at_each_moment_and_never_asked_again() {
    for (seed, moment) in (3_500..).zip(&MOMENTS) {
        let mut world = shop(seed);
        world.killed_by(KillAt::new(moment.at, moment.service, moment.tx), async |mall| drop(buy(mall).await));
        let (order, took) = world.calmly(async |mall| {
            let took = settled(mall, 2, moment.within_s).await;
            (nothing_is_lost(mall).await, took)
        });
        let paid = order.as_ref().is_some_and(is_sold);
        assert_eq!(paid, moment.paid_unasked, "killed {}: {order:?}", moment.name);
        println!("killed {}: at rest after {took:?}, {}", moment.name, if paid { "paid" } else { "not paid" });
    }
}

#[test]
fn scenario_35_killed_at_each_moment_and_asked_again_with_the_same_key() {
    for (seed, moment) in (3_600..).zip(&MOMENTS) {
        if moment.tx == "acquirer.charge" && moment.at == At::Before {
            // The card is gone with the process, and whether the provider was asked is open: see below.
            continue;
        }
        let mut world = shop(seed);
        world.killed_by(KillAt::new(moment.at, moment.service, moment.tx), async |mall| drop(buy(mall).await));
        let asked = world.calmly(async |mall| {
            let asked = ask_until_paid(mall, 20).await;
            settled(mall, 2, RECOVERY_S).await;
            let order = nothing_is_lost(mall).await.expect("an order");
            assert_eq!((order.id.as_str(), is_sold(&order)), (asked.id.as_str(), true), "killed {}", moment.name);
            let again = buy(mall).await;
            assert_eq!((again.id, again.status), (order.id, order.status), "killed {}", moment.name);
            asked.id
        });
        // And after one more start.
        let again = world.calmly(async |mall| buy(mall).await);
        assert_eq!(again.id, asked, "killed {}", moment.name);
    }
}

#[test]
fn killed_between_our_intent_and_the_provider_the_order_ends_paid_or_not_at_all() {
    // Whether the request asks again at once or late decides whether it brings the card back before the key is withdrawn.
    for (seed, pause_s) in [(3_700, 0), (3_701, 5), (3_702, 13), (3_703, 40)] {
        let mut world = shop(seed);
        world.killed_by(KillAt::new(At::Before, "acquirer", "acquirer.charge"), async |mall| drop(buy(mall).await));
        world.calmly(async |mall| {
            tokio::time::sleep(Duration::from_secs(pause_s)).await;
            for _ in 0..20 {
                match Buyer::new(mall, 1).place(order("checkout", &[], TOTAL, card(GOOD))).await {
                    Ok(placed) if placed.order.as_ref().is_some_and(is_sold) => break,
                    Ok(_) => {}
                    Err(error) if error.kind == Kind::PaymentFailed => break,
                    Err(error) => assert!(error.is_retryable(), "seed {seed}: {error}"),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            settled(mall, 2, RECOVERY_S).await;
            let order = nothing_is_lost(mall).await.expect("the order was written");
            if !is_sold(&order) {
                assert_eq!(order.status(), OrderStatus::Cancelled, "seed {seed}");
                // Nothing was charged and the cart is there: a new attempt is a new request.
                let request = mallard_tests::world::order("second", &[], TOTAL, card(GOOD));
                let second = Buyer::new(mall, 1).place(request).await.expect("a second attempt");
                assert!(is_sold(&second.order.expect("an order")), "seed {seed}");
                green(mall).await;
            }
        });
    }
}

#[test]
fn scenario_35_killed_at_every_single_commit_of_a_checkout() {
    let mut world = shop(3_800);
    let commits = Commits::default();
    world.disk.set_hook(std::sync::Arc::new(commits.clone()));
    world.calmly(async |mall| drop(buy(mall).await));
    let seen = commits.seen();
    for moment in &MOMENTS {
        let name = format!("{} {}", moment.service, moment.tx);
        assert!(seen.contains(&name), "a checkout does not commit `{name}`: {seen:?}");
    }
    let mut killed = 0;
    for nth in 1..=seen.len() as u64 {
        for at in [At::Before, At::After] {
            let seed = 3_800 + nth;
            let mut world = shop(3_800);
            world.seed = seed;
            world.disk.set_hook(std::sync::Arc::new(KillNth::new(at, nth)));
            let told = world.live(async |mall| buy(mall).await);
            killed += u64::from(told.is_none());
            world.calmly(async |mall| {
                // Half of them ask again.
                if nth % 2 == 0 {
                    for _ in 0..15 {
                        let again = Buyer::new(mall, 1).place(order("checkout", &[], TOTAL, card(GOOD))).await;
                        if again.as_ref().is_ok_and(|placed| placed.order.as_ref().is_some_and(is_sold)) {
                            break;
                        }
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                settled(mall, 2, RECOVERY_S).await;
                let order = nothing_is_lost(mall).await;
                if let Some(told) = &told {
                    let order = order.as_ref().unwrap_or_else(|| panic!("{} was acknowledged and is gone", told.id));
                    assert!(is_sold(order), "{at:?} commit {nth}: acknowledged as paid, now {:?}", order.status());
                }
            });
        }
    }
    println!("{} commits in a checkout, killed {killed} times", seen.len());
    assert!(killed >= seen.len() as u64, "most of the kills must happen within the checkout");
}

#[test]
fn fault_1_a_hold_whose_order_was_never_written_ends_by_itself() {
    for (seed, at, tx) in [(101, At::After, "inventory.reserve"), (102, At::Before, "order.place")] {
        let mut world = shop(seed);
        let service = if tx == "order.place" { "order" } else { "inventory" };
        world.killed_by(KillAt::new(at, service, tx), async |mall| drop(buy(mall).await));
        world.calmly(async |mall| {
            assert_eq!((stock(mall, 0).await.reserved, stock(mall, 1).await.reserved), (2, 1), "the hold is there");
            assert_eq!(orders(mall).await.len(), 1, "the order is not");
            green(mall).await;
            settled(mall, 2, RECOVERY_S).await;
            nothing_is_lost(mall).await;
            assert_eq!(stock(mall, 0).await.on_hand, STOCK - 1, "only the bystander's unit is gone");
        });
    }
}

/// Pays an order of user 1 and returns its payment.
async fn paid_order(mall: &Mall) -> (Order, String) {
    let order = buy(mall).await;
    assert!(is_sold(&order));
    let payment = order.payment_id.clone();
    (order, payment)
}

async fn refund_at_payment(mall: &Mall, payment: &str) {
    let mut client: PaymentServiceClient<ServiceChannel> = mall.client();
    let request = AdminRefundRequest {
        id: payment.into(),
        reason: "broken".into(),
        idempotency_key: "r".into(),
        ..Default::default()
    };
    as_system(client.admin_refund(request)).await.expect("a refund");
}

#[test]
fn fault_2_an_event_is_published_if_and_only_if_its_transaction_committed() {
    // payment.refunded.v1 makes the order know of a refund that began at the payment.
    let moments = [
        (At::Before, "payment", "payment.refunded"),
        (At::After, "payment", "payment.refunded"),
        (At::Before, "order", "bus.apply"),
        (At::After, "order", "bus.apply"),
        (At::Before, "payment", "bus.delivered"),
        (At::After, "payment", "bus.delivered"),
    ];
    for (seed, (at, service, tx)) in (200..).zip(moments) {
        let mut world = shop(seed);
        let (order, payment) = world.calmly(paid_order);
        world.killed_by(KillAt::new(at, service, tx), async |mall| {
            refund_at_payment(mall, &payment).await;
            // The answer may come before the event is delivered.
            tokio::time::sleep(Duration::from_secs(30)).await;
        });
        world.calmly(async |mall| {
            settled(mall, 2, 20).await;
            let after = async || orders(mall).await.into_iter().find(|o| o.id == order.id).expect("the order");
            eventually("the order knows of the refund", async || after().await.status() == OrderStatus::Refunded).await;
            settled(mall, 2, 5).await;
            green(mall).await;
            conserved(mall, 0, STOCK).await;
            conserved(mall, 1, STOCK).await;
            let after = after().await;
            assert_eq!(after.refunded.as_ref().map(|m| m.amount), Some(TOTAL), "noted once, killed {at:?} {tx}");
        });
    }
}

#[test]
fn fault_3_killed_after_the_capture_the_provider_is_asked_by_key_and_never_charged_again() {
    for (seed, at, service, tx) in
        [(301, At::After, "acquirer", "acquirer.charge"), (302, At::Before, "payment", "payment.settle")]
    {
        let mut world = shop(seed);
        world.killed_by(KillAt::new(at, service, tx), async |mall| drop(buy(mall).await));
        let commits = Commits::default();
        world.disk.set_hook(std::sync::Arc::new(commits.clone()));
        world.calmly(async |mall| {
            settled(mall, 2, 15).await;
            let order = nothing_is_lost(mall).await.expect("the order");
            assert!(is_sold(&order));
            let mine: Vec<_> =
                payments(mall).await.into_iter().filter(|payment| payment.order_id == order.id).collect();
            assert_eq!((mine.len(), mine[0].status()), (1, PaymentStatus::Captured));
        });
        assert!(
            !commits.seen().iter().any(|commit| commit == "acquirer acquirer.charge"),
            "nothing was charged or withdrawn again"
        );
    }
}

#[test]
fn fault_4_a_provider_that_times_out_after_it_captured_charges_once() {
    for seed in 400..410 {
        let mut world = shop(seed)
            .set("payment.acquirer.charge.unknown_after_percent", 100)
            .set("payment.acquirer.query.unknown_before_percent", 60);
        world.calmly(async |mall| {
            // Impatient: the same request again and again while nobody knows.
            let again = (0..5u64).map(|i| async move {
                tokio::time::sleep(Duration::from_millis(700 * i)).await;
                let number = if seed % 2 == 0 { GOOD } else { TIMES_OUT };
                Buyer::new(mall, 1).place(order("checkout", &[], TOTAL, card(number))).await
            });
            let answers = join_all(again).await;
            let ids: Vec<_> =
                answers.iter().flatten().flat_map(|placed| &placed.order).map(|order| &order.id).collect();
            assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "seed {seed}: {answers:?}");
            settled(mall, 2, RECOVERY_S).await;
            let order = nothing_is_lost(mall).await.expect("an order");
            assert!(is_sold(&order), "seed {seed}: the money had moved, so the order is paid");
        });
    }
}

#[test]
fn fault_5_a_provider_and_events_that_come_twice_count_once() {
    for seed in 500..505 {
        let mut world = shop(seed)
            .set("payment.acquirer.charge.duplicate_percent", 100)
            .set("payment.acquirer.query.duplicate_percent", 100)
            .set("payment.acquirer.refund.duplicate_percent", 100)
            .faults(Twice(&[
                "payment.StartPayment",
                "payment.ResolvePayment",
                "payment.RefundOrder",
                "payment.AdminRefund",
                "inventory.Confirm",
                "inventory.Return",
                "cart.RemoveOrdered",
                "order.Deliver",
                "catalog.Deliver",
            ]));
        world.calmly(async |mall| {
            let (order, payment) = paid_order(mall).await;
            nothing_is_lost(mall).await;
            refund_at_payment(mall, &payment).await;
            settled(mall, 2, 20).await;
            green(mall).await;
            conserved(mall, 0, STOCK).await;
            let mine: Vec<_> =
                payments(mall).await.into_iter().filter(|payment| payment.order_id == order.id).collect();
            assert_eq!((mine.len(), mine[0].status()), (1, PaymentStatus::Refunded));
            assert_eq!(mine[0].refunded.as_ref().map(|m| m.amount), Some(TOTAL), "given back once");
            assert_eq!(stock(mall, 0).await.on_hand, STOCK - 1, "and the units came back once");
        });
    }
}

#[test]
fn fault_9_double_clicks_two_devices_and_retries_make_one_order_and_one_charge() {
    for seed in 900..920 {
        let mut world = shop(seed).faults(Delays::new(seed, 40, 300));
        world.calmly(async |mall| {
            let mut rng = StdRng::seed_from_u64(seed);
            let clicks: Vec<_> = (0..12)
                .map(|i| {
                    // Three devices with a key each, which every one of them repeats.
                    let (key, ms) = (format!("device{}", i % 3), rng.random_range(0..400));
                    async move {
                        tokio::time::sleep(Duration::from_millis(ms)).await;
                        Buyer::new(mall, 1).place(order(&key, &[], TOTAL, card(GOOD))).await
                    }
                })
                .collect();
            let answers = join_all(clicks).await;
            let mut ids: Vec<_> =
                answers.iter().flatten().flat_map(|placed| &placed.order).map(|order| order.id.clone()).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 1, "seed {seed}: {answers:?}");
            for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                let known = ["cart_already_ordered", "cart_empty", "payment_in_progress", "idempotency_conflict"];
                assert!(known.contains(&error.code.as_ref()) || error.is_retryable(), "seed {seed}: {error}");
            }
            settled(mall, 2, RECOVERY_S).await;
            let order = nothing_is_lost(mall).await.expect("one order");
            assert!(is_sold(&order));
        });
        // Paying an order that waits, from two devices at once.
        world.calmly(async |mall| {
            let shopper = Buyer::new(mall, 3);
            let waiting = shopper
                .place(order("later", &[(0, 1)], PRICE, later()))
                .await
                .expect("placed")
                .order
                .expect("an order");
            let pays = (0..6).map(|i| {
                let (shopper, id) = (shopper.clone(), waiting.id.clone());
                async move { shopper.pay(&id, &format!("pay{}", i % 2), card(GOOD)).await }
            });
            let paid = join_all(pays).await;
            assert!(paid.iter().flatten().any(is_sold), "seed {seed}: {paid:?}");
            settled(mall, 2, RECOVERY_S).await;
            green(mall).await;
            let captured = payments(mall)
                .await
                .into_iter()
                .filter(|p| p.order_id == waiting.id && p.status() == PaymentStatus::Captured);
            assert_eq!(captured.count(), 1, "seed {seed}");
        });
    }
}

#[test]
fn fault_10_the_same_key_with_another_body_is_refused_and_changes_nothing() {
    let mut world = shop(1_000);
    world.calmly(async |mall| {
        let shopper = Buyer::new(mall, 3);
        let first =
            shopper.place(order("same", &[(0, 1)], PRICE, card(GOOD))).await.expect("placed").order.expect("an order");
        let others = [
            order("same", &[(0, 2)], 2 * PRICE, card(GOOD)),
            order("same", &[(1, 1)], PRICE, card(GOOD)),
            order("same", &[(0, 1)], PRICE, later()),
        ];
        for other in others {
            let refused = shopper.place(other).await.expect_err("another body");
            assert_eq!((refused.kind, refused.code.as_ref()), (Kind::Refused, "idempotency_conflict"));
        }
        // At the same moment too.
        let two = [order("both", &[(0, 1)], PRICE, card(GOOD)), order("both", &[(0, 3)], 3 * PRICE, card(GOOD))];
        let both = join_all(two.map(|request| shopper.place(request))).await;
        assert_eq!(both.iter().filter(|answer| answer.is_ok()).count(), 1, "{both:?}");
        // The same key of somebody else is another key.
        let other =
            Buyer::new(mall, 4).place(order("same", &[(0, 2)], 2 * PRICE, card(GOOD))).await.expect("another user");
        assert_ne!(other.order.expect("an order").id, first.id);
        settled(mall, 2, RECOVERY_S).await;
        green(mall).await;
        let mine = orders(mall).await.into_iter().filter(|order| order.user_id == user(3)).count();
        assert_eq!(mine, 2);
        conserved(mall, 0, STOCK).await;
    });
}

#[test]
fn fault_11_a_crowd_on_one_sku_gets_every_unit_and_no_more() {
    const UNITS: i64 = 25;
    const CROWD: u32 = 400;
    for seed in [1_100, 1_101] {
        let mut world = World::new(seed).faults(Delays::new(seed, 10, 50));
        world.calmly(async |mall| list(mall, 0, PRICE, UNITS).await);
        world.calmly(async |mall| {
            let tries = (0..CROWD).map(|i| {
                let buyer = Buyer::new(mall, i);
                async move { buyer.place(order("one", &[(0, 1)], PRICE, card(GOOD))).await }
            });
            let answers = join_all(tries).await;
            let sold = answers.iter().filter(|answer| answer.is_ok()).count();
            let sold_out =
                answers.iter().filter_map(|a| a.as_ref().err()).filter(|error| error.code == "out_of_stock").count();
            assert_eq!((sold, sold_out), (UNITS as usize, CROWD as usize - UNITS as usize), "seed {seed}");
            settled(mall, 1, RECOVERY_S).await;
            green(mall).await;
            conserved(mall, 0, UNITS).await;
            assert_eq!(stock(mall, 0).await.on_hand, 0, "not one unit too few either");
        });
    }
}

#[test]
fn fault_12_units_of_buyers_who_never_pay_come_back_and_are_sold() {
    const UNITS: i64 = 60;
    const BUYERS: u32 = 100;
    for seed in 1_200..1_203 {
        let mut world = World::new(seed);
        world.calmly(async |mall| list(mall, 0, PRICE, UNITS).await);
        world.calmly(async |mall| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut lost = Vec::new();
            let mut never_paid = 0;
            for i in 0..BUYERS {
                let never_pays = i == 0 || rng.random_range(0..100) < 5;
                let payment = if never_pays { later() } else { card(GOOD) };
                match Buyer::new(mall, i).place(order("first", &[(0, 1)], PRICE, payment)).await {
                    Ok(_) => never_paid += i64::from(never_pays),
                    Err(error) => {
                        assert_eq!(error.code, "out_of_stock", "seed {seed}");
                        lost.push(i);
                    }
                }
            }
            assert_eq!(
                (stock(mall, 0).await.reserved, lost.len()),
                (never_paid, (BUYERS as i64 - UNITS) as usize),
                "seed {seed}"
            );
            // Before the deadline nothing is left, soon after it there is.
            tokio::time::sleep(Duration::from_secs(PAYMENT_TIMEOUT_S + 5)).await;
            assert_eq!(stock(mall, 0).await.available, never_paid, "seed {seed}: within 5 s of the deadline");
            for i in lost {
                let answer = Buyer::new(mall, i).place(order("second", &[(0, 1)], PRICE, card(GOOD))).await;
                assert!(answer.is_ok() || answer.is_err_and(|error| error.code == "out_of_stock"), "seed {seed}");
            }
            settled(mall, 1, RECOVERY_S).await;
            green(mall).await;
            conserved(mall, 0, UNITS).await;
            assert_eq!(stock(mall, 0).await.on_hand, 0, "seed {seed}: every unit found a buyer");
        });
    }
}

#[test]
fn fault_13_fifty_parallel_submits_of_one_cart_by_one_user_make_one_order() {
    for seed in 1_300..1_305 {
        let mut world = shop(seed).faults(Delays::new(seed, 30, 200));
        world.calmly(async |mall| {
            let submits = (0..50).map(|i| {
                let shopper = Buyer::new(mall, 1);
                async move { shopper.place(order(&format!("submit{i}"), &[], TOTAL, card(GOOD))).await }
            });
            let answers = join_all(submits).await;
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "seed {seed}: {answers:?}");
            settled(mall, 2, RECOVERY_S).await;
            let order = nothing_is_lost(mall).await.expect("one order");
            assert!(is_sold(&order));
        });
    }
}

#[test]
fn fault_14_a_price_that_changes_before_the_submit_is_refused_and_nothing_is_made() {
    let mut world = shop(1_400);
    world.calmly(async |mall| {
        reprice(mall, 0, PRICE + 100).await;
        let refused =
            Buyer::new(mall, 1).place(order("checkout", &[], TOTAL, card(GOOD))).await.expect_err("the old total");
        assert_eq!((refused.kind, refused.code.as_ref()), (Kind::Conflict, "price_changed"));
        assert_eq!(refused.details.as_ref().expect("the new quote")["quote"]["total"]["amount"], TOTAL + 200);
        assert_eq!(orders(mall).await.len(), 1, "the bystander's");
        assert_eq!(stock(mall, 0).await.reserved, 0);
        nothing_is_lost(mall).await;
        let second =
            Buyer::new(mall, 1).place(order("second", &[], TOTAL + 200, card(GOOD))).await.expect("the new total");
        let second = second.order.expect("an order");
        assert_eq!(second.total.as_ref().map(|m| m.amount), Some(TOTAL + 200));
        // What was agreed stays, whatever the price does.
        reprice(mall, 0, 1).await;
        let after = orders(mall).await.into_iter().find(|o| o.id == second.id).expect("the order");
        assert_eq!(after.lines, second.lines);
        green(mall).await;
    });
    // Prices that jump while many buy: every order was agreed at its own total.
    for seed in 1_401..1_406 {
        let mut world = World::new(seed).faults(Delays::new(seed, 30, 100));
        world.calmly(async |mall| list(mall, 0, PRICE, 200).await);
        world.calmly(async |mall| {
            let jumps = async {
                for price in 1..40 {
                    reprice(mall, 0, PRICE + price % 3).await;
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            };
            let buys = (0..60).map(|i| {
                let buyer = Buyer::new(mall, i);
                async move {
                    tokio::time::sleep(Duration::from_millis(u64::from(i) * 20)).await;
                    let wanted = PRICE + i64::from(i % 3);
                    (wanted, buyer.place(order("k", &[(0, 1)], wanted, card(GOOD))).await)
                }
            });
            let ((), answers) = tokio::join!(jumps, join_all(buys));
            for (wanted, answer) in &answers {
                match answer {
                    Ok(placed) => assert_eq!(
                        placed.order.as_ref().and_then(|o| o.total.as_ref()).map(|m| m.amount),
                        Some(*wanted),
                        "seed {seed}"
                    ),
                    Err(error) => assert_eq!(error.code, "price_changed", "seed {seed}"),
                }
            }
            let agreed = answers.iter().filter(|(_, answer)| answer.is_ok()).count();
            assert!((1..60).contains(&agreed), "seed {seed}: {agreed} of 60 met the price");
            settled(mall, 1, RECOVERY_S).await;
            green(mall).await;
            conserved(mall, 0, 200).await;
        });
    }
}

/// What races a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rival {
    Deadline,
    Cancel,
}

/// How races ended.
#[derive(Debug, Default)]
struct Races {
    paid: AtomicU64,
    cancelled: AtomicU64,
    /// Cancelled ones whose money had arrived and went back.
    refunded: AtomicU64,
}

const RACES_PER_WORLD: u32 = 50;

/// Runs fifty races at once: each order is paid some milliseconds before or after its rival.
fn race(seed: u64, rival: Rival, tally: &Races) {
    let mut rng = StdRng::seed_from_u64(seed);
    // Every other provider takes its time, so that money is on its way when the rival comes.
    let mut world = World::new(seed)
        .set("payment.acquirer.charge.slow_percent", if seed.is_multiple_of(2) { 60 } else { 0 })
        .set("payment.acquirer.charge.slow_ms", 300)
        .faults(Delays::new(seed, if seed.is_multiple_of(3) { 60 } else { 20 }, 300));
    world.calmly(async |mall| list(mall, 0, PRICE, i64::from(RACES_PER_WORLD)).await);
    let told = world.calmly(async |mall| {
        let races = (0..RACES_PER_WORLD).map(|i| {
            let buyer = Buyer::new(mall, i);
            let (start_ms, offset_ms) = (rng.random_range(0..2_000u64), rng.random_range(-900..400i64));
            async move {
                tokio::time::sleep(Duration::from_millis(start_ms)).await;
                let placed = buyer.place(order("k", &[(0, 1)], PRICE, later())).await.expect("room for everybody");
                let id = placed.order.expect("an order").id;
                let expires =
                    orders(mall).await.into_iter().find(|order| order.id == id).and_then(|order| order.expires_at);
                let now = mall.context("order").expect("order runs here").clock().now();
                let left = expires.map_or(0, |at| at.micros()) - now;
                let rival_in = if rival == Rival::Deadline { left } else { 5_000_000 };
                let pay_in = Duration::from_micros((rival_in + offset_ms * 1_000).max(0) as u64);
                let pay = async {
                    tokio::time::sleep(pay_in).await;
                    buyer.pay(&id, "pay", card(GOOD)).await
                };
                let cancel = async {
                    tokio::time::sleep(Duration::from_micros(rival_in.max(0) as u64)).await;
                    if rival == Rival::Cancel { Some(buyer.cancel(&id).await) } else { None }
                };
                let (paid, cancelled) = tokio::join!(pay, cancel);
                (id.clone(), paid, cancelled)
            }
        });
        join_all(races).await
    });
    world.calm();
    world.calmly(async |mall| {
        settled(mall, 1, RECOVERY_S).await;
        green(mall).await;
        conserved(mall, 0, i64::from(RACES_PER_WORLD)).await;
        let payments = payments(mall).await;
        let all = orders(mall).await;
        for (id, paid, cancelled) in told {
            let order = all.iter().find(|order| order.id == id).expect("an acknowledged order");
            let (mut captured, mut refunded) = (0, 0);
            for payment in payments.iter().filter(|payment| payment.order_id == id) {
                captured += payment.captured.as_ref().map_or(0, |m| m.amount);
                refunded += payment.refunded.as_ref().map_or(0, |m| m.amount);
            }
            let hold = hold(mall, &id).await;
            let say = format!("seed {seed} {rival:?} {id}: {paid:?} {cancelled:?}, {:?}, {captured} captured, {refunded} refunded, {hold:?}", order.status());
            match order.status() {
                OrderStatus::Paid => {
                    assert_eq!((captured, refunded, hold), (PRICE, 0, Some(ReservationState::Confirmed)), "{say}");
                    assert!(cancelled.is_none_or(|answer| answer.is_err()), "both were told they had won: {say}");
                    tally.paid.fetch_add(1, Ordering::Relaxed);
                }
                OrderStatus::Cancelled => {
                    assert_eq!((captured, hold), (refunded, Some(ReservationState::Released)), "{say}");
                    assert!(!paid.is_ok_and(|order| is_sold(&order)), "acknowledged as paid: {say}");
                    tally.cancelled.fetch_add(1, Ordering::Relaxed);
                    tally.refunded.fetch_add(u64::from(refunded > 0), Ordering::Relaxed);
                }
                _ => panic!("neither paid nor cancelled: {say}"),
            }
        }
    });
}

fn races(from: u64, worlds: u64, rival: Rival) {
    let (tally, next) = (Races::default(), AtomicU64::new(from));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + worlds {
                        break;
                    }
                    race(seed, rival, &tally);
                }
            });
        }
    });
    println!("{rival:?}: {tally:?}");
    let (paid, cancelled, refunded) =
        (tally.paid.into_inner(), tally.cancelled.into_inner(), tally.refunded.into_inner());
    assert_eq!(paid + cancelled, worlds * u64::from(RACES_PER_WORLD));
    assert!(paid > 50 && cancelled > 50, "the races are lopsided: {paid} paid, {cancelled} cancelled");
    assert!(refunded > 0, "no race in which money arrived for a cancelled order");
}

#[test]
fn the_same_seed_repeats_the_same_run() {
    let run = || {
        let mut world = World::new(4_242)
            .set("payment.acquirer.charge.slow_percent", 50)
            .set("payment.acquirer.charge.slow_ms", 300);
        world = world.faults(Delays::new(4_242, 40, 300));
        world.calmly(async |mall| list(mall, 0, PRICE, STOCK).await);
        let commits = Commits::default();
        world.disk.set_hook(std::sync::Arc::new(commits.clone()));
        let mut rng = StdRng::seed_from_u64(4_242);
        let told = world.calmly(async |mall| {
            let buys = (0..20).map(|i| {
                let (buyer, ms) = (Buyer::new(mall, i), rng.random_range(59_000..60_500));
                async move {
                    let placed = buyer.place(order("k", &[(0, 1)], PRICE, later())).await.expect("room for everybody");
                    let id = placed.order.expect("an order").id;
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    (id.clone(), buyer.pay(&id, "pay", card(GOOD)).await.map_err(|error| error.code))
                }
            });
            format!("{:?}", join_all(buys).await)
        });
        (commits.seen(), told)
    };
    assert_eq!(run(), run());
}

#[test]
fn scenario_41_a_thousand_races_of_payment_and_deadline_have_one_winner_each() {
    races(41_000, 20, Rival::Deadline);
}

#[test]
fn fault_17_payments_that_race_a_cancellation_have_one_winner_each() {
    races(17_000, 6, Rival::Cancel);
}

#[test]
fn fault_41_what_a_malicious_shopper_asks_for_is_refused_behind_the_door_too() {
    let mut world = shop(4_100);
    world.calmly(async |mall| {
        let eve = Buyer::new(mall, 9);
        for quantity in [0, -1, i64::MIN, i64::MAX, 2_147_483_648, 10_000] {
            let error = eve.add(0, quantity).await.expect_err("a cart line");
            assert_eq!(error.kind, Kind::Invalid, "{quantity}: {error}");
            let error = eve.place(order("k", &[(0, quantity)], PRICE, card(GOOD))).await.expect_err("an order line");
            assert!(matches!(error.kind, Kind::Invalid), "{quantity}: {error}");
        }
        eve.add(0, 9_999).await.expect("the most of one line");
        let error = eve.add(0, 1).await.expect_err("one more");
        assert_eq!(error.kind, Kind::Invalid, "{error}");
        assert_eq!(eve.cart().await.lines[0].quantity, 9_999);
        // Huge orders, whether of many lines or of one line often.
        let many: Vec<_> = (0..101).map(|_| (0, 1)).collect();
        let error = eve.place(order("k", &many, 101 * PRICE, card(GOOD))).await.expect_err("101 lines");
        assert_eq!(error.code, "too_many_lines");
        let sums: Vec<_> = (0..100).map(|_| (0, 9_999)).collect();
        let error = eve.place(order("k", &sums, 999_900 * PRICE, card(GOOD))).await.expect_err("a million units");
        assert!(matches!(error.kind, Kind::Invalid | Kind::Conflict), "{error}");
        // Prices of one's own making.
        for total in [0, 1, -PRICE, i64::MIN, i64::MAX] {
            let error = eve.place(order("k", &[(0, 1)], total, card(GOOD))).await.expect_err("another total");
            assert!(matches!(error.kind, Kind::Conflict | Kind::Invalid), "{total}: {error}");
        }
        let mut agreed = order("k", &[], 0, card(GOOD));
        agreed.lines = vec![LineInput { sku_id: sku(0), quantity: 1, agreed_unit_price_nanos: Some(0) }];
        let error = eve.place(agreed).await.expect_err("a price that only the mall itself may agree on");
        assert!(matches!(error.kind, Kind::Invalid | Kind::Forbidden | Kind::Refused | Kind::Conflict), "{error}");
        // Somebody else's name, time, and way to pay.
        let mut other = order("k2", &[(0, 1)], PRICE, card(GOOD));
        other.on_behalf_of = user(1);
        if let Ok(placed) = eve.place(other).await {
            assert_eq!(placed.order.expect("an order").user_id, eve.user, "an order in somebody else's name");
        }
        let mut external = order("k3", &[(0, 1)], PRICE, later());
        external.payment.as_mut().expect("a payment").method = "external".into();
        assert!(eve.place(external).await.is_err(), "paid elsewhere, says Eve");
        let mut token = order("k4", &[(0, 1)], PRICE, card(GOOD));
        token.payment.as_mut().expect("a payment").card_token = "tok_of_somebody_else".into();
        assert!(eve.place(token).await.is_err(), "a card token that is not Eve's");
        // A declined card does not keep what it held.
        let error = eve.place(order("k5", &[(0, 1)], PRICE, card(DECLINED))).await.expect_err("no money");
        assert_eq!(error.code, "card_declined");
        // What is not hers.
        let theirs = orders(mall).await.into_iter().find(|order| order.user_id == user(2)).expect("the bystander's");
        assert_eq!(eve.cancel(&theirs.id).await.expect_err("not hers").kind, Kind::NotFound);
        assert_eq!(eve.pay(&theirs.id, "k", card(GOOD)).await.expect_err("not hers").kind, Kind::NotFound);
        let mut client: OrderServiceClient<ServiceChannel> = mall.client();
        let refund = AdminRefundOrderRequest {
            id: theirs.id,
            reason: "mine".into(),
            idempotency_key: "k".into(),
            ..Default::default()
        };
        let refused = as_user(&eve.user, client.admin_refund_order(refund)).await.map_err(mallard_rpc::error);
        assert_eq!(refused.expect_err("not an operator").kind, Kind::Forbidden);
        settled(mall, 2, RECOVERY_S).await;
        nothing_is_lost(mall).await;
    });
}
