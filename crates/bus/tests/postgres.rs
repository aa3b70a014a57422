//! The same promises on PostgreSQL, in real time. Skipped where it is not installed.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use mallard_db::pgtest::PgServer;
use mallard_db::{DbConfig, params};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Nobody waits for a connection: on a slow machine that might be too long.
const POOL_MAX: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_published_side_by_side_on_postgres_are_applied_once_and_in_order() {
    let Some(server) = PgServer::shared() else { return };
    let config = DbConfig::Postgres { url: server.fresh_url().await, pool_max: POOL_MAX };
    let world = World::on_config(&config, &["cart", "mail"], Arc::new(|_| false)).await;
    let relays: Vec<_> = ["node-1", "node-2"]
        .into_iter()
        .map(|node| {
            let relay = world.bus.clone().with_lease(node).relay(world.db.clone(), std::future::pending());
            tokio::spawn(relay)
        })
        .collect();

    let publishers: Vec<_> = (0..8)
        .map(|key| {
            let (bus, db, clock) = (world.bus.clone(), world.db.clone(), Arc::clone(&world.clock));
            let template = world.event("", &format!("ord_{key}"));
            tokio::spawn(async move {
                for n in 0..100 {
                    let id = format!("evt_{key}_{n:03}");
                    let event = mallard_bus::Envelope { id, at: clock(), ..template.clone() };
                    publish(&bus, &db, vec![event]).await;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    world.drained().await;
    for subscriber in &world.subscribers {
        let effects = subscriber.effects().await;
        assert_eq!(effects.len(), 800);
        let mut by_key: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for id in &effects {
            by_key.entry(&id[..5]).or_default().push(id);
        }
        for (key, ids) in by_key {
            assert!(ids.is_sorted() && ids.len() == 100, "{} of {key}: {ids:?}", subscriber.name);
        }
    }
    relays.iter().for_each(|relay| relay.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_commits_late_is_not_overtaken_by_what_its_key_publishes_afterwards() {
    let Some(server) = PgServer::shared() else { return };
    for one_stays_behind in [false, true] {
        let config = DbConfig::Postgres { url: server.fresh_url().await, pool_max: POOL_MAX };
        let mut world = World::on_config(&config, &["cart"], Arc::new(|_| false)).await;
        // The first event has its number, and is not there yet.
        let ((numbered, is_numbered), (commit, may_commit)) = (oneshot::channel(), oneshot::channel::<()>());
        let ends = Mutex::new(Some((numbered, may_commit)));
        let (db, outbox, event) = (world.db.clone(), world.bus.outbox(), world.event("evt_late_1", "ord_late"));
        let late = tokio::spawn(async move {
            let published: mallard_types::Result<()> = db
                .tx("order.place", move |tx| {
                    let (outbox, event, ends) = (outbox.clone(), event.clone(), ends.lock().take());
                    async move {
                        outbox.append(&tx, event).await?;
                        let (numbered, may_commit) = ends.unwrap();
                        numbered.send(()).unwrap();
                        may_commit.await.unwrap();
                        Ok(())
                    }
                })
                .await;
            published.unwrap();
        });
        is_numbered.await.unwrap();

        // More than a page comes after it.
        let events = (0..400).map(|n| world.event(&format!("evt_{n:03}"), &format!("ord_{n:03}"))).collect();
        publish(&world.bus, &world.db, events).await;
        if one_stays_behind {
            world.subscribers[0].set("ord_007", Mode::Away);
        }
        let ((reached, is_reached), (open, opened)) = (oneshot::channel(), oneshot::channel());
        *world.subscribers[0].ledger.gate.lock() = Some((reached, opened));
        world.start();
        is_reached.await.unwrap();
        // The first page is read and not answered.
        commit.send(()).unwrap();
        late.await.unwrap();
        world.publish("evt_late_2", "ord_late").await;
        open.send(()).unwrap();
        let cart = &world.subscribers[0];
        let of_late = async || {
            let effects = cart.effects().await;
            effects.into_iter().filter(|id| id.starts_with("evt_late")).collect::<Vec<_>>()
        };
        eventually("both are applied", async || of_late().await.len() == 2).await;
        assert_eq!(of_late().await, ["evt_late_1", "evt_late_2"], "one stays behind: {one_stays_behind}");
        cart.heal("ord_007");
        world.drained().await;
        assert_eq!(cart.effects().await.len(), 402);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_parked_and_retried_on_postgres() {
    let Some(server) = PgServer::shared() else { return };
    let config = DbConfig::Postgres { url: server.fresh_url().await, pool_max: POOL_MAX };
    let mut world = World::on_config(&config, &["cart"], Arc::new(|_| false)).await;
    world.subscribers[0].set("ord_1", Mode::Poison);
    world.start();
    world.publish("evt_1", "ord_1").await;
    world.publish("evt_2", "ord_2").await;
    world.drained().await;
    let cart = &world.subscribers[0];
    assert_eq!(cart.effects().await, ["evt_2"]);
    assert!(!cart.checks(world.now()).await["events.dead_letters_empty"]);
    assert!(!world.retry("cart", "evt_1").await.unwrap());
    cart.heal("ord_1");
    assert!(world.retry("cart", "evt_1").await.unwrap());
    assert_eq!(cart.effects().await, ["evt_2", "evt_1"]);
    let checks = cart.checks(world.now()).await;
    assert!(checks.values().all(|ok| *ok), "{checks:?}");

    // A relay prunes when it starts.
    let aged = mallard_db::Unit::new("test.age").exec("UPDATE inbox SET applied_at = 0", params![]);
    cart.db.apply(aged).await.unwrap();
    let pruning = tokio::spawn(world.bus.relay(cart.db.clone(), std::future::pending()));
    eventually("the inbox is pruned", async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cart.db.query("SELECT event_id FROM inbox", params![]).await.unwrap().is_empty()
    })
    .await;
    pruning.abort();
}
