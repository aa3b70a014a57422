//! Closing an order's payments, cancelling one.

use mallard_payment::acquirer::Book;
use mallard_proto::payment::v1::*;
use mallard_testkit::as_user;

use crate::shop::*;

#[tokio::test(start_paused = true)]
async fn a_closing_that_comes_first_is_remembered() {
    let shop = Shop::open().await;
    let closed = shop.close("ord_1").await.unwrap();
    assert_eq!((closed.unknown, closed.refunded), (false, None));
    assert_eq!(code(shop.pay("pay_1", "ord_1", VISA).await), "refused order_payments_closed");
    assert_eq!(code(shop.find("pay_1").await), "not_found payment_not_found");
    assert!(shop.movements(Book::Captures).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_a_payment_that_waits_and_forbids_the_next() {
    let shop = Shop::open().await;
    let later = StartPaymentRequest { method: "later".into(), ..wish("pay_1", "ord_1", "") };
    shop.start(later.clone()).await.unwrap();
    for _ in 0..2 {
        let closed = shop.close("ord_1").await.unwrap();
        assert_eq!((closed.unknown, closed.refunded), (false, None));
    }
    assert_eq!(
        shop.start(later).await.unwrap().status(),
        PaymentStatus::Cancelled,
        "the same id still names the same attempt"
    );
    assert_eq!(code(shop.pay("pay_2", "ord_1", VISA).await), "refused order_payments_closed");
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn closing_gives_captured_money_back_once() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    shop.refund("ord_1", "ref_1", cny(90)).await.unwrap();
    for _ in 0..3 {
        let closed = shop.close("ord_1").await.unwrap();
        assert_eq!((closed.unknown, closed.refunded), (false, cny(990)));
    }
    assert_eq!(shop.payment("pay_1").await.status(), PaymentStatus::Refunded);
    let back: Vec<i64> = shop.movements(Book::Refunds).await.iter().map(|m| m.amount.amount).collect();
    assert_eq!(back.iter().sum::<i64>(), 990);
    assert_eq!(back.len(), 2);
    assert_eq!(code(shop.pay("pay_2", "ord_1", VISA).await), "refused order_payments_closed");
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn closing_an_unknown_payment_finds_the_money_and_gives_it_back() {
    let shop = Shop::open().await;
    assert_eq!(shop.pay("pay_1", "ord_1", LOST_ANSWER).await.unwrap().status(), PaymentStatus::Pending);
    let closed = shop.close("ord_1").await.unwrap();
    assert_eq!((closed.unknown, closed.refunded), (false, cny(990)));
    assert_eq!(shop.payment("pay_1").await.status(), PaymentStatus::Refunded);
    assert_eq!(shop.movements(Book::Captures).await.len(), 1);
    assert_eq!(shop.movements(Book::Refunds).await.len(), 1);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn closing_says_unknown_while_the_provider_is_silent_and_the_background_ends_it() {
    let mut settings = simulated(5);
    settings.config = settings.config.set("payment.acquirer.withdraw.unknown_after_percent", 70);
    settings.config = settings.config.set("payment.acquirer.refund.unknown_before_percent", 70);
    let shop = Shop::with(settings).await;
    let mut unknown = 0;
    for i in 0..20 {
        let (pay, order) = (format!("pay_{i}"), format!("ord_{i}"));
        shop.pay(&pay, &order, if i % 2 == 0 { LOST_ANSWER } else { VISA }).await.unwrap();
        unknown += u32::from(shop.close(&order).await.unwrap().unknown);
    }
    assert!(unknown > 5, "{unknown}");
    shop.settle().await;
    for i in 0..20 {
        assert_eq!(shop.payment(&format!("pay_{i}")).await.status(), PaymentStatus::Refunded);
        let closed = shop.close(&format!("ord_{i}")).await.unwrap();
        assert_eq!((closed.unknown, closed.refunded), (false, cny(990)));
    }
    assert_eq!(shop.movements(Book::Refunds).await.len(), 20);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_captured_payment_cannot_be_cancelled() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    shop.pay("pay_2", "ord_2", DECLINED).await.unwrap();
    for id in ["pay_1", "pay_2"] {
        let before = shop.payment(id).await;
        let request = CancelPaymentRequest { id: id.into() };
        let refused =
            as_user(USER, async { shop.payments.clone().cancel_payment(request).await.map_err(mallard_rpc::error) })
                .await;
        assert_eq!(code(refused), "conflict illegal_transition");
        assert_eq!(shop.payment(id).await, before, "nothing changed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_payment_cannot_be_captured_even_by_a_charge_on_its_way() {
    let mut settings = simulated(9);
    settings.config = settings.config.set("payment.acquirer.charge.unknown_before_percent", 100);
    let shop = Shop::with(settings).await;
    let token = shop.token(VISA).await;
    assert_eq!(shop.start(wish("pay_1", "ord_1", &token)).await.unwrap().status(), PaymentStatus::Pending);
    let request = CancelPaymentRequest { id: "pay_1".into() };
    let cancelled =
        as_user(USER, async { shop.payments.clone().cancel_payment(request).await.unwrap().into_inner() }).await;
    assert_eq!(cancelled.payment.unwrap().status(), PaymentStatus::Cancelled);
    assert_eq!(shop.start(wish("pay_1", "ord_1", &token)).await.unwrap().status(), PaymentStatus::Cancelled);
    shop.settle().await;
    assert!(shop.movements(Book::Captures).await.is_empty());
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_payment_whose_money_moved_tells_the_truth() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", LOST_ANSWER).await.unwrap();
    let request = CancelPaymentRequest { id: "pay_1".into() };
    let refused =
        as_user(USER, async { shop.payments.clone().cancel_payment(request).await.map_err(mallard_rpc::error) }).await;
    assert_eq!(code(refused), "conflict illegal_transition");
    assert_eq!(shop.payment("pay_1").await.status(), PaymentStatus::Captured);
    assert_eq!(shop.broken().await, [""; 0]);
}
