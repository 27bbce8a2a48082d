//! Brings messages and ends to a server, any server, until each has its verdict. It owns the spool.
//!
//! One report is under way at a time. What arrives meanwhile goes together into the next, so nothing waits for a timer and a busy
//! worker makes few calls. A report that fails is made again, for ever, with the waits of [`Backoff`]: saying it twice changes
//! nothing.

use std::{future::Future, pin::Pin, time::Duration};

use marabunta_proto::v1::{ReportRequest, ReportResponse, Verdict as WireVerdict};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tonic::{Code, Status};

use super::{
    backoff::Backoff,
    spool::{Batch, Entry, Judged, Ledger},
};
use crate::connect::{self, Connection};

/// Bytes of one report, unless a single item has more.
const BATCH: usize = 1 << 20;
/// Entries taken in one go.
const TAKE: usize = 256;
/// How often to try whether the disk works again.
const PROBE: Duration = Duration::from_secs(5);

/// The two ends of the reporter's work that others hold.
#[derive(Debug)]
pub struct Ends {
    /// Where entries come from. When all senders are gone, the reporter delivers what it has and ends.
    pub entries: mpsc::Receiver<Entry>,
    /// Where verdicts go. The reporter never waits for its reader without taking entries too.
    pub judged: mpsc::Sender<Judged>,
    /// True while results cannot be kept safely.
    pub trouble: watch::Sender<bool>,
}

/// See the module.
pub struct Reporter {
    /// `None` only while a blocking thread works on it, for which the reporter waits.
    ledger: Option<Ledger>,
    ends: Ends,
    routes: Routes,
    /// One item per report, until the one is found that a server refuses to read.
    singly: bool,
    backoff: Backoff,
    /// No report before this moment.
    pause: Option<Instant>,
    /// Verdicts that the daemon has not taken yet; no report is made before it has.
    outbox: Vec<Judged>,
    closed: bool,
}

type Call = Pin<Box<dyn Future<Output = Result<ReportResponse, Status>> + Send>>;

impl Reporter {
    /// `session` is the connection of the live session, if there is one; `servers` are asked when there is none.
    pub fn new(
        ledger: Ledger,
        ends: Ends,
        session: watch::Receiver<Option<Connection>>,
        servers: Vec<connect::Config>,
    ) -> Self {
        let routes = Routes { session, servers, at: 0, own: None, failures: 0 };
        Self {
            ledger: Some(ledger),
            ends,
            routes,
            singly: false,
            backoff: Backoff::default(),
            pause: None,
            outbox: Vec::new(),
            closed: false,
        }
    }

    /// Runs until all senders of entries are gone and everything is delivered.
    pub async fn run(mut self) {
        let mut call: Option<(Batch, Call)> = None;
        let mut entries = Vec::new();
        let judged = self.ends.judged.clone();
        let mut probe = tokio::time::interval(PROBE);
        loop {
            let trouble = self.ledger().trouble().is_some();
            self.ends.trouble.send_if_modified(|known| std::mem::replace(known, trouble) != trouble);
            if call.is_none() && self.may_report() {
                call = self.next_call().await;
            }
            if self.closed && call.is_none() && self.outbox.is_empty() && self.ledger().is_empty() {
                return;
            }
            let wake = self.wake();
            tokio::select! {
                count = self.ends.entries.recv_many(&mut entries, TAKE), if !self.closed => {
                    let (taken, closed) = (std::mem::take(&mut entries), count == 0);
                    self.blocking(move |ledger| if closed { ledger.disown() } else { ledger.write(taken) }).await;
                    self.closed = closed;
                }
                result = answer(&mut call) => {
                    let (batch, _) = call.take().expect("an answer belongs to a call");
                    self.answered(batch, result).await;
                }
                permit = judged.reserve(), if !self.outbox.is_empty() => match permit {
                    Ok(permit) => permit.send(self.outbox.remove(0)),
                    Err(_) => self.outbox.clear(),
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() && call.is_none() => {}
                () = self.routes.changed() => {
                    // A new session: what failed before may work now.
                    self.pause = None;
                    self.backoff.reset();
                }
                _ = probe.tick(), if trouble => {
                    self.blocking(Ledger::probe).await;
                }
            }
        }
    }

    fn may_report(&self) -> bool {
        self.outbox.is_empty() && self.pause.is_none_or(|until| until <= Instant::now())
    }

    /// When to look again without being asked.
    fn wake(&self) -> Option<Instant> {
        let due = if self.outbox.is_empty() { self.ledger().next_due() } else { None };
        match (self.pause, due) {
            (Some(pause), Some(due)) => Some(pause.max(due)),
            (Some(pause), None) => (pause > Instant::now()).then_some(pause),
            (None, due) => due,
        }
    }

    async fn next_call(&mut self) -> Option<(Batch, Call)> {
        let limit = if self.singly { 1 } else { BATCH };
        let batch = self.blocking(move |ledger| ledger.batch(Instant::now(), limit)).await?;
        let connection = match self.routes.next() {
            Ok(connection) => connection,
            Err(error) => {
                tracing::error!(%error, "failed to open a connection for reports");
                self.routes.failed();
                self.failed();
                return None;
            }
        };
        let request: ReportRequest = batch.request.clone();
        let call = async move {
            let response = connection.dispatch().report(request).await?;
            Ok(response.into_inner())
        };
        Some((batch, Box::pin(call)))
    }

    async fn answered(&mut self, batch: Batch, result: Result<ReportResponse, Status>) {
        let response = match result {
            Ok(response) => response,
            Err(status) if is_refusal(status.code()) && batch.len() == 1 => {
                tracing::error!(
                    error = status.message(),
                    "the server refused a report for good; it is dropped"
                );
                self.singly = false;
                let verdicts = vec![WireVerdict::Invalid.into()];
                ReportResponse { messages: verdicts.clone(), ends: verdicts }
            }
            Err(status) => {
                tracing::warn!(error = connect::chain(&status), "failed to report; trying again");
                self.singly |= is_refusal(status.code());
                self.routes.failed();
                return self.failed();
            }
        };
        (self.pause, self.backoff) = (None, Backoff::default());
        self.routes.worked();
        self.outbox = self.blocking(move |ledger| ledger.settle(batch, &response, Instant::now())).await;
    }

    fn failed(&mut self) {
        let now = Instant::now();
        self.pause = Some(now + self.backoff.next(now));
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("the ledger is back when the work on it is done")
    }

    /// The disk may be slow: other tasks of this thread must not wait for it.
    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Ledger) -> T + Send + 'static,
    ) -> T {
        let mut ledger = self.ledger.take().expect("the ledger is back when the work on it is done");
        if !ledger.blocks() {
            return work(self.ledger.insert(ledger));
        }
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut ledger);
            (ledger, result)
        });
        let (ledger, result) =
            done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        self.ledger = Some(ledger);
        result
    }
}

async fn answer(call: &mut Option<(Batch, Call)>) -> Result<ReportResponse, Status> {
    match call {
        Some((_, call)) => call.await,
        None => std::future::pending().await,
    }
}

/// The request itself is at fault: the same bytes would be refused again.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::OutOfRange)
}

/// Which server gets the next report: that of the session; while it fails, or there is none, the others in turn.
struct Routes {
    session: watch::Receiver<Option<Connection>>,
    servers: Vec<connect::Config>,
    at: usize,
    /// Made because the session's did not do.
    own: Option<Connection>,
    /// Failures in a row.
    failures: u32,
}

impl Routes {
    fn next(&mut self) -> Result<Connection, connect::ConnectError> {
        if self.failures.is_multiple_of(2)
            && let Some(session) = &*self.session.borrow()
        {
            self.own = None;
            return Ok(session.clone());
        }
        let own = match self.own.take() {
            Some(own) => own,
            None => Connection::open(&self.servers[self.at % self.servers.len()])?,
        };
        Ok(self.own.insert(own).clone())
    }

    fn failed(&mut self) {
        self.failures = self.failures.wrapping_add(1);
        self.at = self.at.wrapping_add(1);
        self.own = None;
    }

    fn worked(&mut self) {
        self.failures = 0;
    }

    /// Returns when there is a new session.
    async fn changed(&mut self) {
        while self.session.changed().await.is_ok() {
            if self.session.borrow_and_update().is_some() {
                self.failures = 0;
                return;
            }
        }
        std::future::pending().await
    }
}
