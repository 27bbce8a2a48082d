//! Calls to the server: which one, with which credentials, and what to do when it does not answer.

use std::{path::PathBuf, time::Duration};

use tonic::{Response, Status};

use super::{
    backoff::Backoff,
    failure::{self, Failure},
};
use crate::connect::{self, Config, ConnectError, Connection};

/// How long an unanswered call that may safely be repeated is repeated.
const PATIENCE: Duration = Duration::from_secs(15);

/// The options that every command which speaks to a server has.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// URL of the server, or of the balancer before several
    #[arg(long, global = true, env = "MARABUNTA_SERVER", default_value = connect::DEFAULT_SERVER, value_name = "URL", hide_env_values = true)]
    server: String,
    /// Trust the certificate authorities in this PEM file instead of the system's
    #[arg(long, global = true, env = "MARABUNTA_TLS_CA", value_name = "FILE", hide_env_values = true)]
    tls_ca: Option<PathBuf>,
    /// Present the certificate in this PEM file
    #[arg(long, global = true, env = "MARABUNTA_TLS_CERT", value_name = "FILE", hide_env_values = true)]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, a PEM file
    #[arg(long, global = true, env = "MARABUNTA_TLS_KEY", value_name = "FILE", hide_env_values = true)]
    tls_key: Option<PathBuf>,
    /// File with the bearer token; the variable MARABUNTA_TOKEN may hold the token itself
    #[arg(long, global = true, env = "MARABUNTA_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
    /// Allow plaintext to a server that is not on this host: token and output can be read on the way
    #[arg(long, global = true)]
    insecure: bool,
}

impl ServerArgs {
    /// The configuration of a connection.
    pub fn config(&self) -> Config {
        Config {
            server: self.server.clone(),
            tls_ca: self.tls_ca.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            token_file: self.token_file.clone(),
            token: std::env::var("MARABUNTA_TOKEN").ok().map(connect::Token::from),
            insecure: self.insecure,
            dialer: None,
        }
    }
}

/// A server and the connection to it.
pub struct Caller {
    config: Config,
    connection: Connection,
}

impl std::ops::Deref for Caller {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Caller {
    /// Opens the connection that the arguments describe.
    pub fn open(args: &ServerArgs) -> Result<Self, ConnectError> {
        let config = args.config();
        Ok(Self { connection: Connection::open(&config)?, config })
    }

    /// One more connection to the same server.
    pub fn another(&self) -> Result<Connection, ConnectError> {
        Connection::open(&self.config)
    }

    /// The server's URL.
    pub fn server(&self) -> &str {
        &self.config.server
    }

    /// The failure of a call while `doing` something.
    pub fn failed(&self, doing: impl Into<String>, status: &Status) -> Failure {
        Failure::call(doing, self.server(), status)
    }

    /// Why a call failed, in words.
    pub fn reason(&self, status: &Status) -> String {
        failure::reason(status, self.server())
    }

    /// Makes a call that may safely be repeated until it is answered, refused, or has failed for 15 s. A first try that finds no server at
    /// all is the last one, too.
    pub async fn until_answered<T>(
        &self,
        doing: &str,
        mut call: impl AsyncFnMut() -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let mut backoff = Backoff::default();
        let mut sent = false;
        loop {
            backoff.wait().await;
            let status = match call().await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            sent |= !failure::never_sent(&status);
            if !sent || !failure::may_pass(&status) || backoff.failed() > PATIENCE {
                return Err(self.failed(doing, &status));
            }
        }
    }
}
