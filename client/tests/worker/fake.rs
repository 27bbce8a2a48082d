//! The server that a test plays, and the worker it plays with.

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use marabunta::{
    connect,
    worker::{Builder, RunError, Shutdown, Worker},
};
use marabunta_proto::v1::{
    self, Assign, Assignment, FetchPayloadRequest, FetchPayloadResponse, Hello, ReportRequest,
    ReportResponse, ServerMessage, Verdict, Welcome, WorkerMessage,
    dispatch_server::{Dispatch, DispatchServer},
    server_message::Message as Say,
    worker_message::Message as Heard,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

/// A test that waits longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough that no heartbeat comes into a test that is not about them.
pub const CALM: Duration = Duration::from_secs(600);

/// What a worker asks of the server, in the hands of the test.
pub struct Server {
    pub address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    reports: mpsc::Receiver<Report>,
    task: JoinSet<Result<(), tonic::transport::Error>>,
}

/// One stream, after its Hello.
pub struct Stream {
    pub hello: Hello,
    heard: mpsc::Receiver<WorkerMessage>,
    say: mpsc::Sender<Result<ServerMessage, Status>>,
}

/// One report that waits for its answer.
pub struct Report {
    pub request: ReportRequest,
    reply: oneshot::Sender<Result<ReportResponse, Status>>,
}

struct Door {
    streams: mpsc::Sender<Stream>,
    reports: mpsc::Sender<Report>,
    payloads: Arc<HashMap<Vec<u8>, Vec<u8>>>,
    tasks: TaskTracker,
}

impl Server {
    pub async fn start() -> Self {
        Self::with_payloads(HashMap::new()).await
    }

    pub async fn with_payloads(payloads: HashMap<Vec<u8>, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (streams, opened) = mpsc::channel(16);
        let (reports, reported) = mpsc::channel(16);
        let door = DispatchServer::new(Door {
            streams,
            reports,
            payloads: Arc::new(payloads),
            tasks: TaskTracker::new(),
        });
        let server = tonic::transport::Server::builder().add_service(door);
        let mut task = JoinSet::new();
        task.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, streams: opened, reports: reported, task }
    }

    pub fn config(&self) -> connect::Config {
        connect::Config { server: format!("http://{}", self.address), ..connect::Config::default() }
    }

    /// The next stream that a worker opens; it has said Hello and waits for Welcome.
    pub async fn stream(&mut self) -> Stream {
        patiently(self.streams.recv()).await.expect("the server runs")
    }

    /// The next stream, welcomed.
    pub async fn session(&mut self) -> Stream {
        let stream = self.stream().await;
        stream.welcome(CALM).await;
        stream
    }

    pub async fn report(&mut self) -> Report {
        patiently(self.reports.recv()).await.expect("the server runs")
    }

    /// The next report, recorded.
    pub async fn record(&mut self) -> ReportRequest {
        let report = self.report().await;
        let request = report.request.clone();
        report.judge(Verdict::Recorded);
        request
    }

    /// Records reports up to the one with an end.
    pub async fn record_end(&mut self) -> v1::AttemptEnd {
        loop {
            if let Some(end) = self.record().await.ends.pop() {
                return end;
            }
        }
    }

    /// No report has come.
    pub fn is_quiet(&mut self) -> bool {
        self.reports.try_recv().is_err()
    }

    /// As when the process is killed: connections break.
    pub async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

impl Stream {
    pub async fn welcome(&self, heartbeat: Duration) {
        let heartbeat = Some(heartbeat.try_into().unwrap());
        self.say(Say::Welcome(Welcome {
            protocol: 1,
            session: "s".into(),
            server: "fake".into(),
            heartbeat,
        }))
        .await;
    }

    pub async fn say(&self, message: Say) {
        self.say.send(Ok(ServerMessage { message: Some(message) })).await.expect("the worker listens");
    }

    pub async fn assign(&self, assignments: Vec<Assignment>) {
        self.say(Say::Assign(Assign { assignments })).await;
    }

    /// The next message from the worker; `None` when it has closed the stream.
    pub async fn next(&mut self) -> Option<Heard> {
        patiently(self.heard.recv()).await.map(|message| message.message.expect("a message says something"))
    }

    /// Leases accepted, once there are `count` of them.
    pub async fn accepted(&mut self, count: usize) -> Vec<String> {
        let mut leases = Vec::new();
        while leases.len() < count {
            match self.next().await {
                Some(Heard::Accepted(accepted)) => {
                    leases.extend(accepted.leases.iter().map(|lease| text(lease)))
                }
                Some(_) => {}
                None => panic!("the worker closed the stream after accepting {leases:?}"),
            }
        }
        leases
    }

    /// Waits for the credit to reach `total`.
    pub async fn credit(&mut self, total: u64) {
        loop {
            match self.next().await.expect("the worker keeps the stream") {
                Heard::Credit(credit) if credit.total == total => return,
                Heard::Credit(credit) => assert!(credit.total < total, "credit of {}", credit.total),
                _ => {}
            }
        }
    }

    /// Waits until the worker has said that it does not hold this lease any more.
    pub async fn let_go(&mut self, lease: &str) {
        loop {
            match self.next().await.expect("the worker keeps the stream") {
                Heard::Credit(credit) if credit.ended.iter().any(|ended| text(ended) == lease) => return,
                _ => {}
            }
        }
    }

    /// Waits until the worker has closed the stream.
    pub async fn closed(mut self) {
        while self.next().await.is_some() {}
    }

    pub fn holding(&self) -> Vec<String> {
        self.hello.holding.iter().map(|lease| text(lease)).collect()
    }
}

impl Report {
    /// The same verdict on everything.
    pub fn judge(self, verdict: Verdict) {
        let response = ReportResponse {
            messages: vec![verdict.into(); self.request.messages.len()],
            ends: vec![verdict.into(); self.request.ends.len()],
        };
        self.answer(Ok(response));
    }

    pub fn answer(self, answer: Result<ReportResponse, Status>) {
        self.reply.send(answer).expect("the worker waits for the answer");
    }
}

#[tonic::async_trait]
impl Dispatch for Door {
    type ConnectStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut incoming = request.into_inner();
        let (say, said) = mpsc::channel(16);
        let (hear, heard) = mpsc::channel(64);
        let streams = self.streams.clone();
        self.tasks.spawn(async move {
            let Some(Ok(WorkerMessage { message: Some(Heard::Hello(hello)) })) = incoming.next().await else {
                return;
            };
            if streams.send(Stream { hello, heard, say }).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = incoming.next().await {
                if hear.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let (reply, answer) = oneshot::channel();
        let report = Report { request: request.into_inner(), reply };
        self.reports.send(report).await.map_err(|_| Status::unavailable("the test is over"))?;
        answer.await.map_err(|_| Status::unavailable("the test is over"))?.map(Response::new)
    }

    async fn fetch_payload(
        &self,
        request: Request<FetchPayloadRequest>,
    ) -> Result<Response<FetchPayloadResponse>, Status> {
        let data = self.payloads.get(request.get_ref().hash.as_ref());
        let data = data.ok_or_else(|| Status::not_found("no such payload"))?;
        Ok(Response::new(FetchPayloadResponse { data: data.clone().into() }))
    }
}

/// A worker that runs in this process.
pub struct Running {
    shutdown: watch::Sender<Shutdown>,
    task: JoinSet<Result<(), RunError>>,
}

impl Running {
    pub fn start(builder: Builder) -> Self {
        let worker = builder.build().unwrap();
        let (shutdown, asked) = watch::channel(Shutdown::No);
        let mut task = JoinSet::new();
        task.spawn(worker.run(asked));
        Self { shutdown, task }
    }

    pub fn ask(&self, what: Shutdown) {
        self.shutdown.send_replace(what);
    }

    pub async fn ended(mut self) -> Result<(), RunError> {
        patiently(self.task.join_next()).await.expect("it was started").expect("the worker does not panic")
    }

    /// As with `kill -9`: nothing more is said or written.
    pub async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

/// Waits until the worker of this spool is gone with all its tasks.
pub async fn released(spool: &Path) {
    let lock = std::fs::File::open(spool.join("lock")).unwrap();
    patiently(async {
        while lock.try_lock().is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A worker `w` with two slots that knows this server.
pub fn worker(server: &Server, spool: &Path) -> Builder {
    Worker::builder("w", spool).server(server.config()).slots(2).supervisor(env!("CARGO_BIN_EXE_marabunta"))
}

/// An attempt of the run before the slash; the whole is its lease.
pub fn assignment(name: &str, handler: &str, payload: &str) -> Assignment {
    let (run, attempt) = name.split_once('/').unwrap();
    Assignment {
        lease: name.to_owned().into(),
        run: run.to_owned(),
        handler: handler.to_owned(),
        payload: Some(v1::assignment::Payload::Data(payload.to_owned().into())),
        attempt: attempt.parse().unwrap(),
        ..Assignment::default()
    }
}

pub async fn patiently<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it comes at last")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
