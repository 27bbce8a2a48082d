//! What a task of the campaign is told to do, as its payload, and the doing of it.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::testimony::{Witness, Word};

/// A payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deed {
    /// The operation that asked for it, so that two runs of one operation are found; 0 for firings.
    pub op: u64,
    /// How long it takes, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub sleep: u64,
    /// Attempts up to this number fail.
    #[serde(skip_serializing_if = "is_zero")]
    pub fail: u64,
    /// Attempts up to this number kill their own process; in an SDK worker that is the worker.
    #[serde(skip_serializing_if = "is_zero")]
    pub die: u64,
    /// How many bytes it prints.
    #[serde(skip_serializing_if = "is_zero")]
    pub output: u64,
    /// It does not end as long as this file is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<PathBuf>,
}

/// A deed that did not succeed, as it was told to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("told to fail up to attempt {0}")]
pub struct Failed(u64);

impl Deed {
    /// One that takes so long.
    pub fn taking(span: Duration) -> Self {
        Self { sleep: u64::try_from(span.as_millis()).expect("no deed takes so long"), ..Self::default() }
    }

    /// Does it and testifies. `print` gets the output, in pieces; `stopped` ends it early, which is no success.
    pub async fn perform<P: Future<Output = ()>>(
        &self,
        witness: &Witness,
        mut print: impl FnMut(Vec<u8>) -> P,
        stopped: impl Future<Output = ()>,
    ) -> Result<(), Failed> {
        let attempt = u64::from(witness.attempt());
        witness.begin();
        if attempt <= self.die {
            witness.say(Word::Dies);
            kill(Pid::this(), Signal::SIGKILL).expect("a process may kill itself");
        }
        let work = async {
            let mut left = usize::try_from(self.output).expect("output fits into memory");
            while left > 0 {
                let piece = left.min(8192);
                print(vec![b'x'; piece]).await;
                left -= piece;
            }
            sleep(Duration::from_millis(self.sleep)).await;
            while self.gate.as_ref().is_some_and(|gate| gate.exists()) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let word = tokio::select! {
            () = work => if attempt <= self.fail { Word::Failed } else { Word::Done },
            () = stopped => Word::Stopped,
        };
        witness.say(word);
        if word == Word::Done { Ok(()) } else { Err(Failed(self.fail)) }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
