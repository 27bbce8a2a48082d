//! The contract of the queue: every sentence holds for the embedded one, for Redis, and for Redis in several shards.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod bench;

mod cancelling;
mod census;
mod claiming;
mod entering;
mod hints;
mod missing;
mod model;
mod overlapping;
mod rebuilding;
mod sessions;
mod settling;
mod timing;

#[cfg(feature = "services")]
mod redis;

/// Runs each of these on every queue.
macro_rules! contract {
    ($(async fn $name:ident($bench:ident) $body:block)*) => {
        $(async fn $name($bench: $crate::bench::Bench) $body)*

        mod embedded {
            use $crate::bench::Bench;
            $(#[tokio::test(start_paused = true)] async fn $name() { super::$name(Bench::embedded()).await })*
        }

        #[cfg(feature = "services")]
        mod redis {
            use $crate::bench::Bench;
            $(#[tokio::test] async fn $name() { super::$name(Bench::redis(1).await).await })*
        }

        #[cfg(feature = "services")]
        mod redis_in_shards {
            use $crate::bench::Bench;
            $(#[tokio::test] async fn $name() { super::$name(Bench::redis(3).await).await })*
        }
    };
}
pub(crate) use contract;
