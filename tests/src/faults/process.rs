//! The processes of an arena, as what a fault touches.

use super::arena::Arena;
use super::history::Touched;

const WAY: &str = "a way is no process";

/// SIGKILL.
pub fn kill(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => arena.servers()[*at].kill(),
        Touched::Worker(name) => arena.worker(name).kill(),
        Touched::Queue => arena.cluster.redis().kill(),
        Touched::Store => arena.cluster.mariadb().kill(),
        Touched::WayToQueue(_) | Touched::WayToStore(_) => unreachable!("{WAY}"),
    }
}

/// SIGTERM to a server or worker, which has its time; whether it uses it well is judged by the invariants.
pub async fn terminate(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => {
            arena.servers()[*at].terminate();
            arena.servers()[*at].exit().await;
        }
        Touched::Worker(name) => {
            arena.worker(name).terminate();
            arena.worker(name).exit().await;
        }
        _ => unreachable!("services are killed"),
    }
}

/// SIGSTOP.
pub fn pause(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => arena.servers()[*at].pause(),
        Touched::Worker(name) => arena.worker(name).pause(),
        Touched::Queue => arena.cluster.redis().pause(),
        Touched::Store => arena.cluster.mariadb().pause(),
        Touched::WayToQueue(_) | Touched::WayToStore(_) => unreachable!("{WAY}"),
    }
}

/// SIGCONT.
pub fn resume(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => arena.servers()[*at].resume(),
        Touched::Worker(name) => arena.worker(name).resume(),
        Touched::Queue => arena.cluster.redis().resume(),
        Touched::Store => arena.cluster.mariadb().resume(),
        Touched::WayToQueue(_) | Touched::WayToStore(_) => unreachable!("{WAY}"),
    }
}

/// Starts again what has ended. A server gives up while what it needs is away, and is started yet again.
pub async fn start(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => arena.servers()[*at].supervise().await,
        Touched::Worker(name) => arena.worker(name).restart(),
        Touched::Queue => arena.cluster.redis().restart().await,
        Touched::Store => arena.cluster.mariadb().restart().await,
        Touched::WayToQueue(_) | Touched::WayToStore(_) => unreachable!("{WAY}"),
    }
}
