//! All of them.

use std::pin::Pin;

use super::super::finding::Finding;
use super::{
    certificates, commands, crashes, disk, everything, fleet, forgotten, links, network, poison, queue,
    refusals, reports, schedules, servers, services, sessions, store, time, versions, workers, zones,
};
use crate::support::Backend;

/// A fault that is being tried.
pub type Trial = Pin<Box<dyn Future<Output = Finding>>>;

/// A fault with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its number in docs/reliability.md, or a word.
    pub number: &'static str,
    pub name: &'static str,
    /// Where it exists.
    pub backends: &'static [Backend],
    /// Tries it. What it leaves to chance comes from the seed alone.
    pub run: fn(Backend, u64) -> Trial,
}

const BOTH: &[Backend] = &[Backend::MariaDbRedis, Backend::Embedded];
const SERVICES: &[Backend] = &[Backend::MariaDbRedis];
const EMBEDDED: &[Backend] = &[Backend::Embedded];

macro_rules! named {
    ($($number:literal $name:literal on $backends:ident: $run:path $(, $seeded:ident)?;)+) => {
        &[$(Named { number: $number, name: $name, backends: $backends, run: named!(@run $run $(, $seeded)?) }),+]
    };
    (@run $run:path) => { |backend, _| Box::pin($run(backend)) };
    (@run $run:path, seeded) => { |backend, seed| Box::pin($run(backend, seed)) };
}

/// In the order of their numbers.
pub fn all() -> &'static [Named] {
    named! {
        "1" "worker killed" on BOTH: workers::killed;
        "1b" "supervisor of a command killed" on BOTH: workers::supervisor_killed;
        "2" "worker paused longer than its lease" on BOTH: workers::paused_long;
        "3" "worker paused shorter than its lease" on BOTH: workers::paused_briefly;
        "4" "cable of a worker pulled" on BOTH: network::cable_pulled;
        "5" "worker mute: what it sends is lost" on BOTH: network::mute;
        "5b" "worker deaf: what it is sent is lost" on BOTH: network::deaf;
        "6" "resets for 5 s" on BOTH: network::resets;
        "7" "20 % of packets lost" on BOTH: network::loss;
        "8" "connections cut in the middle of a frame" on BOTH: links::cut_in_a_frame, seeded;
        "9" "worker that reads nothing" on BOTH: links::slow_reader;
        "10" "server killed" on BOTH: servers::killed;
        "10b" "server paused longer than its sessions live" on SERVICES: servers::paused_long;
        "10c" "balancer killed" on SERVICES: servers::balancer_killed;
        "11" "server told to stop" on BOTH: servers::told_to_stop;
        "12" "killed between claim and send" on SERVICES: crashes::between_claim_and_send;
        "13" "killed between commit and queue" on SERVICES: crashes::between_commit_and_queue;
        "14a" "killed between row and queue" on SERVICES: crashes::between_row_and_queue;
        "14b" "killed between queue and row" on SERVICES: crashes::between_queue_and_row;
        "15" "answers of reports lost" on BOTH: crashes::answers_of_reports_lost;
        "16" "ends told twice at once" on BOTH: reports::told_twice_at_once;
        "17" "ends told too late" on BOTH: reports::told_too_late;
        "18" "Redis killed, its file kept" on SERVICES: queue::killed;
        "19a" "Redis flushed" on SERVICES: queue::flushed;
        "19b" "Redis killed, its file lost" on SERVICES: queue::killed_without_file;
        "19c" "Redis flushed, 100,000 runs open" on SERVICES: forgotten::with_100_000_open;
        "20" "Redis out of memory" on SERVICES: services::redis_full;
        "20b" "Redis refuses: no replica, read-only, no clients" on SERVICES: refusals::by_redis;
        "21" "Redis slow, then paused" on SERVICES: services::redis_slow;
        "22" "Redis cut at a claim" on SERVICES: services::redis_cut_at_a_claim;
        "23" "database killed" on SERVICES: store::killed;
        "24" "database out of reach" on SERVICES: services::database_out_of_reach;
        "25" "database locked" on SERVICES: services::database_locked;
        "25b" "database refuses: read lock, no connections" on SERVICES: refusals::by_the_database;
        "26" "four servers plan the same ticks" on SERVICES: schedules::raced;
        "27" "no server while ticks are due" on BOTH: schedules::missed;
        "28" "wall clock of a server jumps" on BOTH: time::of_a_server;
        "28b" "wall clocks of workers jump" on BOTH: time::of_workers;
        "29" "clocks put forward and back" on EMBEDDED: zones::changed;
        "30" "10,000 workers lose their server" on BOTH: fleet::herd;
        "31" "a task kills who runs it" on BOTH: poison::killing;
        "32" "a host that never comes has a queue" on BOTH: fleet::offline_host;
        "33" "two daemons have one name" on BOTH: fleet::same_name;
        "34" "a task prints without end" on BOTH: commands::flooding;
        "35" "processes escape and hold the pipe" on BOTH: commands::escaping;
        "36" "spool of a worker full" on BOTH: disk::spool_full;
        "37" "sessions grow old" on BOTH: sessions::aged;
        "38" "certificates replaced, and one expired" on BOTH: certificates::replaced;
        "39a" "workers of the previous version" on BOTH: versions::older_workers;
        "39b" "servers of the previous version" on BOTH: versions::older_servers;
        "40" "everything killed at once, 20 times" on BOTH: everything::killed_at_once, seeded;
        "40b" "any part killed, 20 times" on BOTH: everything::killed_at_random, seeded;
        "41" "bursts, and queues of late comers" on BOTH: fleet::lost_wakeup;
        "rolling" "all servers replaced under load" on SERVICES: servers::replaced_one_by_one;
        "rolling-b" "the same behind a balancer" on SERVICES: servers::replaced_behind_a_balancer;
    }
}
