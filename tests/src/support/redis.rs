//! Real Redis: one shared by the tests of a process, with a prefix for each test's keys, and private ones for tests that break it.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncCommands as _, Client};
use anyhow::Context as _;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::port::Port;
use super::process::Process;
use super::program;
use super::scratch::Scratch;
use super::wait::finish;

/// URL of a Redis or Valkey: the tests then use that server and start none.
const ELSEWHERE: &str = "MARABUNTA_TEST_REDIS";

/// A Redis server. A private one ends when this is dropped, the shared one with the test process.
#[derive(Debug)]
pub struct Redis {
    url: String,
    own: Option<Own>,
}

/// What is behind a server that the tests started. Fields are dropped in this order.
#[derive(Debug)]
struct Own {
    process: Mutex<Process>,
    port: Port,
    directory: Scratch,
}

impl Redis {
    /// The server that the tests of this process share, started by the first that asks, or the one that `MARABUNTA_TEST_REDIS` names.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match env::var(ELSEWHERE) {
                Ok(url) => Self { url, own: None },
                Err(_) => Self::start().await,
            })
            .await
    }

    /// A server of its own, for a test that kills, fills or flushes it.
    pub async fn start() -> Self {
        let directory = Scratch::new("redis");
        let port = Port::reserve();
        let url = format!("redis://{}", port.address());
        let process =
            Process::service("redis-server", &redis_server(&directory, &port), &directory.join("log"));
        until_ready(&process, &url).await;
        Self { url, own: Some(Own { process: process.into(), port, directory }) }
    }

    /// A part of the key space for one test, emptied on drop.
    pub fn prefix(&self) -> Prefix {
        let unique = Uuid::new_v4().simple().to_string();
        Prefix { url: self.url.clone(), prefix: format!("test-{}", &unique[..12]) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection for a test that looks or writes behind the server's back.
    pub async fn connect(&self) -> MultiplexedConnection {
        connect(&self.url).await.expect("Redis answers")
    }

    /// SIGKILL. The append-only file keeps what was acknowledged.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Removes what it has written, after [`kill`](Self::kill): it will come back empty.
    pub fn forget(&self) {
        let files = self.own().directory.join("appendonlydir");
        fs::remove_dir_all(&files)
            .unwrap_or_else(|error| panic!("failed to remove {}: {error}", files.display()));
    }

    /// Starts it again on the same port and data, after [`kill`](Self::kill).
    pub async fn restart(&self) {
        let own = self.own();
        let process = Process::service(
            "redis-server",
            &redis_server(&own.directory, &own.port),
            &own.directory.join("log"),
        );
        until_ready(&process, &self.url).await;
        *self.process() = process;
    }

    /// SIGSTOP: connections stay and nothing answers.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process().resume();
    }

    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.own().process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> &Own {
        self.own.as_ref().unwrap_or_else(|| {
            panic!("the server that {ELSEWHERE} names is not ours to stop: use Redis::start()")
        })
    }
}

/// The keys of one test: all that begin with [`prefix`](Self::prefix).
#[derive(Debug)]
pub struct Prefix {
    url: String,
    prefix: String,
}

impl Prefix {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Every key under the prefix, sorted, if Redis has time to say so.
    pub async fn try_keys(&self) -> anyhow::Result<Vec<String>> {
        keys(&self.url, &self.prefix).await
    }

    /// Every key under the prefix, sorted.
    pub async fn keys(&self) -> Vec<String> {
        self.try_keys().await.expect("Redis answers")
    }

    /// Deletes every key under the prefix.
    pub async fn clear(&self) {
        empty(&self.url, &self.prefix).await.expect("Redis answers");
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // A private server may have been killed, and then takes them along.
        if let Err(error) = finish(empty(&self.url, &self.prefix)) {
            eprintln!("failed to delete the keys under {}: {error:#}", self.prefix);
        }
    }
}

fn redis_server(directory: &Scratch, port: &Port) -> Command {
    let mut server = Command::new(program::installed("redis-server"));
    server.args(["--bind", "127.0.0.1", "--port", &port.number().to_string(), "--dir"]).arg(directory.path());
    server.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
    server.args(["--maxmemory-policy", "noeviction"]);
    server
}

async fn until_ready(process: &Process, url: &str) {
    process.until_ready(async || Ok(connect(url).await?.ping::<()>().await?)).await;
}

async fn connect(url: &str) -> anyhow::Result<MultiplexedConnection> {
    let client = Client::open(url).with_context(|| format!("{ELSEWHERE} is a redis:// URL"))?;
    Ok(client.get_multiplexed_async_connection().await?)
}

async fn keys(url: &str, prefix: &str) -> anyhow::Result<Vec<String>> {
    let mut connection = connect(url).await?;
    let mut scan = connection.scan_match::<_, String>(format!("{prefix}*")).await?;
    let mut keys = Vec::new();
    while let Some(key) = scan.next_item().await {
        keys.push(key?);
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

async fn empty(url: &str, prefix: &str) -> anyhow::Result<()> {
    let keys = keys(url, prefix).await?;
    if !keys.is_empty() {
        connect(url).await?.unlink::<_, ()>(keys).await?;
    }
    Ok(())
}
