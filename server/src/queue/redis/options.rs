//! What a queue in Redis needs to know.

use std::time::Duration;

use crate::panics::Panics;
use crate::queue::{Limits, QueueError};

/// Where the queue is and who this server is.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS.
    pub url: String,
    /// The beginning of every key and channel; several installations share one Redis by it.
    pub prefix: String,
    /// The id of this server: hints for the sessions it holds come to it.
    pub server: String,
    /// How many shards there are. Fixed by the store when it was made: the same on every server, for ever.
    pub shards: u16,
    /// How long one call waits for its answer.
    pub timeout: Duration,
    pub limits: Limits,
    /// Where panics are counted.
    pub panics: Panics,
}

impl RedisOptions {
    /// The defaults: one shard, two seconds.
    pub fn new(url: impl Into<String>, prefix: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: prefix.into(),
            server: server.into(),
            shards: 1,
            timeout: Duration::from_secs(2),
            limits: Limits::default(),
            panics: Panics::default(),
        }
    }

    /// Refuses what would break keys or hints.
    pub(super) fn check(&self) -> Result<(), QueueError> {
        let refuse = |what: String| Err(QueueError::Unusable(what));
        let is_word =
            |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if !is_word(&self.prefix) || self.prefix.contains(['{', '}', '*']) {
            return refuse(format!("the prefix `{}` must be a word without {{, }} and *", self.prefix));
        }
        if !is_word(&self.server) {
            return refuse(format!("the server id `{}` must be a word without spaces", self.server));
        }
        if !(1..=4096).contains(&self.shards) {
            return refuse(format!("{} shards; it must be 1 to 4096", self.shards));
        }
        Ok(())
    }
}
