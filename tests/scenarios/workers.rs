//! Workers that die, hang, come back, are doubled or drained.

use marabunta_proto::v1::submit_request::What;
use marabunta_proto::v1::{Outcome, Policy, Reason, Run, RunState, SubmitRequest};
use marabunta_tests::faults::testimony::Testimony;
use marabunta_tests::faults::witness::HANDLER;
use marabunta_tests::scenarios;
use marabunta_tests::support::scratch::Scratch;
use marabunta_tests::support::worker::{Worker, WorkerOptions};
use marabunta_tests::support::{Cluster, Journal, eventually};

use crate::steps::{all_attempts, done_at_once, ended, look, run, runs, submit, until};

scenarios! {
    async fn a_run_for_any_worker_goes_elsewhere_when_its_host_dies(backend: Backend) {
        let workers = ["web-1", "web-2"].map(|name| WorkerOptions::named(name).label("role=web"));
        let cluster = Cluster::on(backend).servers(2).workers(workers).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let id = submit(&cluster, "any(role=web)", &[], &journal.until(&gate)).await;
        let first = until(&cluster, &id, RunState::Running).await.worker;
        journal.started(&id, 1).await;
        cluster.worker(&first).kill_all();
        journal.started(&id, 2).await;
        gate.open();
        ended(&cluster, &id).await;
        let run = all_attempts(&cluster, &id, 2).await;
        assert_eq!((run.state(), run.lost), (RunState::Done, 1), "{run:?}");
        assert_ne!(run.worker, first);
        let outcomes: Vec<Outcome> = run.attempts.iter().map(|attempt| attempt.outcome()).collect();
        assert_eq!(outcomes, [Outcome::Lost, Outcome::Succeeded]);
        tells_of_the_loss(&run, &first, "its worker fell silent and did not come back");
        assert_eq!(journal.starts(&id), 2);
    }

    async fn a_run_that_may_start_once_is_lost_when_its_worker_does_not_say_whether_it_began(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        cluster.worker("web-1").pause();
        let once = submit(&cluster, "web-1", &["--max-lost", "0"], &journal.noting(":")).await;
        let again = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
        let lost = ended(&cluster, &once).await;
        cluster.worker("web-1").resume();
        assert_eq!((lost.state(), lost.reason()), (RunState::Error, Reason::Lost), "{lost:?}");
        assert!(lost.error.contains("did not say whether it had begun"), "{lost:?}");
        let done = ended(&cluster, &again).await;
        assert_eq!((done.state(), done.lost), (RunState::Done, 0), "{done:?}");
        assert!(journal.starts(&once) <= 1);
    }

    async fn a_run_for_a_host_that_died_waits_until_it_is_back(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1", "web-2"]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let mut runs = Vec::new();
        for options in [&[][..], &["--durable"]] {
            let id = submit(&cluster, "web-1", options, &journal.until(&gate)).await;
            journal.started(&id, 1).await;
            runs.push(id);
        }
        cluster.worker("web-1").kill_all();
        cluster.offline("web-1").await;
        gate.open();
        cluster.worker("web-1").restart();
        for id in &runs {
            ended(&cluster, id).await;
            let run = all_attempts(&cluster, id, 2).await;
            assert_eq!((run.state(), run.lost, run.worker.as_str()), (RunState::Done, 1, "web-1"), "{run:?}");
            tells_of_the_loss(&run, "web-1", "its worker came back without it");
            assert_eq!(journal.starts(id), 2);
        }
    }

    async fn a_run_that_kills_its_worker_as_soon_as_it_starts_is_counted_as_lost(backend: Backend) {
        let testimony = Scratch::new("testimony");
        let cluster = Cluster::on(backend).workers([WorkerOptions::witness("web-1", testimony.path())]).start().await;
        let request = SubmitRequest {
            target: "web-1".to_owned(),
            what: Some(What::Handler(HANDLER.to_owned())),
            payload: r#"{"die":1000}"#.to_owned(),
            policy: Some(Policy { max_lost: Some(0), ..Policy::default() }),
            ..SubmitRequest::default()
        };
        let answer = runs(&cluster.url()).submit(request).await.unwrap().into_inner();
        let id = &answer.runs[0].id;
        assert_eq!(cluster.worker("web-1").exit().await, 128 + 9);
        cluster.worker("web-1").restart();
        let run = ended(&cluster, id).await;
        assert_eq!((run.state(), run.reason(), run.lost), (RunState::Error, Reason::Lost, 1), "{run:?}");
        let executions = Testimony::read(testimony.path()).unwrap().executions;
        assert_eq!(executions.len(), 1, "{executions:?}");
    }

    async fn a_run_that_may_be_started_only_once_ends_with_its_host(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let id = submit(&cluster, "web-1", &["--max-lost", "0"], &journal.until(&journal.gate("never"))).await;
        journal.started(&id, 1).await;
        cluster.worker("web-1").kill_all();
        cluster.worker("web-1").restart();
        let run = ended(&cluster, &id).await;
        assert_eq!((run.state(), run.reason(), run.lost), (RunState::Error, Reason::Lost, 1), "{run:?}");
        let last = run.transitions.last().unwrap();
        assert_eq!((last.state(), last.note.as_str()), (RunState::Error, "its worker came back without it"), "{run:?}");
        assert!(run.attempts[0].ended.is_some() && last.time.is_some(), "{run:?}");
        assert_eq!(journal.starts(&id), 1);
    }

    async fn what_ended_while_no_server_was_there_is_reported_and_not_run_again(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1").slots(4)]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo before; {}; echo after; exit 7", journal.until(&gate));
        let mut runs = Vec::new();
        for options in [&[][..], &["--durable"]] {
            runs.push(submit(&cluster, "web-1", options, &script).await);
        }
        for id in &runs {
            until(&cluster, id, RunState::Running).await;
        }
        cluster.server().kill();
        gate.open();
        for id in &runs {
            journal.ended(id).await;
        }
        // A worker that is told to stop has everything in its spool before it ends.
        cluster.worker("web-1").terminate();
        cluster.worker("web-1").exit().await;
        cluster.server().restart().await;
        cluster.worker("web-1").restart();
        for id in &runs {
            let run = ended(&cluster, id).await;
            assert_eq!((run.reason(), run.exit_code, run.attempts.len()), (Reason::Failed, Some(7), 1), "{run:?}");
            assert_eq!(cluster.cli(["runs", "logs", id]).await.success(), "before\nafter\n");
        }
        journal.each_once(&runs);
    }

    async fn a_server_restart_interrupts_nothing(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let id = submit(&cluster, "web-1", &["--durable"], &journal.until(&gate)).await;
        until(&cluster, &id, RunState::Running).await;
        cluster.server().stop().await;
        cluster.server().restart().await;
        cluster.online("web-1").await;
        until(&cluster, &id, RunState::Running).await;
        gate.open();
        done_at_once(&ended(&cluster, &id).await);
        journal.each_once(&[id]);
    }

    async fn a_worker_that_hung_learns_that_its_run_was_given_away(backend: Backend) {
        let workers = ["web-1", "web-2"].map(|name| WorkerOptions::named(name).label("role=web"));
        let cluster = Cluster::on(backend).workers(workers).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo $$ >\"{}/pid-$MARABUNTA_ATTEMPT\"\n{}", journal.directory().display(), journal.until(&gate));
        let id = submit(&cluster, "any(role=web)", &[], &script).await;
        let first = until(&cluster, &id, RunState::Running).await.worker;
        journal.started(&id, 1).await;
        cluster.worker(&first).pause();
        journal.started(&id, 2).await;
        cluster.worker(&first).resume();
        let pid = std::fs::read_to_string(journal.directory().join("pid-1")).unwrap();
        crate::steps::gone(pid.trim_end()).await;
        gate.open();
        let run = ended(&cluster, &id).await;
        assert_eq!((run.state(), run.lost), (RunState::Done, 1), "{run:?}");
        assert_ne!(run.worker, first);
        assert_eq!(journal.ends(&id), 1);
    }

    async fn the_second_daemon_of_a_name_takes_over(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let second = Worker::start(&cluster.url(), "web-1");
        assert_eq!(cluster.worker("web-1").exit().await, 4, "{}", cluster.worker("web-1").log());
        cluster.online("web-1").await;
        for _ in 0..3 {
            run(&cluster, "web-1", &[], &journal.noting(":")).await.success();
        }
        assert_eq!(journal.runs("end").len(), 3);
        second.stop().await;
    }

    async fn a_drained_worker_gets_nothing_new_until_it_is_resumed(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let first = submit(&cluster, "web-1", &[], &journal.until(&gate)).await;
        until(&cluster, &first, RunState::Running).await;
        let drained = cluster.cli(["workers", "drain", "web-1", "-o", "json"]).await.json();
        assert_eq!(drained["workers"][0]["draining"], true, "{drained:#}");
        let second = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
        gate.open();
        done_at_once(&ended(&cluster, &first).await);
        let waiting = look(&cluster, &second).await;
        assert_eq!(waiting.state(), RunState::Queued);
        assert!(waiting.waiting.contains("drain"), "{}", waiting.waiting);
        // It is remembered over restarts of the worker and of the server.
        cluster.worker("web-1").stop().await;
        cluster.server().stop().await;
        cluster.server().restart().await;
        cluster.worker("web-1").restart();
        cluster.online("web-1").await;
        let shown = cluster.cli(["workers", "show", "web-1", "-o", "json"]).await.json();
        assert_eq!((&shown["draining"], &shown["running"]), (&true.into(), &0.into()), "{shown:#}");
        assert_eq!(look(&cluster, &second).await.state(), RunState::Queued);
        cluster.cli(["workers", "resume", "web-1"]).await.success();
        done_at_once(&ended(&cluster, &second).await);
        journal.each_once(&[first, second]);
    }

    async fn a_worker_that_is_told_to_stop_finishes_what_it_runs(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1").slots(1)]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let first = submit(&cluster, "web-1", &[], &journal.until(&gate)).await;
        until(&cluster, &first, RunState::Running).await;
        cluster.worker("web-1").terminate();
        let second = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
        gate.open();
        assert_eq!(cluster.worker("web-1").exit().await, 0);
        done_at_once(&ended(&cluster, &first).await);
        assert_eq!(look(&cluster, &second).await.state(), RunState::Queued);
        cluster.worker("web-1").restart();
        done_at_once(&ended(&cluster, &second).await);
        journal.each_once(&[first, second]);
    }

    async fn workers_are_listed_and_shown(backend: Backend) {
        let worker = WorkerOptions::named("web-1").label("role=web").label("dc=eu").slots(3);
        let cluster = Cluster::on(backend).workers([worker, "db-1".into()]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let id = submit(&cluster, "web-1", &[], &journal.until(&gate)).await;
        until(&cluster, &id, RunState::Running).await;
        let names = async |arguments: &[&str]| {
            let list = cluster.cli([&["workers", "list", "-o", "json"], arguments].concat()).await.json();
            let name = |worker: &serde_json::Value| worker["name"].as_str().unwrap().to_owned();
            list["workers"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]).await, ["db-1", "web-1"]);
        assert_eq!(names(&["--selector", "role=web"]).await, ["web-1"]);
        assert_eq!(names(&["--selector", "!role"]).await, ["db-1"]);
        let shown = eventually("its run is counted", async || {
            let shown = cluster.cli(["workers", "show", "web-1", "-o", "json"]).await.json();
            anyhow::ensure!(shown["running"] == 1, "{shown:#}");
            Ok(shown)
        })
        .await;
        for (field, expected) in [
            ("online", serde_json::json!(true)),
            ("draining", false.into()),
            ("slots", 3.into()),
            ("labels", serde_json::json!({"role": "web", "dc": "eu"})),
            ("handlers", serde_json::json!(["exec"])),
        ] {
            assert_eq!(shown[field], expected, "{field} in {shown:#}");
        }
        gate.open();
        ended(&cluster, &id).await;
        cluster.worker("web-1").stop().await;
        cluster.offline("web-1").await;
        let table = cluster.cli(["workers", "list"]).await.success();
        assert!(table.contains("offline") && table.contains("dc=eu,role=web"), "{table}");
        cluster.cli(["workers", "show", "nobody"]).await.code(1);
    }
}

/// Demands that the history says when the first attempt of a run began, and when and why it was lost.
#[track_caller]
fn tells_of_the_loss(run: &Run, worker: &str, why: &str) {
    let lost = &run.attempts[0];
    assert_eq!(
        (lost.outcome(), lost.worker.as_str(), lost.error.as_str()),
        (Outcome::Lost, worker, why),
        "{run:?}"
    );
    let told: Vec<_> = run.transitions.iter().filter(|one| one.worker == worker).take(2).collect();
    assert_eq!((told[0].state(), told[0].time), (RunState::Running, lost.started), "{run:?}");
    assert_eq!((told[1].state(), told[1].time), (RunState::Queued, lost.ended), "{run:?}");
    assert_eq!(told[1].note, format!("worker lost: {why}"), "{run:?}");
    assert!(told.iter().all(|one| one.time.is_some() && !one.server.is_empty()), "{run:?}");
}
