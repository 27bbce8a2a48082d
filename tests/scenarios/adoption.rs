//! A worker's death is not its tasks' death.

use marabunta_proto::v1::{Outcome, Reason, RunState};
use marabunta_tests::scenarios;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Cluster, Journal, eventually};

use crate::steps::{all_attempts, done_at_once, ended, submit, until};

/// Waits until a worker has no supervisor any more but idle ones of its own daemon.
async fn nothing_left(cluster: &Cluster, worker: &str) {
    let worker = cluster.worker(worker);
    worker.stop().await;
    eventually("all supervisors are gone", async || {
        let left = worker.supervisors();
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await;
}

scenarios! {
    async fn a_command_goes_on_while_its_daemon_is_killed_and_restarted(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1").slots(4)]).start().await;
        let journal = Journal::new();
        let (gate, end) = (journal.gate("middle"), journal.gate("end"));
        // Much is printed before, while and after nobody is there.
        let print = |name: &str| format!("i=0; while [ $i -lt 3000 ]; do echo {name} $i; i=$((i+1)); done");
        let body = [print("before"), gate.wait(), print("away"), journal.note("away"), end.wait(), print("after")].join("\n");
        let script = format!("{}; exit 5", journal.noting(&body));
        let mut runs = Vec::new();
        for options in [&[][..], &["--durable"]] {
            runs.push(submit(&cluster, "web-1", options, &script).await);
        }
        for id in &runs {
            journal.started(id, 1).await;
        }
        cluster.worker("web-1").kill();
        gate.open();
        journal.noted("away", runs.len()).await;
        cluster.worker("web-1").restart();
        cluster.online("web-1").await;
        end.open();
        let lines = |name: &'static str| (0..3000).map(move |number| format!("{name} {number}\n"));
        let expected: String = lines("before").chain(lines("away")).chain(lines("after")).collect();
        for id in &runs {
            let run = ended(&cluster, id).await;
            assert_eq!((run.reason(), run.exit_code, run.attempts.len(), run.lost), (Reason::Failed, Some(5), 1, 0), "{run:?}");
            let printed = cluster.cli(["runs", "logs", id]).await.success();
            assert!(printed == expected, "{} bytes instead of {}", printed.len(), expected.len());
        }
        journal.each_once(&runs);
        nothing_left(&cluster, "web-1").await;
    }

    async fn what_ended_while_its_daemon_was_dead_is_told_by_the_next(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1").slots(4)]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo before; {}; echo after; exit 7", journal.until(&gate));
        let mut runs = Vec::new();
        for options in [&[][..], &["--durable"]] {
            runs.push(submit(&cluster, "web-1", options, &script).await);
        }
        for id in &runs {
            journal.started(id, 1).await;
        }
        cluster.worker("web-1").kill();
        gate.open();
        for id in &runs {
            journal.ended(id).await;
        }
        // Longer than it takes to be given up: a run that names its worker waits for it.
        cluster.offline("web-1").await;
        cluster.worker("web-1").restart();
        for id in &runs {
            let run = ended(&cluster, id).await;
            assert_eq!((run.reason(), run.exit_code, run.attempts.len()), (Reason::Failed, Some(7), 1), "{run:?}");
            assert_eq!(cluster.cli(["runs", "logs", id]).await.success(), "before\nafter\n");
        }
        journal.each_once(&runs);
        nothing_left(&cluster, "web-1").await;
    }

    async fn a_run_that_was_cancelled_while_its_daemon_was_dead_is_stopped_by_the_next(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1").slots(4)]).start().await;
        let journal = Journal::new();
        let never = journal.gate("never");
        let script = format!("echo $$ >\"{}/pid-$MARABUNTA_RUN\"\n{}", journal.directory().display(), journal.until(&never));
        let (early, late) = (submit(&cluster, "web-1", &[], &script).await, submit(&cluster, "web-1", &[], &script).await);
        for id in [&early, &late] {
            journal.started(id, 1).await;
        }
        cluster.worker("web-1").kill();
        cluster.cli(["runs", "cancel", &early]).await.success();
        cluster.worker("web-1").restart();
        cluster.online("web-1").await;
        cluster.cli(["runs", "cancel", &late]).await.success();
        for id in [&early, &late] {
            let run = ended(&cluster, id).await;
            assert_eq!((run.state(), run.attempts.len()), (RunState::Cancelled, 1), "{run:?}");
            let pid = std::fs::read_to_string(journal.directory().join(format!("pid-{id}"))).unwrap();
            crate::steps::gone(pid.trim_end()).await;
        }
        nothing_left(&cluster, "web-1").await;
    }

    async fn a_run_that_was_given_away_while_its_daemon_was_dead_is_killed_when_it_is_back(backend: Backend) {
        let workers = ["web-1", "web-2"].map(|name| WorkerOptions::named(name).label("role=web"));
        let cluster = Cluster::on(backend).workers(workers).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo $$ >\"{}/pid-$MARABUNTA_ATTEMPT\"\n{}", journal.directory().display(), journal.until(&gate));
        let id = submit(&cluster, "any(role=web)", &[], &script).await;
        let first = until(&cluster, &id, RunState::Running).await.worker;
        journal.started(&id, 1).await;
        cluster.worker(&first).kill();
        journal.started(&id, 2).await;
        cluster.worker(&first).restart();
        let pid = std::fs::read_to_string(journal.directory().join("pid-1")).unwrap();
        crate::steps::gone(pid.trim_end()).await;
        gate.open();
        ended(&cluster, &id).await;
        let run = all_attempts(&cluster, &id, 2).await;
        assert_eq!((run.state(), run.lost), (RunState::Done, 1), "{run:?}");
        assert_ne!(run.worker, first);
        assert_eq!(journal.ends(&id), 1);
        nothing_left(&cluster, &first).await;
    }

    async fn a_command_whose_supervisor_died_with_the_daemon_is_killed_and_run_again(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo $$ >\"{}/pid-$MARABUNTA_ATTEMPT\"\n{}", journal.directory().display(), journal.until(&gate));
        let id = submit(&cluster, "web-1", &[], &script).await;
        journal.started(&id, 1).await;
        let pid = std::fs::read_to_string(journal.directory().join("pid-1")).unwrap();
        cluster.worker("web-1").kill();
        cluster.worker("web-1").kill_supervisors();
        assert!(std::path::Path::new("/proc").join(pid.trim_end()).exists(), "nobody was there to kill it");
        cluster.worker("web-1").restart();
        crate::steps::gone(pid.trim_end()).await;
        journal.started(&id, 2).await;
        gate.open();
        ended(&cluster, &id).await;
        let run = all_attempts(&cluster, &id, 2).await;
        assert_eq!((run.state(), run.attempts[0].outcome()), (RunState::Done, Outcome::Lost), "{run:?}");
        assert_eq!((journal.starts(&id), journal.ends(&id)), (2, 1));
        nothing_left(&cluster, "web-1").await;
    }

    async fn a_worker_that_is_told_to_stop_leaves_what_takes_long_to_the_next(backend: Backend) {
        let worker = WorkerOptions::named("web-1").argument("--drain-timeout").argument("0s");
        let cluster = Cluster::on(backend).workers([worker]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let id = submit(&cluster, "web-1", &["--durable"], &journal.until(&gate)).await;
        journal.started(&id, 1).await;
        cluster.worker("web-1").stop().await;
        cluster.worker("web-1").restart();
        cluster.online("web-1").await;
        gate.open();
        done_at_once(&ended(&cluster, &id).await);
        journal.each_once(&[id]);
        nothing_left(&cluster, "web-1").await;
    }

    async fn fifty_commands_are_adopted_at_once(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1").slots(50)]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo before; {}; echo after", journal.until(&gate));
        let mut runs = Vec::new();
        for _ in 0..50 {
            runs.push(submit(&cluster, "web-1", &[], &script).await);
        }
        journal.noted("start", 50).await;
        cluster.worker("web-1").kill();
        cluster.worker("web-1").restart();
        cluster.online("web-1").await;
        gate.open();
        for id in &runs {
            done_at_once(&ended(&cluster, id).await);
            assert_eq!(cluster.cli(["runs", "logs", id]).await.success(), "before\nafter\n");
        }
        journal.each_once(&runs);
        nothing_left(&cluster, "web-1").await;
    }

    async fn a_flood_over_a_restart_stays_within_its_limit(backend: Backend) {
        let journal = Journal::new();
        let script = format!("{}\nhead -c 30000000 /dev/zero; exec sleep 1000", journal.note("start"));
        let config = format!("[handlers.flood]\nargv = ['sh', '-c', '''{script}''']\ntimeout = '10s'\noutput_limit = '4MiB'\n");
        let cluster = Cluster::on(backend).workers([WorkerOptions::configured("web-1", &config)]).start().await;
        let run = cluster.cli(["run", "--target", "web-1", "--handler", "flood", "--detach"]).await;
        let id = run.success().trim_end().to_owned();
        // Only then is it the supervisor's: a daemon that dies before has not had it started.
        journal.started(&id, 1).await;
        cluster.worker("web-1").kill();
        cluster.worker("web-1").restart();
        let run = ended(&cluster, &id).await;
        let [attempt] = &run.attempts[..] else { panic!("{run:?}") };
        assert_eq!((run.reason(), attempt.truncated, attempt.output_bytes), (Reason::Timeout, true, 30_000_000), "{run:?}");
        let printed = cluster.cli(["runs", "logs", &id]).await.success();
        assert_eq!(printed.matches('\0').count(), 4 << 20);
        assert_eq!(journal.starts(&id), 1);
        nothing_left(&cluster, "web-1").await;
    }
}
