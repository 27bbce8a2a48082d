//! Another way to make connections than the system's: through a tunnel, from a chosen address, over a socket file.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{codegen::Service, transport::Uri};

/// A stream of bytes to a server, under TLS where the URL asks for it.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// Makes a connection to the host and port of a URL. Clones are the same.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Fn(Uri) -> Dialing + Send + Sync>);

impl Dialer {
    /// `dial` is called for each connection, again after each that was cut.
    pub fn new<F, W>(dial: impl Fn(Uri) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<W>> + Send + 'static,
        W: Wire,
    {
        Self(Arc::new(move |uri| {
            let dialing = dial(uri);
            Box::pin(async move { Ok(Box::new(dialing.await?) as Box<dyn Wire>) })
        }))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer(..)")
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialing = (self.0)(uri);
        Box::pin(async move { Ok(TokioIo::new(dialing.await?)) })
    }
}
