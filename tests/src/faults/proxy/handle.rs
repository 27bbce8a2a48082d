//! The proxy as a test holds it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection;
use super::framer::Protocol;
use super::rules::{Allowance, Cut, Direction, Flow, Rules, Shared};
use super::trap::{Sprung, Trap};
use crate::support::port::Port;

/// Stands before a server. On drop its connections are reset and its port is free.
pub struct Proxy {
    /// The proxy ends when this is gone.
    rules: Option<watch::Sender<Rules>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    port: Port,
}

impl Proxy {
    /// Listens on a port of its own, for this host alone, and connects each client to `upstream`.
    pub fn start(upstream: SocketAddr, protocol: Protocol) -> Self {
        Self::listen(Ipv4Addr::LOCALHOST.into(), upstream, protocol)
    }

    /// Listens on another address, such as the gateway of a namespace.
    pub fn listen(ip: IpAddr, upstream: SocketAddr, protocol: Protocol) -> Self {
        let port = Port::reserve();
        let (sender, rules) = watch::channel(Rules::default());
        let shared = Arc::new(Shared::default());
        let front =
            Front { address: (ip, port.number()).into(), upstream, protocol, rules, shared: shared.clone() };
        // Room for the one word that is said.
        let (listening, is_listening) = sync_channel(1);
        let run = move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
            runtime.block_on(front.serve(listening));
        };
        let thread =
            thread::Builder::new().name("proxy".to_owned()).spawn(run).expect("a thread can be started");
        is_listening.recv().expect("the proxy listens on the port that it has reserved");
        Self { rules: Some(sender), shared, thread: Some(thread), port }
    }

    /// Where clients on this host connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Adds this much to each direction, from the next bytes on.
    pub fn latency(&self, latency: Duration) {
        self.change(|rules| rules.latency = latency);
    }

    /// Reads nothing more of this direction: the sender's window fills.
    pub fn stall(&self, direction: Direction) {
        self.change(|rules| rules.set(direction, Flow::Stall));
    }

    /// Throws away what comes from this direction. The connections that have lost something are reset when this [`heal`](Self::heal)s.
    pub fn swallow(&self, direction: Direction) {
        self.change(|rules| rules.set(direction, Flow::Vanish));
    }

    /// Connections stay and new ones are taken, and nothing comes through.
    pub fn black_hole(&self) {
        self.change(|rules| (rules.requests, rules.replies) = (Flow::Stall, Flow::Stall));
    }

    /// Nobody listens any more. Connections stay.
    pub fn refuse(&self) {
        self.change(|rules| rules.refuse = true);
    }

    /// Ends every connection, now.
    pub fn cut(&self, cut: Cut) {
        self.change(|rules| {
            rules.cuts += 1;
            rules.cut = Some(cut);
        });
    }

    /// Lets as many bytes more pass in this direction, over all connections, and cuts the one that carried the last, in the middle of whatever
    /// it says.
    pub fn cut_after(&self, direction: Direction, bytes: u64, cut: Cut) {
        self.shared.allow(Allowance { direction, bytes, cut });
    }

    /// Sets a trap.
    pub fn trap(&self, trap: Trap) -> Sprung {
        let sprung = trap.sprung();
        self.shared.set(trap);
        sprung
    }

    /// Takes back every rule, and the traps that have not sprung.
    pub fn heal(&self) {
        self.shared.forgive();
        self.change(|rules| *rules = Rules { cuts: rules.cuts, cut: rules.cut, ..Rules::default() });
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.accepted()
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.shared.open()
    }

    /// Bytes passed on so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.bytes(direction)
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.as_ref().expect("it is there until this is dropped").send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.rules.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the proxy at {} has panicked", self.address());
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}, {} of {} connections open)", self.address(), self.open(), self.connections())
    }
}

/// Where clients come in.
struct Front {
    address: SocketAddr,
    upstream: SocketAddr,
    protocol: Protocol,
    rules: watch::Receiver<Rules>,
    shared: Arc<Shared>,
}

impl Front {
    async fn serve(mut self, listening: SyncSender<()>) {
        let mut connections = JoinSet::new();
        let mut listening = Some(listening);
        while self.rules.wait_for(|rules| !rules.refuse).await.is_ok() {
            let listener = TcpListener::bind(self.address).await.expect("the port is reserved");
            if let Some(listening) = listening.take() {
                listening.send(()).expect("whoever starts a proxy waits for this");
            }
            if !self.accept(&listener, &mut connections).await {
                return;
            }
        }
    }

    /// Until nobody shall be taken any more, or the proxy ends; then false.
    async fn accept(&self, listener: &TcpListener, connections: &mut JoinSet<()>) -> bool {
        let mut rules = self.rules.clone();
        let mut refused = std::pin::pin!(async { rules.wait_for(|rules| rules.refuse).await.is_ok() });
        loop {
            tokio::select! {
                refused = &mut refused => return refused,
                accepted = listener.accept() => {
                    let (client, _) = accepted.expect("a listener accepts while there are file descriptors");
                    let (upstream, protocol) = (self.upstream, self.protocol);
                    let (rules, shared) = (self.rules.clone(), self.shared.clone());
                    connections.spawn(async move {
                        shared.opened();
                        connection::serve(client, upstream, protocol, rules, &shared).await;
                        shared.closed();
                    });
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}
