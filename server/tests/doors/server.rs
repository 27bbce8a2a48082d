//! A server in this process, on ports of its own.

use std::net::SocketAddr;

use clap::Parser as _;
use marabunta_server::app::{self, AppError, Listeners};
use marabunta_server::config::{Cli, Config};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

pub struct Server {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), AppError>>,
    _data: TempDir,
}

/// The settings of a command line.
pub fn settings(arguments: &[&str]) -> Cli {
    Cli::try_parse_from([&["marabunta-server"], arguments].concat()).unwrap()
}

impl Server {
    /// Embedded, with these flags too. Connections are taken as soon as it returns, whether it is ready or not.
    pub async fn start(flags: &[&str]) -> Self {
        let data = TempDir::new().unwrap();
        let directory = data.path().to_str().unwrap();
        let config = Config::load(settings(&[flags, &["--data", directory]].concat())).unwrap();
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners { grpc: bind().await.unwrap(), http: bind().await.unwrap() };
        let (grpc, http) = (listeners.grpc.local_addr().unwrap(), listeners.http.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        #[allow(clippy::disallowed_methods)]
        let served = tokio::spawn(app::run(config, listeners, async { stopped.await.unwrap_or_default() }));
        Self { grpc, http, stop, served, _data: data }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}
