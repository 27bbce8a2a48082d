//! A real balancer.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;

use super::port::Port;
use super::process::Process;
use super::program;
use super::scratch::Scratch;

/// Its file in its directory.
const CONFIGURATION: &str = "haproxy.cfg";

/// haproxy in TCP mode, round robin over what its checks find well.
#[derive(Debug)]
pub struct Haproxy {
    process: Mutex<Process>,
    port: Port,
    directory: Scratch,
}

/// One of the servers behind it.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// Where connections go.
    pub address: SocketAddr,
    /// Where `GET /readyz` says whether they should; without it, accepting a connection is enough.
    pub readyz: Option<SocketAddr>,
}

impl Haproxy {
    pub async fn start(upstreams: &[Upstream]) -> Self {
        let directory = Scratch::new("haproxy");
        let port = Port::reserve();
        directory.write(CONFIGURATION, configuration(port.address(), upstreams));
        let process = spawn(&port, &directory).await.into();
        Self { process, port, directory }
    }

    /// SIGKILL: every connection through it is cut.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts it again on the same port, after [`kill`](Self::kill).
    pub async fn restart(&self) {
        let process = spawn(&self.port, &self.directory).await;
        *self.process() = process;
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn spawn(port: &Port, directory: &Scratch) -> Process {
    let mut command = Command::new(program::installed("haproxy"));
    command.arg("-db").arg("-f").arg(directory.join(CONFIGURATION));
    let process = Process::service("haproxy", &command, &directory.join("log"));
    process.until_ready(async || Ok(TcpStream::connect(port.address()).await.map(drop)?)).await;
    process
}

fn configuration(front: SocketAddr, upstreams: &[Upstream]) -> String {
    let mut text = format!(
        "defaults
  mode tcp
  balance roundrobin
  option redispatch 1
  retries 3
  timeout connect 1s
  timeout client 1h
  timeout server 1h
frontend front
  bind {front}
  default_backend servers
backend servers
"
    );
    if upstreams.iter().any(|upstream| upstream.readyz.is_some()) {
        text.push_str("  option httpchk GET /readyz\n");
    }
    for (number, Upstream { address, readyz }) in upstreams.iter().enumerate() {
        let port = readyz.map_or(address.port(), |readyz| readyz.port());
        // A session on a server that goes down is cut: its client comes back and finds another.
        writeln!(
            text,
            "  server s{number} {address} check port {port} inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions"
        )
        .expect("a String takes everything");
    }
    text
}
