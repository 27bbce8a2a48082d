//! How long to wait before the next try.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double from 0.2 s to 5 s, with jitter so that many clients do not come back in step.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    since: Option<Instant>,
    until: Option<Instant>,
}

impl Backoff {
    /// Waits as the last failure asks for; not at all when there was none. May be dropped and called again.
    pub async fn wait(&self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// A try failed. Answers how long they have been failing.
    pub fn failed(&mut self) -> Duration {
        let now = Instant::now();
        let longest = LONGEST.min(FIRST * 2u32.saturating_pow(self.failures.min(10)));
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + longest.mul_f64(rand::random_range(0.5..1.0)));
        now.duration_since(*self.since.get_or_insert(now))
    }

    /// A try went well.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }
}
