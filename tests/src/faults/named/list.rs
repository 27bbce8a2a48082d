//! All of them.

use std::pin::Pin;

use super::super::finding::Finding;
use super::{everything, forgotten, queue, servers, store, workers};
use crate::support::Backend;

/// A fault with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its number in docs/reliability.md, or a word.
    pub number: &'static str,
    pub name: &'static str,
    /// Where it exists.
    pub backends: &'static [Backend],
    /// Tries it.
    pub run: fn(Backend) -> Pin<Box<dyn Future<Output = Finding>>>,
}

const BOTH: &[Backend] = &[Backend::MariaDbRedis, Backend::Embedded];
const SERVICES: &[Backend] = &[Backend::MariaDbRedis];

macro_rules! named {
    ($($number:literal $name:literal on $backends:ident: $run:path;)+) => {
        &[$(Named { number: $number, name: $name, backends: $backends, run: |backend| Box::pin($run(backend)) }),+]
    };
}

/// In the order of their numbers.
pub fn all() -> &'static [Named] {
    named! {
        "1" "worker killed" on BOTH: workers::killed;
        "2" "worker paused longer than its lease" on BOTH: workers::paused_long;
        "3" "worker paused shorter than its lease" on BOTH: workers::paused_briefly;
        "10" "server killed" on BOTH: servers::killed;
        "11" "server told to stop" on BOTH: servers::told_to_stop;
        "18" "Redis killed, its file kept" on SERVICES: queue::killed;
        "19a" "Redis flushed" on SERVICES: queue::flushed;
        "19b" "Redis killed, its file lost" on SERVICES: queue::killed_without_file;
        "19c" "Redis flushed, 100,000 runs open" on SERVICES: forgotten::with_100_000_open;
        "23" "database killed" on SERVICES: store::killed;
        "40" "everything killed, 20 times" on BOTH: everything::killed_at_random;
        "rolling" "all servers replaced under load" on SERVICES: servers::replaced_one_by_one;
    }
}
