//! A run's events, from the first to the last, over any number of broken connections: each one is taken up at the cursor of the last event.

use std::time::Duration;

use futures_util::{Stream, stream};
use marabunta_proto::{
    duration,
    v1::{FollowEvent, FollowRequest, follow_event::Event, runs_client::RunsClient},
};
use tonic::{Status, Streaming};

use super::{
    backoff::Backoff,
    caller::Caller,
    console::Console,
    failure::{self, Failure},
};
use crate::connect::{Connection, Service};

/// Follows one run.
pub struct Follower<'a> {
    caller: &'a Caller,
    console: &'a Console,
    runs: RunsClient<Service>,
    /// What to ask for next; its cursor moves with the events.
    request: FollowRequest,
    stream: Option<Streaming<FollowEvent>>,
    backoff: Backoff,
    /// How long to try to reach a server that has gone; for ever when unset.
    patience: Option<Duration>,
    ended: bool,
}

impl<'a> Follower<'a> {
    /// A follower of the run that the server is known to have: it waits for a server that has gone, as long as `patience` if given.
    pub fn new(
        caller: &'a Caller,
        connection: &Connection,
        console: &'a Console,
        id: &str,
        patience: Option<Duration>,
    ) -> Self {
        let request = FollowRequest { id: id.to_owned(), ..FollowRequest::default() };
        let (runs, backoff) = (connection.runs(), Backoff::default());
        Self { caller, console, runs, request, stream: None, backoff, patience, ended: false }
    }

    /// Stops at what is there now instead of waiting for more.
    pub fn without_waiting(mut self) -> Self {
        self.request.no_wait = true;
        self
    }

    /// The events; the last one is `end` unless this follower does not wait. After an error there are none.
    pub fn events(self) -> impl Stream<Item = Result<FollowEvent, Failure>> + use<'a> {
        stream::try_unfold(self, async |mut follower| {
            Ok(follower.next().await?.map(|event| (event, follower)))
        })
    }

    async fn next(&mut self) -> Result<Option<FollowEvent>, Failure> {
        while !self.ended {
            match self.receive().await {
                Ok(Some(event)) => {
                    self.backoff.succeeded();
                    self.console.connected();
                    self.request.cursor.clone_from(&event.cursor);
                    self.ended = matches!(event.event, Some(Event::End(_)));
                    return Ok(Some(event));
                }
                Ok(None) if self.request.no_wait => return Ok(None),
                Ok(None) => self.lost(&Status::unavailable("the stream ended before the run"))?,
                Err(status) => self.lost(&status)?,
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<FollowEvent>, Status> {
        self.backoff.wait().await;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            closed => closed.insert(self.runs.follow(self.request.clone()).await?.into_inner()),
        };
        stream.message().await
    }

    fn lost(&mut self, status: &Status) -> Result<(), Failure> {
        self.stream = None;
        let failing = self.backoff.failed();
        if !failure::may_pass(status) || self.patience.is_some_and(|patience| failing > patience) {
            return Err(self.caller.failed(format!("follow run {}", self.request.id), status));
        }
        let until =
            self.patience.map(|patience| format!(" for {}", duration::format(patience))).unwrap_or_default();
        let reason = self.caller.reason(status);
        self.console
            .disconnected(&format!("lost the connection, trying again{until}; the run goes on ({reason})"));
        Ok(())
    }
}
