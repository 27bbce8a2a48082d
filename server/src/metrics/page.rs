//! The page that is scraped.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Metrics;
use crate::clock::StoreClock;
use crate::queue::{Census, Queue};

/// However often the page is read, the queue is not asked more often.
const EVERY: Duration = Duration::from_secs(1);
/// A queue that takes longer does not say: Prometheus gives up after 10 s.
const PATIENCE: Duration = Duration::from_secs(2);

/// The text of all metrics. Cloning is cheap.
#[derive(Clone)]
pub struct Page {
    metrics: Arc<Metrics>,
    queue: Arc<dyn Queue>,
    clock: StoreClock,
    /// When the queue was last asked; held while it is.
    asked: Arc<Mutex<Option<Instant>>>,
}

impl Page {
    /// What its content type says.
    pub const FORMAT: &'static str = prometheus::TEXT_FORMAT;

    /// The page of these metrics and this queue.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, queue: Arc<dyn Queue>, clock: StoreClock) -> Self {
        Self { metrics, queue, clock, asked: Arc::default() }
    }

    /// The page as it is now. It needs neither queue nor store: what they do not say is left open.
    pub async fn text(&self) -> Result<String, prometheus::Error> {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|asked| asked.elapsed() >= EVERY) {
            self.metrics.counted(self.census().await);
            *asked = Some(Instant::now());
        }
        drop(asked);
        self.metrics.text()
    }

    async fn census(&self) -> Option<(Census, Duration)> {
        match timeout(PATIENCE, self.queue.census()).await {
            Ok(Ok(census)) => {
                let age = census.oldest.map_or(Duration::ZERO, |oldest| {
                    let now = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or(0);
                    Duration::from_millis(now.saturating_sub(oldest.millis()))
                });
                Some((census, age))
            }
            Ok(Err(error)) => {
                debug!(%error, "failed to count what is in the queue");
                None
            }
            Err(_) => {
                debug!("failed to count what is in the queue: it does not answer");
                None
            }
        }
    }
}
