//! More connections than a server has room for.

use marabunta_tests::support::server::{Options, Server};
use marabunta_tests::support::worker::Worker;
use marabunta_tests::support::{cli::Cli, eventually, http};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_full_door_leaves_the_other_open_and_takes_who_comes_later() {
    let launcher = ["sh", "-c", "ulimit -n 256 && exec \"$@\"", "sh"].map(Into::into).to_vec();
    let server = Server::start(Options { launcher, ..Options::default() }).await;
    // More than the door has places; the rest waits in the backlog.
    let mut crowd = Vec::new();
    for _ in 0..400 {
        crowd.push(TcpStream::connect(server.grpc()).await.unwrap());
    }
    for _ in 0..20 {
        assert_eq!(http::get(server.http(), "/readyz").await.unwrap().status, 200);
    }
    let _worker = Worker::start(&server.url(), "web-1");
    drop(crowd);
    eventually("the worker has come in and works", async || {
        let output = Cli::new(["run", "--target", "web-1", "--", "true"]).server(&server.url()).run().await;
        anyhow::ensure!(output.code == 0, "{}", output.errors());
        Ok(())
    })
    .await;
}
