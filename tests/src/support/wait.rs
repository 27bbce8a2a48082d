//! Waiting for what must come, without guessing how long it takes.

use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

/// Generous: a wait ends as soon as it can, so only a failing test ever takes this long.
const DEADLINE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);

/// Repeats `probe` until it succeeds and gives what it found. Panics with `what` and the last error when that takes too long.
///
/// ```no_run
/// # use marabunta_tests::support::eventually;
/// # async fn example(path: std::path::PathBuf) {
/// let pid: u32 = eventually("the worker writes its pid", async || Ok(std::fs::read_to_string(&path)?.trim().parse()?)).await;
/// # }
/// ```
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
    eventually_within(DEADLINE, what, probe).await
}

/// As [`eventually`], for what needs another deadline. The probe's own time counts, and a probe that hangs is given up too.
pub async fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
) -> T {
    let end = Instant::now() + deadline;
    let mut last = None;
    loop {
        match tokio::time::timeout_at(end, probe()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => last = Some(error),
            Err(_elapsed) => {}
        }
        if Instant::now() >= end {
            let last =
                last.map_or_else(|| "the first look never ended".to_owned(), |error| format!("{error:#}"));
            panic!("waited {deadline:?} in vain until {what}; the last look said: {last}");
        }
        sleep(INTERVAL).await;
    }
}

/// Runs a clean-up to its end inside `drop`, whatever runtime the test has.
pub(crate) fn finish<T: Send>(cleanup: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        runtime.block_on(cleanup)
    };
    thread::scope(|scope| scope.spawn(run).join().expect("a clean-up returns its errors"))
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[tokio::test]
    async fn a_wait_ends_with_what_the_probe_finds() {
        let mut looks = 0;
        let found = eventually("the third look succeeds", async || {
            looks += 1;
            ensure!(looks == 3, "only look {looks}");
            Ok(looks)
        })
        .await;
        assert_eq!(found, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain until pigs fly; the last look said: 0 pigs")]
    async fn a_wait_in_vain_says_what_it_saw_last() {
        eventually_within(Duration::from_millis(30), "pigs fly", async || -> anyhow::Result<()> {
            anyhow::bail!("0 pigs")
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "the first look never ended")]
    async fn a_probe_that_hangs_is_given_up() {
        eventually_within(Duration::from_millis(30), "it ends", async || -> anyhow::Result<()> {
            std::future::pending().await
        })
        .await;
    }
}
