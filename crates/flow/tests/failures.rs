//! Flows that fail: retries, stuck flows, crashes between any two steps, two engines on one database.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::*;
use mallard_db::{CommitFate, CommitHook, params};
use mallard_flow::{FIRST_VERSION, Happened, Outcome};
use mallard_types::Micros;

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_tried_again_with_growing_waits() {
    for mode in [Mode::Away, Mode::Broken, Mode::Panic] {
        let world = World::new().await;
        let timers = world.run();
        world.book.set(&State::Reserve, mode);
        world.start("ord_1", State::Reserve).await;
        eventually("it has been tried eleven times", async || world.book.states().len() == 11).await;
        let runs = world.book.runs_of(&State::Reserve);
        assert_eq!(runs.iter().map(|run| run.attempts).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
        let waits: Vec<Micros> = runs.windows(2).map(|pair| (pair[1].at - pair[0].at) / 1_000).collect();
        // The shortest waits, and the 200 ms within which the timers look.
        for (wait, least) in waits.iter().zip([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]) {
            assert!((least..=least + 200).contains(wait), "{mode:?}: {waits:?}");
        }
        let flow = &world.engine.list(false, 1).await.unwrap()[0];
        assert!(!flow.stuck);
        assert!(flow.last_error.as_ref().is_some_and(|error| !error.is_empty()));

        world.book.pay("ord_1");
        world.book.heal();
        world.over().await;
        assert_eq!(world.book.runs_of(&State::Pay)[0].attempts, 0, "attempts were carried over to the next state");
        timers.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_learns_that_its_flow_is_being_retried() {
    let world = World::new().await;
    world.book.set(&State::Pay, Mode::Away);
    world.start_inline("ord_1", State::Reserve).await;
    let outcome = world.engine.drive_from::<Checkout>("ord_1", FIRST_VERSION, State::Reserve).await.unwrap();
    assert!(matches!(&outcome, Outcome::Retrying(State::Pay, error) if error.code == "inventory_away"), "{outcome:?}");
    let outcome = world.engine.drive::<Checkout>("ord_1").await.unwrap();
    assert!(matches!(outcome, Outcome::Retrying(State::Pay, _)), "{outcome:?}");
    assert_eq!(world.book.states().len(), 2, "the back-off was not kept");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_cut_off_and_tried_again() {
    let world = World::new().await;
    let timers = world.run();
    world.book.set(&State::Paused, Mode::Hangs);
    world.start("ord_1", State::Paused).await;
    eventually("it is tried again", async || world.book.states().len() == 2).await;
    assert!((8 * SECOND..9 * SECOND).contains(&(world.now() - START)));
    world.book.heal();
    world.over().await;
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_and_a_step_that_says_so_make_a_flow_stuck() {
    for (mode, reason) in [(Mode::Refused, "sold_out"), (Mode::Stuck, "a person must look")] {
        let world = World::new().await;
        let timers = world.run();
        world.book.set(&State::Pay, mode);
        world.start("ord_1", State::Reserve).await;
        world.start("ord_2", State::Paused).await;
        eventually("it is stuck", async || !world.engine.list(true, 10).await.unwrap().is_empty()).await;
        assert!(world.signal("ord_1").await);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(world.book.runs_of(&State::Pay).len(), 1, "a stuck flow was driven");
        let stuck = world.engine.list(true, 10).await.unwrap();
        assert_eq!(stuck.len(), 1);
        assert_eq!((stuck[0].key.as_str(), stuck[0].state.as_str(), stuck[0].wake_at), ("ord_1", "\"Pay\"", None));
        assert!(stuck[0].last_error.as_ref().unwrap().contains(reason), "{stuck:?}");
        let outcome = world.engine.drive::<Checkout>("ord_1").await.unwrap();
        assert!(matches!(outcome, Outcome::Stuck(Some(State::Pay), _)), "{outcome:?}");

        let mut history = stuck[0].history.iter();
        let reached: Vec<&str> = history.by_ref().take(2).map(|step| step.text.as_str()).collect();
        assert_eq!(reached, ["\"Reserve\"", "\"Pay\""]);
        let last = history.next().unwrap();
        assert!(
            last.what == Happened::Stuck && last.text.contains(reason) && last.at == stuck[0].updated_at,
            "{last:?}"
        );
        assert!(history.next().is_none());

        world.book.set(&State::Pay, Mode::Stuck);
        assert!(world.engine.unstick("checkout", "ord_1").await.unwrap());
        eventually("it is stuck again", async || world.engine.list(true, 10).await.unwrap().len() == 1).await;
        let again: Vec<Happened> =
            world.engine.list(true, 10).await.unwrap()[0].history.iter().map(|step| step.what).collect();
        assert_eq!(again[3..], [Happened::Freed, Happened::Stuck]);

        world.book.heal();
        world.book.pay("ord_1");
        assert!(world.engine.unstick("checkout", "ord_1").await.unwrap());
        assert!(!world.engine.unstick("checkout", "ord_1").await.unwrap());
        world.over().await;
        assert_eq!(world.effects().await, ["ord_1"]);
        timers.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn rows_this_build_does_not_understand_are_stuck_with_the_reason() {
    let world = World::new().await;
    world.start("ord_1", State::Reserve).await;
    world.start("ord_2", State::Reserve).await;
    let unknown = [
        "UPDATE flows SET state = '\"Teleport\"' WHERE flow_key = 'ord_1'",
        "UPDATE flows SET name = 'returns' WHERE flow_key = 'ord_2'",
    ];
    for sql in unknown {
        world.db.apply(mallard_db::Unit::new("test.break").exec(sql, params![])).await.unwrap();
    }
    let timers = world.run();
    eventually("both are stuck", async || world.engine.list(true, 10).await.unwrap().len() == 2).await;
    let stuck = world.engine.list(true, 10).await.unwrap();
    assert!(stuck[0].last_error.as_ref().unwrap().contains("not one of flow checkout"), "{stuck:?}");
    assert_eq!(stuck[0].state, "\"Teleport\"", "the state a person must look at is gone");
    assert!(stuck[1].last_error.as_ref().unwrap().contains("returns is not known"), "{stuck:?}");
    assert!(world.book.states().is_empty());
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_interrupts_goes_on_at_once_after_the_restart() {
    let world = World::new().await;
    let timers = world.run();
    world.book.pay("ord_1");
    world.book.set(&State::Pay, Mode::Hangs);
    world.start("ord_1", State::Reserve).await;
    eventually("the second step runs", async || world.book.states().len() == 2).await;
    let world = world.restarted().await;
    timers.abort();
    world.book.heal();
    let timers = world.run();
    let restarted_at = world.now();
    world.over().await;
    assert!(world.now() - restarted_at < SECOND / 2, "took {} us", world.now() - restarted_at);
    assert_eq!(world.book.states(), [State::Reserve, State::Pay, State::Pay, State::AwaitPayment, State::Confirm]);
    assert_eq!(world.effects().await, ["ord_1"]);
    timers.abort();
}

/// Crashes at one commit: before it when the number is even, after it when odd.
struct CrashAt {
    commit: u64,
    seen: AtomicU64,
}

impl CrashAt {
    fn fate(&self, point: u64) -> CommitFate {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        if seen == self.commit && point == self.commit % 2 { CommitFate::Crash } else { CommitFate::Proceed }
    }
}

impl CommitHook for CrashAt {
    fn before_commit(&self, _: &str, _: &str) -> CommitFate {
        self.fate(0)
    }

    fn after_commit(&self, _: &str, _: &str) -> CommitFate {
        self.fate(1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_changes_nothing_in_the_end() {
    let mut crashes = 0;
    for commit in 0..20 {
        let world = World::new().await;
        world.book.pay("ord_1");
        world.start("ord_1", State::Reserve).await;
        world.disk.set_hook(Arc::new(CrashAt { commit, seen: AtomicU64::new(0) }));
        let timers = world.run();
        tokio::select! {
            () = world.disk.wait_crash() => crashes += 1,
            () = world.over() => {}
        }
        world.disk.clear_hook();
        let world = world.restarted().await;
        timers.abort();
        let timers = world.run();
        world.over().await;
        assert_eq!(world.effects().await, ["ord_1"], "crash at {commit}");
        timers.abort();
    }
    assert!(crashes >= 8, "only {crashes} crashes happened");
}

#[tokio::test(start_paused = true)]
async fn two_engines_on_one_database_never_apply_a_save_twice() {
    let world = World::new().await;
    let others_db = open(&world.disk).await;
    let other = engine(&others_db, &world.book, &world.clock);
    for state in [State::Reserve, State::Pay, State::Confirm] {
        world.book.set(&state, Mode::TakesMs(30));
    }
    let mut keys = Vec::new();
    for n in 10..60 {
        let key = format!("ord_{n}");
        world.book.pay(&key);
        world.start(&key, State::Reserve).await;
        keys.push(key);
    }
    let timers = [world.run(), run(&other)];
    world.over().await;
    let mut effects = world.effects().await;
    effects.sort();
    assert_eq!(effects, keys);
    assert!(world.book.runs_of(&State::Reserve).len() > 50, "the engines did not race: this test proves nothing");
    timers.iter().for_each(|timers| timers.abort());
}

#[tokio::test(start_paused = true)]
async fn engines_that_share_a_database_claim_what_is_due() {
    let world = World::new().await;
    let others_db = open(&world.disk).await;
    let other = engine(&others_db, &world.book, &world.clock);
    world.engine.set_shared(true);
    other.set_shared(true);
    for state in [State::Reserve, State::Pay, State::Confirm] {
        world.book.set(&state, Mode::TakesMs(30));
    }
    for n in 0..50 {
        let key = format!("ord_{n}");
        world.book.pay(&key);
        world.start(&key, State::Reserve).await;
    }
    let timers = [world.run(), run(&other)];
    world.over().await;
    assert_eq!(world.effects().await.len(), 50);
    assert_eq!(world.book.states().len(), 50 * 4, "steps ran twice although nothing failed");
    timers.iter().for_each(|timers| timers.abort());
}
