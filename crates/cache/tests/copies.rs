//! Each promise of the copies, on a paused clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use mallard_cache::copies::{Bounds, Copies, Freshness, Key, Origin, Served, Weigh};
use mallard_types::{Error, Kind, Result};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, advance, sleep};

const FRESH: Duration = Duration::from_millis(250);
const STALE: Duration = Duration::from_millis(350);
const SERVED_MAX: Duration = Duration::from_millis(600);
const ON_ERROR: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(250);
const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, PartialEq)]
struct Page {
    state: u64,
    bytes: Option<usize>,
}

impl Weigh for Page {
    fn bytes(&self) -> Option<usize> {
        self.bytes
    }
}

type Answer = dyn Fn(u64) -> BoxFuture<'static, Result<Page>> + Send + Sync;

/// A service that counts what it is asked, and answers with its present state.
#[derive(Clone)]
struct Service {
    copies: Copies<Page>,
    asked: Arc<AtomicU64>,
    state: Arc<AtomicU64>,
    answer: Arc<Mutex<Arc<Answer>>>,
}

impl Service {
    fn new() -> Service {
        Service::with(Bounds { entries_max: 1_000, bytes_max: 1 << 30 })
    }

    fn with(bounds: Bounds) -> Service {
        let freshness = Freshness { fresh: FRESH, stale: STALE, on_error: ON_ERROR, wait: WAIT, retry_pause: PAUSE };
        let service = Service {
            copies: Copies::new(freshness, bounds, 2),
            asked: Arc::default(),
            state: Arc::new(AtomicU64::new(1)),
            answer: Arc::new(Mutex::new(Arc::new(|_| Box::pin(async { Err(Error::internal("unset", "")) })))),
        };
        service.answers(Duration::ZERO);
        service
    }

    /// Answers with the state it had when it was asked, after a while.
    fn answers(&self, after: Duration) {
        *self.answer.lock() = Arc::new(move |state| {
            Box::pin(async move {
                sleep(after).await;
                Ok(Page { state, bytes: Some(100) })
            })
        });
    }

    fn fails(&self, after: Duration, kind: Kind) {
        *self.answer.lock() = Arc::new(move |_| {
            Box::pin(async move {
                sleep(after).await;
                Err(Error::new(kind, "planned", "as the test says"))
            })
        });
    }

    fn hangs(&self) {
        *self.answer.lock() = Arc::new(|_| Box::pin(std::future::pending()));
    }

    async fn read(&self, key: Key<'_>) -> Result<Served<Page>> {
        let answer = Arc::clone(&self.answer.lock());
        let load = || {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Ok(answer(self.state.load(Ordering::SeqCst)))
        };
        self.copies.get(key, load).await
    }

    async fn get(&self) -> Result<(u64, &'static str)> {
        self.get_key(page("a")).await
    }

    async fn get_key(&self, key: Key<'_>) -> Result<(u64, &'static str)> {
        let served = self.read(key).await?;
        let origin = match served.origin {
            Origin::Fresh => "fresh",
            Origin::Stale => "stale",
            Origin::Loaded => "loaded",
            Origin::OnError(Some(_)) => "waited",
            Origin::OnError(None) => "known down",
        };
        Ok((served.answer?.state, origin))
    }

    fn change(&self) -> u64 {
        self.state.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn page(text: &str) -> Key<'_> {
    Key { text, group: Some("thing"), area: 0 }
}

fn list(text: &str) -> Key<'_> {
    Key { text, group: None, area: 1 }
}

/// Lets what is ready run.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn refused(outcome: Result<(u64, &'static str)>) -> Kind {
    outcome.unwrap_err().kind
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_fresh_then_stale_while_it_is_renewed_then_fresh_again() {
    let service = Service::new();
    assert_eq!(service.get().await.unwrap(), (1, "loaded"));
    service.change();
    advance(FRESH - MS).await;
    assert_eq!(service.get().await.unwrap(), (1, "fresh"));
    assert_eq!(service.asked(), 1);
    advance(MS).await;
    assert_eq!(service.get().await.unwrap(), (1, "stale"));
    settle().await;
    assert_eq!(service.get().await.unwrap(), (2, "fresh"));
    assert_eq!(service.asked(), 2);
    assert_eq!((service.copies.held().loads, service.copies.held().refreshes), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_any_event_nothing_older_than_both_times_is_served() {
    let service = Service::new();
    service.get().await.unwrap();
    service.change();
    advance(SERVED_MAX).await;
    assert_eq!(service.get().await.unwrap(), (2, "loaded"));
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_the_beginning_of_the_load() {
    let service = Service::new();
    service.answers(FRESH);
    let served = service.read(page("a")).await.unwrap();
    assert!(matches!(served.origin, Origin::Loaded) && served.age.is_zero());
    let served = service.read(page("a")).await.unwrap();
    assert!(matches!(served.origin, Origin::Stale));
    assert!((FRESH..FRESH + 10 * MS).contains(&served.age), "{:?}", served.age);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_at_once_are_one_load_cold_and_one_renewal_warm() {
    let service = Service::new();
    service.answers(20 * MS);
    let all = join_all((0..1_000).map(|_| service.get())).await;
    assert!(all.iter().all(|one| *one.as_ref().unwrap() == (1, "loaded")));
    assert_eq!(service.asked(), 1);
    service.change();
    advance(FRESH).await;
    let all = join_all((0..1_000).map(|_| service.get())).await;
    assert!(all.iter().all(|one| *one.as_ref().unwrap() == (1, "stale")));
    sleep(30 * MS).await;
    assert_eq!((service.asked(), service.get().await.unwrap()), (2, (2, "fresh")));
}

#[tokio::test(start_paused = true)]
async fn a_failure_reaches_all_who_wait_and_is_not_kept() {
    let service = Service::new();
    service.fails(20 * MS, Kind::Unavailable);
    let all = join_all((0..100).map(|_| service.get())).await;
    assert!(all.into_iter().all(|one| refused(one) == Kind::Unavailable));
    assert_eq!(service.asked(), 1);
    service.answers(Duration::ZERO);
    assert_eq!(service.get().await.unwrap(), (1, "loaded"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_gives_up_takes_nothing_from_the_others() {
    let service = Service::new();
    service.answers(100 * MS);
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.get().await }
    });
    settle().await;
    let second = tokio::spawn({
        let service = service.clone();
        async move { service.get().await }
    });
    settle().await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), (1, "loaded"));
    assert_eq!(service.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_panics_ends_for_its_readers_and_frees_the_key() {
    let service = Service::new();
    *service.answer.lock() = Arc::new(|_| Box::pin(async { panic!("on purpose") }));
    let all = join_all((0..3).map(|_| service.get())).await;
    assert!(all.into_iter().all(|one| refused(one) == Kind::Internal));
    service.answers(Duration::ZERO);
    assert_eq!(service.get().await.unwrap(), (1, "loaded"));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_began_long_ago_is_joined_by_nobody() {
    let service = Service::new();
    service.answers(Duration::from_secs(5));
    let early = tokio::spawn({
        let service = service.clone();
        async move { service.get().await }
    });
    settle().await;
    advance(SERVED_MAX).await;
    let now = service.change();
    let late = service.get().await.unwrap();
    assert_eq!((late, service.asked()), ((now, "loaded"), 2));
    assert_eq!(early.await.unwrap().unwrap(), (1, "loaded"));
    // The older load ended first and is not what is kept.
    service.hangs();
    assert_eq!(service.get_key(page("a")).await.unwrap(), (now, "waited"));
}

#[tokio::test(start_paused = true)]
async fn a_purged_thing_is_loaded_afresh_whatever_was_under_way() {
    let service = Service::new();
    service.answers(50 * MS);
    let (zh, en) = (page("a zh"), page("a en"));
    for key in [zh, en] {
        service.get_key(key).await.unwrap();
    }
    let other = Key { text: "b", group: Some("other"), area: 0 };
    service.get_key(other).await.unwrap();
    let asked = service.asked();
    service.change();
    service.copies.purge_group("thing");
    assert_eq!(service.get_key(zh).await.unwrap(), (2, "loaded"));
    assert_eq!(service.get_key(en).await.unwrap(), (2, "loaded"));
    assert_eq!(service.get_key(other).await.unwrap(), (1, "fresh"));
    assert_eq!(service.asked() - asked, 2);

    // A load reads the old state, the purge comes, the load ends: it is given to who waited before and to nobody else.
    service.copies.purge_group("thing");
    let old = tokio::spawn({
        let service = service.clone();
        async move { service.get().await }
    });
    settle().await;
    let now = service.change();
    service.copies.purge_group("thing");
    let new = service.get().await.unwrap();
    assert_eq!((new, old.await.unwrap().unwrap()), ((now, "loaded"), (2, "loaded")));
    assert_eq!(service.get().await.unwrap(), (now, "fresh"));

    // The same with the renewal behind a reader's back.
    advance(FRESH).await;
    service.answers(50 * MS);
    assert_eq!(service.get().await.unwrap().1, "stale");
    let now = service.change();
    service.copies.purge_group("thing");
    sleep(100 * MS).await;
    assert_eq!(service.get().await.unwrap(), (now, "loaded"));
}

#[tokio::test(start_paused = true)]
async fn a_purged_area_is_loaded_afresh_whatever_was_under_way() {
    let service = Service::new();
    service.answers(50 * MS);
    service.get_key(list("a")).await.unwrap();
    service.get_key(page("a page")).await.unwrap();
    service.change();
    service.copies.purge_area(1);
    assert_eq!(service.get_key(page("a page")).await.unwrap(), (1, "fresh"));
    let old = tokio::spawn({
        let service = service.clone();
        async move { service.get_key(list("a")).await }
    });
    settle().await;
    let now = service.change();
    service.copies.purge_area(1);
    sleep(60 * MS).await;
    assert_eq!(old.await.unwrap().unwrap(), (2, "loaded"));
    assert_eq!(service.get_key(list("a")).await.unwrap(), (now, "loaded"));
    assert_eq!(service.get_key(list("a")).await.unwrap(), (now, "fresh"));
    // Who asks after a purge does not join a load from before it either.
    advance(SERVED_MAX).await;
    let old = tokio::spawn({
        let service = service.clone();
        async move { service.get_key(list("a")).await }
    });
    settle().await;
    let next = service.change();
    service.copies.purge_area(1);
    assert_eq!(service.get_key(list("a")).await.unwrap(), (next, "loaded"));
    assert_eq!(old.await.unwrap().unwrap(), (now, "loaded"));
    assert_eq!(service.get_key(list("a")).await.unwrap(), (next, "fresh"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_covered_for_and_probed_by_one_reader_at_a_time() {
    let service = Service::new();
    service.get().await.unwrap();
    service.fails(Duration::ZERO, Kind::Unavailable);
    advance(Duration::from_secs(10)).await;
    assert_eq!(service.get().await.unwrap(), (1, "waited"));
    for _ in 0..100 {
        assert_eq!(service.get().await.unwrap(), (1, "known down"));
    }
    assert_eq!(service.asked(), 2);
    advance(PAUSE).await;
    assert_eq!(service.get().await.unwrap(), (1, "waited"));
    assert_eq!(service.asked(), 3);
    let served = service.read(page("a")).await.unwrap();
    assert!(served.age >= Duration::from_secs(10));
    // Back again: the next probe shows the present at once.
    service.answers(Duration::ZERO);
    let now = service.change();
    advance(PAUSE).await;
    assert_eq!(service.get().await.unwrap(), (now, "loaded"));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_not_tried_again_at_once() {
    let service = Service::new();
    service.get().await.unwrap();
    service.fails(Duration::ZERO, Kind::Unavailable);
    advance(FRESH).await;
    for _ in 0..100 {
        assert_eq!(service.get().await.unwrap(), (1, "stale"));
        settle().await;
    }
    assert_eq!(service.asked(), 2);
    advance(PAUSE).await;
    assert_eq!(service.get().await.unwrap(), (1, "stale"));
    settle().await;
    assert_eq!(service.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_copy_outlives_its_limit_nor_a_purge_while_its_service_is_down() {
    let service = Service::new();
    service.get().await.unwrap();
    service.fails(Duration::ZERO, Kind::Unavailable);
    advance(ON_ERROR).await;
    assert_eq!(service.get().await.unwrap(), (1, "waited"));
    advance(MS).await;
    assert_eq!(refused(service.get().await), Kind::Unavailable);

    // Neither does one that passes its limit while its reader waits.
    let service = Service::new();
    service.get().await.unwrap();
    service.fails(100 * MS, Kind::Unavailable);
    advance(ON_ERROR - 50 * MS).await;
    assert_eq!(refused(service.get().await), Kind::Unavailable);

    let service = Service::new();
    service.get().await.unwrap();
    service.fails(100 * MS, Kind::Deadline);
    advance(Duration::from_secs(1)).await;
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { service.get().await }
    });
    settle().await;
    service.copies.purge_group("thing");
    assert_eq!(refused(waiting.await.unwrap()), Kind::Deadline);
    assert_eq!(refused(service.get().await), Kind::Deadline);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_delays_its_first_readers_only() {
    let service = Service::new();
    service.get().await.unwrap();
    service.hangs();
    advance(FRESH).await;
    assert_eq!(service.get().await.unwrap(), (1, "stale"));
    assert_eq!(service.get().await.unwrap(), (1, "stale"));
    assert_eq!(service.asked(), 2);
    advance(SERVED_MAX).await;
    // The renewal is overdue by now.
    let begun = Instant::now();
    assert_eq!(service.get().await.unwrap(), (1, "known down"));
    assert_eq!(begun.elapsed(), Duration::ZERO);

    let service = Service::new();
    service.get().await.unwrap();
    service.hangs();
    advance(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let all = join_all((0..50).map(|_| service.get())).await;
    assert!(all.into_iter().all(|one| one.unwrap() == (1, "waited")));
    assert!(begun.elapsed() >= WAIT && begun.elapsed() < WAIT + 10 * MS);
    assert_eq!(service.get().await.unwrap(), (1, "known down"));
    assert_eq!(service.asked(), 2);
    // Then an error, when the copy is too old.
    advance(ON_ERROR).await;
    service.fails(100 * MS, Kind::Deadline);
    assert_eq!(refused(service.get().await), Kind::Deadline);
}

#[tokio::test(start_paused = true)]
async fn absence_replaces_a_copy_is_served_while_fresh_and_covers_for_nothing() {
    let service = Service::new();
    service.get().await.unwrap();
    service.fails(Duration::ZERO, Kind::NotFound);
    advance(SERVED_MAX).await;
    assert_eq!(refused(service.get().await), Kind::NotFound);
    advance(FRESH - MS).await;
    assert_eq!(refused(service.get().await), Kind::NotFound);
    assert_eq!(service.asked(), 2);
    service.answers(Duration::ZERO);
    advance(MS).await;
    assert_eq!(service.get().await.unwrap(), (1, "loaded"));
    // Gone in the background, too.
    advance(FRESH).await;
    service.fails(Duration::ZERO, Kind::Gone);
    assert_eq!(service.get().await.unwrap().1, "stale");
    settle().await;
    assert_eq!(refused(service.get().await), Kind::Gone);
    advance(FRESH).await;
    service.fails(Duration::ZERO, Kind::Unavailable);
    assert_eq!(refused(service.get().await), Kind::Unavailable);
    // A purge ends absence as well.
    service.fails(Duration::ZERO, Kind::NotFound);
    assert_eq!(refused(service.get().await), Kind::NotFound);
    service.copies.purge_group("thing");
    service.answers(Duration::ZERO);
    assert_eq!(service.get().await.unwrap(), (1, "loaded"));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_request_is_not_covered_for() {
    for kind in [Kind::Forbidden, Kind::Internal, Kind::TooMany, Kind::Refused] {
        let service = Service::new();
        service.get().await.unwrap();
        service.fails(Duration::ZERO, kind);
        advance(SERVED_MAX).await;
        assert_eq!(refused(service.get().await), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_to_be_kept_is_given_once() {
    let service = Service::new();
    service.get().await.unwrap();
    *service.answer.lock() = Arc::new(|state| Box::pin(async move { Ok(Page { state, bytes: None }) }));
    advance(SERVED_MAX).await;
    assert_eq!(service.get().await.unwrap(), (1, "loaded"));
    assert_eq!(service.get().await.unwrap(), (1, "loaded"));
    assert_eq!(service.copies.held().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn entries_and_bytes_stay_within_their_bounds() {
    const BYTES_MAX: usize = 100_000;
    let service = Service::with(Bounds { entries_max: 200, bytes_max: BYTES_MAX });
    for round in 0..2_000_u64 {
        // Each is asked for twice, so that the door lets it in.
        let text = (round / 2).to_string();
        let bytes = 1 + (round as usize / 2 * 7_919) % 3_000;
        *service.answer.lock() = Arc::new(move |state| Box::pin(async move { Ok(Page { state, bytes: Some(bytes) }) }));
        service.get_key(list(&text)).await.unwrap();
        advance(SERVED_MAX).await;
        let held = service.copies.held();
        assert!(held.entries <= 200 && held.bytes <= BYTES_MAX, "{held:?}");
    }
    let held = service.copies.held();
    assert!(held.bytes > BYTES_MAX / 2, "the room is used: {held:?}");
    // One that grows pushes others out, and is not kept when it is larger than a shard.
    *service.answer.lock() = Arc::new(|state| Box::pin(async move { Ok(Page { state, bytes: Some(20_000) }) }));
    service.get_key(list("999")).await.unwrap();
    assert!(service.copies.held().bytes <= BYTES_MAX);
    *service.answer.lock() = Arc::new(|state| Box::pin(async move { Ok(Page { state, bytes: Some(BYTES_MAX) }) }));
    advance(SERVED_MAX).await;
    service.get_key(list("999")).await.unwrap();
    assert_eq!(service.get_key(list("999")).await.unwrap().1, "loaded");
}

#[tokio::test(start_paused = true)]
async fn a_purge_gives_the_room_back() {
    let service = Service::new();
    service.get_key(list("other")).await.unwrap();
    let before = service.copies.held();
    for n in 0..20 {
        service.get_key(page(&format!("a {n}"))).await.unwrap();
    }
    assert_eq!(service.copies.held().entries, before.entries + 20);
    service.copies.purge_group("thing");
    assert_eq!((service.copies.held().entries, service.copies.held().bytes), (before.entries, before.bytes));
    assert_eq!(service.get_key(list("other")).await.unwrap().1, "fresh");
}

/// One read in two is of a page that is asked for once. What share of the other reads, of popular pages, is a hit, and what
/// would it be if the least recently used copy made room?
#[tokio::test(start_paused = true)]
async fn a_crawler_pushes_out_nothing_that_is_read() {
    const ENTRIES_MAX: usize = 1_000;
    const POPULAR: f64 = 800.0;
    let service = Service::with(Bounds { entries_max: ENTRIES_MAX, bytes_max: 1 << 30 });
    let (mut lru, mut used) = (BTreeMap::new(), HashMap::new());
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let (mut hits, mut lru_hits, mut reads) = (0_u32, 0_u32, 0_u32);
    for round in 0..200_000_u32 {
        let crawled = round % 2 == 0;
        let text = if crawled {
            format!("crawled {round}")
        } else {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let uniform = (seed >> 11) as f64 / (1_u64 << 53) as f64;
            // The n-th is read 1/n as often as the first.
            format!("popular {}", POPULAR.powf(uniform).floor())
        };
        let hit = service.get_key(list(&text)).await.unwrap().1 == "fresh";
        let last = used.insert(text.clone(), round);
        let lru_hit = last.is_some_and(|last| lru.remove(&last).is_some());
        lru.insert(round, text);
        if lru.len() > ENTRIES_MAX {
            lru.pop_first();
        }
        if round >= 100_000 && !crawled {
            reads += 1;
            hits += u32::from(hit);
            lru_hits += u32::from(lru_hit);
        }
    }
    let (ratio, lru_ratio) = (f64::from(hits) / f64::from(reads), f64::from(lru_hits) / f64::from(reads));
    println!("hit ratio of popular pages, half of all reads a scan: {ratio:.4}, least recently used {lru_ratio:.4}");
    assert!(ratio > 0.98 && ratio > lru_ratio, "{ratio} {lru_ratio}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_writers_and_purges_on_many_threads_never_show_a_state_from_before_a_purge() {
    let service = Service::new();
    *service.answer.lock() = Arc::new(|state| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(Page { state, bytes: Some(100) })
        })
    });
    // What the service had when the last purge was done: who asks after that sees at least this.
    let purged = Arc::new(AtomicU64::new(1));
    let done = Arc::new(Notify::new());
    let readers = (0..4).map(|_| {
        let (service, purged) = (service.clone(), Arc::clone(&purged));
        tokio::spawn(async move {
            for _ in 0..20_000 {
                let least = purged.load(Ordering::SeqCst);
                let (state, _) = service.get().await.unwrap();
                assert!(state >= least, "{state} after a purge at {least}");
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let writer = tokio::spawn({
        let (service, done) = (service.clone(), Arc::clone(&done));
        async move {
            let stop = done.notified();
            tokio::pin!(stop);
            loop {
                let now = service.change();
                service.copies.purge_group("thing");
                purged.store(now, Ordering::SeqCst);
                tokio::select! {
                    biased;
                    () = &mut stop => return now,
                    () = tokio::task::yield_now() => {}
                }
            }
        }
    });
    for reader in readers {
        reader.await.unwrap();
    }
    done.notify_one();
    assert!(writer.await.unwrap() > 1);
}
