//! One connection through the proxy: its two directions, and its end.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::framer::Protocol;
use super::pump::{Awaited, End, Pump};
use super::rules::{Cut, Direction, Rules, Shared};

/// Serves a client until either side ends the connection, or it is cut.
pub(super) async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    protocol: Protocol,
    mut rules: watch::Receiver<Rules>,
    shared: &Shared,
) {
    let cuts = rules.borrow_and_update().cuts;
    let pumps = rules.clone();
    // None: the proxy itself ends.
    let mut cut = std::pin::pin!(async {
        rules.wait_for(|rules| rules.cuts > cuts).await.ok().and_then(|rules| rules.cut)
    });
    let connected = tokio::select! {
        connected = TcpStream::connect(upstream) => connected.ok(),
        _ = &mut cut => None,
    };
    let Some(mut server) = connected else { return close(client, Cut::Rst).await };
    // Neither is to wait for the other's acknowledgement. Both sockets are connected.
    for stream in [&client, &server] {
        if stream.set_nodelay(true).is_err() {
            return;
        }
    }
    let end = tokio::select! {
        end = pass(&mut client, &mut server, protocol, pumps, shared) => end,
        cut = &mut cut => cut.map_or(End::Broken, End::Cut),
    };
    let cut = match end {
        End::Cut(cut) => cut,
        End::Broken => Cut::Rst,
        End::Silence => tokio::select! {
            () = gone(&mut client) => Cut::Rst,
            cut = &mut cut => cut.unwrap_or(Cut::Rst),
        },
    };
    close(client, cut).await;
    close(server, cut).await;
}

async fn pass(
    client: &mut TcpStream,
    server: &mut TcpStream,
    protocol: Protocol,
    rules: watch::Receiver<Rules>,
    shared: &Shared,
) -> End {
    let awaited = Awaited::default();
    let pump = |direction| Pump::new(direction, protocol, rules.clone(), shared, &awaited);
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let requests = pump(Direction::Requests).run(from_client, to_server);
    let replies = pump(Direction::Replies).run(from_server, to_client);
    tokio::try_join!(requests, replies).err().unwrap_or(End::Cut(Cut::Fin))
}

/// Waits until the client has closed its side, whatever it still says.
async fn gone(client: &mut TcpStream) {
    let mut rest = [0; 4096];
    while !matches!(client.read(&mut rest).await, Ok(0) | Err(_)) {}
}

async fn close(mut stream: TcpStream, cut: Cut) {
    let closed = match cut {
        Cut::Rst => stream.set_zero_linger(),
        Cut::Fin => stream.shutdown().await,
    };
    // A peer that was faster has closed it already.
    drop((closed, stream));
}
