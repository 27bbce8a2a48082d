//! Several servers, and servers that come and go.

use marabunta_proto::v1::RunState;
use marabunta_tests::support::cli::Cli;
use marabunta_tests::support::server::Server;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Backend, Cluster, Journal, eventually};

use crate::steps::{done_at_once, ended, ended_at, run_script, submit_to, until, until_at};

/// A worker that tries these servers in turn.
fn roaming(name: &str, servers: &[&Server]) -> WorkerOptions {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    WorkerOptions::named(name).server(&urls.join(",")).slots(20)
}

async fn two_servers() -> Cluster {
    Cluster::on(Backend::MariaDbRedis).servers(2).start().await
}

#[tokio::test]
async fn a_run_is_submitted_run_and_followed_through_any_server() {
    let cluster =
        Cluster::on(Backend::MariaDbRedis).servers(3).workers(["web-1", "web-2", "web-3"]).start().await;
    let journal = Journal::new();
    let mut runs = Vec::new();
    // The workers are spread over the servers by turns: most of what is submitted is for a worker of another one.
    for (turn, options) in [&[][..], &["--durable"]].into_iter().cycle().take(6).enumerate() {
        let [submitting, following] = [turn % 3, (turn + 1) % 3].map(|at| cluster.servers()[at].url());
        let worker = format!("web-{}", turn / 2 + 1);
        let script = journal.noting("echo one; echo two >&2; echo three");
        let id = submit_to(&submitting, &worker, options, &script).await;
        let logs = Cli::new(["runs", "logs", "-f", &id]).server(&following).run().await;
        assert_eq!((logs.success().as_str(), logs.errors().as_str()), ("one\nthree\n", "two\n"));
        for server in cluster.servers() {
            let run = ended_at(&server.url(), &id).await;
            done_at_once(&run);
            assert_eq!(run.worker, worker);
        }
        runs.push(id);
    }
    journal.each_once(&runs);
}

#[tokio::test]
async fn a_killed_server_takes_no_run_with_it() {
    let mut cluster = two_servers().await;
    let [staying, going] = [0, 1].map(|at| cluster.servers()[at].url());
    let options = roaming("web-1", &[&cluster.servers()[1], &cluster.servers()[0]]);
    cluster.add_worker(options).await;
    let journal = Journal::new();
    let gate = journal.gate("end");
    let mut runs = Vec::new();
    for options in [&[][..], &["--durable"]] {
        runs.push(submit_to(&going, "web-1", options, &journal.until(&gate)).await);
    }
    for id in &runs {
        until(&cluster, id, RunState::Running).await;
    }
    cluster.servers()[1].kill();
    // One that ends while nobody listens to its worker, and one after it was adopted.
    gate.open();
    for id in &runs {
        journal.ended(id).await;
    }
    let late = journal.gate("late");
    runs.push(submit_to(&staying, "web-1", &[], &journal.until(&late)).await);
    until(&cluster, &runs[2], RunState::Running).await;
    late.open();
    for id in &runs {
        done_at_once(&ended(&cluster, id).await);
    }
    journal.each_once(&runs);
}

#[tokio::test]
async fn a_run_goes_on_while_its_server_is_killed_and_another_adopts_it() {
    let mut cluster = two_servers().await;
    let options = roaming("web-1", &[&cluster.servers()[1], &cluster.servers()[0]]);
    cluster.add_worker(options).await;
    let journal = Journal::new();
    let gate = journal.gate("end");
    let id = submit_to(&cluster.url(), "web-1", &[], &journal.until(&gate)).await;
    until(&cluster, &id, RunState::Running).await;
    cluster.servers()[1].kill();
    let staying = &cluster.servers()[0];
    eventually("the worker is on the other server", async || {
        let shown =
            Cli::new(["workers", "show", "web-1", "-o", "json"]).server(&staying.url()).run().await.json();
        let log = cluster.servers()[1].log();
        let other = shown["server"]
            .as_str()
            .is_some_and(|server| !log.contains(server) || staying.log().contains(server));
        anyhow::ensure!(shown["online"] == true && other, "{shown}");
        Ok(())
    })
    .await;
    until_at(&staying.url(), &id, "is running", |run| run.state() == RunState::Running).await;
    gate.open();
    done_at_once(&ended(&cluster, &id).await);
    journal.each_once(&[id]);
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_hands_its_workers_over() {
    let mut cluster = two_servers().await;
    let workers = ["web-1", "web-2"];
    for name in workers {
        let options = roaming(name, &[&cluster.servers()[1], &cluster.servers()[0]]);
        cluster.add_worker(options).await;
    }
    let journal = Journal::new();
    let gate = journal.gate("end");
    let mut runs = Vec::new();
    for name in workers {
        for _ in 0..3 {
            runs.push(submit_to(&cluster.url(), name, &[], &journal.until(&gate)).await);
        }
    }
    for id in &runs {
        until(&cluster, id, RunState::Running).await;
    }
    cluster.servers()[1].stop().await;
    for name in workers {
        runs.push(submit_to(&cluster.url(), name, &[], &journal.noting(":")).await);
    }
    gate.open();
    for id in &runs {
        done_at_once(&ended(&cluster, id).await);
    }
    journal.each_once(&runs);
}

#[tokio::test]
async fn behind_a_balancer_servers_are_replaced_one_by_one_and_nothing_is_lost_or_doubled() {
    let workers = ["web-1", "web-2", "web-3"].map(|name| WorkerOptions::named(name).label("role=web"));
    let cluster = Cluster::on(Backend::MariaDbRedis).servers(3).workers(workers).balanced().start().await;
    let url = cluster.url();
    let journal = Journal::new();
    let (mut runs, mut follower) = (Vec::new(), None);
    for server in cluster.servers() {
        for target in ["web-1", "web-2", "web-3", "any(role=web)"] {
            runs.push(submit_to(&url, target, &["--durable"], &journal.noting("sleep 0.2")).await);
        }
        if follower.is_none() {
            let gate = journal.gate("followed");
            let script = journal.noting(&format!("echo before; {}; echo after", gate.wait()));
            let running = Cli::new(run_script("any(role=web)", &[], &script)).server(&url).start();
            eventually("the first line is shown", async || {
                anyhow::ensure!(
                    running.stdout() == "before\n",
                    "{:?} {:?}",
                    running.stdout(),
                    running.stderr()
                );
                Ok(())
            })
            .await;
            follower = Some((running, gate));
        }
        server.stop().await;
        server.restart().await;
    }
    let (running, gate) = follower.expect("there is a first server");
    gate.open();
    assert_eq!(running.output().await.success(), "before\nafter\n");
    for id in &runs {
        let run = ended(&cluster, id).await;
        assert_eq!((run.state(), run.lost, run.failed), (RunState::Done, 0, 0), "{run:?}");
    }
    let followed = journal.runs("start").into_iter().find(|id| !runs.contains(id));
    runs.push(followed.expect("the followed run is in the journal"));
    journal.each_once(&runs);
}
