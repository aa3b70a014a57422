//! Crashes at every commit of both databases; the mall starts again on what was committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mallard_db::{CommitFate, CommitHook, MemoryDisk};
use mallard_payment::acquirer::Book;
use mallard_proto::payment::v1::*;
use mallard_runtime::{Settings, Storage};

use crate::shop::*;

/// Kills the process at the n-th decision: before the first commit, after it, before the second, …
struct DieAt {
    left: AtomicU32,
}

impl DieAt {
    fn decide(&self, tx: &str) -> CommitFate {
        let ours = tx.starts_with("payment.") || tx.starts_with("acquirer.");
        if !ours || self.left.load(Ordering::SeqCst) == 0 || self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return CommitFate::Proceed;
        }
        CommitFate::Crash
    }
}

impl CommitHook for DieAt {
    fn before_commit(&self, _service: &str, tx: &str) -> CommitFate {
        self.decide(tx)
    }

    fn after_commit(&self, _service: &str, tx: &str) -> CommitFate {
        self.decide(tx)
    }
}

/// Opens the shop on a disk.
async fn open(disk: &MemoryDisk) -> Arc<Shop> {
    Shop::with(Settings { storage: Storage::Memory(disk.clone()), ..simulated(7) }).await
}

/// Runs `work` with a crash at each of its commits, then starts again, settles and asks `after` whether all is well.
/// Returns how many crashes there were.
async fn at_every_commit<W, A>(work: W, after: A) -> u32
where
    W: AsyncFn(Arc<Shop>),
    A: AsyncFn(Arc<Shop>, u32),
{
    for n in 1..100 {
        let disk = MemoryDisk::new();
        let shop = open(&disk).await;
        disk.set_hook(Arc::new(DieAt { left: AtomicU32::new(n) }));
        tokio::select! {
            () = work(shop.clone()) => {}
            () = disk.wait_crash() => {}
        }
        let crashed = disk.is_crashed();
        disk.clear_hook();
        drop(shop);
        if !crashed {
            return n - 1;
        }
        disk.restart();
        let shop = open(&disk).await;
        shop.settle().await;
        assert_eq!(shop.broken().await, [""; 0], "crash {n}");
        after(shop, n).await;
    }
    panic!("the work never ends");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_of_a_card_payment_charges_at_most_once_and_ends_known() {
    let crashes = at_every_commit(
        async |shop| {
            shop.pay("pay_1", "ord_1", VISA).await.unwrap();
        },
        async |shop, n| {
            // The order service asks again with a new attempt; the shopper ends up charged once.
            let known = shop.resolve("ord_1").await.unwrap();
            assert!(!known.unknown, "crash {n}");
            let paid = shop.pay("pay_2", "ord_1", VISA).await.unwrap();
            assert_eq!(paid.status(), PaymentStatus::Captured, "crash {n}");
            if known.payment.is_some_and(|p| p.status() == PaymentStatus::Captured) {
                assert_eq!(paid.id, "pay_1", "crash {n}");
            }
            assert_eq!(shop.movements(Book::Captures).await.len(), 1, "crash {n}");
            assert_eq!(shop.broken().await, [""; 0], "crash {n}");
        },
    )
    .await;
    // Intent, the acquirer's books, result: before and after each.
    assert_eq!(crashes, 6);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_of_a_refund_gives_back_exactly_once() {
    let crashes = at_every_commit(
        async |shop| {
            shop.pay("pay_1", "ord_1", VISA).await.unwrap();
            shop.refund("ord_1", "ref_1", cny(400)).await.unwrap();
        },
        async |shop, n| {
            shop.pay("pay_2", "ord_1", VISA).await.unwrap();
            let again = shop.refund("ord_1", "ref_1", cny(400)).await.unwrap();
            assert_eq!(again.refund.unwrap().status(), RefundStatus::Succeeded, "crash {n}");
            assert_eq!(shop.movements(Book::Refunds).await.len(), 1, "crash {n}");
            assert_eq!(shop.broken().await, [""; 0], "crash {n}");
        },
    )
    .await;
    assert_eq!(crashes, 12);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_of_a_closing_leaves_no_money_behind() {
    let crashes = at_every_commit(
        async |shop| {
            shop.pay("pay_1", "ord_1", LOST_ANSWER).await.unwrap();
            shop.close("ord_1").await.unwrap();
        },
        async |shop, n| {
            while shop.close("ord_1").await.unwrap().unknown {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let captured = shop.movements(Book::Captures).await.len();
            assert!(captured <= 1, "crash {n}");
            assert_eq!(shop.movements(Book::Refunds).await.len(), captured, "crash {n}");
            assert_eq!(shop.broken().await, [""; 0], "crash {n}");
        },
    )
    .await;
    assert!(crashes >= 14, "{crashes}");
}
