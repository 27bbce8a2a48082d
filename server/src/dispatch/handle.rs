//! The door's side of dispatch.

use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;

use super::event::Event;
use super::session::{self, OUTBOX};
use super::{ConnectError, FromWorker, Hello, ToWorker};
use crate::panics::Panics;

/// A cheap handle to the owner of the sessions.
#[derive(Clone)]
pub struct Dispatch {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) tracker: TaskTracker,
    pub(super) panics: Panics,
}

impl Dispatch {
    /// Opens a session for this worker, which may be `draining`, and reads its stream until it ends. What is sent to the worker comes from
    /// the answer, Welcome first.
    pub async fn connect<S, E>(
        &self,
        hello: Hello,
        draining: bool,
        incoming: S,
    ) -> Result<ReceiverStream<ToWorker>, ConnectError>
    where
        S: Stream<Item = Result<FromWorker, E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let (opened, answer) = oneshot::channel();
        let worker = hello.worker.clone();
        let event = Event::Connect { hello: Box::new(hello), draining, outbox, opened };
        self.events.send(event).await.map_err(|_| ConnectError::Stopping)?;
        let link = answer.await.map_err(|_| ConnectError::Dropped)??;
        let (events, panics) = (self.events.clone(), self.panics.clone());
        self.tracker.spawn(session::read(worker, link, incoming, events, panics));
        Ok(ReceiverStream::new(messages))
    }
}
