//! A hand on the connections of one member: cuts them, and stops their reading, at the socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use marabunta::connect::Dialer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tonic::transport::Uri;

/// What all members together did to reach their servers.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Connections that were tried.
    pub dialled: AtomicU64,
    /// Of these, connections that the server's host took.
    pub connected: AtomicU64,
}

/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Valve(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    shut: AtomicBool,
    lines: Mutex<Vec<Weak<Line>>>,
}

#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    reader: AtomicWaker,
}

impl Valve {
    /// Breaks every connection that there is.
    pub fn cut(&self) {
        self.each(|line| line.cut.store(true, Ordering::Release));
    }

    /// From now on nothing is read from any socket, of new connections neither, until it is opened.
    pub fn shut(&self, shut: bool) {
        self.0.shut.store(shut, Ordering::Release);
        self.each(|_| ());
    }

    /// Connections through this valve, from the address `source`.
    pub fn dialer(&self, source: Ipv4Addr, traffic: Arc<Traffic>) -> Dialer {
        let valve = self.clone();
        Dialer::new(move |uri| {
            traffic.dialled.fetch_add(1, Ordering::Relaxed);
            let (valve, traffic) = (valve.clone(), traffic.clone());
            async move {
                let stream = connect(&uri, source).await?;
                traffic.connected.fetch_add(1, Ordering::Relaxed);
                Ok(valve.wire(stream))
            }
        })
    }

    fn wire(&self, stream: TcpStream) -> Wire {
        let line = Arc::new(Line::default());
        let mut lines = self.lines();
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line));
        Wire { stream, line, valve: self.clone() }
    }

    fn each(&self, act: impl Fn(&Line)) {
        for line in self.lines().iter().filter_map(Weak::upgrade) {
            act(&line);
            line.reader.wake();
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Line>>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(uri: &Uri, source: Ipv4Addr) -> io::Result<TcpStream> {
    let host = uri.host().unwrap_or_default();
    let mut addresses = lookup_host((host, uri.port_u16().unwrap_or(80))).await?;
    let address = addresses.find(SocketAddr::is_ipv4).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = TcpSocket::new_v4()?;
    // From loopback to loopback each member has all ports of an address; elsewhere the system chooses both.
    if address.ip().is_loopback() {
        socket.bind((source, 0).into())?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection.
struct Wire {
    stream: TcpStream,
    line: Arc<Line>,
    valve: Valve,
}

impl Wire {
    fn is_cut(&self) -> io::Result<()> {
        if self.line.cut.load(Ordering::Acquire) {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        wire.line.reader.register(cx.waker());
        wire.is_cut()?;
        if wire.valve.0.shut.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        Pin::new(&mut wire.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        wire.is_cut()?;
        Pin::new(&mut wire.stream).poll_write(cx, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
