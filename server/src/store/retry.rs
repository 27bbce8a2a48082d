//! Failures inside the store: those that a second try may mend, and the rest.

use std::time::Duration;

use rand::RngExt as _;
use sqlx::error::DatabaseError;
use tokio::time::sleep;

use super::StoreError;

/// Why one try of a call failed; nothing of it was committed, unless the connection was lost.
#[derive(Debug)]
pub(super) enum Failure {
    /// A deadlock, or a race for a key: the same again may succeed.
    Contended(StoreError),
    Final(StoreError),
}

/// Tries of one call.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failed: u32,
}

impl Retry {
    const TRIES: u32 = 12;

    /// Waits a little and returns, or gives up with the failure.
    pub async fn after(&mut self, failure: Failure) -> Result<(), StoreError> {
        self.failed += 1;
        match failure {
            Failure::Contended(_) if self.failed < Self::TRIES => {
                let longest = 5u64 << self.failed.min(7);
                let wait = rand::rng().random_range(1..=longest);
                sleep(Duration::from_millis(wait)).await;
                Ok(())
            }
            failure => Err(failure.into()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Contended(error) | Failure::Final(error) => error,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if is_contention(database.as_ref()) => {
                Self::Contended(StoreError::Unavailable(error.to_string()))
            }
            _ => Self::Final(error.into()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match error {
            sqlx::Error::Database(database) if is_passing(database.as_ref()) => Self::Unavailable(text),
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(text),
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. } => Self::Corrupt(text),
            _ => Self::Unusable(text),
        }
    }
}

/// Whether somebody else was quicker or stood in the way.
fn is_contention(error: &dyn DatabaseError) -> bool {
    error.is_unique_violation()
        || match number(error) {
            // Deadlock, lock wait timeout; MariaDB's snapshot changed.
            Some(Number::Mysql(number)) => [1213, 1205, 1020].contains(&number),
            // Busy, locked, with any extension.
            Some(Number::Sqlite(number)) => [5, 6].contains(&(number & 0xff)),
            None => false,
        }
}

/// Whether it will pass when the server or the disk is itself again.
fn is_passing(error: &dyn DatabaseError) -> bool {
    is_contention(error)
        || match number(error) {
            // Too many connections, shutting down, starting, killed, read-only while failing over, disk full.
            Some(Number::Mysql(number)) => [
                1040, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1203, 1290, 1317, 1836, 1927, 3024,
                1021, 1114,
            ]
            .contains(&number),
            // Interrupted, I/O error, disk full, cannot open.
            Some(Number::Sqlite(number)) => [9, 10, 13, 14].contains(&(number & 0xff)),
            None => false,
        }
}

enum Number {
    Mysql(u16),
    Sqlite(i64),
}

/// The database's own number of the error.
fn number(error: &dyn DatabaseError) -> Option<Number> {
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return Some(Number::Mysql(error.number()));
    }
    error.code()?.parse().ok().map(Number::Sqlite)
}
