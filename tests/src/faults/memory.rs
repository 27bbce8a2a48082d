//! How much memory the servers of an arena have.

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use tokio::time::sleep;

use super::arena::Arena;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What the server that has most of it has now, in bytes. Servers that are dead have none.
pub fn highest(arena: &Arena) -> Option<u64> {
    arena.servers().iter().filter_map(|server| resident(server.pid())).max()
}

/// Raises `peak` to what the servers have, in bytes, for as long as it is polled.
pub async fn watch(arena: &Arena, peak: &mut u64) -> Infallible {
    loop {
        *peak = highest(arena).unwrap_or_default().max(*peak);
        sleep(EVERY).await;
    }
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}
