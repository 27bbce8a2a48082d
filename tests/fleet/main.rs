//! Small fleets: order and outcome of what `make fleet` does with ten thousand.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use marabunta_tests::fleet::scenario::{Churn, Herd, churn, herd};
use marabunta_tests::fleet::{Outcome, Plan, named};
use marabunta_tests::scenarios;

#[track_caller]
fn demand(outcome: &Outcome) {
    assert!(outcome.is_right(), "{:#}", outcome.json());
}

scenarios! {
    async fn a_herd_comes_back_with_its_work(backend: Backend) {
        let small = Herd { herds: 1, rate: 20, ..Herd::new(backend, 60) };
        demand(&herd(&small).await.unwrap());
    }

    async fn coming_and_going_loses_and_doubles_nothing(backend: Backend) {
        let plan = Plan::of(backend);
        let time = Duration::from_secs(5);
        demand(&churn(&Churn { plan, members: 40, changes: 10, rate: 40, time, seed: 1 }).await.unwrap());
    }

    async fn a_burst_and_a_queue_of_who_comes_later_are_delivered(backend: Backend) {
        demand(&named::lost_wakeup(backend).await.unwrap());
    }

    async fn a_host_that_never_comes_fills_its_queue_and_no_other(backend: Backend) {
        demand(&named::offline_host(backend).await.unwrap());
    }

    async fn of_two_daemons_with_one_name_the_latest_stays(backend: Backend) {
        demand(&named::same_name(backend).await.unwrap());
    }
}
