//! Servers, workers and what is behind them, as one scenario needs them.

use std::ffi::OsString;
use std::thread;

use anyhow::Context as _;
use marabunta_proto::v1::GetWorkerRequest;
use marabunta_proto::v1::workers_client::WorkersClient;
use tonic::transport::Channel;

use super::cli::{Cli, Output, RunningCli};
use super::haproxy::{Haproxy, Upstream};
use super::mariadb::{Database, MariaDb};
use super::redis::{Prefix, Redis};
use super::scenario::Backend;
use super::server::{Options, Server};
use super::wait::finish;
use super::worker::{Worker, WorkerOptions};
use super::{eventually, testimony};

/// A running installation. Fields are dropped in this order: workers before servers, servers before their data. If the test is failing, the
/// servers are asked first what they know of its runs.
#[derive(Debug)]
pub struct Cluster {
    workers: Vec<Worker>,
    balancer: Option<Haproxy>,
    servers: Vec<Server>,
    keys: Option<Prefix>,
    database: Option<Database>,
    redis: Option<Redis>,
    mariadb: Option<MariaDb>,
}

/// What to start.
#[derive(Debug)]
pub struct ClusterOptions {
    backend: Backend,
    servers: usize,
    workers: Vec<WorkerOptions>,
    server: Options,
    balanced: bool,
    own_services: bool,
}

impl Cluster {
    /// One server and no worker, unless more is said.
    pub fn on(backend: Backend) -> ClusterOptions {
        ClusterOptions {
            backend,
            servers: 1,
            workers: Vec::new(),
            server: Options::default(),
            balanced: false,
            own_services: false,
        }
    }

    /// Where clients and workers connect: the balancer, or else the first server.
    pub fn url(&self) -> String {
        self.balancer
            .as_ref()
            .map_or_else(|| self.servers[0].url(), |balancer| format!("http://{}", balancer.address()))
    }

    /// A channel to [`url`](Self::url), for API clients.
    pub async fn channel(&self) -> Channel {
        channel(self.url()).await.expect("the cluster is ready")
    }

    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The only one, or the first.
    pub fn server(&self) -> &Server {
        &self.servers[0]
    }

    pub fn worker(&self, name: &str) -> &Worker {
        self.workers.iter().find(|worker| worker.name() == name).unwrap_or_else(|| panic!("no worker {name}"))
    }

    pub fn balancer(&self) -> Option<&Haproxy> {
        self.balancer.as_ref()
    }

    /// The tables, on [`Backend::MariaDbRedis`].
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The keys, on [`Backend::MariaDbRedis`].
    pub fn keys(&self) -> Option<&Prefix> {
        self.keys.as_ref()
    }

    /// The server to break, with [`ClusterOptions::own_services`].
    pub fn mariadb(&self) -> &MariaDb {
        self.mariadb.as_ref().expect("only a cluster with own_services() may break its MariaDB")
    }

    /// The server to break, with [`ClusterOptions::own_services`].
    pub fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("only a cluster with own_services() may break its Redis")
    }

    /// Runs `marabunta` against this cluster.
    pub async fn cli(&self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Output {
        Cli::new(arguments).server(&self.url()).run().await
    }

    /// Starts `marabunta` against this cluster.
    pub fn start_cli(&self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> RunningCli {
        Cli::new(arguments).server(&self.url()).start()
    }

    /// Starts one more worker and waits until it is online.
    pub async fn add_worker(&mut self, options: impl Into<WorkerOptions>) {
        let worker = Worker::start(&self.url(), options);
        self.online(worker.name()).await;
        self.workers.push(worker);
    }

    /// Waits until a worker is connected, as the servers see it.
    pub async fn online(&self, name: &str) {
        self.until_worker(name, true).await;
    }

    /// Waits until a worker is gone, as the servers see it.
    pub async fn offline(&self, name: &str) {
        self.until_worker(name, false).await;
    }

    /// Drains workers, then servers, and demands that each exits with 0.
    pub async fn stop(self) {
        for worker in &self.workers {
            worker.stop().await;
        }
        for server in &self.servers {
            server.stop().await;
        }
    }

    async fn until_worker(&self, name: &str, online: bool) {
        let url = self.url();
        let what = format!("worker {name} is {}", if online { "online" } else { "offline" });
        eventually(&what, async || {
            let mut workers = WorkersClient::new(channel(url.clone()).await?);
            let worker = workers.get(GetWorkerRequest { name: name.to_owned() }).await?.into_inner();
            anyhow::ensure!(worker.online == online, "{worker:?}");
            Ok(())
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for server in &self.servers {
                let url = server.url();
                eprintln!("---- the server at {url} says of its runs:\n{}", finish(testimony::of(&url)));
            }
        }
    }
}

impl ClusterOptions {
    /// As many servers; the embedded backend has but one, whatever is said here.
    pub fn servers(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    pub fn workers(mut self, workers: impl IntoIterator<Item = impl Into<WorkerOptions>>) -> Self {
        self.workers.extend(workers.into_iter().map(Into::into));
        self
    }

    /// haproxy before the servers. Without it, workers are spread over the servers by turns.
    pub fn balanced(mut self) -> Self {
        self.balanced = true;
        self
    }

    /// A MariaDB and a Redis of its own, to be killed, paused and flushed.
    pub fn own_services(mut self) -> Self {
        self.own_services = true;
        self
    }

    /// One more argument for every server.
    pub fn server_argument(mut self, argument: impl Into<OsString>) -> Self {
        self.server.arguments.push(argument.into());
        self
    }

    /// Starts it all, and waits until every server is ready and every worker online.
    pub async fn start(self) -> Cluster {
        let mut cluster = Cluster {
            workers: Vec::new(),
            balancer: None,
            servers: Vec::new(),
            keys: None,
            database: None,
            redis: None,
            mariadb: None,
        };
        let mut server = self.server;
        if self.backend == Backend::MariaDbRedis {
            if self.own_services {
                cluster.mariadb = Some(MariaDb::start().await);
                cluster.redis = Some(Redis::start().await);
            }
            let database = match &cluster.mariadb {
                Some(own) => own.database().await,
                None => MariaDb::shared().await.database().await,
            };
            let keys = match &cluster.redis {
                Some(own) => own.prefix(),
                None => Redis::shared().await.prefix(),
            };
            let store = ["--mysql", database.url(), "--redis", keys.url(), "--redis-prefix", keys.prefix()];
            server.arguments.splice(0..0, store.map(Into::into));
            cluster.database = Some(database);
            cluster.keys = Some(keys);
        }
        let servers = if self.backend == Backend::Embedded { 1 } else { self.servers };
        cluster.servers = (0..servers).map(|_| Server::launch(server.clone())).collect();
        for server in &cluster.servers {
            server.until_ready().await;
        }
        if self.balanced {
            let upstream = |server: &Server| Upstream { address: server.grpc(), readyz: Some(server.http()) };
            let upstreams: Vec<Upstream> = cluster.servers.iter().map(upstream).collect();
            cluster.balancer = Some(Haproxy::start(&upstreams).await);
        }
        for (turn, options) in self.workers.into_iter().enumerate() {
            let url = if self.balanced { cluster.url() } else { cluster.servers[turn % servers].url() };
            cluster.workers.push(Worker::start(&url, options));
        }
        for worker in &cluster.workers {
            cluster.online(worker.name()).await;
        }
        cluster
    }
}

async fn channel(url: String) -> anyhow::Result<Channel> {
    Channel::from_shared(url.clone())?.connect().await.with_context(|| format!("{url} does not answer"))
}
