//! The connection to a database.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Transaction};
use thiserror::Error;
use tokio::time::timeout;

use super::clock::SteadyClock;
use super::dialect::Dialect;
use super::retry::Failure;
use super::sql::{Reader, Statement, late, patiently};
use super::{StoreError, migrate};
use crate::panics::Panics;

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file, created when missing. One process at a time.
    Sqlite(PathBuf),
    /// `mysql://user:password@host:port/database`, MySQL or MariaDB. Its `Debug` hides the password.
    Mysql(String),
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Connections to MySQL at the most, or readers of SQLite.
    pub connections: u32,
    /// Where panics are counted.
    pub panics: Panics,
}

/// The database, by way of a pool. Cloning is cheap.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dialect: Dialect,
    /// For SQLite one connection: it has one writer.
    writers: AnyPool,
    /// For MySQL the same pool.
    readers: AnyPool,
    clock: SteadyClock,
    panics: Panics,
    /// The latest attempt to get a connection failed.
    away: AtomicBool,
}

/// A text that is no URL of a store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct StoreUrlError(String);

impl StoreUrl {
    /// A MySQL URL that names host and database. No error quotes the URL: it may hold a password.
    pub fn mysql(text: &str) -> Result<Self, StoreUrlError> {
        const FORM: &str = "write mysql://user:password@host:3306/database";
        let rest = text
            .strip_prefix("mysql://")
            .ok_or_else(|| StoreUrlError(format!("the MySQL URL does not start with mysql://; {FORM}")))?;
        let address = rest.split(['?', '#']).next().unwrap_or(rest);
        let (host, database) = address.rsplit_once('/').unwrap_or((address, ""));
        if host.rsplit('@').next().is_none_or(str::is_empty) {
            return Err(StoreUrlError(format!("the MySQL URL names no host; {FORM}")));
        }
        if database.is_empty() {
            return Err(StoreUrlError(format!("the MySQL URL names no database; {FORM}")));
        }
        text.parse::<AnyConnectOptions>().map_err(|_| {
            StoreUrlError(format!("the MySQL URL cannot be read; {FORM}, with special characters as %XX"))
        })?;
        Ok(Self::Mysql(text.to_owned()))
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Mysql(_) => Dialect::Mysql,
        }
    }

    fn options(&self) -> Result<AnyConnectOptions, StoreError> {
        let text = match self {
            Self::Sqlite(path) => format!("sqlite://{}?mode=rwc", escaped(&path.to_string_lossy())),
            // A statement forgotten costs a delayed round trip (see `sql`); the default of 100 forgets them all the time.
            Self::Mysql(url) if url.contains("statement-cache-capacity") => url.clone(),
            Self::Mysql(url) => {
                let joint = if url.contains('?') { '&' } else { '?' };
                format!("{url}{joint}statement-cache-capacity=1000")
            }
        };
        let options = text.parse::<AnyConnectOptions>();
        let options = options.map_err(|_| StoreError::Unusable("its URL cannot be read".to_owned()))?;
        // A statement is long and says nothing that its caller does not log when it fails.
        Ok(options.disable_statement_logging())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite {}", path.display()),
            Self::Mysql(url) => {
                let rest = url
                    .split(['?', '#'])
                    .next()
                    .unwrap_or_default()
                    .rsplit_once('@')
                    .map_or("", |(_, rest)| rest);
                write!(f, "mysql {rest}")
            }
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { connections: 16, panics: Panics::default() }
    }
}

impl Store {
    /// Connects and brings the tables to this program's version. Several servers may do so at once.
    pub async fn open(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, target) = (url.dialect(), url.options()?);
        let writers = match dialect {
            Dialect::Sqlite => pool(dialect, 1).connect_with(target.clone()).await?,
            Dialect::Mysql => pool(dialect, options.connections).connect_with(target.clone()).await?,
        };
        migrate::run(dialect, &writers).await?;
        let readers = match dialect {
            Dialect::Sqlite => pool(dialect, options.connections.min(4)).connect_lazy_with(target),
            Dialect::Mysql => writers.clone(),
        };
        Ok(Self(Arc::new(Inner {
            dialect,
            writers,
            readers,
            clock: SteadyClock::new(),
            panics: options.panics.clone(),
            away: AtomicBool::new(false),
        })))
    }

    /// The store's time, in microseconds: the database's, or for SQLite that of this process, steadied.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(match self.0.dialect {
            Dialect::Sqlite => self.0.clock.now(),
            Dialect::Mysql => self.now_in(&mut *self.reader().await?).await?,
        })
    }

    /// Whether this process is the only one to use the store.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.0.dialect == Dialect::Sqlite
    }

    /// Waits for what is under way and closes all connections.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writers.close().await;
    }

    /// What reads rows that anybody may have written: a panic there is counted and costs that row alone.
    pub(super) fn panics(&self) -> &Panics {
        &self.0.panics
    }

    /// The store's time, by way of a connection that is there already.
    pub(super) async fn now_in(&self, connection: &mut AnyConnection) -> Result<DateTime<Utc>, sqlx::Error> {
        match self.0.dialect {
            Dialect::Sqlite => Ok(self.0.clock.now()),
            Dialect::Mysql => {
                let row = Statement::new("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)").row(connection).await?;
                Reader::new(&row.ok_or(sqlx::Error::RowNotFound)?).time()
            }
        }
    }

    /// The store's time within a statement: an expression, and what to bind for it.
    pub(super) fn clock_sql(&self) -> (&'static str, Option<DateTime<Utc>>) {
        match self.0.dialect {
            Dialect::Sqlite => ("?", Some(self.0.clock.now())),
            Dialect::Mysql => ("UTC_TIMESTAMP(6)", None),
        }
    }

    /// A connection to read with.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Any>, sqlx::Error> {
        self.hurried(self.0.readers.acquire()).await
    }

    /// A transaction to write with; rolled back when dropped.
    pub(super) async fn begin(&self) -> Result<Writing, Failure> {
        Ok(Writing(self.hurried(patiently(self.0.writers.begin_with(self.0.dialect.begin()))).await?))
    }

    /// The first who finds that there is no connection to be had waits for the pool's patience; those after it wait less, until one is had again: what
    /// can be done without the database is not to wait for it over and over.
    async fn hurried<T>(
        &self,
        connected: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let away = &self.0.away;
        let patience = if away.load(Ordering::Relaxed) { HURRY } else { ACQUIRE + GOODBYE };
        let connected = timeout(patience, connected).await.unwrap_or_else(|_| Err(late(patience)));
        // A database that answers is there, whatever it says.
        away.store(
            connected.as_ref().is_err_and(|error| error.as_database_error().is_none()),
            Ordering::Relaxed,
        );
        connected
    }
}

/// A transaction to write with; rolled back when dropped.
pub(super) struct Writing(Transaction<'static, Any>);

impl Writing {
    /// An error does not say that nothing was committed.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        patiently(self.0.commit()).await
    }
}

impl Deref for Writing {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.0
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.0
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dialect", &self.0.dialect).finish_non_exhaustive()
    }
}

/// How long to wait for a connection; and once there was none.
const ACQUIRE: Duration = Duration::from_secs(5);
const HURRY: Duration = Duration::from_secs(1);
/// How long a connection that comes back into the pool may take to answer.
const GOODBYE: Duration = Duration::from_secs(2);

fn pool(dialect: Dialect, connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        // A ping before each use would double the statements. One that has been idle may be dead, and gets one.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > Duration::from_secs(1) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        // What was given up half-way may never answer, and would keep its place in the pool.
        .after_release(|connection, _| {
            Box::pin(async move {
                timeout(GOODBYE, connection.ping()).await.unwrap_or_else(|_| Err(late(GOODBYE)))?;
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for setting in dialect.settings() {
                    connection.execute(*setting).await?;
                }
                Ok(())
            })
        })
}

/// A path as part of a URL.
fn escaped(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mysql_url_names_host_and_database() {
        for (text, problem) in [
            ("mysql://root@localhost/test", None),
            ("mysql://u:p%40@db.example:3306/marabunta?ssl-mode=required", None),
            ("postgres://localhost/test", Some("does not start with mysql://")),
            ("mysql://root@localhost", Some("names no database")),
            ("mysql://root@localhost/", Some("names no database")),
            ("mysql://u:secret@/test", Some("names no host")),
            ("mysql://u:secret@localhost:70000/test", Some("cannot be read")),
        ] {
            let error = StoreUrl::mysql(text).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), problem.is_some(), "{text}: {error:?}");
            if let (Some(error), Some(problem)) = (error, problem) {
                assert!(error.contains(problem), "{text}: {error}");
                assert!(!error.contains("secret"), "{text}: {error}");
            }
        }
    }

    #[test]
    fn what_is_logged_of_a_url_has_no_password() {
        for text in
            ["mysql://u:secret@h/test", "mysql://h/test?password=secret", "mysql://secret@h/test?x=secret"]
        {
            let shown = format!("{:?}", StoreUrl::Mysql(text.to_owned()));
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
