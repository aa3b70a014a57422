//! Paying by card and otherwise.

use mallard_payment::acquirer::Book;
use mallard_payment::domain::card::{Brand, TEST_NUMBERS, TestBehaviour};
use mallard_proto::common::v1::RunChecksRequest;
use mallard_proto::payment::v1::*;
use mallard_rpc::Call;
use mallard_testkit::{as_guest, as_system, as_user};
use mallard_types::Result;

use crate::shop::*;

#[tokio::test(start_paused = true)]
async fn every_good_test_card_is_charged_once_and_shows_brand_and_last_four() {
    let shop = Shop::open().await;
    let mut charged = 0;
    for (i, (number, behaviour)) in TEST_NUMBERS.iter().enumerate() {
        if *behaviour != TestBehaviour::Succeeds {
            continue;
        }
        charged += 1;
        let payment = shop.pay(&format!("pay_{i:02}"), &format!("ord_{i:02}"), number).await.unwrap();
        assert_eq!(payment.status(), PaymentStatus::Captured, "{number}");
        assert_eq!((payment.captured, payment.refunded), (cny(990), cny(0)));
        let face = payment.card.unwrap();
        assert_eq!(
            (face.brand.as_str(), face.last4.as_str()),
            (Brand::of(number).as_str(), &number[number.len() - 4..])
        );
    }
    assert_eq!(shop.movements(Book::Captures).await.len(), charged);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_declined_card_fails_the_payment_says_why_and_the_next_card_may_pay() {
    let shop = Shop::open().await;
    for (i, (number, behaviour)) in TEST_NUMBERS.iter().enumerate() {
        let TestBehaviour::Declines(reason) = behaviour else { continue };
        let order = format!("ord_{i}");
        let payment = shop.pay(&format!("pay_{i}_a"), &order, number).await.unwrap();
        assert_eq!(payment.status(), PaymentStatus::Failed);
        let failure = payment.failure.unwrap();
        assert_eq!(failure.code, *reason);
        assert!(failure.message.ends_with('.'));
        let again = shop.pay(&format!("pay_{i}_a"), &order, VISA).await.unwrap();
        assert_eq!(again.status(), PaymentStatus::Failed, "the same payment id is the same attempt");
        let paid = shop.pay(&format!("pay_{i}_b"), &order, VISA).await.unwrap();
        assert_eq!((paid.status(), paid.failure), (PaymentStatus::Captured, None));
    }
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn money_that_moved_without_an_answer_is_found_and_charged_exactly_once() {
    let shop = Shop::open().await;
    let token = shop.token(LOST_ANSWER).await;
    let payment = shop.start(wish("pay_1", "ord_1", &token)).await.unwrap();
    assert_eq!(payment.status(), PaymentStatus::Pending);
    assert!(shop.broken().await.iter().any(|check| check.starts_with("payment.no_unknown_left")));
    let resolved = shop.resolve("ord_1").await.unwrap();
    assert!(!resolved.unknown);
    let payment = resolved.payment.unwrap();
    assert_eq!((payment.id.as_str(), payment.status()), ("pay_1", PaymentStatus::Captured));
    let other = shop.pay("pay_2", "ord_1", VISA).await.unwrap();
    assert_eq!((other.id.as_str(), other.status()), ("pay_1", PaymentStatus::Captured));
    assert_eq!(shop.movements(Book::Captures).await.len(), 1);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn books_read_while_a_payment_is_on_its_way_are_not_wrong() {
    let shop = Shop::with(simulated(1)).await;
    let payment = shop.pay("pay_1", "ord_1", LOST_ANSWER).await.unwrap();
    assert_eq!(payment.status(), PaymentStatus::Pending);
    assert_eq!(shop.broken().await, [""; 0], "the sweep has settled it while it was looked at");
    assert_eq!(shop.payment("pay_1").await.status(), PaymentStatus::Captured);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_payment_settles_by_itself() {
    let shop = Shop::with(simulated(1)).await;
    let payment = shop.pay("pay_1", "ord_1", LOST_ANSWER).await.unwrap();
    assert_eq!(payment.status(), PaymentStatus::Pending);
    shop.settle().await;
    assert_eq!(shop.payment("pay_1").await.status(), PaymentStatus::Captured);
    assert_eq!(shop.movements(Book::Captures).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_charge_the_provider_never_saw_is_withdrawn_and_the_order_can_be_paid_again() {
    let mut settings = simulated(1);
    settings.config = settings.config.set("payment.acquirer.charge.unknown_before_percent", 100);
    let shop = Shop::with(settings).await;
    assert_eq!(shop.pay("pay_1", "ord_1", VISA).await.unwrap().status(), PaymentStatus::Pending);
    let resolved = shop.resolve("ord_1").await.unwrap();
    let payment = resolved.payment.unwrap();
    assert_eq!((resolved.unknown, payment.status()), (false, PaymentStatus::Failed));
    assert_eq!(payment.failure.unwrap().code, "provider_no_answer");
    assert!(shop.movements(Book::Captures).await.is_empty());
    assert_eq!(shop.broken().await, [""; 0]);
    let second = shop.pay("pay_2", "ord_1", VISA).await.unwrap();
    assert_eq!((second.id.as_str(), second.status()), ("pay_2", PaymentStatus::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_slow_provider_leaves_the_payment_unknown_within_the_limit() {
    let mut settings = simulated(3);
    settings.config = settings
        .config
        .set("payment.acquirer.charge.slow_percent", 100)
        .set("payment.acquirer.charge.slow_ms", 600_000)
        .set("payment.provider_timeout_ms", 2_000);
    let shop = Shop::with(settings).await;
    let started = tokio::time::Instant::now();
    assert_eq!(shop.pay("pay_1", "ord_1", VISA).await.unwrap().status(), PaymentStatus::Pending);
    assert!(started.elapsed().as_millis() <= 2_100, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_parallel_starts_of_one_payment_charge_once() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    let starts: Vec<_> = (0..50)
        .map(|_| {
            let (shop, request) = (shop.clone(), wish("pay_1", "ord_1", &token));
            tokio::spawn(async move { shop.start(request).await })
        })
        .collect();
    for start in starts {
        let payment = start.await.unwrap().unwrap();
        assert_eq!((payment.id.as_str(), payment.status()), ("pay_1", PaymentStatus::Captured));
    }
    assert_eq!(shop.movements(Book::Captures).await.len(), 1);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_attempts_at_one_order_charge_once() {
    let shop = Shop::open().await;
    for round in 0..20 {
        let order = format!("ord_{round}");
        let mut starts = Vec::new();
        for i in 0..8 {
            let token = shop.token(VISA).await;
            let (shop, request) = (shop.clone(), wish(&format!("pay_{round}_{i}"), &order, &token));
            starts.push(tokio::spawn(async move { shop.start(request).await }));
        }
        let mut captured = std::collections::BTreeSet::new();
        for start in starts {
            match start.await.unwrap() {
                Ok(payment) => assert!(captured.insert(payment.id) || captured.len() == 1),
                Err(error) => assert_eq!(error.code, "payment_in_progress"),
            }
        }
        assert_eq!(captured.len(), 1, "everybody is told of the same payment");
    }
    assert_eq!(shop.movements(Book::Captures).await.len(), 20);
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn amounts_and_currencies_must_fit_the_order() {
    let shop = Shop::open().await;
    let later =
        |pay: &str, order: &str, amount| StartPaymentRequest { amount, method: "later".into(), ..wish(pay, order, "") };
    assert_eq!(code(shop.start(later("pay_1", "ord_1", cny(-1))).await), "invalid amount_invalid");
    assert_eq!(code(shop.start(later("pay_1", "ord_1", None)).await), "invalid amount_invalid");
    assert_eq!(code(shop.start(later("", "ord_1", cny(1))).await), "invalid required");
    assert_eq!(code(shop.start(later("pay_1", "", cny(1))).await), "invalid required");
    shop.start(later("pay_1", "ord_1", cny(990))).await.unwrap();
    assert_eq!(code(shop.start(later("pay_2", "ord_1", cny(989))).await), "refused amount_mismatch");
    let euro = Some(mallard_proto::common::v1::Money { amount: 990, currency: "EUR".into() });
    assert_eq!(code(shop.start(later("pay_2", "ord_1", euro)).await), "refused currency_mismatch");
    assert_eq!(code(shop.start(later("pay_1", "ord_9", cny(990))).await), "refused idempotency_conflict");
    let free = shop.start(StartPaymentRequest { amount: cny(0), ..wish("pay_3", "ord_3", "") }).await.unwrap();
    assert_eq!((free.status(), free.captured), (PaymentStatus::Captured, cny(0)));
    assert!(shop.movements(Book::Captures).await.is_empty());
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn only_the_mall_itself_records_money_that_moved_elsewhere_and_it_may_be_long_ago() {
    let shop = Shop::open().await;
    let external =
        StartPaymentRequest { method: "external".into(), rounding_nanos: 4_000_000, ..wish("pay_1", "ord_1", "") };
    let refused: Result<_> = as_user(USER, async {
        shop.payments.clone().start_payment(external.clone()).await.map_err(mallard_rpc::error)
    })
    .await;
    assert_eq!(code(refused), "refused payment_method_unavailable");
    let long_ago = 1_300_000_000_000_000;
    let call = Call { at: Some(long_ago), ..Call::system("import") };
    let answer = mallard_rpc::scope(call, async { shop.payments.clone().start_payment(external).await.unwrap() }).await;
    let payment = answer.into_inner().payment.unwrap();
    assert_eq!((payment.status(), payment.created_at.unwrap().micros()), (PaymentStatus::Captured, long_ago));
    let accounts = [
        ("external:CNY".to_owned(), 990, 0),
        ("rounding:CNY".to_owned(), 0, 4_000_000),
        ("rounding_offset:CNY".to_owned(), 0, -4_000_000),
        ("sales:CNY".to_owned(), -990, 0),
    ];
    assert_eq!(shop.accounts().await, accounts);
    assert!(shop.movements(Book::Captures).await.is_empty());
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn methods_of_later_releases_are_refused_and_nonsense_is_invalid() {
    let shop = Shop::open().await;
    for (method, expected) in [
        ("alipay", "refused payment_method_unavailable"),
        ("wechat_pay", "refused payment_method_unavailable"),
        ("balance", "refused payment_method_unavailable"),
        ("cowrie", "invalid payment_method_invalid"),
    ] {
        let request = StartPaymentRequest { method: method.into(), ..wish("pay_1", "ord_1", "") };
        assert_eq!(code(shop.start(request).await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_waits_for_payment_is_paid_by_card_and_the_waiting_payment_ends() {
    let shop = Shop::open().await;
    let later = StartPaymentRequest { method: "later".into(), ..wish("pay_1", "ord_1", "") };
    let waiting = shop.start(later.clone()).await.unwrap();
    assert_eq!((waiting.status(), waiting.action.unwrap().r#type.as_str()), (PaymentStatus::Pending, "none"));
    let resolved = shop.resolve("ord_1").await.unwrap();
    assert_eq!((resolved.unknown, resolved.payment.unwrap().status()), (false, PaymentStatus::Pending));
    let paid = shop.pay("pay_2", "ord_1", VISA).await.unwrap();
    assert_eq!((paid.id.as_str(), paid.status()), ("pay_2", PaymentStatus::Captured));
    assert_eq!(shop.start(later).await.unwrap().status(), PaymentStatus::Cancelled);
    assert_eq!(shop.resolve("ord_1").await.unwrap().payment.unwrap().id, "pay_2");
    assert_eq!(shop.broken().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_order_nobody_tried_to_pay_has_no_payment() {
    let shop = Shop::open().await;
    let resolved = shop.resolve("ord_1").await.unwrap();
    assert_eq!((resolved.payment, resolved.unknown), (None, false));
}

#[tokio::test(start_paused = true)]
async fn nobody_pays_sees_or_cancels_in_the_name_of_another() {
    let shop = Shop::open().await;
    let mine = StartPaymentRequest { method: "later".into(), ..wish("pay_1", "ord_1", "") };
    shop.start(mine.clone()).await.unwrap();
    let get = GetPaymentRequest { id: "pay_1".into() };
    let cancel = CancelPaymentRequest { id: "pay_1".into() };
    as_user("usr_2", async {
        let mut payments = shop.payments.clone();
        assert_eq!(
            code(payments.start_payment(mine.clone()).await.map_err(mallard_rpc::error)),
            "not_found payment_not_found"
        );
        assert_eq!(
            code(payments.get_payment(get.clone()).await.map_err(mallard_rpc::error)),
            "not_found payment_not_found"
        );
        assert_eq!(
            code(payments.cancel_payment(cancel.clone()).await.map_err(mallard_rpc::error)),
            "not_found payment_not_found"
        );
        let resolve = ResolvePaymentRequest { order_id: "ord_1".into() };
        assert_eq!(
            code(payments.resolve_payment(resolve).await.map_err(mallard_rpc::error)),
            "not_found payment_not_found"
        );
        let close = CloseOrderPaymentsRequest { order_id: "ord_1".into(), ..Default::default() };
        assert_eq!(
            code(payments.close_order_payments(close).await.map_err(mallard_rpc::error)),
            "forbidden internal_only"
        );
        assert_eq!(
            code(payments.run_checks(RunChecksRequest {}).await.map_err(mallard_rpc::error)),
            "forbidden internal_only"
        );
    })
    .await;
    as_guest(async {
        let mut payments = shop.payments.clone();
        assert_eq!(
            code(payments.start_payment(mine).await.map_err(mallard_rpc::error)),
            "unauthenticated unauthenticated"
        );
        assert_eq!(
            code(payments.get_payment(get.clone()).await.map_err(mallard_rpc::error)),
            "unauthenticated unauthenticated"
        );
        let entered = TokeniseRequest { input: Some(card(VISA)) };
        assert_eq!(
            code(payments.tokenise(entered).await.map_err(mallard_rpc::error)),
            "unauthenticated unauthenticated"
        );
    })
    .await;
    as_user(USER, async {
        let mut payments = shop.payments.clone();
        assert_eq!(payments.get_payment(get).await.unwrap().into_inner().payment.unwrap().id, "pay_1");
        for _ in 0..2 {
            let cancelled = payments.cancel_payment(cancel.clone()).await.unwrap().into_inner().payment.unwrap();
            assert_eq!(cancelled.status(), PaymentStatus::Cancelled);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_card_belongs_to_the_shopper_who_entered_it() {
    let shop = Shop::open().await;
    let request = TokeniseRequest { input: Some(card(VISA)) };
    let token =
        as_user("usr_2", async { shop.payments.clone().tokenise(request).await.unwrap().into_inner().card_token })
            .await;
    assert_eq!(code(shop.start(wish("pay_1", "ord_1", &token)).await), "refused card_token_expired");
    assert_eq!(code(shop.start(wish("pay_1", "ord_1", "")).await), "invalid card_token_required");
}

#[tokio::test(start_paused = true)]
async fn a_card_is_forgotten_after_ten_minutes() {
    let shop = Shop::with(simulated(1)).await;
    let (early, late) = (shop.token(VISA).await, shop.token(VISA).await);
    tokio::time::sleep(std::time::Duration::from_secs(599)).await;
    assert_eq!(shop.start(wish("pay_1", "ord_1", &early)).await.unwrap().status(), PaymentStatus::Captured);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(code(shop.start(wish("pay_2", "ord_2", &late)).await), "refused card_token_expired");
    let again = shop.start(wish("pay_1", "ord_1", &early)).await.unwrap();
    assert_eq!(again.status(), PaymentStatus::Captured, "a repeat needs no card");
}

#[tokio::test(start_paused = true)]
async fn a_bad_card_is_refused_where_it_is_entered_and_names_the_field() {
    let shop = Shop::open().await;
    let refusals = [
        (PaymentInput { number: "aaaaaaaaaaaaaaaa".into(), ..card(VISA) }, "card_number_invalid", "payment.number"),
        (PaymentInput { cvc: "12".into(), ..card(VISA) }, "card_cvc_invalid", "payment.cvc"),
        (PaymentInput { exp_year: 2020, ..card(VISA) }, "card_expired", "payment.exp_year"),
        (PaymentInput { exp_month: 13, ..card(VISA) }, "card_expiry_invalid", "payment.exp_month"),
        (PaymentInput { number: "4539578763621486".into(), ..card(VISA) }, "test_card_required", "payment.number"),
        (PaymentInput { method: "later".into(), ..card(VISA) }, "payment_method_invalid", "payment.method"),
    ];
    for (input, expected, param) in refusals {
        let request = TokeniseRequest { input: Some(input) };
        let error =
            as_system(async { shop.payments.clone().tokenise(request).await.map_err(mallard_rpc::error).unwrap_err() })
                .await;
        assert_eq!((error.code.as_ref(), error.param.as_deref()), (expected, Some(param)));
    }
}
