//! Does the checker notice? Bugs are planted, by switches that only tests can turn on and by hand in the rows, and `check`
//! must name exactly what they break. Without them the same actions leave every book balanced.

use mallard_db::params;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::cart::v1::{AddLineRequest, MergeCartRequest};
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::identity::v1::{CreateUserRequest, DeleteMeRequest, LoginRequest};
use mallard_proto::inventory::v1::ReleaseRequest;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::order::v1::Order;
use mallard_proto::payment::v1::AdminRefundRequest;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_runtime::Mall;
use mallard_testkit::{as_guest, as_system, as_user};
use mallard_tests::world::*;
use tokio::time::{Duration, sleep};

const GOOD: &str = "4242424242424242";
const PRICE: i64 = 990;
/// How old an undelivered event is before the checker complains, and a little more.
const EVENT_AGE: Duration = Duration::from_secs(65);

/// Does the same with and without a planted bug: without it every check is green, with it exactly these are red.
fn planted(switch: &str, expected: &[&str], act: impl AsyncFn(&Mall)) {
    for plant in [false, true] {
        let mut world = World::new(7_000).faults(Twice(&["order.Deliver"]));
        if plant {
            world = world.switch(switch);
        }
        let red = world.calmly(async |mall| {
            list(mall, 0, PRICE, 50).await;
            act(mall).await;
            sleep(Duration::from_secs(1)).await;
            red(mall).await
        });
        let names: Vec<_> = red.iter().map(|check| check.name.as_str()).collect();
        let said: Vec<_> = red.iter().map(|check| format!("{}: {}", check.name, check.detail)).collect();
        let expected = if plant { expected } else { &[] };
        assert_eq!(names, expected, "{switch} planted: {plant}\n{}", said.join("\n"));
    }
}

async fn buy(mall: &Mall, i: u32) -> Order {
    let placed =
        Buyer::new(mall, i).place(order("buy", &[(0, 2)], 2 * PRICE, card(GOOD))).await.expect("the order is placed");
    placed.order.expect("an order")
}

async fn wait_to_pay(mall: &Mall, i: u32) -> Order {
    let placed =
        Buyer::new(mall, i).place(order("later", &[(0, 3)], 3 * PRICE, later())).await.expect("the order is placed");
    placed.order.expect("an order")
}

/// Gives money back at the payment; the order learns of it by an event.
async fn refund_at_payment(mall: &Mall, order: &Order) {
    let mut client: PaymentServiceClient<ServiceChannel> = mall.client();
    let request = AdminRefundRequest {
        id: order.payment_id.clone(),
        amount: Some(cny(100)),
        reason: "scratched".into(),
        idempotency_key: "r".into(),
    };
    as_system(client.admin_refund(request)).await.expect("a refund");
}

#[test]
fn a_sale_without_its_ledger_entry_breaks_the_conservation_of_stock() {
    planted("inventory.skip_ledger", &["stock.conservation"], async |mall| drop(buy(mall, 1).await));
}

#[test]
fn units_that_come_back_twice_break_what_is_reserved() {
    planted("inventory.release_twice", &["stock.reserved_is_open_reservations"], async |mall| {
        let order = wait_to_pay(mall, 1).await;
        // Somebody else's units are what a second release takes.
        wait_to_pay(mall, 2).await;
        Buyer::new(mall, 1).cancel(&order.id).await.expect("cancelled");
        let mut client: InventoryServiceClient<ServiceChannel> = mall.client();
        as_system(client.release(ReleaseRequest { id: order.id })).await.expect("releasing again is no error");
    });
}

#[test]
fn a_card_charged_twice_breaks_the_gate_and_the_order() {
    planted(
        "payment.double_capture",
        &["order.captured_equals_total", "payment.one_capture_per_order"],
        async |mall| {
            buy(mall, 1).await;
        },
    );
}

#[test]
fn a_posting_that_does_not_balance_breaks_the_ledger() {
    planted("payment.unbalanced_ledger", &["ledger.balanced"], async |mall| drop(buy(mall, 1).await));
}

#[test]
fn a_merge_that_leaves_the_guests_lines_is_seen() {
    planted("cart.merge_keeps_guest_lines", &["cart.merged_carts_are_empty"], async |mall| {
        let mut client: CartServiceClient<ServiceChannel> = mall.client();
        let line = AddLineRequest { sku_id: sku(0), quantity: 2, ..Default::default() };
        let cart_token = as_guest(client.add_line(line)).await.expect("a guest's cart").into_inner().cart_token;
        as_user(&user(1), client.merge_cart(MergeCartRequest { cart_token })).await.expect("merged");
    });
}

#[test]
fn an_order_that_takes_too_much_out_of_the_cart_is_seen() {
    planted("cart.ordered_below_zero", &["cart.quantities_positive"], async |mall| {
        let shopper = Buyer::new(mall, 1);
        shopper.add(0, 1).await.expect("room in the cart");
        // Twice what the cart holds, bought beside the cart.
        buy(mall, 1).await;
    });
}

#[test]
fn a_session_that_outlives_its_account_is_seen() {
    planted("identity.deletion_keeps_sessions", &["identity.sessions_belong_to_users"], async |mall| {
        let mut client: IdentityServiceClient<ServiceChannel> = mall.client();
        let (email, password) = ("ada@shop.test".to_owned(), "correct horse battery".to_owned());
        let request = CreateUserRequest { email: email.clone(), password: password.clone(), ..Default::default() };
        let made = as_system(client.create_user(request)).await.expect("an account").into_inner();
        as_guest(client.login(LoginRequest { email, password, ..Default::default() })).await.expect("a session");
        as_user(&made.user.expect("a user").id, client.delete_me(DeleteMeRequest {})).await.expect("deleted");
    });
}

#[test]
fn an_event_applied_twice_is_seen() {
    planted("bus.ignore_inbox", &["order.events.applied_once"], async |mall| {
        let order = buy(mall, 1).await;
        refund_at_payment(mall, &order).await;
    });
}

#[test]
fn an_event_that_is_never_published_is_seen_by_what_it_would_have_told() {
    planted("bus.lose_events", &["order.captured_equals_total"], async |mall| {
        let order = buy(mall, 1).await;
        refund_at_payment(mall, &order).await;
        sleep(EVENT_AGE).await;
    });
}

#[test]
fn an_outbox_that_stands_still_is_seen() {
    let red = ["order.captured_equals_total", "order.events.outbox_drained", "payment.events.outbox_drained"];
    planted("bus.stall", &red, async |mall| {
        let order = buy(mall, 1).await;
        refund_at_payment(mall, &order).await;
        sleep(EVENT_AGE).await;
    });
}

/// A row changed by hand, as a defect, a script or a disk would.
struct Damage {
    service: &'static str,
    sql: &'static str,
    red: &'static [&'static str],
}

const DAMAGES: [Damage; 18] = [
    Damage { service: "inventory", sql: "UPDATE stock SET on_hand = on_hand + 1", red: &["stock.conservation"] },
    Damage {
        service: "inventory",
        sql: "UPDATE stock SET reserved = reserved + 1",
        red: &["stock.reserved_is_open_reservations"],
    },
    Damage {
        service: "inventory",
        sql: "UPDATE stock SET sold = sold + 1, on_hand = on_hand - 1",
        red: &["stock.conservation", "stock.confirmed_once"],
    },
    Damage {
        service: "inventory",
        sql: "UPDATE reservations SET state = 'released' WHERE state = 'confirmed'",
        red: &["stock.confirmed_once", "order.stock_follows_status"],
    },
    Damage {
        service: "inventory",
        sql: "UPDATE reservations SET state = 'released' WHERE state = 'held'",
        red: &["stock.reserved_is_open_reservations", "order.stock_follows_status"],
    },
    Damage { service: "inventory", sql: "DELETE FROM stock_ledger WHERE kind = 'sold'", red: &["stock.conservation"] },
    Damage { service: "order", sql: "DELETE FROM order_events WHERE version = 2", red: &["order.stream_folds_to_row"] },
    Damage { service: "order", sql: "UPDATE flows SET stuck = 1", red: &["order.flows_not_stuck"] },
    Damage {
        service: "order",
        sql: "INSERT INTO inbox (event_id, applied_at, applied) VALUES ('evt_1', 0, 2)",
        red: &["order.events.applied_once"],
    },
    Damage {
        service: "payment",
        sql: "UPDATE payments SET captured = captured - 1, amount = amount - 1 WHERE captured > 0",
        red: &["order.captured_equals_total", "ledger.folds_to_payments", "payment.provider_agrees"],
    },
    Damage { service: "payment", sql: "DELETE FROM ledger_entries WHERE credit > 0", red: &["ledger.balanced"] },
    Damage { service: "payment", sql: "DELETE FROM ledger_entries", red: &["ledger.folds_to_payments"] },
    Damage {
        service: "payment",
        sql: "UPDATE payments SET refunded = 1, status = 'partially_refunded' WHERE captured > 0",
        red: &["order.captured_equals_total", "payment.refunds_within_captured"],
    },
    Damage {
        service: "cart",
        sql: "INSERT INTO carts (id, user_id, token_hash, body, version, created_at, updated_at) \
              SELECT 'twin' || id, user_id, 'twin' || id, body, version, created_at, updated_at FROM carts",
        red: &["cart.one_cart_per_user"],
    },
    Damage { service: "catalog", sql: "DELETE FROM product_skus", red: &["catalog.sku_belongs_to_product"] },
    Damage {
        service: "inventory",
        sql: "DELETE FROM stock",
        red: &["stock.reserved_is_open_reservations", "stock.confirmed_once", "catalog.listed_skus_have_stock"],
    },
    Damage { service: "identity", sql: "UPDATE users SET email = 'Ada@Shop.Test'", red: &["identity.email_unique"] },
    Damage { service: "identity", sql: "DELETE FROM users", red: &["identity.sessions_belong_to_users"] },
];

#[test]
fn a_row_changed_by_hand_turns_exactly_its_checks_red() {
    for damage in &DAMAGES {
        let mut world = World::new(7_100);
        let (before, after) = world.calmly(async |mall| {
            list(mall, 0, PRICE, 50).await;
            Buyer::new(mall, 1).add(0, 1).await.expect("room in the cart");
            buy(mall, 2).await;
            wait_to_pay(mall, 3).await;
            let mut identity: IdentityServiceClient<ServiceChannel> = mall.client();
            let (email, password) = ("ada@shop.test".to_owned(), "correct horse battery".to_owned());
            let request = CreateUserRequest { email: email.clone(), password: password.clone(), ..Default::default() };
            as_system(identity.create_user(request)).await.expect("an account");
            as_guest(identity.login(LoginRequest { email, password, ..Default::default() })).await.expect("a session");
            sleep(Duration::from_secs(1)).await;
            let before = red(mall).await;
            let db = mall.context(damage.service).expect("it runs here").db();
            if damage.red == ["cart.one_cart_per_user"] {
                // The schema forbids it: the checker is the second line.
                let dropped =
                    db.tx("test.damage", |tx| async move { tx.execute("DROP INDEX carts_user_id", params![]).await });
                dropped.await.expect("the index is dropped");
            }
            let sql = damage.sql;
            let changed = db.tx("test.damage", move |tx| async move { tx.execute(sql, params![]).await }).await;
            assert!(changed.expect("the damage is done") > 0, "{sql} changed nothing");
            (before, red(mall).await)
        });
        assert!(before.is_empty(), "{before:?}");
        let names: Vec<_> = after.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, damage.red, "{}: {}\n{after:?}", damage.service, damage.sql);
    }
}

#[test]
fn an_unpaid_order_that_nobody_cancels_is_seen() {
    let mut world = World::new(7_200);
    let red = world.calmly(async |mall| {
        list(mall, 0, PRICE, 50).await;
        wait_to_pay(mall, 1).await;
        // The flow that would cancel it is gone.
        let db = mall.context("order").expect("it runs here").db();
        db.tx("test.damage", |tx| async move { tx.execute("DELETE FROM flows", params![]).await })
            .await
            .expect("deleted");
        green(mall).await;
        sleep(Duration::from_secs(PAYMENT_TIMEOUT_S + 65)).await;
        red(mall).await
    });
    let names: Vec<_> = red.iter().map(|check| check.name.as_str()).collect();
    // Its hold ended by itself, which the order does not know either.
    assert_eq!(names, ["order.stock_follows_status", "order.no_overdue_unpaid"], "{red:?}");
}
