//! How many runs there are, and which is the oldest that waits.

use super::link::{Request, garbled};
use super::queue::RedisQueue;
use crate::queue::{Census, QueueError};
use crate::run::RunId;

/// How many places, times ranks, are looked at in a shard for the oldest run: some milliseconds of Redis.
const HEADS: usize = 1000;

/// Delayed, behind, ready, in flight, ending, and the oldest or nothing.
type Counts = (u64, u64, u64, u64, u64, String);

impl RedisQueue {
    pub(super) async fn count_all(&self) -> Result<Census, QueueError> {
        let parts: Vec<Counts> = self
            .each(|shard| {
                let mut call = self.call(&self.scripts.census, shard);
                call.arg(HEADS);
                Request::Script(call)
            })
            .await?;
        let mut sum = Census::default();
        for (delayed, behind, ready, in_flight, ending, oldest) in parts {
            sum.delayed += delayed;
            sum.behind += behind;
            sum.ready += ready;
            sum.in_flight += in_flight;
            sum.ending += ending;
            if !oldest.is_empty() {
                let oldest: RunId = oldest.parse().map_err(|_| garbled("id"))?;
                sum.oldest = Some(sum.oldest.map_or(oldest, |earlier| earlier.min(oldest)));
            }
        }
        Ok(sum)
    }
}
