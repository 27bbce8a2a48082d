//! Several servers plan the same tasks.

use std::collections::BTreeSet;

use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Backend, Cluster, Journal};

use crate::steps::look;

#[tokio::test]
async fn two_servers_in_lockstep_fire_each_tick_once_and_none_is_missing_when_one_is_killed() {
    let mut cluster =
        Cluster::on(Backend::MariaDbRedis).servers(2).server_argument("--poll-interval=1s").start().await;
    let both = [cluster.servers()[0].url(), cluster.servers()[1].url()].join(",");
    cluster.add_worker(WorkerOptions::named("web-1").server(&both).slots(20)).await;
    let journals: Vec<Journal> = (0..5).map(|_| Journal::new()).collect();
    for (number, journal) in journals.iter().enumerate() {
        let (name, script) = (format!("tick-{number}"), journal.noting(":"));
        let arguments =
            ["task", "create", &name, "--when", "* * * * * *", "--target", "web-1", "--catch-up", "all"];
        cluster.cli([&arguments[..], &["--", "sh", "-c", &script]].concat()).await.success();
    }
    let ticks = async |least: usize| {
        for journal in &journals {
            journal.noted("end", least).await;
        }
    };
    ticks(5).await;
    cluster.servers()[1].kill();
    ticks(10).await;
    cluster.servers()[1].restart().await;
    ticks(15).await;
    for number in 0..journals.len() {
        cluster.cli(["task", "pause", &format!("tick-{number}")]).await.success();
    }
    for journal in &journals {
        let mut dues = BTreeSet::new();
        for id in journal.runs("start") {
            assert_eq!(journal.starts(&id), 1, "{id} was started once");
            let due = look(&cluster, &id).await.due.expect("a firing has its time").seconds;
            assert!(dues.insert(due), "the tick of {due} fired twice");
        }
        let span = dues.last().unwrap() - dues.first().unwrap() + 1;
        assert_eq!(dues.len(), usize::try_from(span).unwrap(), "none is missing in {dues:?}");
    }
}
