//! Where a run goes.

use marabunta_proto::v1::RunState;
use marabunta_tests::scenarios;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Backend, Cluster, ClusterOptions, Journal};

use crate::steps::{done_at_once, ended, look, run, submit};

/// Three hosts: two for the web, one of them in the EU, and a database.
fn fleet(backend: Backend) -> ClusterOptions {
    Cluster::on(backend).servers(2).workers([
        WorkerOptions::named("web-1").label("role=web").label("dc=eu"),
        WorkerOptions::named("web-2").label("role=web").label("dc=us"),
        WorkerOptions::named("db-1").label("role=db").label("dc=eu"),
    ])
}

scenarios! {
    async fn any_runs_on_one_worker_that_matches(backend: Backend) {
        let cluster = fleet(backend).start().await;
        for (target, matching) in [
            ("any(role=db)", &["db-1"][..]),
            ("any(role=web,dc!=us)", &["web-1"]),
            ("any(dc in (eu))", &["web-1", "db-1"]),
            ("any", &["web-1", "web-2", "db-1"]),
            ("any(name=web-2)", &["web-2"]),
        ] {
            let journal = Journal::new();
            let id = submit(&cluster, target, &[], &journal.noting(":")).await;
            let run = ended(&cluster, &id).await;
            done_at_once(&run);
            assert!(matching.contains(&run.worker.as_str()), "{target} ran on {}", run.worker);
            journal.each_once(&[id]);
        }
    }

    async fn any_runs_on_no_worker_without_the_handler_and_waits_for_one_that_has_it(backend: Backend) {
        let configured = |name: &str, handlers: &[&str]| {
            let table = |handler: &&str| format!("[handlers.{handler}]\nargv = [\"/bin/true\"]\n");
            let toml: String = handlers.iter().map(table).collect();
            WorkerOptions::configured(name, &toml).label("role=web")
        };
        let old = ["web-1", "web-2"].map(|name| configured(name, &["backup"]));
        let mut cluster = Cluster::on(backend).servers(2).workers(old).start().await;
        let submit = async |cluster: &Cluster, handler: &str| {
            let options = ["run", "--detach", "--target", "any(role=web)", "--handler", handler];
            let output = cluster.cli(options).await;
            let warned = output.errors();
            assert_eq!(warned.contains(&format!("has the handler `{handler}`")), handler == "restore", "{warned}");
            output.success().trim_end().to_owned()
        };
        let waits = submit(&cluster, "restore").await;
        let goes = submit(&cluster, "backup").await;
        done_at_once(&ended(&cluster, &goes).await);
        let waiting = look(&cluster, &waits).await;
        assert_eq!((waiting.state(), waiting.target.as_str()), (RunState::Queued, "any(role=web)"));
        assert_eq!(waiting.waiting, "no worker of `any(role=web)` has the handler `restore`");
        cluster.add_worker(configured("web-3", &["backup", "restore"])).await;
        let run = ended(&cluster, &waits).await;
        done_at_once(&run);
        assert_eq!(run.worker, "web-3");
    }

    async fn all_runs_once_on_each_worker_that_matches_and_says_how_each_ended(backend: Backend) {
        let cluster = fleet(backend).start().await;
        let journal = Journal::new();
        let script = journal.noting("echo hello; echo oops >&2");
        let output = run(&cluster, "all(role=web)", &[], &script).await;
        let mut lines: Vec<String> = output.success().lines().map(ToOwned::to_owned).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["web-1 | hello", "web-2 | hello"]);
        let errors = output.errors();
        for host in ["web-1", "web-2"] {
            assert!(errors.contains(&format!("{host} | oops")), "{errors}");
            assert_eq!(errors.matches(host).count(), 2, "its output and its outcome: {errors}");
        }
        let started = journal.runs("start");
        assert_eq!(started.len(), 2);
        let group = look(&cluster, &started[0]).await.group;
        let listed = cluster.cli(["runs", "list", "--group", &group, "-o", "json"]).await.json();
        assert_eq!(listed["runs"].as_array().unwrap().len(), 2, "{listed:#}");
    }

    async fn all_fails_when_one_of_them_fails(backend: Backend) {
        let cluster = fleet(backend).start().await;
        let journal = Journal::new();
        // Whoever comes first succeeds.
        let script = format!("mkdir '{}'", journal.directory().join("first").display());
        let output = run(&cluster, "all(role=web)", &[], &script).await;
        output.code(1);
        let errors = output.errors();
        assert!(errors.contains("done") && errors.contains("error(failed), exit code 1"), "{errors}");
    }

    async fn all_is_refused_when_nobody_matches(backend: Backend) {
        let cluster = fleet(backend).start().await;
        let output = run(&cluster, "all(role=mail)", &[], "true").await;
        output.code(125);
        assert!(output.errors().contains("matches no worker"), "{}", output.errors());
        let runs = cluster.cli(["runs", "list", "--all", "-o", "json"]).await.json();
        assert_eq!(runs["runs"], serde_json::json!([]));
    }

    async fn all_waits_for_workers_that_are_offline(backend: Backend) {
        let cluster = fleet(backend).start().await;
        let journal = Journal::new();
        cluster.worker("web-2").stop().await;
        cluster.offline("web-2").await;
        let options = ["run", "--detach", "--target", "all(role=web)", "--", "sh", "-c", &journal.noting(":")];
        let ids = cluster.cli(options).await.success();
        let ids: Vec<String> = ids.lines().map(ToOwned::to_owned).collect();
        done_at_once(&ended(&cluster, &ids[0]).await);
        let waiting = look(&cluster, &ids[1]).await;
        assert_eq!((waiting.state(), waiting.target.as_str()), (RunState::Queued, "web-2"));
        cluster.worker("web-2").restart();
        done_at_once(&ended(&cluster, &ids[1]).await);
        journal.each_once(&ids);
    }

    async fn a_worker_never_seen_is_warned_about_and_waited_for(backend: Backend) {
        let mut cluster = Cluster::on(backend).start().await;
        let journal = Journal::new();
        let script = journal.noting(":");
        for target in ["new-1", "any(role=new)"] {
            let output = cluster.cli(["run", "--detach", "--target", target, "--", "sh", "-c", &script]).await;
            let warned = output.errors();
            assert!(warned.contains(&format!("`{target}`")) && warned.contains("waits for one"), "{warned}");
            let id = output.success();
            let run = look(&cluster, id.trim_end()).await;
            assert_eq!(run.state(), RunState::Queued);
            assert!(run.waiting.contains("new"), "{}", run.waiting);
        }
        cluster.add_worker(WorkerOptions::named("new-1").label("role=new")).await;
        for run in cluster.cli(["runs", "list", "-o", "json"]).await.json()["runs"].as_array().unwrap() {
            done_at_once(&ended(&cluster, run["id"].as_str().unwrap()).await);
        }
        assert_eq!(journal.runs("end").len(), 2);
    }

    async fn online_refuses_to_wait_for_a_worker(backend: Backend) {
        let cluster = fleet(backend).start().await;
        let journal = Journal::new();
        cluster.worker("db-1").stop().await;
        cluster.offline("db-1").await;
        for (target, code) in
            [("web-1", 0), ("any(role=web)", 0), ("nobody", 125), ("db-1", 125), ("any(role=db)", 125)]
        {
            run(&cluster, target, &["--online"], &journal.noting(":")).await.code(code);
        }
        assert_eq!(journal.runs("end").len(), 2);
    }
}
