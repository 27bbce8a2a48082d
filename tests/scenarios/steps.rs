//! What scenarios do again and again.

use anyhow::ensure;
use marabunta_proto::v1::runs_client::RunsClient;
use marabunta_proto::v1::{GetRunRequest, Run, RunState};
use marabunta_tests::support::cli::{Cli, Output};
use marabunta_tests::support::{Cluster, eventually};
use tonic::transport::Channel;

/// The arguments of `marabunta run` for a shell script.
pub fn run_script<'a>(target: &'a str, options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--target", target], options, &["--", "sh", "-c", script]].concat()
}

/// Runs a shell script to its end.
pub async fn run(cluster: &Cluster, target: &str, options: &[&str], script: &str) -> Output {
    cluster.cli(run_script(target, options, script)).await
}

/// Submits a shell script and gives the id of its run.
pub async fn submit(cluster: &Cluster, target: &str, options: &[&str], script: &str) -> String {
    submit_to(&cluster.url(), target, options, script).await
}

/// Submits a shell script to one of several servers.
pub async fn submit_to(url: &str, target: &str, options: &[&str], script: &str) -> String {
    let options = [options, &["--detach"]].concat();
    let submitted = Cli::new(run_script(target, &options, script)).server(url).run().await;
    submitted.success().trim_end().to_owned()
}

/// A client of a server, which finds it again after a restart.
pub fn runs(url: &str) -> RunsClient<Channel> {
    RunsClient::new(Channel::from_shared(url.to_owned()).expect("a server has a URL").connect_lazy())
}

/// A run as it stands now.
pub async fn look(cluster: &Cluster, id: &str) -> Run {
    let answer = runs(&cluster.url()).get(GetRunRequest { id: id.to_owned() }).await;
    answer.unwrap_or_else(|status| panic!("run {id} was accepted: {status}")).into_inner()
}

/// Waits until a run is in this state.
pub async fn until(cluster: &Cluster, id: &str, state: RunState) -> Run {
    until_at(&cluster.url(), id, &format!("is {}", state.as_str_name()), |run| run.state() == state).await
}

/// Waits until a run has ended.
pub async fn ended(cluster: &Cluster, id: &str) -> Run {
    ended_at(&cluster.url(), id).await
}

/// Waits until a run has ended, as one of several servers sees it.
pub async fn ended_at(url: &str, id: &str) -> Run {
    until_at(url, id, "has ended", |run| run.state() as i32 >= RunState::Done as i32).await
}

/// Waits until the history has so many attempts of a run: that of a fast run is written behind it.
pub async fn all_attempts(cluster: &Cluster, id: &str, attempts: usize) -> Run {
    let what = format!("has {attempts} attempts");
    until_at(&cluster.url(), id, &what, |run| run.attempts.len() >= attempts).await
}

/// Waits until a run is as it should be, as one of several servers sees it.
pub async fn until_at(url: &str, id: &str, what: &str, is_so: impl Fn(&Run) -> bool) -> Run {
    let mut runs = runs(url);
    eventually(&format!("run {id} {what}"), async || {
        let run = runs.get(GetRunRequest { id: id.to_owned() }).await?.into_inner();
        ensure!(is_so(&run), "it is {run:?}");
        Ok(run)
    })
    .await
}

/// Demands that a run ended well, and in its first attempt.
#[track_caller]
pub fn done_at_once(run: &Run) {
    assert_eq!(run.state(), RunState::Done, "{run:?}");
    assert_eq!((run.attempts.len(), run.lost, run.failed), (1, 0, 0), "{run:?}");
}

/// Waits until a process is gone.
pub async fn gone(pid: &str) {
    eventually(&format!("process {pid} is gone"), async || {
        ensure!(!std::path::Path::new("/proc").join(pid).exists(), "it is there");
        Ok(())
    })
    .await;
}
