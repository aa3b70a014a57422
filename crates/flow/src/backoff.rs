//! How long a failed step waits. Pure.

use mallard_types::Micros;

const FIRST_MICROS: Micros = 200_000;
const LONGEST_MICROS: Micros = 30_000_000;

/// Returns the wait in microseconds after the given number of failed attempts (1 for the first): 200 ms doubling to 30 s,
/// of which the upper half is left to chance so that flows that failed together do not come back together.
pub(crate) fn delay(attempts: u32, random: u64) -> Micros {
    let doublings = attempts.saturating_sub(1).min(16);
    let full = FIRST_MICROS.saturating_mul(1 << doublings).min(LONGEST_MICROS);
    let half = full / 2;
    half + (random % (half as u64 + 1)) as Micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_thirty_seconds() {
        let longest: Vec<Micros> = (1..=10).map(|attempts| delay(attempts, 15_000_000)).collect();
        assert!(longest.iter().all(|wait| *wait <= LONGEST_MICROS));
        let shortest: Vec<Micros> = (1..=10).map(|attempts| delay(attempts, 0) / 1_000).collect();
        assert_eq!(shortest, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]);
        assert_eq!(delay(u32::MAX, 0), LONGEST_MICROS / 2);
    }

    #[test]
    fn chance_moves_a_wait_by_up_to_half() {
        assert_eq!(delay(1, 0), 100_000);
        assert_eq!(delay(1, 100_000), 200_000);
        assert!((100_000..=200_000).contains(&delay(1, u64::MAX)));
    }
}
