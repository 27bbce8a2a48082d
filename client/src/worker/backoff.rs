//! When to try again after a failure: at once, then with full jitter, so that thousands of workers that lost the same server do not
//! come back in step.

use std::time::Duration;

use tokio::time::Instant;

/// Bound of the first wait that is not zero.
const FIRST: Duration = Duration::from_millis(500);
/// Bound of a wait within [`IMPATIENT`] of the first failure, and after it.
const SHORT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(30);
const IMPATIENT: Duration = Duration::from_secs(60);

/// The waits of one series of failures.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
    since: Option<Instant>,
}

impl Backoff {
    /// How long to wait after one more failure: nothing after the first, then a random time up to 0.5 s, doubling up to 5 s in the
    /// first minute and up to 30 s after it.
    pub fn next(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        let ceiling = ceiling(self.tries, now.duration_since(since));
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(rand::random_range(0.0..=1.0))
    }

    /// Ends the series: the next failure is the first again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn ceiling(tries: u32, elapsed: Duration) -> Duration {
    let Some(doublings) = tries.checked_sub(1) else { return Duration::ZERO };
    let limit = if elapsed < IMPATIENT { SHORT } else { LONG };
    FIRST.saturating_mul(1 << doublings.min(16)).min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_up_to_a_bound_that_rises_after_a_minute() {
        let table = [
            (0, 0, 0),
            (1, 0, 500),
            (2, 1, 1_000),
            (3, 2, 2_000),
            (4, 4, 4_000),
            (5, 8, 5_000),
            (30, 59, 5_000),
            (30, 60, 30_000),
            (u32::MAX, 86_400, 30_000),
            (0, 86_400, 0),
        ];
        for (tries, elapsed, expected) in table {
            let got = ceiling(tries, Duration::from_secs(elapsed));
            assert_eq!(got, Duration::from_millis(expected), "try {tries} after {elapsed} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_series_starts_at_once_and_again_after_a_reset() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(Instant::now()), Duration::ZERO);
        for _ in 0..1_000 {
            assert!(backoff.next(Instant::now()) <= SHORT);
        }
        backoff.reset();
        assert_eq!(backoff.next(Instant::now()), Duration::ZERO);
    }
}
