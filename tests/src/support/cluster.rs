//! Servers, workers and what is behind them, as one scenario needs them.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
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
    /// Of each server, for API clients.
    doors: Vec<String>,
    workers: Vec<Worker>,
    balancer: Option<Haproxy>,
    servers: Vec<Server>,
    keys: Option<Prefix>,
    database: Option<Database>,
    redis: Option<Redis>,
    mariadb: Option<MariaDb>,
}

/// A way between two parts of an installation, on which something may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// From the server at this place to Redis.
    ToQueue(usize),
    /// From the server at this place to the database.
    ToStore(usize),
    /// From the worker of this name to the server at this place, or with a balancer to the balancer (place 0).
    ToServer(String, usize),
    /// From API clients to the server at this place.
    FromClients(usize),
}

/// Gives the address to use for a link instead of the real one: that of a proxy, or the real one again.
pub type Detour = Box<dyn FnMut(&Link, SocketAddr) -> SocketAddr + Send>;

/// What to start.
pub struct ClusterOptions {
    backend: Backend,
    servers: usize,
    workers: Vec<WorkerOptions>,
    server: Options,
    balanced: bool,
    own_services: bool,
    roaming: bool,
    detour: Detour,
    environment: Vec<(usize, Vec<(OsString, OsString)>)>,
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
            roaming: false,
            detour: Box::new(|_, address| address),
            environment: Vec::new(),
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

    /// Where API clients reach each of the servers.
    pub fn doors(&self) -> &[String] {
        &self.doors
    }

    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// Where the tables are, for [`sqlx::Any`].
    pub fn store(&self) -> String {
        match &self.database {
            Some(database) => database.url().to_owned(),
            None => format!("sqlite://{}", self.server().data().join("marabunta.db").display()),
        }
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

    /// Workers know all servers and try them in turn, each beginning with another.
    pub fn roaming(mut self) -> Self {
        self.roaming = true;
        self
    }

    /// Something may stand on the links.
    pub fn detour(mut self, detour: Detour) -> Self {
        self.detour = detour;
        self
    }

    /// Servers listen at another address of this host, where namespaces can reach them.
    pub fn listen(mut self, ip: Ipv4Addr) -> Self {
        self.server.listen = Some(ip);
        self
    }

    /// More variables for the server at this place.
    pub fn server_environment(mut self, at: usize, environment: Vec<(OsString, OsString)>) -> Self {
        self.environment.push((at, environment));
        self
    }

    /// One more argument for every server.
    pub fn server_argument(mut self, argument: impl Into<OsString>) -> Self {
        self.server.arguments.push(argument.into());
        self
    }

    /// One more variable for every server.
    pub fn server_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.server.environment.push((name.into(), value.into()));
        self
    }

    /// Another build of the servers, such as an earlier version.
    pub fn server_program(mut self, program: &Path) -> Self {
        self.server.program = Some(program.to_owned());
        self
    }

    /// Starts it all, and waits until every server is ready and every worker online.
    pub async fn start(self) -> Cluster {
        let mut cluster = Cluster {
            doors: Vec::new(),
            workers: Vec::new(),
            balancer: None,
            servers: Vec::new(),
            keys: None,
            database: None,
            redis: None,
            mariadb: None,
        };
        let mut detour = self.detour;
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
            cluster.database = Some(database);
            cluster.keys = Some(keys);
        }
        let servers = if self.backend == Backend::Embedded { 1 } else { self.servers };
        for at in 0..servers {
            let mut options = self.server.clone();
            let own = self.environment.iter().filter(|(of, _)| *of == at);
            options.environment.extend(own.flat_map(|(_, variables)| variables.clone()));
            if let (Some(database), Some(keys)) = (&cluster.database, &cluster.keys) {
                let store = redirect(database.url(), |address| detour(&Link::ToStore(at), address));
                let queue = redirect(keys.url(), |address| detour(&Link::ToQueue(at), address));
                let arguments = ["--mysql", &store, "--redis", &queue, "--redis-prefix", keys.prefix()];
                options.arguments.splice(0..0, arguments.map(Into::into));
            }
            cluster.servers.push(Server::launch(options));
        }
        for server in &cluster.servers {
            server.until_ready().await;
        }
        let door = |(at, server): (usize, &Server)| {
            format!("http://{}", detour(&Link::FromClients(at), server.grpc()))
        };
        cluster.doors = cluster.servers.iter().enumerate().map(door).collect();
        if self.balanced {
            let upstream = |server: &Server| Upstream { address: server.grpc(), readyz: Some(server.http()) };
            let upstreams: Vec<Upstream> = cluster.servers.iter().map(upstream).collect();
            cluster.balancer = Some(Haproxy::start(&upstreams).await);
        }
        for (turn, options) in self.workers.into_iter().enumerate() {
            let doors: Vec<SocketAddr> = match &cluster.balancer {
                Some(balancer) => vec![balancer.address()],
                None => cluster.servers.iter().map(Server::grpc).collect(),
            };
            let count = if self.roaming { doors.len() } else { 1 };
            let way = |at: usize| {
                let at = at % doors.len();
                format!("http://{}", detour(&Link::ToServer(options.name().to_owned(), at), doors[at]))
            };
            let urls: Vec<String> = (turn..turn + count).map(way).collect();
            cluster.workers.push(Worker::start(&urls.join(","), options));
        }
        for worker in &cluster.workers {
            cluster.online(worker.name()).await;
        }
        cluster
    }
}

impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterOptions").field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// The URL with another address in it, if its host is an address: a service that was there before has a name, and nothing on its links.
fn redirect(url: &str, detour: impl FnOnce(SocketAddr) -> SocketAddr) -> String {
    let from = url.rfind('@').or_else(|| url.find("//").map(|slashes| slashes + 1)).map_or(0, |at| at + 1);
    let to = url[from..].find('/').map_or(url.len(), |at| from + at);
    match url[from..to].parse() {
        Ok(address) => format!("{}{}{}", &url[..from], detour(address), &url[to..]),
        Err(_) => url.to_owned(),
    }
}

async fn channel(url: String) -> anyhow::Result<Channel> {
    Channel::from_shared(url.clone())?.connect().await.with_context(|| format!("{url} does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_in_a_url_is_replaced_and_a_name_is_left() {
        let proxy: SocketAddr = "127.0.0.1:9".parse().unwrap();
        for (url, expected) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:9"),
            ("mysql://u:p@127.0.0.1:3306/d", "mysql://u:p@127.0.0.1:9/d"),
            ("redis://queue:6379/1", "redis://queue:6379/1"),
        ] {
            assert_eq!(redirect(url, |_| proxy), expected);
        }
    }
}
