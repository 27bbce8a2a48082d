//! Ctrl-C: the first one cancels what is being watched and goes on watching it end, the second one leaves it alone.

use futures_util::{StreamExt as _, stream};
use marabunta_proto::v1::{CancelRunRequest, SubmittedRun};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    backoff::Backoff,
    caller::Caller,
    console::Console,
    failure::{self, Failure},
};

/// How many cancellations are under way at once.
const CANCELS_AT_ONCE: usize = 50;

/// SIGINT and SIGTERM, from the moment of listening on.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From now on neither signal ends this process by itself.
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::Host);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Cancels the runs at the first signal and gives up on them at the second, which is the only way in which this ends.
    pub async fn cancel_then_detach(
        &mut self,
        caller: &Caller,
        console: &Console,
        runs: &[SubmittedRun],
    ) -> Failure {
        self.next().await;
        let what = match runs {
            [run] => format!("run {}", run.id),
            runs => format!("{} runs", runs.len()),
        };
        console.remark(&format!("cancelling {what}; once more to leave without waiting for the end"));
        tokio::select! {
            () = cancel(caller, console, runs) => self.next().await,
            () = self.next() => {}
        }
        let how = match runs {
            [run] => format!("marabunta runs logs -f {}", run.id),
            _ => "marabunta runs list".to_owned(),
        };
        Failure::Interrupted(format!("left {what} before the end; see `{how}`"))
    }
}

/// Cancels the runs, however long it takes to reach a server. One that cannot be cancelled is said to be so.
pub async fn cancel(caller: &Caller, console: &Console, runs: &[SubmittedRun]) {
    let cancel = |run| cancel_one(caller, console, run);
    stream::iter(runs).for_each_concurrent(CANCELS_AT_ONCE, cancel).await;
}

async fn cancel_one(caller: &Caller, console: &Console, run: &SubmittedRun) {
    let mut backoff = Backoff::default();
    loop {
        backoff.wait().await;
        match caller.runs().cancel(CancelRunRequest { id: run.id.clone() }).await {
            Ok(_) => return,
            Err(status) if failure::may_pass(&status) => {
                backoff.failed();
                let reason = caller.reason(&status);
                console
                    .disconnected(&format!("the cancellation did not get through, trying again ({reason})"));
            }
            Err(status) => {
                let reason = caller.reason(&status);
                return console.remark(&format!("failed to cancel run {}: {reason}", run.id));
            }
        }
    }
}
