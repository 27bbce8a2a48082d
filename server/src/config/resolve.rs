//! From what was said to what holds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::{Cli, LogFormat, Secret, Settings, file, refuse};
use crate::listen::TlsFiles;
use crate::queue::Limits;
use crate::store::Retention;

/// All that the server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub backend: Backend,
    pub poll_interval: Duration,
    pub lost_after: Duration,
    pub session_age: Duration,
    pub drain_timeout: Duration,
    pub limits: Limits,
    pub retention: Retention,
    pub tls: Option<TlsFiles>,
    pub token_file: Option<PathBuf>,
    pub worker_token_file: Option<PathBuf>,
    pub log_format: LogFormat,
    pub threads: usize,
}

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// In this directory, by this server alone.
    Embedded(PathBuf),
    Shared {
        mysql: Secret,
        redis: Secret,
        prefix: String,
    },
}

/// Why the server does not start with these settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("read the file {path}: {problem}")]
    File { path: String, problem: String },
    /// A value out of its range.
    #[error("{setting} is {value}: {right}")]
    Value { setting: &'static str, value: String, right: String },
    /// Settings that do not go together.
    #[error("{0}")]
    Contradiction(String),
    /// A door that would be open to anybody.
    #[error("{0}")]
    Unsafe(String),
}

impl Config {
    /// Flags and variables, then the file, then defaults.
    pub fn load(cli: Cli) -> Result<Self, ConfigError> {
        let file = cli.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        Self::resolve(cli.settings.or(file))
    }

    /// From settings, without looking anywhere else but at the files that they name.
    pub fn resolve(settings: Settings) -> Result<Self, ConfigError> {
        refuse::contradictions(&settings)?;
        for file in
            [&settings.token_file, &settings.worker_token_file, &settings.tls_key].into_iter().flatten()
        {
            file::private(file)?;
        }
        let seconds =
            |span: Option<super::Span>, default| span.map_or(Duration::from_secs(default), |span| span.0);
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = Self {
            grpc: settings.grpc.unwrap_or(local(50051)),
            http: settings.http.unwrap_or(local(8080)),
            poll_interval: seconds(settings.poll_interval, 60),
            lost_after: seconds(settings.lost_after, 3600),
            session_age: seconds(settings.session_age, 3600),
            drain_timeout: seconds(settings.drain_timeout, 30),
            limits: Limits { waiting: settings.queue_cap.unwrap_or(10_000), ..Limits::default() },
            retention: Retention {
                age: Some(seconds(settings.retention, 30 * 86_400)),
                count: settings.retention_count,
            },
            tls: match (settings.tls_cert, settings.tls_key) {
                (Some(certificate), Some(key)) => {
                    Some(TlsFiles { certificate, key, client_ca: settings.client_ca })
                }
                _ => None,
            },
            token_file: settings.token_file,
            worker_token_file: settings.worker_token_file,
            log_format: settings.log_format.unwrap_or(LogFormat::Text),
            threads: settings.threads.unwrap_or(2),
            backend: match (settings.mysql, settings.redis) {
                (Some(mysql), Some(redis)) => {
                    let prefix = settings.redis_prefix.unwrap_or_else(|| "marabunta".into());
                    Backend::Shared { mysql, redis, prefix }
                }
                _ => Backend::Embedded(settings.data.unwrap_or_else(|| "marabunta-data".into())),
            },
        };
        refuse::out_of_range(&config)?;
        refuse::open_doors(&config, settings.insecure == Some(true))?;
        Ok(config)
    }
}
