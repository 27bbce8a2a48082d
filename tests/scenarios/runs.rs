//! A person sees what happened.

use marabunta_proto::v1::RunState;
use marabunta_tests::scenarios;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Cluster, Journal};
use serde_json::Value;

use crate::steps::{all_attempts, ended, look, submit, until};

async fn listed(cluster: &Cluster, arguments: &[&str]) -> Vec<String> {
    let list = cluster.cli([&["runs", "list", "-o", "json"], arguments].concat()).await.json();
    list["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

scenarios! {
    async fn runs_are_listed_newest_first_by_filter(backend: Backend) {
        let workers = ["web-1", "web-2"].map(|name| WorkerOptions::named(name).label("role=web"));
        let cluster = Cluster::on(backend).servers(2).workers(workers).start().await;
        let done = submit(&cluster, "web-1", &[], "true").await;
        ended(&cluster, &done).await;
        let failed = submit(&cluster, "any(role=web, name=web-2)", &[], "false").await;
        let middle = ended(&cluster, &failed).await.created.unwrap();
        let waiting = submit(&cluster, "db-1", &[], "true").await;
        let cancelled = submit(&cluster, "db-1", &[], "true").await;
        cluster.cli(["runs", "cancel", &cancelled]).await.success();
        ended(&cluster, &cancelled).await;
        let all = [&cancelled, &waiting, &failed, &done].map(String::as_str);
        let after = chrono(middle.seconds + 3600);
        let before = chrono(middle.seconds - 3600);
        let table: [(&[&str], &[&str]); 11] = [
            (&[], &all),
            (&["--state", "done"], &[&done]),
            (&["--state", "error,cancelled"], &[&cancelled, &failed]),
            (&["--state", "queued"], &[&waiting]),
            (&["--target", "db-1"], &[&cancelled, &waiting]),
            // In another spelling than it was submitted.
            (&["--target", "any(name=web-2,role=web)"], &[&failed]),
            (&["--worker", "web-2"], &[&failed]),
            (&["--worker", "web-2", "--state", "done"], &[]),
            (&["--since", "1h"], &all),
            (&["--since", &after], &[]),
            (&["--until", &before], &[]),
        ];
        for (filter, expected) in table {
            assert_eq!(listed(&cluster, filter).await, expected, "{filter:?}");
        }
    }

    async fn a_list_is_given_by_pages_without_gap_or_repetition(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let arguments = ["run", "--detach", "--durable", "--target", "web-1", "--", "true"];
        let mut ids = Vec::new();
        for turn in 0..25 {
            // Some that have ended and some that are open, mixed.
            let target = if turn % 3 == 0 { "nobody" } else { "web-1" };
            let id = submit(&cluster, target, &["--durable"], "true").await;
            if target == "web-1" {
                ended(&cluster, &id).await;
            }
            ids.insert(0, id);
        }
        assert_eq!(listed(&cluster, &["--limit", "7"]).await, ids[..7]);
        let mut pages = Vec::new();
        let mut page = String::new();
        loop {
            let request = marabunta_proto::v1::ListRunsRequest { page_size: 7, page, ..Default::default() };
            let answer = crate::steps::runs(&cluster.url()).list(request).await.unwrap().into_inner();
            pages.extend(answer.runs.into_iter().map(|run| run.id));
            page = answer.next_page;
            if page.is_empty() {
                break;
            }
            // What comes meanwhile is newer and does not shift the pages.
            cluster.cli(arguments).await.success();
        }
        assert_eq!(pages, ids);
    }

    async fn show_tells_each_attempt_and_transition_with_its_server_and_worker(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).start().await;
        let options = ["--retries", "1", "--backoff", "0s"];
        let id = submit(&cluster, "web-1", &options, "[ $MARABUNTA_ATTEMPT = 2 ]").await;
        ended(&cluster, &id).await;
        all_attempts(&cluster, &id, 2).await;
        let run = cluster.cli(["runs", "show", &id, "-o", "json"]).await.json();
        let transitions = run["transitions"].as_array().unwrap();
        let states: Vec<&str> = transitions.iter().map(|one| one["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["queued", "running", "queued", "running", "done"], "{run:#}");
        let times: Vec<&str> = transitions.iter().map(|one| one["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        for transition in transitions.iter().skip(1) {
            assert_eq!(transition["worker"], "web-1", "{transition:#}");
            assert!(transition["server"].as_str().is_some_and(|server| !server.is_empty()), "{transition:#}");
        }
        assert!(transitions[2]["note"].as_str().is_some_and(|note| note.contains("failed")), "{run:#}");
        let outcomes: Vec<&Value> =
            run["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
        assert_eq!(outcomes, ["failed", "succeeded"], "{run:#}");
        let text = cluster.cli(["runs", "show", &id]).await.success();
        assert!(text.contains("ATTEMPT") && text.contains("web-1"), "{text}");
    }

    async fn a_run_that_waits_says_why(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers([WorkerOptions::named("web-1").slots(1)]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let busy = submit(&cluster, "web-1", &[], &journal.until(&gate)).await;
        assert_eq!(until(&cluster, &busy, RunState::Running).await.waiting, "");
        for (target, cause) in [
            ("web-1", "no free slot"),
            ("any(name=web-1)", "busy"),
            ("db-1", "`db-1` is not connected"),
            ("any(role=mail)", "no worker matches"),
        ] {
            let id = submit(&cluster, target, &[], "true").await;
            let waiting = look(&cluster, &id).await.waiting;
            assert!(waiting.contains(cause), "{target}: {waiting}");
        }
        let durable = submit(&cluster, "db-1", &["--durable"], "true").await;
        let accepted = look(&cluster, &durable).await.transitions.remove(0);
        assert!(!accepted.server.is_empty(), "the server that accepted it is named: {accepted:?}");
        gate.open();
        let retried = submit(&cluster, "web-1", &["--retries", "1", "--backoff", "1d"], "false").await;
        let run = crate::steps::until_at(&cluster.url(), &retried, "has failed once", |run| run.failed == 1).await;
        assert_eq!(run.state(), RunState::Todo, "{run:?}");
        assert!(run.waiting.starts_with("due in"), "{}", run.waiting);
    }

    async fn an_ended_run_is_submitted_once_more_as_a_new_one(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let script = journal.noting("echo again; exit 4");
        let first = submit(&cluster, "web-1", &["--env", "A=b", "--max-lost", "7"], &script).await;
        let before = ended(&cluster, &first).await;
        let again = cluster.cli(["runs", "retry", &first, "--follow"]).await;
        assert_eq!(again.code(4), "again\n");
        let second = journal.runs("start").into_iter().find(|id| *id != first).expect("a new run was started");
        let after = look(&cluster, &second).await;
        assert_eq!((&after.payload, &after.policy, &after.target), (&before.payload, &before.policy, &before.target));
        let open = submit(&cluster, "nobody", &[], "true").await;
        let refused = cluster.cli(["runs", "retry", &open]).await;
        refused.code(1);
        assert!(refused.errors().contains("ended"), "{}", refused.errors());
    }

    async fn a_run_is_cancelled_while_its_worker_is_offline(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let queued = {
            cluster.worker("web-1").stop().await;
            submit(&cluster, "web-1", &[], &journal.noting(":")).await
        };
        cluster.cli(["runs", "cancel", &queued]).await.success();
        assert_eq!(ended(&cluster, &queued).await.state(), RunState::Cancelled);
        cluster.worker("web-1").restart();
        let other = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
        ended(&cluster, &other).await;
        journal.each_once(&[other]);
    }
}

/// RFC 3339 of a Unix time.
fn chrono(seconds: i64) -> String {
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}
