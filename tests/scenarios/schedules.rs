//! A person schedules something.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use marabunta_proto::v1::RunState;
use marabunta_tests::scenarios;
use marabunta_tests::support::cli::Cli;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Cluster, Journal, eventually};
use serde_json::Value;

use crate::steps::{ended, look};

/// Each second.
pub const OFTEN: &str = "* * * * * *";
/// By so much the clocks of one host may differ as they are read.
const CLOCKS_APART: Duration = Duration::from_millis(100);

/// The options of `task create` for a shell script.
pub async fn create(cluster: &Cluster, name: &str, options: &[&str], script: &str) -> Value {
    let arguments =
        [&["task", "create", name, "--target", "web-1", "-o", "json"], options, &["--", "sh", "-c", script]]
            .concat();
    cluster.cli(arguments).await.json()
}

async fn show(cluster: &Cluster, name: &str) -> Value {
    cluster.cli(["task", "show", name, "-o", "json"]).await.json()
}

/// The runs of a task, oldest first.
pub async fn runs(cluster: &Cluster, task: &str, options: &[&str]) -> Vec<Value> {
    let arguments = [&["runs", "list", "--all", "--task", task, "-o", "json"], options].concat();
    let mut list = cluster.cli(arguments).await.json();
    let mut runs = std::mem::take(list["runs"].as_array_mut().expect("a list of runs"));
    runs.reverse();
    runs
}

scenarios! {
    async fn a_task_is_created_shown_edited_paused_resumed_fired_and_deleted(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let options = ["--when", "0 2 1 1 *", "--timezone", "Europe/Berlin", "--retries", "3", "--description", "for people"];
        let created = create(&cluster, "nightly", &options, &journal.noting(":")).await;
        assert!(created["next"][0].as_str().is_some_and(|next| next.contains("-01-01T01:00:00")), "{created:#}");
        let shown = show(&cluster, "nightly").await;
        assert_eq!(shown, created);
        assert_eq!(show(&cluster, created["id"].as_str().unwrap()).await, created);
        for (field, expected) in [
            ("when", "0 2 1 1 *".into()),
            ("timezone", "Europe/Berlin".into()),
            ("target", "web-1".into()),
            ("description", "for people".into()),
            ("paused", false.into()),
            ("problem", Value::Null),
        ] {
            assert_eq!(shown[field], expected, "{field} in {shown:#}");
        }
        assert_eq!((&shown["policy"]["retries"], &shown["exec"]["argv"][0]), (&3.into(), &"sh".into()));

        let other = cluster.servers().last().unwrap().url();
        let edited = Cli::new(["task", "edit", "nightly", "--rename", "yearly", "--timeout", "10s", "-o", "json"]);
        let edited = edited.server(&other).run().await.json();
        assert_eq!((&edited["name"], &edited["policy"]["timeout"], &edited["when"]), (&"yearly".into(), &"10s".into(), &"0 2 1 1 *".into()));
        cluster.cli(["task", "show", "nightly"]).await.code(1);

        let paused = cluster.cli(["task", "pause", "yearly", "-o", "json"]).await.json();
        assert_eq!((&paused["paused"], &paused["next"]), (&true.into(), &serde_json::json!([])), "{paused:#}");
        let resumed = cluster.cli(["task", "resume", "yearly", "-o", "json"]).await.json();
        assert_eq!((&resumed["paused"], &resumed["next"]), (&false.into(), &created["next"]));

        let fired = cluster.cli(["task", "fire", "yearly", "--follow"]).await;
        fired.success();
        let id = journal.runs("end")[0].clone();
        let run = look(&cluster, &id).await;
        assert_eq!((run.state(), run.task_name.as_str()), (RunState::Done, "yearly"));

        create(&cluster, "a-second", &["--paused"], "true").await;
        let names = |list: &Value| -> Vec<String> {
            list["tasks"].as_array().unwrap().iter().map(|task| task["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&cluster.cli(["task", "list", "-o", "json"]).await.json()), ["a-second", "yearly"]);
        assert_eq!(names(&cluster.cli(["task", "list", "--prefix", "ye", "-o", "json"]).await.json()), ["yearly"]);
        cluster.cli(["task", "delete", "yearly"]).await.success();
        assert_eq!(names(&cluster.cli(["task", "list", "-o", "json"]).await.json()), ["a-second"]);
        // Its runs stay.
        assert_eq!(look(&cluster, &id).await.task_name, "yearly");
        journal.each_once(&[id]);
    }

    async fn a_name_is_given_once(backend: Backend) {
        let cluster = Cluster::on(backend).start().await;
        create(&cluster, "nightly", &[], "true").await;
        create(&cluster, "weekly", &[], "true").await;
        for arguments in [
            &["task", "create", "nightly", "--target", "web-1", "--", "true"][..],
            &["task", "edit", "weekly", "--rename", "nightly"],
        ] {
            let output = cluster.cli(arguments).await;
            output.code(1);
            assert!(output.errors().contains("nightly"), "{}", output.errors());
        }
    }

    async fn a_task_fires_on_the_second_once_for_each_tick(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).start().await;
        for when in [OFTEN, "@every 1s"] {
            let journal = Journal::new();
            create(&cluster, "often", &["--when", when], &journal.noting(":")).await;
            journal.noted("end", 4).await;
            cluster.cli(["task", "delete", "often"]).await.success();
            let (mut dues, mut fractions) = (BTreeSet::new(), BTreeSet::new());
            for id in journal.runs("start") {
                assert_eq!(journal.starts(&id), 1);
                let run = ended(&cluster, &id).await;
                let (due, started) = (run.due.unwrap(), run.started.unwrap());
                assert!(dues.insert(due.seconds), "{when}: two runs for {due}");
                fractions.insert(due.nanos);
                // How late it is, the machine decides; too early it is never, but for what the clocks of store, queue and worker differ.
                let early = SystemTime::try_from(due).unwrap().duration_since(started.try_into().unwrap());
                assert!(early.unwrap_or_default() < CLOCKS_APART, "{when}: due {due}, started {started}");
            }
            let span = dues.last().unwrap() - dues.first().unwrap() + 1;
            assert_eq!(dues.len(), usize::try_from(span).unwrap(), "{when}: none is missing in {dues:?}");
            // `@every` counts from the creation, which has a fraction of its own.
            let exact = if when == OFTEN { fractions == [0].into() } else { fractions.len() == 1 };
            assert!(exact, "{when}: due at these nanoseconds of a second: {fractions:?}");
        }
    }

    async fn an_edit_takes_effect_at_once_through_any_server(backend: Backend) {
        // The poll is far away: what takes effect does so by itself.
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).server_argument("--poll-interval=1h").start().await;
        let other = cluster.servers().last().unwrap().url();
        let journal = Journal::new();
        create(&cluster, "often", &["--when", "0 0 1 1 *"], &journal.noting(":")).await;
        let edit = Cli::new(["task", "edit", "often", "--when", OFTEN]).server(&other).run().await;
        edit.success();
        journal.noted("end", 2).await;
        // What is queued ahead is replaced.
        let script = journal.note("edited");
        Cli::new(["task", "edit", "often", "--", "sh", "-c", &script]).server(&other).run().await.success();
        journal.noted("edited", 2).await;
        cluster.cli(["task", "pause", "often"]).await.success();
        let paused = runs(&cluster, "often", &["--state", "todo"]).await;
        assert_eq!(paused, Vec::<Value>::new(), "what was queued ahead is withdrawn");
        cluster.cli(["task", "resume", "often"]).await.success();
        let before = journal.runs("edited").len();
        journal.noted("edited", before + 2).await;
        Cli::new(["task", "delete", "often"]).server(&other).run().await.success();
        let open = runs(&cluster, "often", &["--state", "todo"]).await;
        assert_eq!(open, Vec::<Value>::new(), "what was queued ahead is withdrawn");
        let (starts, ends) = (journal.runs("start"), journal.runs("end"));
        assert_eq!(starts.iter().collect::<BTreeSet<_>>().len(), starts.len(), "each once");
        assert_eq!(starts, ends);
    }

    async fn overlap_skips_queues_or_replaces(backend: Backend) {
        let worker = WorkerOptions::named("web-1").slots(10);
        let cluster = Cluster::on(backend).servers(2).workers([worker]).start().await;
        let (skip, queue, replace) = (Journal::new(), Journal::new(), Journal::new());
        let gates = [skip.gate("end"), queue.gate("end"), replace.gate("end")];
        for (journal, gate, overlap) in [(&skip, &gates[0], "skip"), (&queue, &gates[1], "queue"), (&replace, &gates[2], "replace")] {
            create(&cluster, overlap, &["--when", OFTEN, "--overlap", overlap], &journal.until(gate)).await;
        }
        // `skip`: the first runs on, the others are recorded.
        eventually("two firings are skipped", async || {
            let skipped = runs(&cluster, "skip", &["--state", "skipped"]).await;
            anyhow::ensure!(skipped.len() >= 2, "{skipped:?}");
            assert!(skipped[0]["error"].as_str().is_some_and(|error| error.contains("not ended")), "{skipped:?}");
            Ok(())
        })
        .await;
        assert_eq!(skip.runs("start").len(), 1);
        // `queue`: they wait for each other.
        eventually("a run waits for the first", async || {
            let waiting = runs(&cluster, "queue", &["--state", "queued"]).await;
            anyhow::ensure!(waiting.len() >= 2, "{waiting:?}");
            Ok(())
        })
        .await;
        assert_eq!(queue.runs("start").len(), 1);
        // `replace`: each cancels the one before.
        replace.noted("start", 3).await;
        for id in &replace.runs("start")[..2] {
            assert_eq!(ended(&cluster, id).await.state(), RunState::Cancelled);
        }
        assert_eq!(replace.runs("end").len(), 0);
        for name in ["skip", "queue", "replace"] {
            cluster.cli(["task", "pause", name]).await.success();
        }
        for gate in &gates {
            gate.open();
        }
        queue.noted("end", 3).await;
        let order: Vec<String> = runs(&cluster, "queue", &[]).await.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
        let started = queue.runs("start");
        assert_eq!(started, order[..started.len()], "in the order in which they were due");
    }
}
