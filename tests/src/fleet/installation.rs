//! What a fleet connects to: one or more servers on either backend, in plaintext or TLS, behind balancers or not.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use marabunta::connect::{self, Connection};
use marabunta_proto::v1::{ListRunsRequest, RunState};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::support::haproxy::{Haproxy, Upstream};
use crate::support::mariadb::{Database, MariaDb};
use crate::support::redis::{Prefix, Redis};
use crate::support::scratch::Scratch;
use crate::support::server::{Options, Server};
use crate::support::{Backend, eventually_within};

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    pub backend: Backend,
    /// Embedded has one, whatever is said here.
    pub servers: usize,
    /// Members are shared out among so many: a balancer needs two descriptors for each.
    pub balancers: usize,
    pub tls: bool,
    /// More arguments for each server.
    pub arguments: Vec<OsString>,
}

/// A running installation of its own. Fields are dropped in this order.
#[derive(Debug)]
pub struct Installation {
    pub balancers: Vec<Haproxy>,
    pub servers: Vec<Server>,
    pub keys: Option<Prefix>,
    _database: Option<Database>,
    pub redis: Option<Redis>,
    pub mariadb: Option<MariaDb>,
    authority: Option<Authority>,
}

impl Plan {
    /// One server in plaintext.
    pub fn of(backend: Backend) -> Self {
        Self { backend, servers: 1, balancers: 0, tls: false, arguments: Vec::new() }
    }
}

impl Installation {
    pub async fn start(plan: &Plan) -> Self {
        let authority = plan.tls.then(Authority::new);
        let mut options = Options { arguments: plan.arguments.clone(), ..Options::default() };
        if let Some(authority) = &authority {
            let files = [("--tls-cert", "localhost.pem"), ("--tls-key", "localhost.key")];
            let files = files.map(|(flag, file)| [flag.into(), authority.0.join(file).into_os_string()]);
            options.arguments.extend(files.into_iter().flatten());
        }
        let (mut mariadb, mut redis, mut database, mut keys) = (None, None, None, None);
        if plan.backend == Backend::MariaDbRedis {
            let (sql, queue) = (MariaDb::start().await, Redis::start().await);
            let (tables, prefix) = (sql.database().await, queue.prefix());
            let store = ["--mysql", tables.url(), "--redis", prefix.url(), "--redis-prefix", prefix.prefix()];
            options.arguments.splice(0..0, store.map(Into::into));
            (mariadb, redis, database, keys) = (Some(sql), Some(queue), Some(tables), Some(prefix));
        }
        let count = if plan.backend == Backend::Embedded { 1 } else { plan.servers };
        let servers = (0..count).map(|_| Server::launch(options.clone())).collect();
        let mut installation =
            Self { balancers: Vec::new(), servers, keys, _database: database, redis, mariadb, authority };
        for server in 0..count {
            installation.until_serving(server).await;
        }
        let readyz = |server: &Server| (!plan.tls).then(|| server.http());
        let upstream = |server: &Server| Upstream { address: server.grpc(), readyz: readyz(server) };
        let upstreams: Vec<_> = installation.servers.iter().map(upstream).collect();
        for _ in 0..plan.balancers {
            installation.balancers.push(Haproxy::start(&upstreams).await);
        }
        installation
    }

    /// Where members connect: the balancers, or else the servers.
    pub fn urls(&self) -> Vec<String> {
        if self.balancers.is_empty() {
            return self.configs().into_iter().map(|config| config.server).collect();
        }
        self.balancers.iter().map(|balancer| self.url(balancer.address().port())).collect()
    }

    pub fn tls_ca(&self) -> Option<PathBuf> {
        self.authority.as_ref().map(|authority| authority.0.join("ca.pem"))
    }

    /// How callers connect: past the balancers.
    pub fn configs(&self) -> Vec<connect::Config> {
        self.servers.iter().map(|server| self.config(server)).collect()
    }

    pub async fn until_serving(&self, server: usize) {
        let config = self.config(&self.servers[server]);
        eventually_within(Duration::from_secs(120), "the server serves", async || {
            Connection::open(&config)?
                .runs()
                .list(ListRunsRequest { page_size: 1, ..Default::default() })
                .await?;
            Ok(())
        })
        .await;
    }

    /// How many runs are open, as the servers see it: 0 or "at least one".
    pub async fn open_runs(&self) -> anyhow::Result<usize> {
        self.count(&[RunState::Todo, RunState::Queued, RunState::Running], 1).await
    }

    /// How many runs did not end well, as the servers see it; at most so many and a page.
    pub async fn failed_runs(&self, most: usize) -> anyhow::Result<usize> {
        let states = [RunState::Error, RunState::Cancelled, RunState::Expired, RunState::Skipped];
        self.count(&states, most).await
    }

    /// How many runs are in this state, as the servers see it; at most so many and a page.
    pub async fn count_of(&self, state: RunState, most: usize) -> anyhow::Result<usize> {
        self.count(&[state], most).await
    }

    /// What Redis remembers besides what it always does and what it keeps for a time of its own: results, idempotency keys.
    pub async fn remembered(&self) -> anyhow::Result<Vec<String>> {
        let Some(keys) = &self.keys else { return Ok(Vec::new()) };
        let spare =
            |key: &String| ![":meta", ":results:", ":key:", ":servers"].iter().any(|kept| key.contains(kept));
        Ok(keys.try_keys().await?.into_iter().filter(spare).collect())
    }

    /// Any server knows.
    async fn count(&self, states: &[RunState], most: usize) -> anyhow::Result<usize> {
        let mut failure = anyhow::anyhow!("there is no server");
        for config in self.configs() {
            match count(&config, states, most).await {
                Ok(count) => return Ok(count),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn config(&self, server: &Server) -> connect::Config {
        let server = self.url(server.grpc().port());
        connect::Config { server, tls_ca: self.tls_ca(), ..Default::default() }
    }

    fn url(&self, port: u16) -> String {
        match self.authority {
            None => format!("http://127.0.0.1:{port}"),
            Some(_) => format!("https://localhost:{port}"),
        }
    }
}

async fn count(server: &connect::Config, states: &[RunState], most: usize) -> anyhow::Result<usize> {
    let (mut runs, mut count, mut page) = (Connection::open(server)?.runs(), 0, String::new());
    let page_size = u32::try_from(most.clamp(1, 1000)).expect("at most 1000");
    let states: Vec<i32> = states.iter().map(|&state| state.into()).collect();
    loop {
        let request = ListRunsRequest { states: states.clone(), page_size, page, ..Default::default() };
        let listed = runs.list(request).await?.into_inner();
        count += listed.runs.len();
        page = listed.next_page;
        if page.is_empty() || count >= most {
            return Ok(count);
        }
    }
}

/// The files of a certificate authority and of the one server that it signed.
#[derive(Debug)]
struct Authority(Scratch);

impl Authority {
    fn new() -> Self {
        const SOUND: &str = "these parameters are sound";
        let mut params = CertificateParams::new(Vec::new()).expect(SOUND);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "fleet");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect(SOUND)).expect(SOUND);
        let key = KeyPair::generate().expect(SOUND);
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect(SOUND);
        let leaf = leaf.signed_by(&key, &issuer).expect(SOUND);
        let files = Scratch::new("authority");
        files.write("ca.pem", issuer.pem());
        files.write("localhost.pem", leaf.pem());
        let key = files.write("localhost.key", key.serialize_pem());
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
        Self(files)
    }
}
