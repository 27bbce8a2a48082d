//! A slice of the campaign: named faults that are quick and telling, and a little chaos. What is judged is order and outcome, no duration.

use std::time::Duration;

use marabunta_tests::faults::chaos::Chaos;
use marabunta_tests::faults::finding::Finding;
use marabunta_tests::faults::named;
use marabunta_tests::support::Backend;

/// What is left to chance comes from it.
const SEED: u64 = 4;

#[track_caller]
fn demand(finding: &Finding) {
    assert!(finding.is_right(), "{}", finding.complaints().join("\n"));
}

/// Tries the fault of this number.
async fn survive(number: &str, backend: Backend) {
    let named = named::all().iter().find(|named| named.number == number);
    let named = named.unwrap_or_else(|| panic!("there is no fault {number}"));
    assert!(named.backends.contains(&backend), "fault {number} does not exist here");
    demand(&(named.run)(backend, SEED).await);
}

async fn chaos(backend: Backend) {
    let span = Duration::from_secs(20);
    let chaos =
        Chaos { backend, seed: SEED, span, servers: 2, workers: 6, cables: 0, rate: 20.0, faults: 15.0 };
    let outcome = chaos.run(|strike| println!("{strike}")).await;
    demand(&Finding::of(outcome.verdict));
}

/// One test of each fault; on several threads, as the campaign itself has them.
macro_rules! survived {
    ($backend:ident: $($name:ident $number:literal)+) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_little_chaos_loses_and_doubles_nothing() {
            super::chaos(super::Backend::$backend).await;
        }

        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            super::survive($number, super::Backend::$backend).await;
        })+
    };
}

mod embedded {
    survived! { Embedded:
        workers_die "1"
        connections_are_cut_in_the_middle_of_a_frame "8"
        a_server_dies "10"
        a_server_is_told_to_stop "11"
        answers_of_reports_are_lost "15"
        ends_are_told_twice_at_once "16"
        ends_are_told_too_late "17"
        a_task_kills_who_runs_it "31"
        processes_escape_and_hold_the_pipe "35"
    }
}

#[cfg(feature = "services")]
mod mariadb_redis {
    survived! { MariaDbRedis:
        workers_die "1"
        connections_are_cut_in_the_middle_of_a_frame "8"
        a_server_dies "10"
        a_server_is_told_to_stop "11"
        a_server_dies_between_claim_and_send "12"
        a_server_dies_between_commit_and_queue "13"
        a_server_dies_between_row_and_queue "14a"
        a_server_dies_between_queue_and_row "14b"
        answers_of_reports_are_lost "15"
        ends_are_told_twice_at_once "16"
        ends_are_told_too_late "17"
        redis_dies_and_its_file_is_kept "18"
        redis_is_out_of_memory "20"
        redis_is_cut_off_at_a_claim "22"
        the_database_dies "23"
        four_servers_plan_the_same_ticks "26"
        a_task_kills_who_runs_it "31"
        processes_escape_and_hold_the_pipe "35"
    }
}
