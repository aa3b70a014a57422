//! The same promises on PostgreSQL, with two instances and real time. Skipped where it is not installed.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use mallard_db::pgtest::PgServer;
use mallard_db::{DbConfig, MemoryDisk, Unit};
use mallard_flow::{Clock, FIRST_VERSION, LEASE_MICROS, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_on_postgres_share_the_flows() {
    let Some(server) = PgServer::shared() else { return };
    // A connection for every flow that is driven at once, and two minutes for every lease of ten seconds: a step that cannot be
    // saved in time runs again, and here none shall.
    let config = DbConfig::Postgres { url: server.fresh_url().await, pool_max: 64 };
    let clock: Clock = {
        let quick = clock();
        Arc::new(move || START + (quick() - START) / 12)
    };
    let book = Arc::new(Book::default());
    let world = World::with_db(open_on(&config).await, MemoryDisk::new(), Arc::clone(&book), Arc::clone(&clock));
    let others_db = open_on(&config).await;
    let other = engine(&others_db, &book, &clock);
    for engine in [&world.engine, &other] {
        engine.set_shared(true);
    }
    book.set(&State::Reserve, Mode::TakesMs(5));

    let timers = [world.run(), run(&other)];
    for n in 10..50 {
        assert!(world.start(&format!("ord_{n}"), State::Reserve).await);
    }
    assert!(!world.start("ord_10", State::Reserve).await);
    eventually("all await their payment", async || {
        let flows = world.engine.list(false, 100).await.unwrap();
        flows.iter().all(|flow| flow.state == "\"AwaitPayment\"" && flow.wake_at.is_none())
    })
    .await;
    for n in 10..50 {
        let key = format!("ord_{n}");
        book.pay(&key);
        assert!(world.signal(&key).await);
        if n % 2 == 0 {
            world.engine.drive::<Checkout>(&key).await.unwrap();
        }
    }
    world.over().await;
    let mut effects = world.effects().await;
    effects.sort();
    assert_eq!(effects, (10..50).map(|n| format!("ord_{n}")).collect::<Vec<_>>());
    // A step whose save the database refused runs again: when it is retried, or when the lease has run out. Not before.
    let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in book.runs_of(&State::Reserve) {
        runs.entry(run.key.clone()).or_default().push(run);
    }
    assert_eq!(runs.len(), 40);
    for pair in runs.values().flat_map(|runs| runs.windows(2)) {
        let again = pair[1].attempts > 0 || pair[1].at - pair[0].at > LEASE_MICROS / 2;
        assert!(again, "a due flow was claimed twice: {pair:?}");
    }
    timers.iter().for_each(|timers| timers.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_of_the_engine_is_understood_by_postgres() {
    let Some(server) = PgServer::shared() else { return };
    let config = DbConfig::Postgres { url: server.fresh_url().await, pool_max: 16 };
    let world = World::with_db(open_on(&config).await, MemoryDisk::new(), Arc::default(), clock());

    // A signal during a step that parks.
    world.book.set(&State::AwaitPayment, Mode::Gated);
    world.start_inline("ord_1", State::AwaitPayment).await;
    let driving = tokio::spawn({
        let engine = world.engine.clone();
        async move { engine.drive_from::<Checkout>("ord_1", FIRST_VERSION, State::AwaitPayment).await }
    });
    eventually("the step runs", async || world.book.states().len() == 1).await;
    world.signal("ord_1").await;
    world.book.heal();
    world.book.gate.notify_one();
    assert!(matches!(driving.await.unwrap().unwrap(), Outcome::Awaiting(_)));
    assert_eq!(world.book.states().len(), 2);

    // A failure, a stuck flow and its way out, a sleep, a finish.
    world.book.set(&State::Pay, Mode::Away);
    world.start_inline("ord_2", State::Pay).await;
    let outcome = world.engine.drive_from::<Checkout>("ord_2", FIRST_VERSION, State::Pay).await.unwrap();
    assert!(matches!(outcome, Outcome::Retrying(..)), "{outcome:?}");
    world.book.set(&State::Pay, Mode::Refused);
    let timers = world.run();
    eventually("it is stuck", async || world.engine.list(true, 10).await.unwrap().len() == 1).await;
    world.book.heal();
    world.book.pay("ord_2");
    assert!(world.engine.unstick("checkout", "ord_2").await.unwrap());
    let wake_at = world.now() + SECOND / 5;
    let unit = Unit::new("order.place");
    let unit = mallard_flow::add_start::<Checkout>(unit, "ord_3", &State::Pause(wake_at), world.now()).unwrap();
    world.db.apply(unit).await.unwrap();
    eventually("two are over", async || world.count().await == 1).await;
    assert_eq!(world.effects().await, ["ord_2"]);
    assert!(world.now() >= wake_at);
    timers.abort();
}
