//! What reaches the owner of the sessions from doors and from the readers of streams.

use marabunta_proto::name::Name;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{FromWorker, Hello, ToWorker};
use crate::metrics::SessionEnd;
use crate::queue::SessionId;

/// Something has happened.
pub(super) enum Event {
    Connect {
        hello: Box<Hello>,
        draining: bool,
        outbox: mpsc::Sender<ToWorker>,
        opened: oneshot::Sender<Result<Link, ConnectError>>,
    },
    Said {
        worker: Name,
        session: SessionId,
        message: FromWorker,
    },
    Ended {
        worker: Name,
        session: SessionId,
        cause: SessionEnd,
    },
}

/// Why a worker got no session. Each is worth another try, elsewhere or later.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectError {
    #[error("open a session: {0}")]
    Queue(String),
    #[error("open a session: the server is stopping")]
    Stopping,
    #[error("open a session: this server has given up all it had")]
    Dropped,
    #[error(
        "open a session: other daemons named `{0}` have taken over from each other too often within a minute, and the latest stays; give each host a name of its own"
    )]
    Flapping(Name),
}

/// An open session: what the owner needs to reach it, and what its reader needs.
pub(super) struct Link {
    pub id: SessionId,
    pub stop: CancellationToken,
}
