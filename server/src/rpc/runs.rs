//! `marabunta.v1.Runs`.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _, stream};
use marabunta_proto::target::Target;
use marabunta_proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::convert::{self, Invalid};
use crate::follow::{Cursor, Follow, View};
use crate::run::{Payload, Place, Run, RunId};
use crate::store::Store;
use crate::submit::{self, Submit};

/// The most requests of one batch.
const BATCH: usize = 1000;

pub struct RunsService {
    pub submit: Submit,
    pub follow: Follow,
    pub store: Store,
    /// Ends the streams of those who follow.
    pub stop: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::runs_server::Runs for RunsService {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitResponse> {
        self.accept(request.into_inner()).await.map(Response::new)
    }

    async fn submit_batch(
        &self,
        request: Request<v1::SubmitBatchRequest>,
    ) -> Answer<v1::SubmitBatchResponse> {
        use v1::submit_result::Result as Outcome;
        let requests = request.into_inner().requests;
        if requests.len() > BATCH {
            let value = format!("{} long", requests.len());
            return Err(Invalid::value("requests", value, format!("at most {BATCH} are allowed")).into());
        }
        let results = join_all(requests.into_iter().map(|request| self.accept(request))).await;
        let result = |result: Result<v1::SubmitResponse, Status>| v1::SubmitResult {
            result: Some(match result {
                Ok(accepted) => Outcome::Accepted(accepted),
                Err(status) => Outcome::Refused(v1::Refusal {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                }),
            }),
        };
        Ok(Response::new(v1::SubmitBatchResponse { results: results.into_iter().map(result).collect() }))
    }

    async fn get(&self, request: Request<v1::GetRunRequest>) -> Answer<v1::Run> {
        let view = self.follow.view(id(&request.into_inner().id)?).await?;
        self.shown(view).await
    }

    async fn list(&self, request: Request<v1::ListRunsRequest>) -> Answer<v1::ListRunsResponse> {
        let (filter, after, limit) = convert::run_filter(request.into_inner())?;
        let page = self.follow.list(&filter, after, limit).await?;
        Ok(Response::new(v1::ListRunsResponse {
            runs: page.runs.into_iter().map(convert::run).collect(),
            next_page: page.next.map_or_else(String::new, |cursor| cursor.to_string()),
        }))
    }

    type FollowStream = Pin<Box<dyn Stream<Item = Result<v1::FollowEvent, Status>> + Send>>;

    async fn follow(&self, request: Request<v1::FollowRequest>) -> Answer<Self::FollowStream> {
        let v1::FollowRequest { id: run, cursor, quiet, no_wait } = request.into_inner();
        let cursor: Cursor = cursor.parse().map_err(|error| Invalid::field("cursor", error))?;
        let events = self.follow.stream(id(&run)?, cursor, quiet, !no_wait).await?;
        let events = events.map(|event| match event {
            Ok((cursor, event)) => Ok(convert::follow_event(cursor, event)),
            Err(error) => Err(error.into()),
        });
        let (stop, stopped) = (self.stop.clone(), self.stop.clone());
        let last = stream::once(async move {
            let text = "the server is stopping: follow on from the last cursor, on any server";
            stopped.is_cancelled().then(|| Err(Status::unavailable(text)))
        });
        let last = last.filter_map(std::future::ready);
        Ok(Response::new(Box::pin(events.take_until(stop.cancelled_owned()).chain(last))))
    }

    async fn cancel(&self, request: Request<v1::CancelRunRequest>) -> Answer<v1::Run> {
        let view = self.follow.cancel(id(&request.into_inner().id)?).await?;
        self.shown(view).await
    }

    async fn retry(&self, request: Request<v1::RetryRunRequest>) -> Answer<v1::SubmitResponse> {
        let run = id(&request.into_inner().id)?;
        let view = self.follow.view(run).await?.run;
        if !view.state.is_final() {
            return Err(Status::failed_precondition(format!(
                "run `{run}` has not ended: cancel it first, or wait"
            )));
        }
        let Some(payload) = self.payload(&view.run.payload).await? else {
            return Err(Status::failed_precondition(format!(
                "the payload of run `{run}` was pruned: submit it anew"
            )));
        };
        let accepted = self.submit.submit(again(view.run, payload)).await?;
        Ok(Response::new(convert::accepted(accepted)))
    }
}

impl RunsService {
    async fn accept(&self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, Status> {
        let request = convert::request(request)?;
        Ok(convert::accepted(self.submit.submit(request).await?))
    }

    async fn shown(&self, view: View) -> Answer<v1::Run> {
        let payload = self.payload(&view.run.run.payload).await?;
        Ok(Response::new(convert::run_detail(view, payload)))
    }

    async fn payload(&self, payload: &Payload) -> Result<Option<Bytes>, Status> {
        Ok(match payload {
            Payload::Inline(data) => Some(data.clone()),
            Payload::Stored(hash) => self.store.payload(*hash).await?,
        })
    }
}

fn id(text: &str) -> Result<RunId, Invalid> {
    text.parse().map_err(|error| Invalid::field("id", error))
}

/// A request for the same once more.
fn again(run: Run, payload: Bytes) -> submit::Request {
    submit::Request {
        target: match run.place {
            Place::Worker(name) => Target::Worker(name),
            Place::Any(selector) => Target::Any(selector),
        },
        handler: run.handler,
        payload,
        policy: run.policy,
        priority: run.priority,
        durability: run.durability,
        key: None,
        online: false,
        task: run.task,
        overlap: run.overlap,
    }
}
