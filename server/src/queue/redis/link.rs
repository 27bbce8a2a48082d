//! The connection for commands, what is checked when it is made, and what its errors mean.
//!
//! One multiplexed connection serves all calls; it is made again when it breaks. A caller that goes away abandons the answer and not the
//! command: a command is handed over whole or not at all, and what was handed over is carried out. A time-out means unknown.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ErrorKind, FromRedisValue, InfoDict, Pipeline, RedisError, ScriptInvocation, ServerErrorKind,
};

use crate::queue::QueueError;

/// The oldest Redis whose scripts can say that they work when memory is short.
const OLDEST: u32 = 7;

#[derive(Clone)]
pub(super) struct Link {
    connection: ConnectionManager,
}

/// What is sent in one go.
pub(super) enum Request<'a> {
    Script(ScriptInvocation<'a>),
    Commands(Pipeline),
}

impl Link {
    /// Connects, and refuses a Redis that would lose runs.
    pub async fn connect(client: Client, timeout: Duration) -> Result<Self, QueueError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(timeout))
            .set_connection_timeout(Some(timeout))
            // A call that finds the connection broken waits for this at the most: about twice its time-out.
            .set_number_of_retries(1)
            .set_max_delay(timeout);
        let connection = ConnectionManager::new_with_config(client, config).await.map_err(explain)?;
        let link = Self { connection };
        link.check().await?;
        Ok(link)
    }

    /// Sends a request and waits for its answer.
    pub async fn run<T: FromRedisValue>(&self, request: &Request<'_>) -> Result<T, QueueError> {
        let mut connection = self.connection.clone();
        let answer = match request {
            Request::Script(call) => call.invoke_async(&mut connection).await,
            Request::Commands(commands) => commands.query_async(&mut connection).await,
        };
        answer.map_err(explain)
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
