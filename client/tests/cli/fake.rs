//! A server that answers what the test has written, and remembers what it was asked.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    pin::Pin,
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use marabunta_proto::v1::{
    runs_server::{Runs, RunsServer},
    tasks_server::{Tasks, TasksServer},
    workers_server::{Workers, WorkersServer},
    *,
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{Semaphore, watch},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::marabunta::{self, Ended};

/// What one Follow stream does, in order.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "a script has a handful of them")]
pub enum Step {
    Out(&'static [u8]),
    Err(&'static [u8]),
    Note(&'static str),
    State(RunState, &'static str),
    End(Run),
    /// The stream fails like this.
    Break(Status),
    /// Goes on when the test opens the gate once.
    Gate,
    /// Goes on when the run has been cancelled.
    Cancelled,
}

/// The answers of a server, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// Failures of Submit before its answer.
    pub submit_failures: VecDeque<Status>,
    pub submitted: SubmitResponse,
    /// For each run the streams it gets, one after the other.
    pub follows: HashMap<String, VecDeque<Vec<Step>>>,
    pub run: Run,
    pub task: Task,
    pub worker: Worker,
    pub asked: Asked,
}

#[derive(Clone, Default)]
pub struct Asked {
    pub submits: Vec<SubmitRequest>,
    pub follows: Vec<FollowRequest>,
    pub cancels: Vec<String>,
    pub lists: Vec<ListRunsRequest>,
    pub creates: Vec<CreateTaskRequest>,
    pub updates: Vec<UpdateTaskRequest>,
    pub fires: Vec<FireTaskRequest>,
    pub drains: Vec<String>,
    pub authorization: Option<String>,
}

/// A running server. Dropping it cuts all connections.
pub struct Fake {
    runtime: Option<Runtime>,
    address: SocketAddr,
    answers: Answers,
}

#[derive(Clone)]
struct Answers {
    script: Arc<Mutex<Script>>,
    gate: Arc<Semaphore>,
    cancels: watch::Sender<usize>,
}

impl Fake {
    pub fn start(script: Script) -> Self {
        let answers = Answers {
            script: Arc::new(Mutex::new(script)),
            gate: Arc::new(Semaphore::new(0)),
            cancels: watch::Sender::new(0),
        };
        let (runtime, address) = serve(answers.clone(), "127.0.0.1:0".parse().unwrap());
        Self { runtime: Some(runtime), address, answers }
    }

    /// One run with this id, followed once.
    pub fn running(steps: Vec<Step>) -> Self {
        Self::followed([steps])
    }

    /// One run, whose streams are these.
    pub fn followed<const N: usize>(streams: [Vec<Step>; N]) -> Self {
        let submitted =
            SubmitResponse { runs: vec![submitted("run-1", "web-1")], ..SubmitResponse::default() };
        let follows = HashMap::from([("run-1".to_owned(), VecDeque::from(streams))]);
        Self::start(Script { submitted, follows, ..Script::default() })
    }

    /// Cuts all connections, and serves again at the same address.
    pub fn restart(&mut self) {
        self.stop();
        self.runtime = Some(serve(self.answers.clone(), self.address).0);
    }

    /// Cuts all connections, for good. The address is free when this returns.
    pub fn stop(&mut self) {
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(10));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = marabunta::command(arguments);
        command.env("MARABUNTA_SERVER", format!("http://{}", self.address));
        command
    }

    /// The binary's end, with this server.
    pub fn ended(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().unwrap().into()
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub fn open_gate(&self) {
        self.answers.gate.add_permits(1);
    }

    pub fn asked(&self) -> Asked {
        self.answers.script.lock().unwrap().asked.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn submitted(id: &str, target: &str) -> SubmittedRun {
    SubmittedRun { id: id.to_owned(), target: target.to_owned() }
}

/// The run as it ended well or with this code.
pub fn ended(id: &str, worker: &str, exit_code: i32) -> Run {
    let (state, reason) = match exit_code {
        0 => (RunState::Done, Reason::Unspecified),
        _ => (RunState::Error, Reason::Failed),
    };
    Run {
        id: id.to_owned(),
        target: worker.to_owned(),
        worker: worker.to_owned(),
        state: state.into(),
        reason: reason.into(),
        exit_code: Some(exit_code),
        ..Run::default()
    }
}

/// Listens where another server may just have ceased to: its socket is closed a moment after it was stopped.
async fn listen(address: SocketAddr) -> TcpListener {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{address}: {error}"),
        }
    }
}

fn serve(answers: Answers, address: SocketAddr) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(listen(address));
    let address = listener.local_addr().unwrap();
    let _guard = runtime.enter();
    let server = Server::builder()
        .add_service(RunsServer::new(answers.clone()))
        .add_service(TasksServer::new(answers.clone()))
        .add_service(WorkersServer::new(answers))
        .serve_with_incoming(TcpIncoming::from(listener));
    runtime.spawn(server);
    (runtime, address)
}

impl Answers {
    fn ask<T>(&self, answer: impl FnOnce(&mut Script) -> T) -> Result<Response<T>, Status> {
        Ok(Response::new(answer(&mut self.script.lock().unwrap())))
    }

    async fn event(self, id: String, number: usize, step: Step) -> Option<Result<FollowEvent, Status>> {
        let output = |kind: MessageKind, data: &'static [u8]| {
            let output = Output { attempt: 1, kind: kind.into(), data: data.into(), time: None };
            Some(follow_event::Event::Output(output))
        };
        let event = match step {
            Step::Out(data) => output(MessageKind::Stdout, data),
            Step::Err(data) => output(MessageKind::Stderr, data),
            Step::Note(text) => output(MessageKind::Note, text.as_bytes()),
            Step::State(state, note) => {
                let transition =
                    Transition { state: state.into(), note: note.to_owned(), ..Transition::default() };
                Some(follow_event::Event::Transition(transition))
            }
            Step::End(run) => Some(follow_event::Event::End(run)),
            Step::Break(status) => return Some(Err(status)),
            Step::Gate => {
                self.gate.acquire().await.unwrap().forget();
                return None;
            }
            Step::Cancelled => {
                let cancelled = |_: &usize| self.script.lock().unwrap().asked.cancels.contains(&id);
                self.cancels.subscribe().wait_for(cancelled).await.unwrap();
                return None;
            }
        };
        Some(Ok(FollowEvent { cursor: format!("after-{number}"), event }))
    }
}

#[tonic::async_trait]
impl Runs for Answers {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowEvent, Status>> + Send>>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let authorization =
            request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let mut script = self.script.lock().unwrap();
        script.asked.authorization = authorization;
        script.asked.submits.push(request.into_inner());
        match script.submit_failures.pop_front() {
            Some(status) => Err(status),
            None => Ok(Response::new(script.submitted.clone())),
        }
    }

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let request = request.into_inner();
        let mut script = self.script.lock().unwrap();
        script.asked.follows.push(request.clone());
        let streams = script.follows.get_mut(&request.id).ok_or_else(|| Status::not_found("no such run"))?;
        let steps = streams.pop_front().ok_or_else(|| Status::not_found("the script is at its end"))?;
        let answers = self.clone();
        let events = stream::iter(steps.into_iter().enumerate())
            .then(move |(number, step)| answers.clone().event(request.id.clone(), number, step))
            .filter_map(async |event| event);
        Ok(Response::new(Box::pin(events)))
    }

    async fn cancel(&self, request: Request<CancelRunRequest>) -> Result<Response<Run>, Status> {
        let run = self.ask(|script| {
            script.asked.cancels.push(request.into_inner().id);
            script.run.clone()
        });
        self.cancels.send_modify(|count| *count += 1);
        run
    }

    async fn get(&self, _: Request<GetRunRequest>) -> Result<Response<Run>, Status> {
        self.ask(|script| script.run.clone())
    }

    async fn list(&self, request: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        self.ask(|script| {
            script.asked.lists.push(request.into_inner());
            ListRunsResponse { runs: vec![script.run.clone()], next_page: String::new() }
        })
    }

    async fn retry(&self, _: Request<RetryRunRequest>) -> Result<Response<SubmitResponse>, Status> {
        self.ask(|script| script.submitted.clone())
    }

    async fn submit_batch(
        &self,
        _: Request<SubmitBatchRequest>,
    ) -> Result<Response<SubmitBatchResponse>, Status> {
        Err(Status::unimplemented("the command line does not call this"))
    }
}

#[tonic::async_trait]
impl Tasks for Answers {
    async fn create(&self, request: Request<CreateTaskRequest>) -> Result<Response<Task>, Status> {
        self.ask(|script| {
            script.asked.creates.push(request.into_inner());
            script.task.clone()
        })
    }

    async fn get(&self, _: Request<GetTaskRequest>) -> Result<Response<Task>, Status> {
        self.ask(|script| script.task.clone())
    }

    async fn list(&self, _: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        self.ask(|script| ListTasksResponse { tasks: vec![script.task.clone()], next_page: String::new() })
    }

    async fn update(&self, request: Request<UpdateTaskRequest>) -> Result<Response<Task>, Status> {
        self.ask(|script| {
            script.asked.updates.push(request.into_inner());
            script.task.clone()
        })
    }

    async fn pause(&self, _: Request<PauseTaskRequest>) -> Result<Response<Task>, Status> {
        self.ask(|script| script.task.clone())
    }

    async fn resume(&self, _: Request<ResumeTaskRequest>) -> Result<Response<Task>, Status> {
        self.ask(|script| script.task.clone())
    }

    async fn fire(&self, request: Request<FireTaskRequest>) -> Result<Response<SubmitResponse>, Status> {
        self.ask(|script| {
            script.asked.fires.push(request.into_inner());
            script.submitted.clone()
        })
    }

    async fn delete(&self, _: Request<DeleteTaskRequest>) -> Result<Response<DeleteTaskResponse>, Status> {
        Ok(Response::new(DeleteTaskResponse {}))
    }
}

#[tonic::async_trait]
impl Workers for Answers {
    async fn list(&self, _: Request<ListWorkersRequest>) -> Result<Response<ListWorkersResponse>, Status> {
        self.ask(|script| ListWorkersResponse {
            workers: vec![script.worker.clone()],
            next_page: String::new(),
        })
    }

    async fn get(&self, _: Request<GetWorkerRequest>) -> Result<Response<Worker>, Status> {
        self.ask(|script| script.worker.clone())
    }

    async fn drain(&self, request: Request<DrainWorkerRequest>) -> Result<Response<Worker>, Status> {
        self.ask(|script| {
            script.asked.drains.push(request.into_inner().name);
            script.worker.clone()
        })
    }

    async fn resume(&self, _: Request<ResumeWorkerRequest>) -> Result<Response<Worker>, Status> {
        self.ask(|script| script.worker.clone())
    }
}
