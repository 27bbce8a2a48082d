//! The database or the queue dies, or forgets, under runs that are open.

use marabunta_proto::v1::submit_request::What;
use marabunta_proto::v1::{Durability, Exec, Reason, Run, RunState, SubmitRequest};
use marabunta_tests::faults::links::Links;
use marabunta_tests::support::metrics::Metrics;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Backend, Cluster, Journal, Link, eventually};

use crate::steps::{done_at_once, ended, submit, until};

/// Runs in all phases: two that run, and as many that wait behind them.
struct Open {
    running: Vec<String>,
    waiting: Vec<String>,
}

impl Open {
    async fn submit(cluster: &Cluster, options: &[&str], script: &str) -> Self {
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        for target in ["web-1", "any(name=web-2)"] {
            let id = submit(cluster, target, options, script).await;
            until(cluster, &id, RunState::Running).await;
            running.push(id);
            waiting.push(submit(cluster, target, options, script).await);
        }
        Self { running, waiting }
    }

    fn all(&self) -> Vec<String> {
        [&self.running[..], &self.waiting].concat()
    }
}

async fn cluster() -> Cluster {
    let workers = ["web-1", "web-2"].map(|name| WorkerOptions::named(name).slots(1));
    Cluster::on(Backend::MariaDbRedis).servers(2).workers(workers).own_services().start().await
}

#[track_caller]
fn done_without_loss(run: &Run) {
    assert_eq!((run.state(), run.lost, run.failed), (RunState::Done, 0, 0), "{run:?}");
}

#[tokio::test]
async fn what_was_stored_while_redis_was_away_starts_as_soon_as_it_is_back() {
    let cluster = cluster().await;
    let journal = Journal::new();
    cluster.redis().kill();
    let mut waiting = Vec::new();
    for target in ["web-1", "any(name=web-2)"] {
        waiting.push(submit(&cluster, target, &["--durable"], &journal.noting(":")).await);
    }
    cluster.redis().restart().await;
    for id in &waiting {
        done_without_loss(&ended(&cluster, id).await);
    }
    let counted = Metrics::sum(cluster.servers()).await.unwrap();
    assert_eq!(counted.get("marabunta_runs_reconciled_total{found=\"not_queued\"}"), 2.0);
    journal.each_once(&waiting);
}

#[tokio::test]
async fn durable_runs_survive_a_redis_that_forgets_everything() {
    let cluster = cluster().await;
    let journal = Journal::new();
    let gate = journal.gate("end");
    let open = Open::submit(&cluster, &["--durable"], &journal.until(&gate)).await;
    let mut redis = cluster.redis().connect().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    // What comes after the loss waits its turn like everything else.
    let late = submit(&cluster, "web-1", &["--durable"], &journal.noting(":")).await;
    gate.open();
    for id in open.all().iter().chain([&late]) {
        done_without_loss(&ended(&cluster, id).await);
    }
    journal.each_once(&[open.all(), vec![late]].concat());
}

#[tokio::test]
async fn fast_runs_that_redis_forgot_are_run_once_or_told_to_be_lost() {
    let cluster = cluster().await;
    let journal = Journal::new();
    let gate = journal.gate("end");
    let open = Open::submit(&cluster, &[], &journal.until(&gate)).await;
    let mut redis = cluster.redis().connect().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    gate.open();
    let mut lost = 0.0;
    for id in &open.all() {
        let run = ended(&cluster, id).await;
        match (run.state(), run.reason()) {
            (RunState::Done, _) => assert_eq!((journal.starts(id), run.lost), (1, 0), "{run:?}"),
            (RunState::Error, Reason::Lost) => {
                lost += 1.0;
                assert_eq!(journal.starts(id), usize::from(open.running.contains(id)), "{run:?}")
            }
            _ => panic!("{run:?}"),
        }
    }
    // What is lost is counted, by one of the servers.
    eventually("the servers have counted what was lost", async || {
        let counted = Metrics::sum(cluster.servers()).await?;
        let told = counted.get("marabunta_runs_ended_total{reason=\"lost\",state=\"error\"}");
        anyhow::ensure!(told == lost, "{lost} were lost: {counted:#?}");
        anyhow::ensure!(counted.get("marabunta_queue_rebuilds_total") == 2.0, "{counted:#?}");
        Ok(())
    })
    .await;
    let next = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
    done_at_once(&ended(&cluster, &next).await);
}

#[tokio::test]
async fn a_redis_that_is_killed_and_restarted_loses_and_doubles_nothing() {
    let cluster = cluster().await;
    let journal = Journal::new();
    let gate = journal.gate("end");
    let durable = Open::submit(&cluster, &["--durable"], &journal.until(&gate)).await;
    cluster.redis().kill();
    gate.open();
    for id in &durable.running {
        journal.ended(id).await;
    }
    cluster.redis().restart().await;
    let late = submit(&cluster, "any", &[], &journal.noting(":")).await;
    for id in durable.all().iter().chain([&late]) {
        done_without_loss(&ended(&cluster, id).await);
    }
    journal.each_once(&[durable.all(), vec![late]].concat());
}

#[tokio::test]
async fn a_database_that_is_killed_and_restarted_loses_and_doubles_nothing() {
    let cluster = cluster().await;
    let journal = Journal::new();
    let gate = journal.gate("end");
    let open = Open::submit(&cluster, &["--durable"], &journal.until(&gate)).await;
    cluster.mariadb().kill();
    gate.open();
    for id in &open.running {
        journal.ended(id).await;
    }
    // Nothing is acknowledged that is not committed: the answer comes when it is.
    let script = journal.noting(":");
    let late = cluster.start_cli(crate::steps::run_script("web-1", &["--durable", "--detach"], &script));
    cluster.mariadb().restart().await;
    let late = late.output().await.success().trim_end().to_owned();
    for id in open.all().iter().chain([&late]) {
        done_without_loss(&ended(&cluster, id).await);
    }
    journal.each_once(&[open.all(), vec![late]].concat());
}

#[tokio::test]
async fn servers_database_and_queue_are_killed_at_once_and_the_run_goes_on() {
    let cluster = cluster().await;
    let journal = Journal::new();
    let gate = journal.gate("end");
    let open = Open::submit(&cluster, &["--durable"], &journal.until(&gate)).await;
    for server in cluster.servers() {
        server.kill();
    }
    cluster.redis().kill();
    cluster.mariadb().kill();
    cluster.redis().restart().await;
    cluster.mariadb().restart().await;
    for server in cluster.servers() {
        server.restart().await;
    }
    gate.open();
    for id in &open.all() {
        done_without_loss(&ended(&cluster, id).await);
    }
    journal.each_once(&open.all());
}

#[tokio::test]
async fn a_fast_run_does_not_wait_behind_a_durable_one_for_a_database_that_is_silent() {
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToStore(_)));
    let cluster = Cluster::on(Backend::MariaDbRedis).workers(["web-1"]).detour(detour).start().await;
    let journal = Journal::new();
    let first = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
    ended(&cluster, &first).await;
    let request = |durability: Durability| SubmitRequest {
        target: "web-1".to_owned(),
        what: Some(What::Exec(Exec {
            argv: ["sh", "-c", &journal.noting(":")].map(str::to_owned).into(),
            ..Exec::default()
        })),
        durability: durability.into(),
        ..SubmitRequest::default()
    };
    links.to_store(0).black_hole();
    let (mut runs, mut others) = (crate::steps::runs(&cluster.url()), crate::steps::runs(&cluster.url()));
    let mut durable = std::pin::pin!(runs.submit(request(Durability::Durable)));
    let fast = async {
        let id = others.submit(request(Durability::Fast)).await.unwrap().into_inner().runs[0].id.clone();
        journal.ended(&id).await;
    };
    tokio::select! {
        biased;
        answer = &mut durable => panic!("the durable one was answered first: {answer:?}"),
        () = fast => {}
    }
    links.to_store(0).heal();
    // Whether it was accepted is not the question here; that it is answered is.
    durable.await.ok();
}
