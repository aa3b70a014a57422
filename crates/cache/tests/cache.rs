//! Each promise of the cache, on a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mallard_cache::{Cache, Options, Stats};
use mallard_types::{Error, Kind, Result};
use tokio::sync::{Notify, oneshot};

const TTL: Duration = Duration::from_secs(60);

fn cache(capacity: usize) -> Cache<String, i64> {
    Cache::new("test", Options::new(capacity, TTL).negative_ttl(Duration::from_secs(5)))
}

fn key(n: usize) -> String {
    format!("key-{n}")
}

#[tokio::test(start_paused = true)]
async fn a_value_is_served_until_its_time_is_over() {
    let cache = cache(10);
    cache.insert(key(1), 7);
    tokio::time::advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(cache.get(&key(1)), Some(7));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(cache.get(&key(1)), None);
}

#[tokio::test(start_paused = true)]
async fn it_never_holds_more_than_its_capacity() {
    for capacity in [1, 3, 64, 1_000, 1_037] {
        let cache = cache(capacity);
        for n in 0..capacity * 3 {
            cache.insert(key(n), n as i64);
        }
        assert!(cache.len() <= capacity, "{} entries in a cache of {capacity}", cache.len());
        assert_eq!(cache.stats().evictions as usize, capacity * 3 - cache.len());
    }
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_read_outlive_those_that_are_not() {
    let cache = cache(10);
    for n in 0..10 {
        cache.insert(key(n), n as i64);
    }
    for n in 100..200 {
        for hot in 0..3 {
            assert_eq!(cache.get(&key(hot)), Some(hot as i64), "a hot entry was evicted by a scan");
        }
        cache.insert(key(n), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn expired_entries_are_given_up_first() {
    let cache = cache(2);
    cache.insert(key(1), 1);
    cache.get(&key(1));
    tokio::time::advance(TTL).await;
    cache.insert(key(2), 2);
    cache.insert(key(3), 3);
    assert_eq!((cache.get(&key(2)), cache.get(&key(3))), (Some(2), Some(3)));
}

#[tokio::test(start_paused = true)]
async fn many_readers_of_one_key_cause_one_load() {
    let cache = cache(10);
    let loads = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for _ in 0..50 {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        readers.push(tokio::spawn(async move {
            cache
                .get_or_load(key(1), || async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(7)
                })
                .await
        }));
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), 7);
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(cache.get(&key(1)), Some(7));
    assert_eq!(cache.stats(), Stats { hits: 1, misses: 50, evictions: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_failed_load_reaches_those_who_wait_and_is_not_kept() {
    let cache = cache(10);
    let loads = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for _ in 0..5 {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        readers.push(tokio::spawn(async move {
            cache
                .get_or_load(key(1), || async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(Error::unavailable("catalog_away", "the catalog is away"))
                })
                .await
        }));
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap_err().code, "catalog_away");
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(cache.get_or_load(key(1), || async { Ok(8) }).await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_gives_up_hands_over_to_one_who_waits() {
    let cache = cache(10);
    let started = Arc::new(Notify::new());
    let leader = {
        let (cache, started) = (cache.clone(), Arc::clone(&started));
        tokio::spawn(async move {
            cache
                .get_or_load(key(1), || async {
                    started.notify_one();
                    std::future::pending::<Result<i64>>().await
                })
                .await
        })
    };
    started.notified().await;
    let waiter = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_load(key(1), || async { Ok(9) }).await })
    };
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    leader.abort();
    assert_eq!(waiter.await.unwrap().unwrap(), 9);
    assert_eq!(cache.get(&key(1)), Some(9));
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_panics_leaves_the_key_usable() {
    let cache = cache(10);
    let panicking = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_load(key(1), || async { panic!("planted") }).await })
    };
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(cache.get_or_load(key(1), || async { Ok(1) }).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn absence_is_kept_for_its_own_time() {
    let cache = cache(10);
    let loads = AtomicUsize::new(0);
    let absent = || async {
        loads.fetch_add(1, Ordering::Relaxed);
        Err(Error::not_found("no_such_product", "there is no such product"))
    };
    for _ in 0..3 {
        let error = cache.get_or_load(key(1), absent).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::NotFound, "no_such_product"));
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(cache.get(&key(1)), None);
    assert!(cache.lookup(&key(1)).unwrap().is_err());
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(cache.get_or_load(key(1), absent).await.is_err());
    assert_eq!(loads.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn absence_is_not_kept_unless_asked_for() {
    let cache: Cache<String, i64> = Cache::new("test", Options::new(10, TTL));
    assert!(cache.get_or_load(key(1), || async { Err(Error::not_found("none", "none")) }).await.is_err());
    assert!(cache.lookup(&key(1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn purge_forgets_one_key_and_purge_all_forgets_everything() {
    let cache = cache(1_000);
    for n in 0..500 {
        cache.insert(key(n), n as i64);
    }
    cache.purge(&key(3));
    cache.purge(&key(499));
    for n in 0..500 {
        let expected = (n != 3 && n != 499).then_some(n as i64);
        assert_eq!(cache.get(&key(n)), expected);
    }
    cache.purge_all();
    assert!(cache.is_empty());
    assert_eq!(cache.get(&key(5)), None);
    cache.insert(key(5), 6);
    assert_eq!(cache.get(&key(5)), Some(6));
}

/// Starts a load of `value`, runs `meanwhile` before it ends, and returns what the loader's caller got.
async fn load_interrupted_by(
    cache: &Cache<String, i64>,
    value: i64,
    meanwhile: impl FnOnce(&Cache<String, i64>),
) -> i64 {
    let started = Arc::new(Notify::new());
    let (finish, finished) = oneshot::channel::<()>();
    let load = {
        let (cache, started) = (cache.clone(), Arc::clone(&started));
        tokio::spawn(async move {
            cache
                .get_or_load(key(1), || async {
                    started.notify_one();
                    finished.await.unwrap();
                    Ok(value)
                })
                .await
        })
    };
    started.notified().await;
    meanwhile(cache);
    finish.send(()).unwrap();
    load.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_value_loaded_before_a_purge_is_not_kept_after_it() {
    let cache = cache(10);
    assert_eq!(load_interrupted_by(&cache, 1, |cache| cache.purge(&key(1))).await, 1);
    assert_eq!(cache.get(&key(1)), None);
    assert_eq!(load_interrupted_by(&cache, 1, |cache| cache.purge_all()).await, 1);
    assert_eq!(cache.get(&key(1)), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_inserted_during_a_load_wins_over_it() {
    let cache = cache(10);
    assert_eq!(load_interrupted_by(&cache, 1, |cache| cache.insert(key(1), 2)).await, 1);
    assert_eq!(cache.get(&key(1)), Some(2));
}

#[tokio::test(start_paused = true)]
async fn an_older_version_never_replaces_a_newer_one() {
    let cache = cache(10);
    assert!(cache.insert_versioned(key(1), 5, 50));
    assert!(!cache.insert_versioned(key(1), 4, 40));
    assert_eq!(cache.get(&key(1)), Some(50));
    assert!(cache.insert_versioned(key(1), 5, 51));
    assert!(cache.insert_versioned(key(1), 6, 60));
    assert_eq!(cache.get(&key(1)), Some(60));
    tokio::time::advance(TTL).await;
    assert!(!cache.insert_versioned(key(1), 5, 50));
    assert_eq!(cache.get(&key(1)), None, "an older version came back after the newer one expired");
    let loaded = cache.get_or_load_versioned(key(1), || async { Ok((7, 70)) }).await.unwrap();
    assert_eq!(loaded, 70);
    assert!(!cache.insert_versioned(key(1), 6, 60));
    assert_eq!(cache.get(&key(1)), Some(70));
}

#[tokio::test(start_paused = true)]
async fn the_same_reads_evict_the_same_entries_in_every_run() {
    let survivors = || {
        let cache = cache(500);
        for n in 0..2_000 {
            cache.insert(key(n), n as i64);
            cache.get(&key(n / 2));
        }
        (0..2_000).filter(|n| cache.get(&key(*n)).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(survivors(), survivors());
}
