//! Certificates that are replaced in time, and one that is not, under load.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::ensure;
use marabunta_proto::v1::GetWorkerRequest;
use marabunta_proto::v1::workers_client::WorkersClient;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::super::arena::ALL;
use super::super::checker::Verdict;
use super::super::deed::Deed;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::history::{History, Touched};
use super::super::moment::Moment;
use super::super::quiet::Quiet;
use super::super::records::{Records, still_open};
use super::super::testimony::Testimony;
use super::super::witness::{self, HANDLER};
use super::super::workload::{Door, Shape};
use crate::support::authority::Authority;
use crate::support::mariadb::{Database, MariaDb};
use crate::support::redis::{Prefix, Redis};
use crate::support::scratch::Scratch;
use crate::support::server::{Options, Server};
use crate::support::worker::{Worker, WorkerOptions};
use crate::support::{Backend, eventually, eventually_within, program};

/// Replaced in time, a short-lived one by another and that by a long-lived one.
const CAREFUL: [&str; 2] = ["w-1", "d-1"];
const CARELESS: &str = "w-2";
const STEADY: [&str; 2] = ["w-3", "d-2"];

/// How long the short-lived ones live.
const LIFE: Duration = Duration::from_secs(36);
/// When they are replaced: before two thirds of it, at which the worker is told to come back.
const IN_TIME: Duration = Duration::from_secs(20);
/// How long the careless one is without a valid certificate.
const WITHOUT: Duration = Duration::from_secs(20);

pub async fn replaced(backend: Backend) -> Finding {
    let house = House::start(backend).await;
    let channel = house.channels[0].clone();
    let short = |name: &str| house.authority.identity_for(name, LIFE);
    let begun = Instant::now();
    for name in CAREFUL.iter().chain([&CARELESS]) {
        short(name);
    }
    let expiry = begun + LIFE;
    let names: Vec<String> =
        [&CAREFUL[..], &[CARELESS], &STEADY].concat().iter().map(ToString::to_string).collect();
    let _workers: Vec<Worker> = names.iter().map(|name| house.worker(name)).collect();
    for name in &names {
        house.until_online(&channel, name, true).await;
    }
    let history = History::default();
    let shapes = shapes(&names);
    let load = Door::through(house.channels.clone()).load(0, shapes.clone(), 24.0);
    let loaded = Moment::now();

    sleep_until(begun + IN_TIME).await;
    let second = Instant::now();
    CAREFUL.iter().for_each(|name| drop(short(name)));
    house.authority.identity("localhost");
    sleep_until(expiry).await;
    let fault = history.sever("certificate expired", [Touched::Worker(CARELESS.to_owned())]);
    let expired = history.applied(fault);
    house.until_online(&channel, CARELESS, false).await;
    let out = Moment::now().since(expired);
    sleep_until(second + IN_TIME).await;
    CAREFUL.iter().for_each(|name| drop(house.authority.identity(name)));
    sleep_until(expiry + WITHOUT).await;
    house.authority.identity(CARELESS);
    let renewed = Moment::now();
    house.until_online(&channel, CARELESS, true).await;
    let back = history.heal(fault).since(renewed);
    sleep_until(second + LIFE + Duration::from_secs(5)).await;
    let stopped = Moment::now();
    let submissions = load.stop().await;
    let quiet = house.quiet().await;
    let evidence = Evidence {
        shapes,
        submissions,
        faults: history.faults(),
        testimony: Testimony::read(house.testimony.path()).expect("a testimony can be read at any time"),
        records: Records::read(&house.store()).await.expect("the store answers"),
        quiet,
        ..Evidence::default()
    };

    let again = evidence.begun_again_after(expired, CARELESS);
    let longest =
        |name: &&'static str| longest_pause(&evidence, name, loaded, stopped).map(|pause| (pause, *name));
    let pause = CAREFUL.iter().map(longest).max().flatten();
    let verdict = Verdict::of(&evidence);
    let (refused, unknown) = (verdict.refused, verdict.unknown);
    Finding::of(verdict)
        .detected("the session of the expired one has ended", Some(out), 60)
        .recovered("the one whose certificate was replaced late is back", Some(back), 10)
        .demand(
            again.is_some_and(|again| again < Duration::from_secs(20)),
            format!("its runs went elsewhere after {again:?}"),
        )
        .demand(
            pause.is_some_and(|(pause, _)| pause < Duration::from_secs(5)),
            format!("a careful one paused: {pause:?}"),
        )
        .demand(refused + unknown == 0, format!("{refused} submits were refused, {unknown} never answered"))
        .seen(again.map_or_else(
            || "its runs went nowhere else".to_owned(),
            |again| format!("its runs went elsewhere within {again:.1?}"),
        ))
        .seen(format!(
            "no other paused for longer than {:.1?}",
            pause.map(|(pause, _)| pause).unwrap_or_default()
        ))
}

/// Each worker's own, some of them longer, and some for any.
fn shapes(names: &[String]) -> Vec<Shape> {
    let shape = |target: &str, workers: &[String], durable, millis| Shape {
        target: target.to_owned(),
        workers: workers.to_vec(),
        durable,
        deed: Deed::taking(Duration::from_millis(millis)),
        ..Shape::default()
    };
    let own = names
        .iter()
        .flat_map(|name| [true, false].map(|durable| shape(name, std::slice::from_ref(name), durable, 20)));
    let any = format!("any({ALL})");
    let any =
        [(true, 20), (false, 20), (true, 5_000)].map(|(durable, millis)| shape(&any, names, durable, millis));
    own.chain(any).collect()
}

/// The longest time in which a worker began nothing.
fn longest_pause(evidence: &Evidence, worker: &str, from: Moment, to: Moment) -> Option<Duration> {
    let of = evidence.testimony.executions.iter().filter(|one| evidence.testimony.worker(one) == worker);
    let mut starts: Vec<Moment> = of.map(|one| one.start).chain([from, to]).collect();
    starts.retain(|start| (from..=to).contains(start));
    starts.sort_unstable();
    starts.windows(2).map(|pair| pair[1].since(pair[0])).max()
}

/// Servers that speak TLS and know everybody by a certificate. Fields are dropped in this order.
struct House {
    channels: Vec<Channel>,
    servers: Vec<Server>,
    authority: Authority,
    testimony: Scratch,
    services: Option<(Database, Prefix, Redis, MariaDb)>,
}

impl House {
    async fn start(backend: Backend) -> Self {
        let authority = Authority::new("ours");
        let (certificate, key) = authority.identity("localhost");
        let ca = authority.ca();
        let files = [("--tls-cert", &certificate), ("--tls-key", &key), ("--client-ca", &ca)];
        let mut arguments: Vec<OsString> =
            files.iter().flat_map(|(flag, path)| [flag.into(), path.into()]).collect();
        let services = match backend {
            Backend::Embedded => None,
            Backend::MariaDbRedis => {
                let (mariadb, redis) = (MariaDb::start().await, Redis::start().await);
                let (database, keys) = (mariadb.database().await, redis.prefix());
                let options =
                    ["--mysql", database.url(), "--redis", keys.url(), "--redis-prefix", keys.prefix()];
                arguments.extend(options.map(Into::into));
                Some((database, keys, redis, mariadb))
            }
        };
        let count = if services.is_some() { 2 } else { 1 };
        let launch = |_| Server::launch(Options { arguments: arguments.clone(), ..Options::default() });
        let servers: Vec<Server> = (0..count).map(launch).collect();
        let person = authority.identity("person");
        let read = |path| fs::read(path).expect("the authority has written it");
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&ca)));
        let tls = tls.identity(Identity::from_pem(read(&person.0), read(&person.1)));
        let channel = |server: &Server| {
            let endpoint = Endpoint::from_shared(https(server)).expect("a server has a URL");
            endpoint.tls_config(tls.clone()).expect("the files are PEM").connect_lazy()
        };
        let house = Self {
            channels: servers.iter().map(channel).collect(),
            servers,
            authority,
            testimony: Scratch::new("testimony"),
            services,
        };
        for channel in &house.channels {
            eventually("a server answers", async || {
                Ok(WorkersClient::new(channel.clone())
                    .list(marabunta_proto::v1::ListWorkersRequest::default())
                    .await?)
            })
            .await;
        }
        for name in STEADY {
            house.authority.identity(name);
        }
        house
    }

    /// Knows all servers, and shows the certificate that stands in the files of its name.
    fn worker(&self, name: &str) -> Worker {
        let options = if name.starts_with('w') {
            WorkerOptions::witness(name, self.testimony.path())
        } else {
            let program = program::built("witness");
            WorkerOptions::configured(name, &witness::daemon(HANDLER, &program, name, self.testimony.path()))
        };
        let file = |suffix: &str| self.authority.ca().with_file_name(format!("{name}.{suffix}"));
        let files =
            [("--tls-ca", self.authority.ca()), ("--tls-cert", file("pem")), ("--tls-key", file("key"))];
        let options = files
            .into_iter()
            .fold(options.label(ALL).slots(8), |options, (flag, path)| options.argument(flag).argument(path));
        let urls: Vec<String> = self.servers.iter().map(https).collect();
        Worker::start(&urls.join(","), options)
    }

    async fn until_online(&self, channel: &Channel, name: &str, online: bool) {
        let what = format!("{name} is {}", if online { "online" } else { "offline" });
        eventually_within(Duration::from_secs(90), &what, async || {
            let request = GetWorkerRequest { name: name.to_owned() };
            let worker = WorkersClient::new(channel.clone()).get(request).await?.into_inner();
            ensure!(worker.online == online, "{worker:?}");
            Ok(())
        })
        .await;
    }

    fn store(&self) -> String {
        match &self.services {
            Some((database, ..)) => database.url().to_owned(),
            None => format!("sqlite://{}", self.servers[0].data().join("marabunta.db").display()),
        }
    }

    /// Waits until the store has no open run and what may be written later had its time.
    async fn quiet(&self) -> Quiet {
        let (began, mut same) = (Instant::now(), HashMap::new());
        loop {
            let open = still_open(&self.store()).await.expect("the store answers");
            let ended = Records::read(&self.store()).await.expect("the store answers").ended.len();
            // Late writes come within a second: nothing has come for three.
            let since = *same.entry((open.is_empty(), ended)).or_insert_with(Instant::now);
            let waited = began.elapsed();
            if open.is_empty() && since.elapsed() > Duration::from_secs(3)
                || waited > Duration::from_secs(180)
            {
                return Quiet {
                    waited,
                    left: open.iter().map(|run| format!("run {run:032x} is open")).collect(),
                };
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

fn https(server: &Server) -> String {
    format!("https://localhost:{}", server.grpc().port())
}
