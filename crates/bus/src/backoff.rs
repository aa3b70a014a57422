//! How long the relay waits after a failure. Pure. One relay per database, so nothing is left to chance.

use std::time::Duration;

const KEY_FIRST_MS: u64 = 200;
const KEY_LONGEST_MS: u64 = 30_000;
const AWAY_FIRST_MS: u64 = 100;
const AWAY_LONGEST_MS: u64 = 5_000;

/// Returns the wait of a key whose event has failed this many times (1 for the first).
pub(crate) fn key(failures: i64) -> Duration {
    doubled(KEY_FIRST_MS, KEY_LONGEST_MS, failures)
}

/// Returns the wait for a subscriber that has been away for this many calls (1 for the first). Its longest is short: who
/// comes back should find its events.
pub(crate) fn away(failures: i64) -> Duration {
    doubled(AWAY_FIRST_MS, AWAY_LONGEST_MS, failures)
}

fn doubled(first_ms: u64, longest_ms: u64, failures: i64) -> Duration {
    let doublings = (failures - 1).clamp(0, 16) as u32;
    Duration::from_millis((first_ms << doublings).min(longest_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_longest() {
        let waits = |wait: fn(i64) -> Duration| (1..=9).map(|n| wait(n).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits(key), [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]);
        assert_eq!(waits(away), [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        assert_eq!(key(i64::MAX).as_millis(), 30_000);
        assert_eq!(key(0).as_millis(), 200);
    }
}
