//! `marabunta.v1.Dispatch`.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use marabunta_proto::name::Name;
use marabunta_proto::v1;
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status, Streaming};

use super::convert::{self, Invalid, Reported};
use super::principal::Principal;
use crate::clock::StoreClock;
use crate::dispatch::{Dispatch, FromWorker, ToWorker};
use crate::metrics::{Judged, Metrics};
use crate::plan::Planner;
use crate::report::Report;
use crate::run::PayloadHash;
use crate::store::Store;
use crate::workers::Workers;

/// How long a worker may take to say Hello.
const HELLO: Duration = Duration::from_secs(10);
/// A session with less of its certificate's life left than this is not told to renew it again, but ends with it.
const LAST_RENEWAL: Duration = Duration::from_secs(15);

pub struct DispatchService {
    pub dispatch: Dispatch,
    pub workers: Workers,
    pub planner: Planner,
    pub report: Report,
    pub metrics: Arc<Metrics>,
    pub store: Store,
    pub clock: StoreClock,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::dispatch_server::Dispatch for DispatchService {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<v1::ServerMessage, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<v1::WorkerMessage>>) -> Answer<Self::ConnectStream> {
        let principal = Principal::of(&request);
        let mut incoming = request.into_inner();
        let first = timeout(HELLO, incoming.message()).await;
        let first =
            first.map_err(|_| Invalid::missing("the first message", "a session begins with Hello"))??;
        let hello = convert::first(first)?;
        if !principal.may_be(&hello.worker) {
            let names = principal.shown();
            return Err(Status::permission_denied(format!(
                "the certificate is that of {names:?}, not of `{}`: a worker's name must be its certificate's",
                hello.worker
            )));
        }
        let registered = self.workers.register(&hello).await;
        if registered.matches_others {
            self.planner.workers_changed();
        }
        let fault = Arc::new(OnceLock::new());
        let said = said(incoming, hello.worker.clone(), fault.clone());
        let outgoing = self.dispatch.connect(hello, registered.draining, said).await?;
        let messages = outgoing.map(|message| Ok(convert::to_worker(message)));
        // What ended the session was this worker's fault, if there is one: it is told why.
        let end = stream::once(async move { fault.get().cloned() });
        let end = end.filter_map(|fault| std::future::ready(fault.map(Err)));
        let said = messages.chain(end).map(Some).chain(stream::once(async { None }));
        let renewal = stream::iter(principal.life()).filter_map(renewal).map(Some);
        let all = stream::select(said, renewal).take_while(|said| std::future::ready(said.is_some()));
        Ok(Response::new(Box::pin(all.filter_map(std::future::ready))))
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Answer<v1::ReportResponse> {
        let principal = Principal::of(&request);
        let request = request.into_inner();
        let sizes: Vec<usize> = request.messages.iter().map(|batch| batch.messages.len()).collect();
        let reported = Reported::read(request, self.clock.now(), |worker| principal.may_be(worker));
        let Reported { messages, ends, taken } = reported;
        let (kept, ended) = self.report.take(messages, ends).await;
        let answer = Reported::answer(taken, kept, ended);
        answer.ends().for_each(|verdict| self.metrics.reports.count(judged(verdict)));
        let messages = answer.messages().zip(sizes);
        messages.for_each(|(verdict, size)| self.metrics.messages.add(judged(verdict), size));
        Ok(Response::new(answer))
    }

    async fn fetch_payload(
        &self,
        request: Request<v1::FetchPayloadRequest>,
    ) -> Answer<v1::FetchPayloadResponse> {
        let hash = request.into_inner().hash;
        let hash = PayloadHash::from_bytes(&hash)
            .map_err(|_| Invalid::value("hash", format!("{} bytes long", hash.len()), "SHA-256 has 32"))?;
        match self.store.payload(hash).await? {
            Some(data) => Ok(Response::new(v1::FetchPayloadResponse { data })),
            None => Err(Status::not_found(format!("no payload has the hash {hash}"))),
        }
    }
}

/// A certificate expires: two thirds of its life from now its worker is told to come back, with the one that has replaced it by then.
async fn renewal(life: Duration) -> Option<Result<v1::ServerMessage, Status>> {
    if life < LAST_RENEWAL {
        return None;
    }
    sleep(life.mul_f64(2.0 / 3.0)).await;
    Some(Ok(convert::to_worker(ToWorker::Reconnect("the worker's certificate expires"))))
}

fn judged(verdict: v1::Verdict) -> Judged {
    match verdict {
        v1::Verdict::Recorded => Judged::Recorded,
        v1::Verdict::Stale => Judged::Stale,
        v1::Verdict::Invalid => Judged::Invalid,
        v1::Verdict::Retry | v1::Verdict::Unspecified => Judged::Retry,
    }
}

/// What the worker says after its Hello. The first thing that breaks the protocol is noted in `fault`, and ends it.
fn said(
    incoming: Streaming<v1::WorkerMessage>,
    worker: Name,
    fault: Arc<OnceLock<Status>>,
) -> impl Stream<Item = Result<FromWorker, Status>> + Send + 'static {
    incoming.map(move |message| {
        let said = message.and_then(|message| Ok(convert::from_worker(&worker, message)?));
        said.inspect_err(|status| _ = fault.set(status.clone()))
    })
}
