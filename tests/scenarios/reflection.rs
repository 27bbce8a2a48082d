//! What others than our own command line see: reflection, health, readiness.

use marabunta_tests::scenarios;
use marabunta_tests::support::{Cluster, http};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn health(cluster: &Cluster, service: &str) -> Result<ServingStatus, tonic::Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(cluster.channel().await).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

scenarios! {
    async fn the_health_service_and_readyz_say_that_it_serves(backend: Backend) {
        let cluster = Cluster::on(backend).start().await;
        for service in ["", "marabunta.v1.Runs", "marabunta.v1.Tasks", "marabunta.v1.Workers", "marabunta.v1.Dispatch"] {
            assert_eq!(health(&cluster, service).await, Ok(ServingStatus::Serving), "{service:?}");
        }
        assert_eq!(health(&cluster, "no.such.Service").await, Err(tonic::Code::NotFound));
        for path in ["/readyz", "/healthz"] {
            assert_eq!(http::get(cluster.server().http(), path).await.unwrap().status, 200, "{path}");
        }
        assert_eq!(http::get(cluster.server().http(), "/no-such-page").await.unwrap().status, 404);
    }
}

/// `buf` is one of the things that `make test` installs.
#[cfg(feature = "services")]
mod by_buf {
    use marabunta_tests::support::process::Process;
    use marabunta_tests::support::scratch::Scratch;
    use marabunta_tests::support::{Backend, program};
    use serde_json::Value;

    use super::*;
    use crate::steps::{done_at_once, ended};

    async fn buf(arguments: &[&str]) -> String {
        let directory = Scratch::new("buf");
        let mut command = std::process::Command::new(program::buf());
        command.args(["curl", "--protocol", "grpc", "--http2-prior-knowledge"]).args(arguments);
        command.current_dir(directory.path()).env("HOME", directory.path());
        let (stdout, stderr) = (directory.join("stdout"), directory.join("stderr"));
        let process = Process::start("buf", &command, b"", &stdout, &stderr);
        let code = process.exit().await;
        assert_eq!(code, 0, "{arguments:?}: {}", String::from_utf8_lossy(&process.stderr()));
        String::from_utf8_lossy(&process.stdout()).into_owned()
    }

    #[tokio::test]
    async fn a_stranger_finds_the_services_by_reflection_and_submits_a_run() {
        let cluster = Cluster::on(Backend::Embedded).workers(["web-1"]).start().await;
        let url = cluster.url();
        let services = buf(&["--list-services", &url]).await;
        for service in ["Runs", "Tasks", "Workers", "Dispatch"] {
            assert!(services.lines().any(|line| line == format!("marabunta.v1.{service}")), "{services}");
        }
        assert!(services.lines().any(|line| line == "grpc.health.v1.Health"), "{services}");

        // As the README shows it.
        let request = r#"{"target":"web-1","exec":{"argv":["uptime"]}}"#;
        let answer = buf(&["-d", request, &format!("{url}/marabunta.v1.Runs/Submit")]).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let id = answer["runs"][0]["id"].as_str().unwrap();
        let run = ended(&cluster, id).await;
        done_at_once(&run);
        assert_eq!(run.state(), marabunta_proto::v1::RunState::Done);
    }
}

#[cfg(feature = "services")]
mod without_services {
    use marabunta_tests::support::{Backend, eventually};

    use super::*;

    async fn readyz(cluster: &Cluster, status: u16, word: &str) {
        eventually(&format!("/readyz says {status} and {word:?}"), async || {
            let answer = http::get(cluster.server().http(), "/readyz").await?;
            anyhow::ensure!(answer.status == status && answer.body.contains(word), "{answer:?}");
            Ok(())
        })
        .await;
        let expected = if status == 200 { ServingStatus::Serving } else { ServingStatus::NotServing };
        assert_eq!(health(cluster, "").await, Ok(expected));
    }

    #[tokio::test]
    async fn readyz_says_when_the_database_or_the_queue_is_gone_and_when_it_is_back() {
        let cluster = Cluster::on(Backend::MariaDbRedis).own_services().start().await;
        cluster.redis().kill();
        readyz(&cluster, 503, "queue").await;
        cluster.redis().restart().await;
        readyz(&cluster, 200, "ready").await;
        cluster.mariadb().kill();
        readyz(&cluster, 503, "store").await;
        cluster.mariadb().restart().await;
        readyz(&cluster, 200, "ready").await;
        assert_eq!(http::get(cluster.server().http(), "/healthz").await.unwrap().status, 200);
    }
}
