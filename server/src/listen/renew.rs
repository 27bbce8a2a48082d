//! Files that are replaced while the server runs: certificates before they expire, tokens when somebody leaves.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::fs;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often files are looked at. What is replaced counts for whoever comes later than this.
const LOOK: Duration = Duration::from_secs(10);

/// All files that are looked at, and how each of them is read again.
#[derive(Default)]
pub struct Renewal {
    sources: Vec<Source>,
}

struct Source {
    paths: Vec<PathBuf>,
    /// Of what the files held when they were last read; `None`: not all could be read.
    seen: Option<[u8; 32]>,
    load: Box<dyn FnMut() -> Result<(), String> + Send>,
}

impl Renewal {
    /// Reads these files for the first time. The answer always holds what was last read without an error.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn read<T: Send + Sync + 'static, E: Display>(
        &mut self,
        paths: impl IntoIterator<Item = PathBuf>,
        load: impl Fn() -> Result<T, E> + Send + 'static,
    ) -> Result<watch::Receiver<T>, E> {
        let (current, latest) = watch::channel(load()?);
        let again =
            move || load().map(|read| _ = current.send_replace(read)).map_err(|error| error.to_string());
        self.sources.push(Source { paths: paths.into_iter().collect(), seen: None, load: Box::new(again) });
        Ok(latest)
    }

    /// Reads again what was replaced, until `stop`. What cannot be read changes nothing: half of a pair may have been replaced.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            for source in &mut self.sources {
                source.look().await;
            }
        }
    }
}

impl Source {
    async fn look(&mut self) {
        let mut digest = Sha256::new();
        for path in &self.paths {
            // Gone for a moment, while it is replaced.
            let Ok(bytes) = fs::read(path).await else { return };
            digest.update(bytes.len().to_le_bytes());
            digest.update(bytes);
        }
        let found = digest.finalize().into();
        // The first look may come after a change: it reads once more than it had to.
        if self.seen.replace(found) == Some(found) {
            return;
        }
        match (self.load)() {
            Ok(()) => info!(files = ?self.paths, "read"),
            Err(error) => {
                warn!(%error, files = ?self.paths, "failed to read: what they held before still counts")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn number(path: &std::path::Path) -> Result<u32, String> {
        fs::read_to_string(path).unwrap().parse().map_err(|_| "no number".to_owned())
    }

    #[tokio::test]
    async fn what_is_replaced_is_read_again_and_nonsense_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        fs::write(&path, "1").unwrap();
        let mut renewal = Renewal::default();
        let latest = renewal
            .read([path.clone()], {
                let path = path.clone();
                move || number(&path)
            })
            .unwrap();
        for (written, held) in [("1", 1), ("2", 2), ("two", 2), ("3", 3)] {
            fs::write(&path, written).unwrap();
            renewal.sources[0].look().await;
            assert_eq!(*latest.borrow(), held, "after {written:?}");
        }
        fs::remove_file(&path).unwrap();
        renewal.sources[0].look().await;
        assert_eq!(*latest.borrow(), 3);
    }

    #[test]
    fn the_first_reading_must_succeed() {
        let read: Result<watch::Receiver<u32>, _> = Renewal::default().read([], || Err("no number"));
        assert_eq!(read.err(), Some("no number"));
    }
}
