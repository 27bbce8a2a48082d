//! The connection for commands, what is checked when it is made, and what its errors mean.
//!
//! One multiplexed connection serves all calls. The call that finds it broken has it made again, and so does one that is told that this Redis is
//! a replica now, or that finds that nothing was answered for a while. A caller that goes away abandons the answer and not the command: a
//! command is handed over whole or not at all, and what was handed over is carried out. A time-out means unknown.

use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, InfoDict, Pipeline, RedisError,
    ScriptInvocation, ServerErrorKind,
};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tracing::info;

use crate::queue::QueueError;

/// The oldest Redis whose scripts can say that they work when memory is short.
const OLDEST: u32 = 7;
/// A connection on which one call timed out and none was answered for so long is given up: what it is still to answer may never come.
const SILENCE: Duration = Duration::from_secs(4);

pub(super) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    current: Mutex<Current>,
    /// When a call was last answered.
    heard: Lock<Instant>,
    /// Told when the connection was made again that had not broken by itself: who has another to the same Redis may hear nothing from it.
    pub moved: Arc<Notify>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Of the connection: how many were made before it.
    number: u64,
    /// The one before it had not broken by itself.
    elsewhere: bool,
    /// Why the latest attempt failed, and when.
    failed: Option<(Instant, QueueError)>,
}

/// What is sent in one go.
pub(super) enum Request<'a> {
    Script(ScriptInvocation<'a>),
    Commands(Pipeline),
}

impl Link {
    /// Connects, and refuses a Redis that would lose runs.
    pub async fn connect(client: Client, timeout: Duration) -> Result<Self, QueueError> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(timeout))
            .set_connection_timeout(Some(timeout));
        let (current, heard, moved) = (Mutex::default(), Lock::new(Instant::now()), Arc::default());
        let link = Self { client, config, current, heard, moved };
        link.check().await?;
        Ok(link)
    }

    /// Sends a request and waits for its answer.
    pub async fn run<T: FromRedisValue>(&self, request: &Request<'_>) -> Result<T, QueueError> {
        let (mut connection, number) = self.connection().await?;
        let answer = match request {
            Request::Script(call) => call.invoke_async(&mut connection).await,
            Request::Commands(commands) => commands.query_async(&mut connection).await,
        };
        match &answer {
            Err(error) if self.is_over(error) => self.give_up(number, error).await,
            Err(error) if error.is_timeout() => {}
            _ => *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
        }
        answer.map_err(explain)
    }

    /// The connection and its number. Whoever waited while somebody tried to make it shares the failure.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), QueueError> {
        let came = Instant::now();
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.number));
        }
        if let Some((at, error)) = &current.failed
            && *at > came
        {
            return Err(error.clone());
        }
        match self.client.get_multiplexed_async_connection_with_config(&self.config).await {
            Ok(connection) => {
                *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                if current.number > 0 {
                    info!("connected to Redis again");
                }
                if std::mem::take(&mut current.elsewhere) {
                    self.moved.notify_waiters();
                }
                current.number += 1;
                current.connection = Some(connection.clone());
                Ok((connection, current.number))
            }
            Err(error) => {
                let error = explain(error);
                current.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Whether nothing more is to be expected of this connection: it broke, or leads to a Redis that is none to write to any more.
    fn is_over(&self, error: &RedisError) -> bool {
        if error.is_timeout() {
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            return heard.elapsed() >= SILENCE;
        }
        error.is_unrecoverable_error() || matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
    }

    /// The next call makes it again, unless somebody did already.
    async fn give_up(&self, number: u64, why: &RedisError) {
        let mut current = self.current.lock().await;
        if current.number == number && current.connection.take().is_some() {
            info!(%why, "the connection to Redis is given up");
            current.elsewhere = why.is_timeout() || !why.is_unrecoverable_error();
        }
    }

    async fn check(&self) -> Result<(), QueueError> {
        let mut info = redis::pipe();
        info.cmd("INFO").arg("server").cmd("INFO").arg("memory");
        let (server, memory): (InfoDict, InfoDict) = self.run(&Request::Commands(info)).await?;
        let version: String = server.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST) {
            return Err(QueueError::Unusable(format!(
                "it is Redis `{version}`; {OLDEST}.0 or later is needed"
            )));
        }
        let mode: String = server.get("redis_mode").unwrap_or_default();
        if mode == "cluster" {
            return Err(QueueError::Unusable("it is a Redis Cluster; a single Redis is needed".to_owned()));
        }
        let limit: u64 = memory.get("maxmemory").unwrap_or(0);
        let policy: String = memory.get("maxmemory_policy").unwrap_or_default();
        if limit > 0 && policy != "noeviction" {
            return Err(QueueError::Unusable(format!(
                "its maxmemory-policy is `{policy}`, which deletes runs when memory is short; set it to noeviction"
            )));
        }
        Ok(())
    }
}

/// What an error of Redis means for the caller.
pub(super) fn explain(error: RedisError) -> QueueError {
    let text = error.to_string();
    match (error.kind(), error.code()) {
        (_, Some("OOM")) => QueueError::Full(text),
        (_, Some("NOAUTH" | "WRONGPASS" | "WRONGTYPE" | "NOPERM")) => QueueError::Unusable(text),
        (ErrorKind::Server(ServerErrorKind::ResponseError), _) if text.contains("max number of clients") => {
            QueueError::Unavailable(text)
        }
        (
            ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot)
            | ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Parse
            | ErrorKind::UnexpectedReturnType,
            _,
        ) => QueueError::Unusable(text),
        _ => QueueError::Unavailable(text),
    }
}

/// An answer that our scripts never give.
pub(super) fn garbled(what: &str) -> QueueError {
    QueueError::Unusable(format!("it answered with a wrong {what}; is the prefix used by something else?"))
}
