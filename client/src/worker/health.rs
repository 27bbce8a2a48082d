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

/// What a worker's health is judged by.
#[derive(Clone, Debug)]
pub struct Signs {
    /// Of the live session.
    pub pulse: watch::Receiver<Option<Pulse>>,
    /// Results cannot be kept safely: the spool is full or cannot be written.
    pub trouble: watch::Receiver<bool>,
}

impl Signs {
    /// Why no work comes, if so.
    fn illness(&self, now: Instant) -> Option<&'static str> {
        if !is_alive(*self.pulse.borrow(), now) {
            Some("not connected")
        } else if *self.trouble.borrow() {
            Some("the spool is full or cannot be written")
        } else {
            None
        }
    }
}

/// A session is open, and its server was heard within three heartbeats.
fn is_alive(pulse: Option<Pulse>, now: Instant) -> bool {
    pulse.is_some_and(|pulse| now.duration_since(pulse.heard) < pulse.heartbeat * 3)
}

/// Answers any HTTP request with 200 if healthy, 503 if not, one connection after the other. Runs until it is dropped.
pub async fn serve(address: SocketAddr, signs: Signs) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let illness = signs.illness(Instant::now());
        if let Ok(Err(error)) | Err(error) =
            timeout(Duration::from_secs(2), answer(stream, illness)).await.map_err(io::Error::from)
        {
            tracing::debug!(%error, "failed to answer a health check");
        }
    }
}

async fn answer(mut stream: TcpStream, illness: Option<&str>) -> io::Result<()> {
    // The answer is the same whatever is asked; reading it keeps the close from resetting the connection.
    let _request = stream.read(&mut [0; 1024]).await?;
    let status = if illness.is_none() { "200 OK" } else { "503 Service Unavailable" };
    let body = format!("{}\n", illness.unwrap_or("ok"));
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n", body.len());
    stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_of_three_heartbeats_and_a_spool_that_takes_nothing_are_ill() {
        let heartbeat = Duration::from_secs(5);
        let heard = Instant::now();
        let (beat, pulse) = watch::channel(None);
        let (troubled, trouble) = watch::channel(false);
        let signs = Signs { pulse, trouble };
        assert_eq!(signs.illness(heard), Some("not connected"));
        beat.send_replace(Some(Pulse { heard, heartbeat }));
        assert_eq!(signs.illness(heard + heartbeat * 2), None);
        assert_eq!(signs.illness(heard + heartbeat * 3), Some("not connected"));
        troubled.send_replace(true);
        assert_eq!(signs.illness(heard), Some("the spool is full or cannot be written"));
    }

    #[tokio::test]
    async fn the_answer_is_200_or_503() {
        for (illness, expected) in [(None, "200 OK"), (Some("not connected"), "503 ")] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut asking = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            asking.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
            answer(listener.accept().await.unwrap().0, illness).await.unwrap();
            let mut said = String::new();
            asking.read_to_string(&mut said).await.unwrap();
            assert!(said.starts_with(&format!("HTTP/1.1 {expected}")), "{said}");
        }
    }
}
