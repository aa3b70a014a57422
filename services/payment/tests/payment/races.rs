//! Interleavings: the same seed gives the same run. A failure names its seed.

use std::time::Duration;

use mallard_payment::acquirer::Book;
use mallard_proto::payment::v1::*;
use mallard_runtime::{Chance, Settings, Storage};
use mallard_testkit::pgtest::PgServer;

use crate::shop::*;

/// A provider that answers when and how it likes.
fn unreliable(seed: u64) -> Settings {
    let mut settings = simulated(seed);
    for call in ["charge", "query", "withdraw", "refund"] {
        settings.config = settings
            .config
            .set(&format!("payment.acquirer.{call}.slow_percent"), 60)
            .set(&format!("payment.acquirer.{call}.slow_ms"), 100)
            .set(&format!("payment.acquirer.{call}.unknown_before_percent"), 10)
            .set(&format!("payment.acquirer.{call}.unknown_after_percent"), 10)
            .set(&format!("payment.acquirer.{call}.duplicate_percent"), 10);
    }
    settings
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Closing and capturing race; whatever the order, a closed order keeps no money and the books agree.
#[test]
fn a_closed_order_keeps_no_money_in_a_thousand_interleavings() {
    let (mut refunded, mut cancelled, mut refused) = (0, 0, 0);
    for seed in 0..1_000 {
        let outcome = paused().block_on(async {
            let shop = Shop::with(unreliable(seed)).await;
            let chance = Chance::seeded(seed + 1_000_000);
            let delay = |most_us: u64| Duration::from_micros(chance.number() % most_us);
            let number = if chance.number().is_multiple_of(4) { LOST_ANSWER } else { VISA };
            let token = shop.token(number).await;
            let (start_at, close_at) = (delay(150_000), delay(300_000));
            let start = async {
                tokio::time::sleep(start_at).await;
                shop.start(wish("pay_1", "ord_1", &token)).await
            };
            let close = async {
                tokio::time::sleep(close_at).await;
                while shop.close("ord_1").await.unwrap().unknown {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            let (started, ()) = tokio::join!(start, close);
            shop.settle().await;
            assert_eq!(shop.broken().await, [""; 0], "seed {seed}");
            let captured = shop.movements(Book::Captures).await.len();
            let given_back = shop.movements(Book::Refunds).await.len();
            assert!(
                captured <= 1 && captured == given_back,
                "seed {seed}: {captured} captured, {given_back} given back"
            );
            let Err(error) = started else { return Some(shop.payment("pay_1").await.status()) };
            assert_eq!(error.code, "order_payments_closed", "seed {seed}");
            assert_eq!(captured, 0, "seed {seed}");
            None
        });
        match outcome {
            Some(PaymentStatus::Refunded) => refunded += 1,
            Some(PaymentStatus::Cancelled) => cancelled += 1,
            // The charge never arrived and was withdrawn before the closing came.
            Some(PaymentStatus::Failed) => {}
            Some(other) => panic!("seed {seed}: {other:?}"),
            None => refused += 1,
        }
    }
    assert!(
        refunded > 50 && cancelled > 50 && refused > 50,
        "{refunded} refunded, {cancelled} cancelled, {refused} refused"
    );
}

/// Several attempts, a cancellation, resolving and refunding of one order, all at once.
#[test]
fn one_order_under_everything_at_once_is_captured_at_most_once() {
    for seed in 0..300 {
        paused().block_on(async {
            let shop = Shop::with(unreliable(seed)).await;
            let chance = Chance::seeded(seed + 2_000_000);
            let mut tokens = Vec::new();
            for _ in 0..4 {
                tokens.push(shop.token(if chance.number().is_multiple_of(3) { LOST_ANSWER } else { VISA }).await);
            }
            let pause = || tokio::time::sleep(Duration::from_micros(chance.number() % 400_000));
            let starts = tokens.iter().enumerate().map(|(i, token)| {
                let pause = pause();
                let shop = &shop;
                async move {
                    pause.await;
                    for _ in 0..3 {
                        // Refusals are fine; money is what counts.
                        let _ = shop.start(wish(&format!("pay_{i}"), "ord_1", token)).await;
                    }
                }
            });
            let others = (0..4).map(|i| {
                let pause = pause();
                let shop = &shop;
                async move {
                    pause.await;
                    let _ = shop.resolve("ord_1").await;
                    let _ = shop.refund("ord_1", &format!("ref_{i}"), cny(400)).await;
                }
            });
            tokio::join!(futures_util::future::join_all(starts), futures_util::future::join_all(others));
            shop.settle().await;
            assert_eq!(shop.broken().await, [""; 0], "seed {seed}");
            assert!(shop.movements(Book::Captures).await.len() <= 1, "seed {seed}");
            let back: i64 = shop.movements(Book::Refunds).await.iter().map(|m| m.amount.amount).sum();
            assert!(back <= 990, "seed {seed}: {back}");
        });
    }
}

/// The same race on real threads and a real database, where reads and writes interleave as well.
async fn close_and_start_at_once(storage: Storage) {
    let shop = Shop::with(Settings { storage, ..unhurried() }).await;
    let mut rounds = Vec::new();
    for round in 0..100 {
        let token = shop.token(VISA).await;
        let (order, request) = (format!("ord_{round}"), wish(&format!("pay_{round}"), &format!("ord_{round}"), &token));
        let starter = shop.clone();
        rounds.push(tokio::spawn(async move { starter.start(request).await.map(|_| ()) }));
        let closer = shop.clone();
        rounds.push(tokio::spawn(async move { closer.close(&order).await.map(|_| ()) }));
    }
    for round in rounds {
        if let Err(error) = round.await.unwrap() {
            assert_eq!(error.code, "order_payments_closed");
        }
    }
    assert_eq!(shop.broken().await, [""; 0]);
    let balance = shop.accounts().await.into_iter().find(|(account, _, _)| account == "acquirer:CNY");
    assert_eq!(balance.map_or(0, |(_, balance, _)| balance), 0, "no closed order keeps money");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_and_starting_at_once_keep_the_books_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    close_and_start_at_once(Storage::Folder(folder.path().to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_and_starting_at_once_keep_the_books_on_postgresql() {
    let Some(server) = PgServer::shared() else { return };
    close_and_start_at_once(Storage::Postgres { url: server.fresh_url().await, pool_max: 8 }).await;
}

/// Two processes share one database; each thinks it is alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_that_pay_refund_and_close_the_same_orders_agree() {
    let Some(server) = PgServer::shared() else { return };
    let url = server.fresh_url().await;
    let storage = || Storage::Postgres { url: url.clone(), pool_max: 6 };
    let one = Shop::with(Settings { storage: storage(), ..unhurried() }).await;
    let other = Shop::with(Settings { storage: storage(), ..unhurried() }).await;
    let mut work = Vec::new();
    for round in 0..40 {
        for (side, shop) in [&one, &other].into_iter().enumerate() {
            let token = shop.token(VISA).await;
            let order = format!("ord_{round}");
            // Half of the orders see the same attempt in both, half see two.
            let pay = if round % 2 == 0 { format!("pay_{round}") } else { format!("pay_{round}_{side}") };
            let shop = shop.clone();
            work.push(tokio::spawn(async move {
                let _ = shop.start(wish(&pay, &order, &token)).await;
                let _ = shop.refund(&order, &format!("ref_{round}_{side}"), cny(500)).await;
                if round % 4 == 0 {
                    let _ = shop.close(&order).await;
                }
            }));
        }
    }
    for work in work {
        work.await.unwrap();
    }
    one.settle().await;
    assert_eq!(one.broken().await, [""; 0]);
    assert_eq!(other.broken().await, [""; 0]);
    let held = one.accounts().await.into_iter().find(|(account, _, _)| account == "acquirer:CNY").unwrap().1;
    assert_eq!(held, 30 * (990 - 500), "ten orders were closed, the others kept what one refund left");
}
