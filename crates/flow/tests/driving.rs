//! Flows driven by their callers and by the timers: steps, sleeps, signals, statements.

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::*;
use mallard_db::{Unit, params};
use mallard_flow::{FIRST_VERSION, LEASE_MICROS, Outcome};
use mallard_rpc::{Call, Caller, Trace};
use mallard_types::{Error, Result};

#[tokio::test(start_paused = true)]
async fn a_flow_driven_from_its_start_costs_one_statement_for_each_save() {
    let world = World::new().await;
    world.book.pay("ord_1");
    let before = world.db.statements();
    assert!(world.start_inline("ord_1", State::Reserve).await);
    assert_eq!(world.db.statements() - before, 1);
    let outcome = world.engine.drive_from::<Checkout>("ord_1", FIRST_VERSION, State::Reserve).await.unwrap();
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    // Start, three saves, and the last transaction: the end of the flow and its effect.
    assert_eq!(world.db.statements() - before, 1 + 3 + 2);
    assert_eq!(world.book.states(), [State::Reserve, State::Pay, State::AwaitPayment, State::Confirm]);
    assert_eq!((world.count().await, world.effects().await), (0, vec!["ord_1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_started_once_and_only_by_a_commit() {
    let world = World::new().await;
    assert!(world.start("ord_1", State::Reserve).await);
    assert!(!world.start("ord_1", State::Confirm).await);
    assert_eq!(world.engine.list(false, 10).await.unwrap()[0].state, "\"Reserve\"");
    let rolled_back: Result<()> = world
        .db
        .tx("order.place", |tx| async move {
            mallard_flow::start::<Checkout>(&tx, "ord_2", &State::Reserve, START).await?;
            Err(Error::refused("sold_out", "sold out"))
        })
        .await;
    assert!(rolled_back.is_err());
    let unit = mallard_flow::add_start::<Checkout>(Unit::new("order.place"), "ord_3", &State::Reserve, START).unwrap();
    world.db.apply(unit).await.unwrap();
    let keys: Vec<String> = world.engine.list(false, 10).await.unwrap().into_iter().map(|flow| flow.key).collect();
    assert_eq!(keys, ["ord_1", "ord_3"]);
}

#[tokio::test(start_paused = true)]
async fn the_timers_drive_what_is_due_and_nothing_earlier() {
    let world = World::new().await;
    let timers = world.run();
    let until = START + 300 * SECOND;
    world.start("ord_1", State::Pause(until)).await;
    world.start_at("ord_2", State::Paused, until + 5 * SECOND).await;
    world.over().await;
    let paused = world.book.runs_of(&State::Paused);
    assert_eq!(paused.iter().map(|run| run.key.as_str()).collect::<Vec<_>>(), ["ord_1", "ord_2"]);
    assert!((until..until + SECOND / 4).contains(&paused[0].at), "late by {} us", paused[0].at - until);
    assert!((until + 5 * SECOND..until + 6 * SECOND).contains(&paused[1].at));
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_signal_wakes_a_flow_that_awaits_it() {
    let world = World::new().await;
    let timers = world.run();
    world.start("ord_1", State::AwaitPayment).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.book.states(), [State::AwaitPayment]);
    world.book.pay("ord_1");
    let signalled_at = world.now();
    assert!(world.signal("ord_1").await);
    world.over().await;
    assert!(world.now() - signalled_at < SECOND / 10, "the timers were not woken");
    let runs = world.book.runs_of(&State::AwaitPayment);
    assert_eq!(runs.iter().map(|run| run.signalled).collect::<Vec<_>>(), [false, true]);
    assert!(!world.signal("ord_1").await, "the flow is over");
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_signal_wakes_a_flow_that_sleeps() {
    let world = World::new().await;
    let timers = world.run();
    world.start("ord_1", State::Pause(START + 3_600 * SECOND)).await;
    eventually("it sleeps", async || world.book.states().len() == 1).await;
    assert!(world.signal("ord_1").await);
    world.over().await;
    assert!(world.now() < START + SECOND);
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_comes_before_the_await_is_kept_for_it() {
    let world = World::new().await;
    world.book.set(&State::Reserve, Mode::TakesMs(100));
    world.start_inline("ord_1", State::Reserve).await;
    let driving = tokio::spawn({
        let engine = world.engine.clone();
        async move { engine.drive_from::<Checkout>("ord_1", FIRST_VERSION, State::Reserve).await }
    });
    eventually("the first step runs", async || world.book.states().len() == 1).await;
    assert!(world.signal("ord_1").await);
    let outcome = driving.await.unwrap().unwrap();
    assert!(matches!(outcome, Outcome::Awaiting(State::AwaitPayment)), "{outcome:?}");
    // The flow looked again although it found nothing new; the signal is used up then.
    let signalled: Vec<(State, bool)> =
        world.book.runs.lock().iter().map(|run| (run.state.clone(), run.signalled)).collect();
    assert_eq!(
        signalled,
        [(State::Reserve, false), (State::Pay, false), (State::AwaitPayment, false), (State::AwaitPayment, true)]
    );
    assert_eq!(world.engine.list(false, 1).await.unwrap()[0].signalled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_comes_while_the_step_looks_makes_it_look_again() {
    let world = World::new().await;
    world.start("ord_1", State::AwaitPayment).await;
    world.engine.drive::<Checkout>("ord_1").await.unwrap();
    world.book.set(&State::AwaitPayment, Mode::TakesMs(50));
    world.signal("ord_1").await;
    let driving = tokio::spawn({
        let engine = world.engine.clone();
        async move { engine.drive::<Checkout>("ord_1").await }
    });
    eventually("the step looks", async || world.book.states().len() == 2).await;
    // Two signals more: one look is enough for both.
    world.signal("ord_1").await;
    world.signal("ord_1").await;
    driving.await.unwrap().unwrap();
    let signalled: Vec<bool> = world.book.runs.lock().iter().map(|run| run.signalled).collect();
    assert_eq!(signalled, [false, true, true]);
    assert_eq!(world.engine.list(false, 1).await.unwrap()[0].signalled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_drive_of_a_flow_that_is_not_due_does_nothing() {
    let world = World::new().await;
    world.start("ord_1", State::AwaitPayment).await;
    let outcome = world.engine.drive::<Checkout>("ord_1").await.unwrap();
    assert!(matches!(outcome, Outcome::Awaiting(State::AwaitPayment)));
    let outcome = world.engine.drive::<Checkout>("ord_1").await.unwrap();
    assert!(matches!(outcome, Outcome::Awaiting(State::AwaitPayment)));
    world.start_at("ord_2", State::Paused, START + SECOND).await;
    let outcome = world.engine.drive::<Checkout>("ord_2").await.unwrap();
    assert!(matches!(outcome, Outcome::Sleeping(State::Paused, until) if until == START + SECOND));
    assert!(matches!(world.engine.drive::<Checkout>("ord_3").await.unwrap(), Outcome::Missing));
    assert_eq!(world.book.states().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_and_the_timers_do_not_run_the_same_step_twice() {
    let world = World::new().await;
    let timers = world.run();
    for n in 0..20 {
        world.book.set(&State::Reserve, Mode::TakesMs(n * 7 % 50));
        let key = format!("ord_{n}");
        world.book.pay(&key);
        if n % 2 == 0 {
            world.start(&key, State::Reserve).await;
            world.engine.drive::<Checkout>(&key).await.unwrap();
        } else {
            world.start_inline(&key, State::Reserve).await;
            world.engine.drive_from::<Checkout>(&key, FIRST_VERSION, State::Reserve).await.unwrap();
        }
    }
    world.over().await;
    assert_eq!(world.book.states().len(), 20 * 4);
    assert_eq!(world.effects().await.len(), 20);
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn the_timers_drive_a_limited_number_at_once() {
    let world = World::new().await;
    world.book.set(&State::Paused, Mode::TakesMs(500));
    for n in 0..100 {
        world.start(&format!("ord_{n}"), State::Paused).await;
    }
    let timers = world.run();
    world.over().await;
    assert_eq!(world.book.busiest.load(Ordering::SeqCst), 32);
    assert_eq!(world.book.states().len(), 100);
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_step_runs_as_its_service_within_a_deadline() {
    let world = World::new().await;
    let timers = world.run();
    world.start("ord_1", State::Paused).await;
    world.over().await;
    world.start_inline("ord_2", State::Paused).await;
    let trace = Trace::new(7, 8);
    let at = START - 86_400 * SECOND;
    let caller = Caller { user_id: "usr_1".to_owned(), ..Caller::default() };
    let call = Call { caller, trace, at: Some(at), request_id: "req_1".to_owned(), ..Call::default() };
    let drive = world.engine.drive_from::<Checkout>("ord_2", FIRST_VERSION, State::Paused);
    mallard_rpc::scope(call, drive).await.unwrap();

    let runs = world.book.runs_of(&State::Paused);
    for run in &runs {
        assert!(run.call.caller.is_system());
        assert_eq!(run.call.caller.user_id, "order");
        assert!(run.call.deadline.is_some() && !run.call.trace.is_none());
    }
    assert_eq!(runs[0].now, runs[0].at);
    assert_eq!((runs[1].call.trace, runs[1].call.at, runs[1].now), (trace, Some(at), at));
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_flow_driven_in_a_backdated_call_sleeps_by_the_time_of_the_call() {
    let world = World::new().await;
    let at = START - 86_400 * SECOND;
    let state = State::Pause(at + 1_800 * SECOND);
    world.start_inline("ord_1", state.clone()).await;
    let call = Call { at: Some(at), ..Call::system("replay") };
    let drive = world.engine.drive_from::<Checkout>("ord_1", FIRST_VERSION, state);
    let outcome = mallard_rpc::scope(call, drive).await.unwrap();
    assert!(matches!(outcome, Outcome::Sleeping(State::Paused, until) if until == at + 1_800 * SECOND), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_the_flow_to_the_timers() {
    let world = World::new().await;
    let timers = world.run();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.book.pay("ord_1");
    world.book.set(&State::Pay, Mode::Hangs);
    world.start_inline("ord_1", State::Reserve).await;
    let drive = world.engine.drive_from::<Checkout>("ord_1", FIRST_VERSION, State::Reserve);
    assert!(tokio::time::timeout(Duration::from_secs(1), drive).await.is_err());
    world.book.heal();
    let given_up_at = world.now();
    world.over().await;
    assert!(world.now() - given_up_at <= LEASE_MICROS + SECOND);
    assert_eq!(world.book.runs_of(&State::Reserve).len(), 1, "the saved step ran again");
    assert_eq!(world.effects().await, ["ord_1"]);
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn running_steps_end_before_the_engine_stops() {
    let world = World::new().await;
    world.book.set(&State::Reserve, Mode::TakesMs(3_000));
    world.start("ord_1", State::Reserve).await;
    let engine = world.engine.clone();
    let timers = tokio::spawn(async move { engine.run(tokio::time::sleep(Duration::from_secs(1))).await });
    timers.await.unwrap();
    assert_eq!(world.now(), START + 3 * SECOND);
    assert_eq!(world.book.states(), [State::Reserve]);
    assert_eq!(world.engine.list(false, 1).await.unwrap()[0].state, "\"Pay\"");
    let row = world.db.query_opt("SELECT parked FROM flows", params![]).await.unwrap().unwrap();
    assert_eq!(row.get::<i64>(0).unwrap(), 0);
}
