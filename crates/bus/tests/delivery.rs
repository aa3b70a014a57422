//! Events reach every subscriber, in order per key, exactly once in effect.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::*;
use mallard_bus::{Bus, Envelope, Handler, Subscription};
use mallard_db::{MemoryDisk, Unit, params};
use mallard_proto::bus::v1::DeliverRequest;
use mallard_proto::common::v1::Money;
use mallard_rpc::{Call, Channels, Fault, FaultAction, Trace};
use mallard_types::{Error, Kind, Result};
use parking_lot::Mutex;
use tonic::service::Routes;

#[tokio::test(start_paused = true)]
async fn an_event_takes_effect_once_at_each_subscriber() {
    let mut world = World::new(&["cart", "mail"]).await;
    world.start();
    world.publish("evt_1", "ord_1").await;
    world.drained().await;
    for subscriber in &world.subscribers {
        assert_eq!(subscriber.effects().await, ["evt_1"]);
        assert_eq!(*subscriber.ledger.seen.lock(), ["evt_1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_the_bell_not_for_the_poll() {
    let mut world = World::new(&["cart"]).await;
    world.start();
    tokio::time::sleep(Duration::from_secs(10) + Duration::from_millis(1)).await;
    let before = world.now();
    world.publish("evt_1", "ord_1").await;
    world.drained().await;
    assert!(world.now() - before < 100_000, "took {} us", world.now() - before);
}

#[tokio::test(start_paused = true)]
async fn what_is_rolled_back_is_never_published() {
    let mut world = World::new(&["cart"]).await;
    world.start();
    let (outbox, event) = (world.bus.outbox(), world.event("evt_phantom", "ord_1"));
    let refused: Result<()> = world
        .db
        .tx("order.place", move |tx| {
            let (outbox, event) = (outbox.clone(), event.clone());
            async move {
                outbox.append(&tx, event).await?;
                Err(Error::refused("sold_out", "sold out"))
            }
        })
        .await;
    assert_eq!(refused.unwrap_err().code, "sold_out");
    world.publish("evt_2", "ord_1").await;
    world.drained().await;
    assert_eq!(world.subscribers[0].effects().await, ["evt_2"]);
}

#[tokio::test(start_paused = true)]
async fn publishing_is_one_statement_however_many_listen_and_none_when_nobody_does() {
    let world = World::new(&["cart", "insight", "mail"]).await;
    let before = world.db.statements();
    world.publish("evt_1", "ord_1").await;
    assert_eq!(world.db.statements() - before, 1);
    assert_eq!(world.outbox_rows().await, 3);

    let before = world.db.statements();
    let unheard = Envelope { kind: "order.dreamt_of.v1".to_owned(), ..world.event("evt_2", "ord_1") };
    publish(&world.bus, &world.db, vec![unheard.clone()]).await;
    assert_eq!(world.db.statements() - before, 0);
    assert!(!world.bus.outbox().is_wanted(&unheard.kind));

    let before = world.db.statements();
    let unit = world.bus.outbox().add_to(Unit::new("order.place"), world.event("evt_3", "ord_1")).unwrap();
    world.db.apply(unit).await.unwrap();
    assert_eq!(world.db.statements() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_costs_three_statements_and_what_the_handler_does() {
    let mut world = World::new(&["cart"]).await;
    world.start();
    world.publish("evt_0", "ord_0").await;
    world.drained().await;
    let sum = |world: &World| world.db.statements() + world.subscribers[0].db.statements();
    let before = sum(&world);
    world.publish("evt_1", "ord_1").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Append, page, inbox row, the handler's effect, delete.
    assert_eq!(sum(&world) - before, 5);
    assert_eq!(world.subscribers[0].effects().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_applied_together() {
    let mut world = World::new(&["cart"]).await;
    let cart = &world.subscribers[0];
    for n in 0..32 {
        world.publish(&format!("evt_{n}"), &format!("ord_{}", n % 5)).await;
    }
    let before = cart.db.statements();
    world.start();
    world.drained().await;
    let cart = &world.subscribers[0];
    assert_eq!(cart.db.statements() - before, 1 + 32, "one for all rows of the inbox, one by the handler for each");
    let published: Vec<String> = (0..32).map(|n| format!("evt_{n}")).collect();
    assert_eq!(cart.effects().await, published);
    assert_eq!(*cart.ledger.seen.lock(), published);

    *cart.ledger.many.lock() = Some(Vec::new());
    publish_at_once(&world, 100..110).await;
    world.drained().await;
    let cart = &world.subscribers[0];
    assert_eq!(cart.ledger.many.lock().as_deref(), Some(&[10][..]));
    assert_eq!(cart.effects().await.len(), 42);
}

/// Publishes events of one order each in one transaction.
async fn publish_at_once(world: &World, numbers: std::ops::Range<usize>) {
    let events = numbers.map(|n| world.event(&format!("evt_{n}"), &format!("ord_{n}"))).collect();
    publish(&world.bus, &world.db, events).await;
}

#[tokio::test(start_paused = true)]
async fn what_came_before_or_cannot_be_applied_does_not_hold_up_what_comes_with_it() {
    let mut world = World::new(&["cart"]).await;
    publish_at_once(&world, 0..20).await;
    let cart = &world.subscribers[0];
    *cart.ledger.many.lock() = Some(Vec::new());
    cart.set("evt_7", Mode::Panic);
    // This one was applied, and its answer lost.
    let seen = "INSERT INTO inbox (event_id, applied_at, applied) VALUES ('evt_3', 1, 1)";
    cart.db.apply(Unit::new("t.seen").exec(seen, params![])).await.unwrap();
    world.start();
    eventually("all others are applied", async || world.subscribers[0].effects().await.len() == 18).await;
    let cart = &world.subscribers[0];
    assert!(!cart.effects().await.iter().any(|id| id == "evt_3" || id == "evt_7"));
    cart.heal("evt_7");
    world.drained().await;
    let mut effects = world.subscribers[0].effects().await;
    effects.sort();
    effects.dedup();
    assert_eq!(effects.len(), 19);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_many_pages_is_applied_in_order_per_key() {
    let mut world = World::new(&["cart"]).await;
    for n in 0..1_500 {
        world.publish(&format!("evt_{n:05}"), &format!("ord_{}", n % 7)).await;
    }
    world.start();
    world.drained().await;
    let rows =
        world.subscribers[0].db.query("SELECT event_key, event_id FROM effects ORDER BY n", params![]).await.unwrap();
    assert_eq!(rows.len(), 1_500);
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for row in rows {
        let (key, id): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert!(last.get(&key).is_none_or(|before| *before < id), "{id} of {key} came after {:?}", last.get(&key));
        last.insert(key, id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_is_away_gets_everything_when_it_comes_back() {
    let mut world = World::new(&["cart", "mail"]).await;
    world.channels.unmount("cart");
    world.start();
    for n in 0..600 {
        world.publish(&format!("evt_{n:03}"), &format!("ord_{n}")).await;
    }
    eventually("mail has its events", async || world.subscribers[1].effects().await.len() == 600).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.outbox_rows().await, 600);
    assert_eq!(world.subscribers[0].effects().await.len(), 0);
    world.mount(&world.subscribers[0]);
    let back_at = world.now();
    world.drained().await;
    assert!(world.now() - back_at < 7_000_000, "took {} us", world.now() - back_at);
    assert_eq!(world.subscribers[0].effects().await.len(), 600);
}

/// Loses, repeats and delays deliveries in turn.
struct Chaos(AtomicU64);

impl Fault for Chaos {
    fn decide(&self, _: &str, _: &str) -> FaultAction {
        match self.0.fetch_add(1, Ordering::Relaxed) % 5 {
            0 => FaultAction::LoseReply,
            1 => FaultAction::Duplicate,
            2 => FaultAction::LoseRequest,
            3 => FaultAction::Delay(Duration::from_millis(300)),
            _ => FaultAction::Pass,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lost_and_repeated_deliveries_change_nothing() {
    let mut world = World::new(&["cart"]).await;
    world.channels.set_fault(Arc::new(Chaos(AtomicU64::new(0))));
    world.start();
    let mut published = Vec::new();
    for n in 0..200 {
        let id = format!("evt_{n:03}");
        world.publish(&id, "ord_1").await;
        published.push(id);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.drained().await;
    assert_eq!(world.subscribers[0].effects().await, published);
    let checks = world.subscribers[0].checks(world.now()).await;
    assert!(checks.values().all(|ok| *ok), "{checks:?}");
}

#[tokio::test(start_paused = true)]
async fn the_check_notices_an_inbox_that_is_ignored() {
    let switches = Arc::new(|name: &str| name == "bus.ignore_inbox");
    let mut world = World::on(MemoryDisk::new(), &["cart"], switches).await;
    world.channels.set_fault(Arc::new(Chaos(AtomicU64::new(1))));
    world.start();
    world.publish("evt_1", "ord_1").await;
    world.drained().await;
    assert!(world.subscribers[0].effects().await.len() > 1);
    assert!(!world.subscribers[0].checks(world.now()).await["events.applied_once"]);
}

#[tokio::test(start_paused = true)]
async fn the_check_notices_an_outbox_that_is_not_drained() {
    let switches = Arc::new(|name: &str| name == "bus.stall");
    let mut world = World::on(MemoryDisk::new(), &["cart"], switches).await;
    world.start();
    world.publish("evt_1", "ord_1").await;
    let drained = async |world: &World| ok_by_name(mallard_bus::checks(&world.db, world.now()).await.unwrap())["events.outbox_drained"];
    assert!(drained(&world).await, "a row that was just written is no fault");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(!drained(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_commit_and_delivery_loses_nothing() {
    let disk = MemoryDisk::new();
    let world = World::on(disk.clone(), &["cart"], Arc::new(|_| false)).await;
    world.publish("evt_1", "ord_1").await;
    drop(world);
    disk.crash();
    disk.restart();
    let mut world = World::on(disk, &["cart"], Arc::new(|_| false)).await;
    world.start();
    world.drained().await;
    assert_eq!(world.subscribers[0].effects().await, ["evt_1"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_runs_as_its_service_for_the_trace_of_the_event() {
    let mut world = World::new(&["cart"]).await;
    world.start();
    let trace = Trace::new(0xabc, 0x123);
    let event = mallard_rpc::scope(Call { trace, ..Call::default() }, async { world.event("evt_1", "ord_1") }).await;
    publish(&world.bus, &world.db, vec![event]).await;
    world.drained().await;
    let calls = world.subscribers[0].ledger.calls.lock();
    assert!(calls[0].caller.is_system());
    assert_eq!(calls[0].caller.user_id, "cart");
    assert_eq!(calls[0].trace, trace);
}

#[derive(Default)]
struct Revocations(Mutex<Vec<(String, i64)>>);

#[async_trait]
impl Handler for Revocations {
    async fn after(&self, event: &Envelope) {
        let amount = event.decode::<Money>().unwrap().amount;
        self.0.lock().push((event.id.clone(), amount));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_without_a_database_listens_in_memory() {
    let (channels, clock) = (Channels::default(), clock());
    let bus = Bus::new(channels.clone(), BTreeMap::from([("gateway", vec![PLACED])]), Arc::clone(&clock));
    let revocations = Arc::new(Revocations::default());
    let subscription = Subscription::in_memory(&[PLACED], revocations.clone());
    let intake = bus.intake("gateway", None, vec![subscription]).unwrap();
    channels.mount_local("gateway", Routes::new(intake));
    let db = open(&MemoryDisk::new(), "identity").await;
    let relay = tokio::spawn(bus.relay(db.clone(), std::future::pending()));
    let payload = Money { amount: 7, currency: "CNY".to_owned() };
    publish(&bus, &db, vec![Envelope::new("evt_1", PLACED, "usr_1", clock(), &payload)]).await;
    eventually("the revocation is known", async || !revocations.0.lock().is_empty()).await;
    assert_eq!(*revocations.0.lock(), [("evt_1".to_owned(), 7)]);
    relay.abort();
}

#[tokio::test(start_paused = true)]
async fn subscriptions_that_do_not_fit_are_refused_at_the_start() {
    let bus = Bus::new(Channels::default(), BTreeMap::from([("cart", vec![PLACED, PAID])]), clock());
    let ledger: Arc<dyn Handler> = Arc::new(Ledger::default());
    let db = open(&MemoryDisk::new(), "cart").await;
    let half = bus.intake("cart", db, vec![Subscription::new(&[PLACED], ledger.clone())]);
    let half = half.err().unwrap();
    assert_eq!(half.code, "bad_subscriptions");
    assert!(half.message.contains(PAID), "{half}");
    let without_db = bus.intake("cart", None, vec![Subscription::new(&[PLACED, PAID], ledger)]);
    assert_eq!(without_db.err().unwrap().code, "bad_subscriptions");
}

#[tokio::test(start_paused = true)]
async fn strangers_and_misdirected_deliveries_are_refused() {
    let world = World::new(&["cart"]).await;
    let deliver = async |call: Call, subscriber: &str| {
        let events = vec![];
        let request = DeliverRequest { subscriber: subscriber.to_owned(), events };
        let mut client = world.client("cart");
        mallard_rpc::scope(call, client.deliver(request)).await.map_err(mallard_rpc::error)
    };
    assert_eq!(deliver(Call::default(), "cart").await.unwrap_err().kind, Kind::Forbidden);
    assert_eq!(deliver(Call::system("order"), "mail").await.unwrap_err().kind, Kind::Invalid);
    assert!(deliver(Call::system("order"), "cart").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_is_refused_before_it_is_written() {
    let world = World::new(&["cart"]).await;
    let payload = vec![0_u8; mallard_bus::EVENT_BYTES_MAX + 1].into();
    let event = Envelope { payload, ..world.event("evt_1", "ord_1") };
    let refused = world.bus.outbox().add_to(Unit::new("order.place"), event).unwrap_err();
    assert_eq!(refused.code, "event_too_large");
}

#[tokio::test(start_paused = true)]
async fn the_inbox_forgets_after_a_week() {
    let mut world = World::new(&["cart"]).await;
    world.start();
    let cart_relay = tokio::spawn(world.bus.relay(world.subscribers[0].db.clone(), std::future::pending()));
    for n in 0..700 {
        world.publish(&format!("evt_{n}"), &format!("ord_{n}")).await;
    }
    world.drained().await;
    let inbox_rows = async |world: &World| {
        let row = world.subscribers[0].db.query_opt("SELECT COUNT(*) FROM inbox", params![]).await.unwrap().unwrap();
        row.get::<i64>(0).unwrap()
    };
    tokio::time::advance(Duration::from_secs(6 * 24 * 3600)).await;
    tokio::time::sleep(Duration::from_secs(1_200)).await;
    assert_eq!(inbox_rows(&world).await, 700);
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    tokio::time::sleep(Duration::from_secs(1_200)).await;
    assert_eq!(inbox_rows(&world).await, 0);
    cart_relay.abort();
}

#[tokio::test(start_paused = true)]
async fn of_two_relays_one_works_and_the_other_takes_over() {
    let world = World::new(&["cart"]).await;
    let (first, second) = (world.bus.clone().with_lease("node-1"), world.bus.clone().with_lease("node-2"));
    let first = tokio::spawn(first.relay(world.db.clone(), std::future::pending()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = tokio::spawn(second.relay(world.db.clone(), std::future::pending()));
    world.publish("evt_1", "ord_1").await;
    world.drained().await;
    let holder = async |world: &World| {
        let row = world.db.query_opt("SELECT holder FROM leases", params![]).await.unwrap().unwrap();
        row.get::<String>(0).unwrap()
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(holder(&world).await, "node-1");
    first.abort();
    world.publish("evt_2", "ord_1").await;
    world.drained().await;
    assert_eq!(holder(&world).await, "node-2");
    assert_eq!(world.subscribers[0].effects().await, ["evt_1", "evt_2"]);
    second.abort();
}
