//! Flags, their variables and the keys of the file: the same words.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use serde::Deserialize;

use super::{Secret, Span};

const EXAMPLES: &str = "\
Examples:
  marabunta-server
      alone, on an embedded store in ./marabunta-data, for this machine only
  MARABUNTA_MYSQL=mysql://marabunta:..@db/marabunta marabunta-server --redis redis://queue --config /etc/marabunta.toml
      one of any number of servers
  marabunta-server --grpc 0.0.0.0:50051 --tls-cert server.pem --tls-key server.key \\
      --token-file callers --worker-token-file workers
      for other hosts, with TLS and bearer tokens

The file has the same words: grpc = \"0.0.0.0:50051\", poll-interval = \"30s\", queue-cap = 20000.
RUST_LOG says what is logged, as in RUST_LOG=info,marabunta_server=debug.";

/// Reads schedules, queues what is due, and streams it to workers.
///
/// Each flag can be a variable MARABUNTA_.. and a key of the file as well; a flag goes before a variable, a variable before the file.
#[derive(Debug, Clone, Parser)]
#[command(name = "marabunta-server", version, after_help = EXAMPLES, max_term_width = 120)]
pub struct Cli {
    /// A TOML file with any of the settings below. It must not be writable by others.
    #[arg(long, env = "MARABUNTA_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Declares the settings once for all the places from where they come.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty, $env:literal, $value:literal $(, $more:ident = $set:expr)*;)+) => {
        /// What can be said; `None` where nothing is.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct Settings {$(
            $(#[doc = $doc])+
            #[arg(long, env = $env, value_name = $value, hide_env_values = true $(, $more = $set)*)]
            pub $name: Option<$kind>,
        )+}

        impl Settings {
            /// These, and where they say nothing, those.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }
        }
    };
}

settings! {
    /// Where workers and callers connect [default: 127.0.0.1:50051]
    grpc: SocketAddr, "MARABUNTA_GRPC", "ADDRESS";
    /// Where the probes /healthz and /readyz are [default: 127.0.0.1:8080]
    http: SocketAddr, "MARABUNTA_HTTP", "ADDRESS";
    /// Directory of the embedded store, made when missing [default: marabunta-data]
    data: PathBuf, "MARABUNTA_DATA", "DIR";
    /// Keep tasks and runs in this database instead: mysql://user:password@host/database. Better by variable or file than by flag
    mysql: Secret, "MARABUNTA_MYSQL", "URL";
    /// Keep the queue in this Redis: redis://host; goes with --mysql
    redis: Secret, "MARABUNTA_REDIS", "URL";
    /// What all Redis keys begin with; one for each installation [default: marabunta]
    redis_prefix: String, "MARABUNTA_REDIS_PREFIX", "WORD";
    /// How often tasks are read, so that a change by plain SQL has its effect [default: 60s]
    poll_interval: Span, "MARABUNTA_POLL_INTERVAL", "DURATION";
    /// How long a run that names its worker waits for it to come back before it counts as lost [default: 1h]
    lost_after: Span, "MARABUNTA_LOST_AFTER", "DURATION";
    /// The age at which a worker is asked to connect anew, so that a balancer can balance [default: 1h]
    session_age: Span, "MARABUNTA_SESSION_AGE", "DURATION";
    /// How long a stopping server waits for workers to go and calls to end [default: 30s]
    drain_timeout: Span, "MARABUNTA_DRAIN_TIMEOUT", "DURATION";
    /// How many runs may wait for one worker or selector [default: 10000]
    queue_cap: usize, "MARABUNTA_QUEUE_CAP", "COUNT";
    /// How long ended runs are kept [default: 30d]
    retention: Span, "MARABUNTA_RETENTION", "DURATION";
    /// How many ended runs are kept at the most [default: no limit]
    retention_count: u64, "MARABUNTA_RETENTION_COUNT", "COUNT";
    /// The server's certificate chain, PEM: TLS on every door. It, the key, the CA and the tokens are read again when they are replaced
    tls_cert: PathBuf, "MARABUNTA_TLS_CERT", "FILE";
    /// Its private key, PEM
    tls_key: PathBuf, "MARABUNTA_TLS_KEY", "FILE";
    /// Workers and callers need a certificate signed by this CA; a worker's name must be its certificate's
    client_ca: PathBuf, "MARABUNTA_CLIENT_CA", "FILE";
    /// Callers need one of the bearer tokens in this file, one a line
    token_file: PathBuf, "MARABUNTA_TOKEN_FILE", "FILE";
    /// Workers need one of the bearer tokens in this file, one a line
    worker_token_file: PathBuf, "MARABUNTA_WORKER_TOKEN_FILE", "FILE";
    /// Serve other hosts without TLS, or without asking who they are
    insecure: bool, "MARABUNTA_INSECURE", "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true;
    /// How log lines look [default: text]
    log_format: LogFormat, "MARABUNTA_LOG_FORMAT", "FORMAT";
    /// Threads that work [default: 2]
    threads: usize, "MARABUNTA_THREADS", "COUNT";
}
