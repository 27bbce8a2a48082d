use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::ensure;
use marabunta_tests::support::eventually;
use marabunta_tests::support::haproxy::{Haproxy, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[tokio::test]
async fn connections_are_spread_over_the_servers_that_answer() {
    let mut servers = JoinSet::new();
    let (one, stop_one) = serve(&mut servers, "HTTP/1.0 200 OK\r\n\r\none").await;
    let (two, _stop_two) = serve(&mut servers, "HTTP/1.0 200 OK\r\n\r\ntwo").await;
    let upstreams = [one, two].map(|address| Upstream { address, readyz: None });
    let balancer = Haproxy::start(&upstreams).await;
    answers(&balancer, &["one", "two"]).await;

    stop_one.abort();
    answers(&balancer, &["two"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_ready_gets_no_connections() {
    let mut servers = JoinSet::new();
    let (one, _stop) = serve(&mut servers, "HTTP/1.0 200 OK\r\n\r\none").await;
    let (two, _stop) = serve(&mut servers, "HTTP/1.0 200 OK\r\n\r\ntwo").await;
    let (draining, _stop) = serve(&mut servers, "HTTP/1.0 503 Service Unavailable\r\n\r\n").await;
    let upstreams =
        [Upstream { address: one, readyz: Some(one) }, Upstream { address: two, readyz: Some(draining) }];
    let balancer = Haproxy::start(&upstreams).await;
    answers(&balancer, &["one"]).await;
}

/// A server that says the same to everybody, until it is aborted.
async fn serve(servers: &mut JoinSet<()>, answer: &'static str) -> (SocketAddr, tokio::task::AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handle = servers.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // A health check may be gone before it is answered.
            let Ok(_) = stream.write_all(answer.as_bytes()).await else { continue };
            let Ok(_) = stream.shutdown().await else { continue };
        }
    });
    (address, handle)
}

/// Waits until eight connections in a row are answered by exactly these servers.
async fn answers(balancer: &Haproxy, expected: &[&str]) {
    eventually(&format!("{expected:?} answer"), async || {
        let mut found = BTreeSet::new();
        for _ in 0..8 {
            let mut answer = String::new();
            TcpStream::connect(balancer.address()).await?.read_to_string(&mut answer).await?;
            found.insert(answer.rsplit("\r\n").next().unwrap_or_default().to_owned());
        }
        ensure!(found.iter().eq(expected), "{found:?}");
        Ok(())
    })
    .await;
}
