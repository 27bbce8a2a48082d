//! One call over many shards: each gets its part, all at once, and the answers come back in order.

use futures_util::future::try_join_all;
use redis::FromRedisValue;

use super::BATCH;
use super::link::{Request, garbled};
use super::queue::RedisQueue;
use crate::queue::QueueError;

impl RedisQueue {
    /// Gives each shard its items, in parts of [`BATCH`] one after the other, and puts the answers where their items were. `read` gets what
    /// Redis answered to one part, and the number of items in it.
    pub(super) async fn scatter<'a, I, T: FromRedisValue, A>(
        &'a self,
        items: Vec<I>,
        shard: impl Fn(&I) -> u16,
        request: impl Fn(u16, &[I]) -> Request<'a>,
        read: impl Fn(T, usize) -> Result<Vec<A>, QueueError>,
    ) -> Result<Vec<A>, QueueError> {
        let mut parts: Vec<(Vec<usize>, Vec<I>)> = (0..self.shards).map(|_| Default::default()).collect();
        for (position, item) in items.into_iter().enumerate() {
            // An id of a time with more shards, or of elsewhere, is looked for in one of those there are.
            let (positions, part) = &mut parts[usize::from(shard(&item) % self.shards)];
            positions.push(position);
            part.push(item);
        }
        let requests: Vec<Vec<Request<'a>>> = (0..self.shards)
            .zip(&parts)
            .map(|(shard, (_, part))| part.chunks(BATCH).map(|batch| request(shard, batch)).collect())
            .collect();
        let answers = try_join_all(requests.iter().map(|batches| self.one_by_one(batches))).await?;

        let mut ordered: Vec<(usize, A)> = Vec::new();
        for ((positions, _), answers) in parts.into_iter().zip(answers) {
            for (positions, answer) in positions.chunks(BATCH).zip(answers) {
                let answers = read(answer, positions.len())?;
                if answers.len() != positions.len() {
                    return Err(garbled("number of answers"));
                }
                ordered.extend(positions.iter().copied().zip(answers));
            }
        }
        ordered.sort_unstable_by_key(|(position, _)| *position);
        Ok(ordered.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Asks every shard at once.
    pub(super) async fn each<'a, T: FromRedisValue>(
        &'a self,
        request: impl Fn(u16) -> Request<'a>,
    ) -> Result<Vec<T>, QueueError> {
        let requests: Vec<_> = (0..self.shards).map(request).collect();
        try_join_all(requests.iter().map(|request| self.link.run(request))).await
    }

    async fn one_by_one<T: FromRedisValue>(&self, requests: &[Request<'_>]) -> Result<Vec<T>, QueueError> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(self.link.run(request).await?);
        }
        Ok(answers)
    }
}
