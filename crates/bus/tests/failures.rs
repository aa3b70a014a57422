//! Events that fail: keys wait, poison is parked, nothing is lost.

mod common;

use std::time::Duration;

use common::*;
use mallard_bus::FAILURES_MAX;
use mallard_types::Kind;

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_holds_up_its_own_later_events_only() {
    let mut world = World::new(&["cart"]).await;
    world.subscribers[0].set("ord_bad", Mode::Away);
    world.start();
    for n in 0..600 {
        let key = if n % 2 == 0 { "ord_bad".to_owned() } else { format!("ord_{n}") };
        world.publish(&format!("evt_{n:03}"), &key).await;
    }
    let cart = &world.subscribers[0];
    eventually("the other keys are through", async || cart.effects().await.len() == 300).await;
    world.publish("evt_late", "ord_bad").await;
    world.publish("evt_other", "ord_other").await;
    eventually("another event is through", async || cart.effects().await.len() == 301).await;
    assert_eq!(world.outbox_rows().await, 301);

    cart.heal("ord_bad");
    world.drained().await;
    let effects = cart.effects().await;
    let of_bad: Vec<&String> = effects[301..].iter().collect();
    assert_eq!(of_bad.len(), 301);
    assert!(of_bad.is_sorted(), "the failed key's events changed their order");
    assert_eq!(of_bad[300], "evt_late");
}

#[tokio::test(start_paused = true)]
async fn no_event_overtakes_one_of_its_key_that_failed_not_even_from_a_later_page() {
    let mut world = World::new(&["cart"]).await;
    let mut published = Vec::new();
    for n in 0..700 {
        let id = format!("evt_{n:03}");
        world.publish(&id, "ord_1").await;
        published.push(id);
    }
    world.subscribers[0].set("evt_000", Mode::Away);
    world.start();
    let cart = &world.subscribers[0];
    eventually("it failed a few times", async || cart.ledger.calls.lock().len() >= 4).await;
    assert_eq!(cart.effects().await.len(), 0);
    cart.heal("evt_000");
    cart.set("evt_300", Mode::Poison);
    world.drained().await;
    published.remove(300);
    assert_eq!(cart.effects().await, published);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_may_succeed_later_is_never_parked() {
    let mut world = World::new(&["cart"]).await;
    world.subscribers[0].set("ord_1", Mode::Away);
    world.start();
    world.publish("evt_1", "ord_1").await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.outbox_rows().await, 1);
    assert!(world.dead_letters("cart").await.is_empty());
    world.subscribers[0].heal("ord_1");
    world.drained().await;
    assert_eq!(world.subscribers[0].effects().await, ["evt_1"]);
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_accepted_the_relay_calls_less_and_less() {
    let mut world = World::new(&["cart"]).await;
    for n in 0..100 {
        world.subscribers[0].set(&format!("ord_{n}"), Mode::Away);
        world.publish(&format!("evt_{n}"), &format!("ord_{n}")).await;
    }
    world.start();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let tries = world.subscribers[0].ledger.calls.lock().len();
    assert!(tries < 100 * 25, "{tries} tries in five minutes");
}

#[tokio::test(start_paused = true)]
async fn poison_is_parked_with_its_reason_and_the_key_goes_on() {
    for mode in [Mode::Poison, Mode::Panic, Mode::Waits] {
        let mut world = World::new(&["cart", "mail"]).await;
        world.subscribers[0].set("ord_1", mode);
        world.start();
        world.publish("evt_1", "ord_1").await;
        let cart = &world.subscribers[0];
        eventually("the event is parked", async || !world.dead_letters("cart").await.is_empty()).await;
        assert_eq!(cart.ledger.calls.lock().len() as i64, FAILURES_MAX);
        cart.heal("ord_1");
        world.publish("evt_2", "ord_1").await;
        world.drained().await;
        assert_eq!(cart.effects().await, ["evt_2"], "{mode:?}");
        assert_eq!(*cart.ledger.seen.lock(), ["evt_2"], "{mode:?}");
        assert_eq!(world.subscribers[1].effects().await, ["evt_1", "evt_2"]);

        let letters = world.dead_letters("cart").await;
        assert_eq!(letters.len(), 1);
        let letter = &letters[0];
        let event = letter.event.as_ref().unwrap();
        assert_eq!((event.id.as_str(), event.key.as_str(), event.r#type.as_str()), ("evt_1", "ord_1", PLACED));
        assert!(!event.payload.is_empty());
        assert_eq!(i64::from(letter.attempts), FAILURES_MAX);
        assert!(letter.parked_at_micros > START);
        let reason = match mode {
            Mode::Poison => "no_such_account",
            Mode::Panic => "planted panic",
            _ => "waited for something else",
        };
        assert!(letter.reason.contains(reason), "{}", letter.reason);

        let checks = cart.checks(world.now()).await;
        assert!(!checks["events.dead_letters_empty"]);
        assert!(checks["events.applied_once"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_can_be_applied_once_its_cause_is_mended() {
    let mut world = World::new(&["cart"]).await;
    world.subscribers[0].set("ord_1", Mode::Poison);
    world.start();
    world.publish("evt_1", "ord_1").await;
    let cart = &world.subscribers[0];
    eventually("the event is parked", async || !world.dead_letters("cart").await.is_empty()).await;

    assert!(!world.retry("cart", "evt_1").await.unwrap(), "it cannot succeed yet");
    assert_eq!(i64::from(world.dead_letters("cart").await[0].attempts), FAILURES_MAX + 1);
    cart.heal("ord_1");
    assert!(world.retry("cart", "evt_1").await.unwrap());
    assert_eq!(cart.effects().await, ["evt_1"]);
    assert_eq!(*cart.ledger.seen.lock(), ["evt_1"]);
    assert!(world.dead_letters("cart").await.is_empty());
    assert_eq!(world.retry("cart", "evt_1").await.unwrap_err().kind, Kind::NotFound);

    // The same event once more: it is known.
    world.publish("evt_1", "ord_1").await;
    world.drained().await;
    assert_eq!(cart.effects().await, ["evt_1"]);
    let checks = cart.checks(world.now()).await;
    assert!(checks.values().all(|ok| *ok), "{checks:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_failed_and_then_succeeded_leaves_no_trace() {
    let mut world = World::new(&["cart"]).await;
    world.subscribers[0].set("ord_1", Mode::Poison);
    world.start();
    world.publish("evt_1", "ord_1").await;
    let cart = &world.subscribers[0];
    eventually("it failed twice", async || cart.ledger.calls.lock().len() == 2).await;
    cart.heal("ord_1");
    world.drained().await;
    assert_eq!(cart.effects().await, ["evt_1"]);
    let rows = cart.db.query("SELECT event_id FROM dead_letters", vec![]).await.unwrap();
    assert!(rows.is_empty(), "a count of failures was left behind");
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_across_a_restart_of_the_subscriber() {
    let mut world = World::new(&["cart"]).await;
    world.subscribers[0].set("ord_1", Mode::Poison);
    world.start();
    world.publish("evt_1", "ord_1").await;
    let cart = &world.subscribers[0];
    eventually("it failed", async || cart.ledger.calls.lock().len() as i64 == FAILURES_MAX - 1).await;
    world.mount(cart);
    eventually("the event is parked", async || !world.dead_letters("cart").await.is_empty()).await;
    assert_eq!(cart.ledger.calls.lock().len() as i64, FAILURES_MAX);
}
