//! What an SDK program runs: functions of its own, in its process. Commands are run by supervisors (see the module `command`).

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use marabunta_proto::v1::{Message, MessageKind};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{attempts::Key, spool::Entry, wire};

/// How long a function may take to notice that it was cancelled, before it is dropped at its next await.
const FUNCTION_GRACE: Duration = Duration::from_secs(10);

/// What a call of a handler becomes.
pub type Handling = Pin<Box<dyn Future<Output = Result<Completion, Failure>> + Send>>;

/// Does the work of one attempt.
pub trait Handler: Send + Sync + 'static {
    /// Works on `payload`, which is JSON as it was submitted. Must return soon after [`Context::cancelled`]; until then the attempt
    /// holds its slot. When the future is dropped nothing of the work may go on.
    fn handle(&self, context: Context, payload: Bytes) -> Handling;
}

/// A good end.
#[derive(Debug, Default)]
pub struct Completion {
    /// What the submitter gets; at most 1 MiB of JSON.
    pub result: Option<Value>,
    /// For commands.
    pub exit_code: Option<i32>,
    /// If the handler knows better than what went through [`Context::output`].
    pub printed: Option<Printed>,
}

/// How much was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printed {
    pub bytes: u64,
    /// Some of it was left out.
    pub truncated: bool,
}

/// A bad end. Any error becomes one by `?`, as [`Failure::failed`].
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    /// For people.
    pub error: String,
    /// For commands.
    pub exit_code: Option<i32>,
    /// As in [`Completion`].
    pub printed: Option<Printed>,
}

/// What the bad end means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It is tried again if the run has retries left.
    Failed,
    /// It took too long; as failed.
    TimedOut,
    /// It was stopped because it was asked to.
    Cancelled,
    /// It cannot work here, and trying again would not help.
    Rejected,
    /// Something on this host broke it off: it is tried again without spending a retry.
    Lost,
}

impl Failure {
    /// The work did not succeed; it is tried again if the run has retries left.
    pub fn failed(error: impl ToString) -> Self {
        Self { kind: FailureKind::Failed, error: error.to_string(), exit_code: None, printed: None }
    }

    /// The work cannot be done here: a wrong payload, something missing. It is not tried again.
    pub fn rejected(error: impl ToString) -> Self {
        Self { kind: FailureKind::Rejected, exit_code: Some(126), ..Self::failed(error) }
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(crate::connect::chain(&error))
    }
}

/// What a handler knows of its attempt, and its way to speak of it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Context {
    /// The run's id.
    pub run: Arc<str>,
    /// The task's name; empty for an on-demand run.
    pub task: Arc<str>,
    /// Counted from 1.
    pub attempt: u32,
    key: Key,
    entries: mpsc::Sender<Entry>,
    cancel: CancellationToken,
    printed: Arc<AtomicU64>,
}

/// Where output was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Context {
    pub(super) fn new(
        assignment: &super::attempts::Assignment,
        key: Key,
        entries: mpsc::Sender<Entry>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            run: assignment.run.as_str().into(),
            task: assignment.task.as_str().into(),
            attempt: assignment.attempt,
            key,
            entries,
            cancel,
            printed: Arc::default(),
        }
    }

    /// Passes on what the work prints: bytes, in order. Waits for the disk, not for the network.
    pub async fn output(&self, stream: Stream, data: impl Into<Bytes>) {
        let mut data = data.into();
        self.printed.fetch_add(data.len() as u64, Relaxed);
        let kind = match stream {
            Stream::Stdout => MessageKind::Stdout,
            Stream::Stderr => MessageKind::Stderr,
        };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(wire::LARGEST_MESSAGE));
            self.message(kind, piece).await;
        }
    }

    /// A remark for whoever reads the run's output; at most 64 KiB.
    pub async fn note(&self, text: &str) {
        let end = text.floor_char_boundary(wire::LARGEST_MESSAGE);
        self.message(MessageKind::Note, Bytes::copy_from_slice(&text.as_bytes()[..end])).await;
    }

    /// How far the work is, in per cent, and in words if there are any.
    pub async fn progress(&self, percent: u8, words: &str) {
        let percent = percent.min(100);
        let text = if words.is_empty() { percent.to_string() } else { format!("{percent} {words}") };
        let end = text.floor_char_boundary(wire::LARGEST_MESSAGE);
        self.message(MessageKind::Progress, Bytes::copy_from_slice(&text.as_bytes()[..end])).await;
    }

    /// Returns when the work is to stop: cancelled, out of time, given to another worker, or the worker stops.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// True once the work is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    pub(super) fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    pub(super) fn printed(&self) -> Printed {
        Printed { bytes: self.printed.load(Relaxed), truncated: false }
    }

    async fn message(&self, kind: MessageKind, data: Bytes) {
        let message = Message { kind: kind.into(), data, time: Some(wire::now()) };
        // Closed only while the daemon ends, when nobody is left to tell.
        if self.entries.send(Entry::Message { key: self.key, number: None, message }).await.is_err() {
            tracing::debug!(run = &*self.run, "a message came after the end of the worker");
        }
    }
}

/// A function as a handler: its payload is read as a `T`, and rejected if it is none. It has ten seconds after a cancellation, then it
/// is dropped.
pub fn function<T, F, Fut>(function: F) -> impl Handler
where
    T: DeserializeOwned + Send + 'static,
    F: Fn(Context, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<Value>, Failure>> + Send + 'static,
{
    Function { function, payload: std::marker::PhantomData::<fn(T)> }
}

struct Function<T, F> {
    function: F,
    payload: std::marker::PhantomData<fn(T)>,
}

impl<T, F, Fut> Handler for Function<T, F>
where
    T: DeserializeOwned + Send + 'static,
    F: Fn(Context, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<Value>, Failure>> + Send + 'static,
{
    fn handle(&self, context: Context, payload: Bytes) -> Handling {
        let payload: T = match serde_json::from_slice(&payload) {
            Ok(payload) => payload,
            Err(error) => {
                let refusal = Failure::rejected(format!("the payload does not fit the handler: {error}"));
                return Box::pin(std::future::ready(Err(refusal)));
            }
        };
        let cancel = context.cancellation();
        let work = (self.function)(context, payload);
        Box::pin(async move {
            let patience = async {
                cancel.cancelled().await;
                tokio::time::sleep(FUNCTION_GRACE).await;
            };
            let result = tokio::select! {
                result = work => result?,
                () = patience => {
                    let error = "the handler did not stop in time and was dropped".to_owned();
                    return Err(Failure { kind: FailureKind::Cancelled, ..Failure::failed(error) });
                }
            };
            Ok(Completion { result, ..Completion::default() })
        })
    }
}
