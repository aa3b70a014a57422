//! Lists, the ledger, and the checks that must notice planted bugs.

use mallard_proto::payment::v1::*;
use mallard_testkit::{as_admin, as_user};

use crate::shop::*;

#[tokio::test(start_paused = true)]
async fn operators_page_through_payments_newest_first_and_shoppers_may_not() {
    let shop = Shop::open().await;
    for i in 0..7 {
        let number = if i == 3 { DECLINED } else { VISA };
        shop.pay(&format!("pay_{i}"), &format!("ord_{i}"), number).await.unwrap();
    }
    let list = |status: &str, order_id: &str, cursor: &str| AdminListPaymentsRequest {
        status: status.into(),
        order_id: order_id.into(),
        limit: 3,
        cursor: cursor.into(),
        count: true,
    };
    as_admin("usr_9", async {
        let mut payments = shop.payments.clone();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = payments.admin_list_payments(list("captured", "", &cursor)).await.unwrap().into_inner();
            assert_eq!(page.count, Some(6));
            seen.extend(page.payments.into_iter().map(|payment| payment.id));
            if page.next_cursor.is_empty() {
                break;
            }
            cursor = page.next_cursor;
        }
        assert_eq!(seen, ["pay_6", "pay_5", "pay_4", "pay_2", "pay_1", "pay_0"]);
        let one = payments.admin_list_payments(list("", "ord_3", "")).await.unwrap().into_inner();
        assert_eq!((one.payments.len(), one.payments[0].status()), (1, PaymentStatus::Failed));
        let bad = payments.admin_list_payments(list("paid", "", "")).await.map_err(mallard_rpc::error);
        assert_eq!(code(bad), "invalid status_invalid");
        let bad = payments.admin_list_payments(list("", "", "zz")).await.map_err(mallard_rpc::error);
        assert_eq!(code(bad), "invalid bad_cursor");
    })
    .await;
    as_user(USER, async {
        let mut payments = shop.payments.clone();
        let refused = payments.admin_list_payments(list("", "", "")).await.map_err(mallard_rpc::error);
        assert_eq!(code(refused), "forbidden forbidden");
        let refused = payments.list_ledger_accounts(ListLedgerAccountsRequest {}).await.map_err(mallard_rpc::error);
        assert_eq!(code(refused), "forbidden forbidden");
        let refused = payments.scan_payments(ScanPaymentsRequest::default()).await.map_err(mallard_rpc::error);
        assert_eq!(code(refused), "forbidden forbidden");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_ledger_shows_both_sides_of_every_movement_of_an_order() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    shop.pay("pay_2", "ord_2", VISA).await.unwrap();
    shop.refund("ord_1", "ref_1", cny(90)).await.unwrap();
    as_admin("usr_9", async {
        let mut payments = shop.payments.clone();
        let request = ListLedgerEntriesRequest { order_id: "ord_1".into(), ..Default::default() };
        let entries = payments.list_ledger_entries(request).await.unwrap().into_inner().entries;
        let shown: Vec<_> =
            entries.iter().map(|e| (e.transaction_id.as_str(), e.account.as_str(), e.debit, e.credit)).collect();
        let expected = [
            ("ref_1", "acquirer:CNY", 0, 90),
            ("ref_1", "refunds:CNY", 90, 0),
            ("pay_1", "sales:CNY", 0, 990),
            ("pay_1", "acquirer:CNY", 990, 0),
        ];
        assert_eq!(shown, expected);
        let mut cursor = String::new();
        let mut seqs = Vec::new();
        loop {
            let request =
                ListLedgerEntriesRequest { account: "acquirer:CNY".into(), limit: 1, cursor, ..Default::default() };
            let page = payments.list_ledger_entries(request).await.unwrap().into_inner();
            seqs.extend(page.entries.iter().map(|entry| entry.seq));
            cursor = page.next_cursor;
            if cursor.is_empty() {
                break;
            }
        }
        assert_eq!(seqs.len(), 3);
        assert!(seqs.is_sorted_by(|a, b| a > b));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_checks_notice_a_second_capture() {
    let mut settings = settings();
    settings.switches.insert("payment.double_capture".into());
    let shop = Shop::with(settings).await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    let broken = shop.broken().await;
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].starts_with("payment.one_capture_per_order: 1 broken"), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn the_checks_notice_a_ledger_out_of_balance() {
    let mut settings = settings();
    settings.switches.insert("payment.unbalanced_ledger".into());
    let shop = Shop::with(settings).await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    let broken = shop.broken().await;
    assert!(broken.iter().any(|check| check.starts_with("ledger.balanced: 2 broken: pay_1 is out by 1")), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn the_checks_notice_rows_that_were_tampered_with() {
    let tampering = [
        ("UPDATE payments SET refunded = 1", "payment.refunds_within_captured"),
        ("UPDATE payments SET captured = captured + 1", "ledger.folds_to_payments"),
        ("DELETE FROM ledger_entries", "ledger.folds_to_payments"),
        ("UPDATE ledger_entries SET transaction_id = 'x' || transaction_id", "ledger.folds_to_payments"),
        ("UPDATE ledger_entries SET nanos = 1 WHERE seq = 1", "ledger.balanced"),
        ("UPDATE payments SET status = 'cancelled', captured = 0", "payment.provider_agrees"),
        ("UPDATE payments SET status = 'pending', captured = 0", "payment.no_unknown_left"),
        ("UPDATE order_payments SET payment_id = ''", "payment.one_capture_per_order"),
        ("UPDATE refunds SET amount = amount + 1", "payment.refunds_within_captured"),
        ("DELETE FROM refunds", "payment.provider_agrees"),
    ];
    for (sql, check) in tampering {
        let shop = Shop::open().await;
        shop.pay("pay_1", "ord_1", VISA).await.unwrap();
        shop.refund("ord_1", "ref_1", cny(90)).await.unwrap();
        assert_eq!(shop.broken().await, [""; 0]);
        let db = shop.mall.context("payment").unwrap().db();
        db.apply(mallard_db::Unit::new("tamper").exec(sql, vec![])).await.unwrap();
        let broken = shop.broken().await;
        assert!(broken.iter().any(|broken| broken.starts_with(check)), "{sql}: {broken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_checks_notice_money_only_one_side_knows_of() {
    let shop = Shop::open().await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    let context = shop.mall.context("payment").unwrap();
    let acquirer = context.open_db("acquirer", mallard_payment::acquirer::migrations::ALL).await.unwrap();
    acquirer
        .apply(mallard_db::Unit::new("tamper").exec("UPDATE charges SET charge_key = 'pay_0'", vec![]))
        .await
        .unwrap();
    let broken = shop.broken().await;
    assert_eq!(broken.len(), 1);
    assert!(broken[0].contains("under pay_0, we know nothing of it"), "{broken:?}");
    assert!(broken[0].contains("with pay_1, the provider did not"), "{broken:?}");
}
