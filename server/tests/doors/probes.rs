//! Probes over HTTP, and the standard health service.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::server::Server;

async fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(format!("{request}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_probes_answer_and_say_when_the_server_is_ready() {
    let server = Server::start(&[]).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut status = None;
    while status != Some(ServingStatus::Serving as i32) {
        status = watched.message().await.unwrap().map(|answer| answer.status);
    }
    for (request, begins) in [
        ("GET /readyz HTTP/1.1", "HTTP/1.1 200"),
        ("GET /healthz HTTP/1.1", "HTTP/1.1 200"),
        ("GET / HTTP/1.1", "HTTP/1.1 200"),
        ("GET /metrics HTTP/1.1", "HTTP/1.1 200"),
        ("POST /metrics HTTP/1.1", "HTTP/1.1 405"),
        ("GET /nothing HTTP/1.1", "HTTP/1.1 404"),
        ("DELETE /readyz HTTP/1.1", "HTTP/1.1 405"),
        ("GET /%2e%2e%2fetc HTTP/1.1", "HTTP/1.1 404"),
        ("NONSENSE", "HTTP/1.1 400"),
    ] {
        let answer = ask(&server, request).await;
        assert!(answer.starts_with(begins), "{request}: {answer}");
    }
    let service = "marabunta.v1.Runs".to_owned();
    let answer = health.check(HealthCheckRequest { service }).await.unwrap().into_inner();
    assert_eq!(answer.status, ServingStatus::Serving as i32);
    let unknown = health.check(HealthCheckRequest { service: "x".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    server.stop().await;
    // The stream said that it stops, or was over before.
    let last = watched.message().await;
    assert!(!matches!(last, Ok(Some(answer)) if answer.status == ServingStatus::Serving as i32));
}
