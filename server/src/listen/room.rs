//! Where a door listens, and how many connections it takes: as many as there are file descriptors for, with some left for the other door, the stores and files. Else
//! whoever fills one door would close them all.

use std::io;
use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;

/// The most connections of a door, however many descriptors there are.
const GRPC: u64 = 65_536;
const HTTP: u64 = 1024;

/// How many connections may wait to be accepted, if the kernel allows as many (`net.core.somaxconn`). When thousands come at once those who find no room
/// are not refused but try again after 1 s, 3 s, 7 s.
const BACKLOG: u32 = 4096;

/// Listens at an address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connections of each door; further ones wait in the kernel's backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub grpc: usize,
    pub http: usize,
}

impl Room {
    /// For this process, whose limit is raised as far as it may be: what a shell or a service manager sets at first is small, for the sake of programs
    /// that use `select`.
    pub fn make() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => Self::of(limit.maximum),
            Err(error) => {
                warn!(%error, "failed to raise the limit of open files");
                Self::of(limit.current)
            }
        }
    }

    /// Of so many descriptors; `None`: any number.
    fn of(descriptors: Option<u64>) -> Self {
        let all = descriptors.unwrap_or(u64::MAX);
        let http = (all / 8).min(HTTP);
        let others = (all / 8).max(48);
        let grpc = all.saturating_sub(http + others).clamp(1, GRPC);
        let count = |connections: u64| usize::try_from(connections.max(1)).unwrap_or(1);
        Self { grpc: count(grpc), http: count(http) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_others() {
        for (descriptors, grpc, http) in [
            (Some(0), 1, 1),
            (Some(256), 176, 32),
            (Some(1024), 768, 128),
            (Some(20_000), 16_476, 1024),
            (Some(1 << 20), 65_536, 1024),
            (None, 65_536, 1024),
        ] {
            assert_eq!(Room::of(descriptors), Room { grpc, http }, "{descriptors:?}");
        }
    }
}
