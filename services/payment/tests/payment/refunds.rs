//! Giving money back.

use mallard_payment::acquirer::Book;
use mallard_proto::payment::v1::*;
use mallard_testkit::{as_admin, as_system, as_user};
use mallard_types::Result;

use crate::shop::*;

async fn admin_refund(shop: &Shop, id: &str, amount: i64, key: &str) -> Result<AdminRefundResponse> {
    let request = AdminRefundRequest {
        id: id.into(),
        amount: if amount == 0 { None } else { cny(amount) },
        reason: "too big".into(),
        idempotency_key: key.into(),
    };
    as_admin("usr_9", async {
        Ok(shop.payments.clone().admin_refund(request).await.map_err(mallard_rpc::error)?.into_inner())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn parts_go_back_until_nothing_is_left() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    let first = shop.refund("ord_1", "ref_1", cny(400)).await.unwrap();
    assert_eq!(first.refund.unwrap().status(), RefundStatus::Succeeded);
    let payment = first.payment.unwrap();
    assert_eq!((payment.status(), payment.refunded), (PaymentStatus::PartiallyRefunded, cny(400)));
    let error = shop.refund("ord_1", "ref_2", cny(591)).await.unwrap_err();
    assert_eq!(
        (error.kind.as_str(), error.code.as_ref(), error.param.as_deref()),
        ("refused", "refund_exceeds_captured", Some("amount"))
    );
    assert_eq!(error.details.unwrap()["refundable"], serde_json::json!({"amount": 590, "currency": "CNY"}));
    let rest = shop.refund("ord_1", "ref_3", None).await.unwrap();
    assert_eq!(rest.refund.unwrap().amount, cny(590));
    assert_eq!(rest.payment.unwrap().status(), PaymentStatus::Refunded);
    assert_eq!(code(shop.refund("ord_1", "ref_4", cny(1)).await), "refused refund_exceeds_captured");
    let accounts =
        [("acquirer:CNY".to_owned(), 0, 0), ("refunds:CNY".to_owned(), 990, 0), ("sales:CNY".to_owned(), -990, 0)];
    assert_eq!(shop.accounts().await, accounts);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_same_refund_id_gives_back_once() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    for _ in 0..3 {
        let again = shop.refund("ord_1", "ref_1", cny(100)).await.unwrap();
        assert_eq!(again.payment.unwrap().refunded, cny(100));
    }
    assert_eq!(code(shop.refund("ord_1", "ref_1", cny(101)).await), "refused idempotency_conflict");
    shop.pay("pay_2", "ord_2", VISA).await.unwrap();
    assert_eq!(code(shop.refund("ord_2", "ref_1", cny(100)).await), "refused idempotency_conflict");
    assert_eq!(shop.movements(Book::Refunds).await.len(), 1);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn only_captured_money_goes_back_and_only_to_operators_word() {
    let shop = Shop::open().await;
    assert_eq!(code(shop.refund("ord_1", "ref_1", cny(1)).await), "not_found payment_not_found");
    shop.pay("pay_1", "ord_1", DECLINED).await.unwrap();
    assert_eq!(code(shop.refund("ord_1", "ref_1", cny(1)).await), "conflict illegal_transition");
    shop.pay("pay_2", "ord_1", VISA).await.unwrap();
    assert_eq!(code(shop.refund("ord_1", "ref_1", cny(0)).await), "invalid amount_invalid");
    assert_eq!(code(shop.refund("ord_1", "", cny(1)).await), "invalid required");
    let euro = Some(mallard_proto::common::v1::Money { amount: 1, currency: "EUR".into() });
    assert_eq!(code(shop.refund("ord_1", "ref_1", euro).await), "refused currency_mismatch");
    let request = RefundOrderRequest { order_id: "ord_1".into(), refund_id: "ref_1".into(), ..Default::default() };
    let refused =
        as_user(USER, async { shop.payments.clone().refund_order(request).await.map_err(mallard_rpc::error) }).await;
    assert_eq!(code(refused), "forbidden internal_only");
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_operators_key_names_the_refund() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    let first = admin_refund(&shop, "pay_1", 90, "k1").await.unwrap();
    let again = admin_refund(&shop, "pay_1", 90, "k1").await.unwrap();
    assert_eq!(first.refund, again.refund);
    assert_eq!(code(admin_refund(&shop, "pay_1", 91, "k1").await), "refused idempotency_conflict");
    assert_eq!(code(admin_refund(&shop, "pay_1", 91, "").await), "invalid idempotency_key_required");
    assert_eq!(code(admin_refund(&shop, "pay_9", 91, "k1").await), "not_found payment_not_found");
    let rest = admin_refund(&shop, "pay_1", 0, "k2").await.unwrap();
    assert_eq!((rest.refund.unwrap().amount, rest.payment.unwrap().status()), (cny(900), PaymentStatus::Refunded));
    assert_eq!(admin_refund(&shop, "pay_1", 0, "k2").await.unwrap().refund.unwrap().amount, cny(900));
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_import_records_refunds_with_their_paper_even_unmatched() {
    let shop = Shop::open().await;
    let external = StartPaymentRequest { method: "external".into(), ..wish("pay_1", "ord_1", "") };
    shop.start(external).await.unwrap();
    let paper = |order: &str, id: &str| RefundOrderRequest {
        order_id: order.into(),
        refund_id: id.into(),
        amount: cny(300),
        reason: "credit note".into(),
        reference: "C536379".into(),
        customer: "14527".into(),
        country: "United Kingdom".into(),
        lines: vec![RefundLine { sku_id: "sku_1".into(), code: "D".into(), quantity: 1, amount: cny(300), row: 12 }],
    };
    as_system(async {
        for request in [paper("ord_1", "ref_1"), paper("", "ref_2"), paper("", "ref_2")] {
            shop.payments.clone().refund_order(request).await.unwrap();
        }
        let refunds =
            shop.payments.clone().scan_refunds(ScanRefundsRequest::default()).await.unwrap().into_inner().refunds;
        assert_eq!(refunds.len(), 2);
        assert_eq!((refunds[0].payment_id.as_str(), refunds[1].payment_id.as_str()), ("pay_1", ""));
        assert_eq!((refunds[1].reference.as_str(), refunds[1].lines.len()), ("C536379", 1));
        assert_eq!(refunds[1].lines, paper("", "").lines);
    })
    .await;
    let accounts = [
        ("external:CNY".to_owned(), 390, 0),
        ("refunds:CNY".to_owned(), 300, 0),
        ("refunds_unmatched:CNY".to_owned(), 300, 0),
        ("sales:CNY".to_owned(), -990, 0),
    ];
    assert_eq!(shop.accounts().await, accounts);
    assert_eq!(shop.broken().await, [""; 0]);
    let refused = as_admin("usr_9", async {
        shop.payments.clone().refund_order(paper("", "ref_3")).await.map_err(mallard_rpc::error)
    });
    assert_eq!(code(refused.await), "forbidden internal_only");
}

#[tokio::test(start_paused = true)]
async fn a_refund_without_an_answer_is_asked_again_until_there_is_one() {
    let mut settings = simulated(4);
    settings.config = settings
        .config
        .set("payment.acquirer.refund.unknown_before_percent", 40)
        .set("payment.acquirer.refund.unknown_after_percent", 40);
    let shop = Shop::with(settings).await;
    let mut pending = 0;
    for i in 0..20 {
        let order = format!("ord_{i}");
        shop.pay(&format!("pay_{i}"), &order, VISA).await.unwrap();
        let refund = shop.refund(&order, &format!("ref_{i}"), cny(500)).await.unwrap().refund.unwrap();
        if refund.status() == RefundStatus::Pending {
            pending += 1;
            assert_eq!(code(shop.refund(&order, "ref_more", cny(491)).await), "refused refund_exceeds_captured");
        }
    }
    assert!(pending > 5, "{pending}");
    shop.settle().await;
    assert_eq!(shop.movements(Book::Refunds).await.len(), 20);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refunds_never_give_back_more_than_came_in() {
    let shop = Shop::open().await;
    for round in 0..10 {
        let order = format!("ord_{round}");
        shop.pay(&format!("pay_{round}"), &order, VISA).await.unwrap();
        let refunds: Vec<_> = (0..30)
            .map(|i| {
                let (shop, order) = (shop.clone(), order.clone());
                tokio::spawn(async move { shop.refund(&order, &format!("ref_{round}_{i:02}"), cny(100)).await })
            })
            .collect();
        let mut given = 0;
        for refund in refunds {
            match refund.await.unwrap() {
                Ok(_) => given += 1,
                Err(error) => assert_eq!(error.code, "refund_exceeds_captured"),
            }
        }
        assert_eq!(given, 9, "nine times 100 fit into 990");
    }
    assert_eq!(shop.broken().await, [""; 0]);
}
