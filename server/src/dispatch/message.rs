//! What a worker and its session say to each other, in the domain's words.

use marabunta_proto::name::Name;
use marabunta_proto::selector::Traits;

use crate::run::{Lease, Run};

/// Who a worker is and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub worker: Name,
    /// New at each start of the daemon.
    pub instance: String,
    pub boot_id: String,
    pub traits: Traits,
    pub slots: u32,
    pub version: String,
    pub holding: Vec<Lease>,
    pub credit: u64,
}

/// From worker to server, after its Hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    Accepted(Vec<Lease>),
    /// `total`: how many assignments may have been sent since Hello. `ended`: what the worker holds no longer.
    Credit {
        total: u64,
        ended: Vec<Lease>,
    },
    Heartbeat(u64),
}

/// From server to worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    Welcome { session: String, server: String },
    Assign(Vec<Assignment>),
    HeartbeatAck(u64),
    Cancel(Vec<Lease>),
    Abandon(Vec<Lease>),
    Reconnect(&'static str),
    Superseded { server: String },
}

/// One attempt to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub lease: Lease,
    pub run: Run,
}
