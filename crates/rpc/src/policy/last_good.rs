//! The last good answers of a method, kept for when its service is away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::body::Body;

use crate::config::MethodPolicy;
use crate::metadata::{AT, CALLER, VERSIONS, text};
use crate::replay::{Replay, whole};

/// Longest request whose answer is kept, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Largest answer kept, in bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// What an entry costs beside its request and answer, in bytes.
const ENTRY_BYTES: u64 = 512;

/// Says whose answer to what: the caller, unless answers are shared, and the request.
pub(crate) type Key = Arc<[u8]>;

/// Makes the key of a request; `None` when its answer is not kept: the request is large, or asks about another time.
pub(crate) fn key(request: &Replay, shared: bool) -> Option<Key> {
    let (headers, body) = (request.headers(), request.bytes());
    if body.len() > REQUEST_BYTES_MAX || headers.contains_key(AT) {
        return None;
    }
    let caller = text(headers, &CALLER)?;
    // Of somebody whose identity does not matter the language still does.
    let caller = if shared { caller.rsplit(';').next()? } else { caller };
    let versions = text(headers, &VERSIONS).unwrap_or_default();
    let mut key = Vec::with_capacity(caller.len() + versions.len() + body.len() + 2);
    for part in [caller, versions] {
        key.extend_from_slice(part.as_bytes());
        // No header text holds a line feed.
        key.push(b'\n');
    }
    key.extend_from_slice(body);
    Some(key.into())
}

/// A whole good answer.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Kept {
    /// Makes the response once more.
    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::new(whole(self.body, self.trailers));
        *response.headers_mut() = self.headers;
        response
    }
}

/// Keeps good answers, the newest, within bounds.
#[derive(Debug)]
pub(crate) struct LastGood {
    entries_max: usize,
    bytes_max: u64,
    age_max: Duration,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    /// Keys in the order their answers came.
    by_age: BTreeMap<u64, Key>,
    bytes: u64,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    at: Instant,
    place: u64,
    bytes: u64,
}

impl LastGood {
    pub(crate) fn new(policy: &MethodPolicy) -> Self {
        LastGood {
            entries_max: policy.last_good_entries_max as usize,
            bytes_max: policy.last_good_bytes_max,
            age_max: Duration::from_millis(policy.last_good_age_max_ms),
            entries: Mutex::default(),
        }
    }

    /// Keeps an answer; the oldest make room for it.
    pub(crate) fn keep(&self, key: Key, kept: Kept, now: Instant) {
        let bytes = (key.len() + kept.body.len()) as u64 + ENTRY_BYTES;
        let mut entries = self.entries.lock();
        entries.remove(&key);
        let place = entries.next;
        entries.next += 1;
        entries.bytes += bytes;
        entries.by_age.insert(place, Arc::clone(&key));
        entries.by_key.insert(key, Entry { kept, at: now, place, bytes });
        while entries.by_key.len() > self.entries_max || entries.bytes > self.bytes_max {
            let Some(oldest) = entries.by_age.values().next().cloned() else { break };
            entries.remove(&oldest);
        }
    }

    /// Returns the last good answer, unless it is too old.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Kept> {
        let mut entries = self.entries.lock();
        let entry = entries.by_key.get(key)?;
        if now.saturating_duration_since(entry.at) > self.age_max {
            entries.remove(key);
            return None;
        }
        Some(entry.kept.clone())
    }
}

impl Entries {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.by_key.remove(key) {
            self.by_age.remove(&entry.place);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(body: Vec<u8>) -> Kept {
        Kept { headers: HeaderMap::new(), body: body.into(), trailers: None }
    }

    fn last_good(entries_max: u32, bytes_max: u64) -> LastGood {
        let policy = MethodPolicy {
            last_good_entries_max: entries_max,
            last_good_bytes_max: bytes_max,
            last_good_age_max_ms: 1_000,
            ..MethodPolicy::default()
        };
        LastGood::new(&policy)
    }

    fn key_of(byte: u8) -> Key {
        vec![byte].into()
    }

    #[test]
    fn the_newest_answer_is_given_until_it_is_too_old() {
        let now = Instant::now();
        let last_good = last_good(10, 1_000_000);
        last_good.keep(key_of(1), kept(vec![1]), now);
        let later = now + Duration::from_millis(500);
        last_good.keep(key_of(1), kept(vec![2]), later);
        assert_eq!(last_good.get(&key_of(1), later + Duration::from_secs(1)).unwrap().body, [2_u8][..]);
        assert!(last_good.get(&key_of(1), later + Duration::from_millis(1_001)).is_none());
        assert!(last_good.get(&key_of(2), now).is_none());
        assert_eq!(last_good.entries.lock().bytes, 0, "what is too old is gone");
    }

    proptest! {
        #[test]
        fn neither_bound_is_ever_passed_and_the_newest_stay(steps in prop::collection::vec((any::<u8>(), 0_usize..3_000), 1..200)) {
            let now = Instant::now();
            let last_good = last_good(5, 8_000);
            for (name, size) in steps {
                last_good.keep(key_of(name), kept(vec![0; size]), now);
                let entries = last_good.entries.lock();
                prop_assert!(entries.by_key.len() <= 5 && entries.bytes <= 8_000);
                prop_assert_eq!(entries.bytes, entries.by_key.values().map(|entry| entry.bytes).sum::<u64>());
                prop_assert_eq!(entries.by_key.len(), entries.by_age.len());
                prop_assert!(entries.by_key.contains_key(&key_of(name)), "one entry always has room here");
            }
        }
    }
}
