//! Whether this worker would get work: its own idea, for whoever watches the host.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};

/// When the live session last heard of its server.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    pub heard: Instant,
    /// The session's interval of heartbeats.
    pub heartbeat: Duration,
}

/// A session is open, and its server was heard within three heartbeats.
pub fn is_healthy(pulse: Option<Pulse>, now: Instant) -> bool {
    pulse.is_some_and(|pulse| now.duration_since(pulse.heard) < pulse.heartbeat * 3)
}

/// Answers any HTTP request with 200 if healthy, 503 if not, one connection after the other. Runs until it is dropped.
pub async fn serve(address: SocketAddr, pulse: watch::Receiver<Option<Pulse>>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let healthy = is_healthy(*pulse.borrow(), Instant::now());
        if let Ok(Err(error)) | Err(error) =
            timeout(Duration::from_secs(2), answer(stream, healthy)).await.map_err(io::Error::from)
        {
            tracing::debug!(%error, "failed to answer a health check");
        }
    }
}

async fn answer(mut stream: TcpStream, healthy: bool) -> io::Result<()> {
    // The answer is the same whatever is asked; reading it keeps the close from resetting the connection.
    let _request = stream.read(&mut [0; 1024]).await?;
    let (status, body) =
        if healthy { ("200 OK", "ok\n") } else { ("503 Service Unavailable", "not connected\n") };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n", body.len());
    stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_of_three_heartbeats_is_ill() {
        let heartbeat = Duration::from_secs(5);
        let pulse = Pulse { heard: Instant::now(), heartbeat };
        assert!(!is_healthy(None, Instant::now()));
        assert!(is_healthy(Some(pulse), pulse.heard + heartbeat * 2));
        assert!(!is_healthy(Some(pulse), pulse.heard + heartbeat * 3));
    }

    #[tokio::test]
    async fn the_answer_is_200_or_503() {
        let pulse = Pulse { heard: Instant::now(), heartbeat: Duration::from_secs(600) };
        for (healthy, expected) in [(is_healthy(Some(pulse), Instant::now()), "200 OK"), (false, "503 ")] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut asking = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            asking.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
            answer(listener.accept().await.unwrap().0, healthy).await.unwrap();
            let mut said = String::new();
            asking.read_to_string(&mut said).await.unwrap();
            assert!(said.starts_with(&format!("HTTP/1.1 {expected}")), "{said}");
        }
    }
}
