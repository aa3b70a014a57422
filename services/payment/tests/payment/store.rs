//! One suite for the store, on every engine.

use mallard_db::MemoryDisk;
use mallard_payment::domain::{
    Gate, Opening, Outcome, Payment, Plan, Posting, Refund, RefundLine, RefundRequest, Status,
};
use mallard_payment::store::{Change, Due, EntryFilter, PaymentFilter, Store};
use mallard_runtime::{Settings, Storage};
use mallard_testkit::pgtest::PgServer;
use mallard_types::{Currency, Money};

use crate::shop::{NOW, settings};

fn payment(i: i64, method: &str, amount: i64) -> Payment {
    let amount = Money::new(amount, Currency::CNY);
    let (method, plan) = Plan::choose(method, amount, true).unwrap();
    let opening = Opening {
        payment_id: format!("pay_{i:04}"),
        order_id: format!("ord_{i:04}"),
        user_id: "usr_1".into(),
        amount,
        method,
        plan,
        rounding_nanos: 7,
    };
    opening.payment(None, NOW, NOW + i)
}

fn gate(payment: &Payment) -> Gate {
    Gate { order_id: payment.order_id.clone(), payment_id: payment.id.clone(), closed: false, version: 1 }
}

async fn open(store: &Store, payment: &Payment) -> bool {
    let change = Change { gate: Some((&gate(payment), true)), opened: Some(payment), ..Change::default() };
    store.write("test.open", change).await.unwrap()
}

async fn capture(store: &Store, payment: &Payment) -> Payment {
    let moved = Outcome::Captured { provider_ref: "acq_1".into() };
    let next = payment.settle(&moved, NOW, NOW).unwrap().unwrap();
    let posting = Posting::capture(&next, NOW);
    let change = Change { saved: vec![&next], posting: Some(&posting), ..Change::default() };
    assert!(store.write("test.capture", change).await.unwrap());
    next
}

/// What every engine must do.
async fn suite(storage: Storage) {
    let mall = mallard_testkit::start(Settings { storage, ..settings() }).await;
    let context = mall.context("payment").unwrap().clone();
    // Or the background would settle what is due, as soon as it comes by.
    mall.stop().await;
    let store = Store::new(context.db(), context.outbox());
    payments_survive_the_round_trip(&store).await;
    a_stale_write_writes_nothing(&store).await;
    a_gate_is_taken_once(&store).await;
    refunds_survive_the_round_trip(&store).await;
    pages_and_filters_fit_together(&store).await;
    due_rows_come_in_order(&store).await;
}

async fn payments_survive_the_round_trip(store: &Store) {
    let mut full = payment(1, "card", 990);
    full.card = Some(mallard_payment::domain::CardFace { brand: "visa".into(), last4: "4242".into() });
    assert!(open(store, &full).await);
    assert_eq!(store.payment(&full.id).await.unwrap().as_ref(), Some(&full));
    assert_eq!(store.holder(&full.order_id).await.unwrap().as_ref(), Some(&full));
    let failed = full
        .settle(&Outcome::Declined(mallard_payment::domain::Failure::of("card_declined")), NOW, NOW)
        .unwrap()
        .unwrap();
    assert!(store.write("test.save", Change { saved: vec![&failed], ..Change::default() }).await.unwrap());
    assert_eq!(store.payment(&full.id).await.unwrap(), Some(failed));
    assert_eq!(store.payment("pay_none").await.unwrap(), None);
}

async fn a_stale_write_writes_nothing(store: &Store) {
    let first = payment(2, "card", 990);
    assert!(open(store, &first).await);
    let captured = capture(store, &first).await;
    let entries = store.count_entries().await.unwrap();
    let moved = Outcome::Captured { provider_ref: "acq_1".into() };
    let stale = first.settle(&moved, NOW, NOW).unwrap().unwrap();
    let posting = Posting { transaction_id: "other".into(), ..Posting::capture(&stale, NOW) };
    let change = Change { saved: vec![&stale], posting: Some(&posting), ..Change::default() };
    assert!(!store.write("test.stale", change).await.unwrap());
    assert_eq!(store.count_entries().await.unwrap(), entries);
    assert_eq!(store.payment(&first.id).await.unwrap(), Some(captured.clone()));
    let change = Change { posting: Some(&Posting::capture(&captured, NOW)), ..Change::default() };
    assert!(store.write("test.twice", change).await.is_err(), "the ledger never says the same thing twice");
}

async fn a_gate_is_taken_once(store: &Store) {
    let first = payment(3, "later", 990);
    assert!(open(store, &first).await);
    let rival = Payment { id: "pay_rival".into(), ..first.clone() };
    assert!(!open(store, &rival).await);
    assert_eq!(store.payment("pay_rival").await.unwrap(), None);
    let held = store.gate(&first.order_id).await.unwrap().unwrap();
    assert_eq!(held, gate(&first));
    let shut = Gate { closed: true, version: 2, ..held };
    for expected in [true, false] {
        let change = Change { gate: Some((&shut, false)), ..Change::default() };
        assert_eq!(store.write("test.shut", change).await.unwrap(), expected);
    }
}

async fn refunds_survive_the_round_trip(store: &Store) {
    let first = payment(4, "card", 990);
    assert!(open(store, &first).await);
    let captured = capture(store, &first).await;
    let line = RefundLine {
        sku_id: "sku_1".into(),
        code: "85123A".into(),
        quantity: 6,
        amount: Some(Money::new(90, Currency::CNY)),
        row: 7,
    };
    let bare = RefundLine { amount: None, ..line.clone() };
    let request = RefundRequest {
        amount: Some(Money::new(90, Currency::CNY)),
        reference: "C536379".into(),
        customer: "14527".into(),
        country: "Österreich".into(),
        lines: vec![line, bare],
        ..RefundRequest::rest("ref_1".into(), "too big")
    };
    let (next, refund) = Refund::begin(&captured, &request, NOW, NOW + 5).unwrap();
    let change = || Change { saved: vec![&next], refund_opened: Some(&refund), ..Change::default() };
    assert!(store.write("test.refund", change()).await.unwrap());
    assert!(!store.write("test.refund", change()).await.unwrap(), "once");
    assert_eq!(store.refund("ref_1").await.unwrap().as_ref(), Some(&refund));
    assert_eq!(store.pending_refunds(&first.id).await.unwrap(), vec![refund.clone()]);
    assert_eq!(store.refund_sums(&first.id, &first.id).await.unwrap(), [(first.id.clone(), 0, 90)]);
    let later = refund.postpone(NOW);
    assert!(store.write("test.postpone", Change { refund_saved: Some(&later), ..Change::default() }).await.unwrap());
    assert!(!store.write("test.postpone", Change { refund_saved: Some(&later), ..Change::default() }).await.unwrap());
    assert_eq!(store.scan_refunds("", 10).await.unwrap(), vec![later]);
}

async fn pages_and_filters_fit_together(store: &Store) {
    for i in 100..110 {
        assert!(open(store, &payment(i, "external", 100)).await);
    }
    let filter =
        PaymentFilter { status: Some(Status::Captured), before_id: "pay_0105".into(), ..PaymentFilter::default() };
    let ids: Vec<_> = store.payments(&filter, 3).await.unwrap().into_iter().map(|p| p.id).collect();
    assert_eq!(ids, ["pay_0104", "pay_0103", "pay_0102"]);
    assert_eq!(store.count_payments(&filter).await.unwrap(), 12, "the page does not matter to the count");
    let one = PaymentFilter { order_id: "ord_0107".into(), ..PaymentFilter::default() };
    assert_eq!(store.payments(&one, 10).await.unwrap().len(), 1);
    let ids: Vec<_> = store.scan_payments("pay_0107", 10).await.unwrap().into_iter().map(|p| p.id).collect();
    assert_eq!(ids, ["pay_0108", "pay_0109"]);

    let own = EntryFilter { order_id: "ord_0004".into(), ..EntryFilter::default() };
    let entries = store.entries(&own, 10).await.unwrap();
    let accounts: Vec<_> = entries.iter().map(|e| e.account.as_str()).collect();
    assert_eq!(accounts, ["rounding_offset:CNY", "rounding:CNY", "sales:CNY", "acquirer:CNY"]);
    let older = EntryFilter { before_seq: Some(entries[1].seq), account: "sales:CNY".into(), ..own };
    assert_eq!(store.entries(&older, 10).await.unwrap(), entries[2..3]);
    assert_eq!(store.entries_of("pay_0004", "pay_0004").await.unwrap().len(), 4);
    assert_eq!(store.scan_entries(entries[3].seq, 10).await.unwrap().len(), 3);
    let sales = store.balances().await.unwrap().into_iter().find(|b| b.account == "rounding:CNY").unwrap();
    assert_eq!((sales.balance, sales.nanos), (0, 14));

    let twin = Payment { id: "pay_0104x".into(), ..payment(104, "external", 100) };
    assert!(store.write("test.twin", Change { opened: Some(&twin), ..Change::default() }).await.unwrap());
    let beside = store.captures_beside_the_gate("pay_0101", "pay_0109").await.unwrap();
    assert_eq!(beside, [("pay_0104x".to_owned(), "ord_0104".to_owned())]);
}

async fn due_rows_come_in_order(store: &Store) {
    for i in [203, 201, 202] {
        assert!(open(store, &payment(i, "card", 100)).await);
    }
    let due = |ids: &[i64]| ids.iter().map(|i| Due::Payment(format!("pay_{i:04}"))).collect::<Vec<_>>();
    assert_eq!(store.due(NOW - 1).await.unwrap(), []);
    assert_eq!(store.due(NOW + 202).await.unwrap()[..2], due(&[201, 202]));
    store.postpone(&due(&[201])[0], NOW + 1_000).await.unwrap();
    assert_eq!(store.due(NOW + 300).await.unwrap()[..2], due(&[202, 203]));
    let all = store.due(NOW + 10_000_000).await.unwrap();
    assert!(all.contains(&Due::Refund("ref_1".into())));
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn the_store_works_in_memory() {
    suite(Storage::Memory(MemoryDisk::new())).await;
}

#[tokio::test]
async fn the_store_works_on_sqlite_files() {
    let folder = tempfile::tempdir().unwrap();
    suite(Storage::Folder(folder.path().to_owned())).await;
}

#[tokio::test]
async fn the_store_works_on_postgresql() {
    let Some(server) = PgServer::shared() else { return };
    suite(Storage::Postgres { url: server.fresh_url().await, pool_max: 4 }).await;
}
