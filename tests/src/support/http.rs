//! As much of an HTTP client as probes need.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// All header lines, as they came.
    pub head: String,
    pub body: String,
}

/// `GET path`, by HTTP/1.0, so that the answer ends with the connection.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Response> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("http://{address}"))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status line: {head:?}"))?;
    Ok(Response { status, head: head.to_owned(), body: body.to_owned() })
}
