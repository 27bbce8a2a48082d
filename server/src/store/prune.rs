//! Keeping history bounded.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::columns::{id, read_id};
use super::retry::{Failure, Retry};
use super::sql::{Reader, Statement};
use super::{Store, StoreError};
use crate::run::RunId;

/// How much history is kept; `None` does not restrict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// For so long after it was accepted.
    pub age: Option<Duration>,
    /// The latest so many.
    pub count: Option<u64>,
}

/// How many runs one batch removes: few, as each may have a thousand messages.
const BATCH: i64 = 64;

impl Store {
    /// Removes one small batch of ended runs that are no longer to be kept, with their attempts and messages, and what only they needed.
    /// Answers how many runs; to be called until it is 0.
    pub async fn prune(&self, retention: Retention) -> Result<u64, StoreError> {
        let runs = self.outlived(retention).await?;
        let mut retry = Retry::default();
        loop {
            match self.try_prune(retention, &runs).await {
                Ok(()) => return Ok(runs.len() as u64),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    /// The oldest runs that are not to be kept.
    async fn outlived(&self, retention: Retention) -> Result<Vec<RunId>, StoreError> {
        let mut connection = self.reader().await?;
        let now = self.now_in(&mut connection).await?;
        let mut runs = Vec::new();
        if let Some(age) = retention.age {
            let mut select = oldest("created < ?");
            select.bind_time(before(now, age)).bind(BATCH);
            runs.extend(read(&select.rows(&mut connection).await?)?);
        }
        if let Some(first) = first_too_many(&mut connection, retention.count).await? {
            let mut select = oldest("created <= ? AND (created < ? OR id <= ?)");
            select.bind_time(first.0).bind_time(first.0).bind(id(first.1)).bind(BATCH);
            runs.extend(read(&select.rows(&mut connection).await?)?);
        }
        runs.sort();
        runs.dedup();
        Ok(runs)
    }

    async fn try_prune(&self, retention: Retention, runs: &[RunId]) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        for run in runs {
            // One by one: each is a range of its table, and no list makes the database look through all of it.
            for (table, column) in [("messages", "tuuid"), ("attempts", "run"), ("runs", "id")] {
                let mut delete = Statement::new(&format!("DELETE FROM {table} WHERE {column} = ?"));
                delete.bind(id(*run));
                delete.execute(&mut transaction).await?;
            }
        }
        let mut keys = Statement::new("DELETE FROM idempotency WHERE cdate < ?");
        keys.bind_time(now - TimeDelta::days(1));
        keys.execute(&mut transaction).await?;
        if let Some(age) = retention.age.filter(|_| runs.is_empty()) {
            prune_payloads(&mut transaction, before(now, age) - TimeDelta::days(1)).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// The newest run beyond the number to be kept.
async fn first_too_many(
    connection: &mut AnyConnection,
    count: Option<u64>,
) -> Result<Option<(DateTime<Utc>, RunId)>, sqlx::Error> {
    let Some(count) = count else { return Ok(None) };
    let mut select = Statement::new(
        "SELECT CAST(created AS CHAR), id FROM runs /*! FORCE INDEX (runs_created) */ ORDER BY created DESC, id DESC LIMIT 1 OFFSET ?",
    );
    select.bind(i64::try_from(count).unwrap_or(i64::MAX));
    let Some(row) = select.row(connection).await? else { return Ok(None) };
    let mut reader = Reader::new(&row);
    Ok(Some((reader.time()?, read_id(&mut reader)?)))
}

fn oldest(condition: &str) -> Statement {
    Statement::new(&format!(
        "SELECT id FROM runs /*! FORCE INDEX (runs_created) */ WHERE {condition} ORDER BY created, id LIMIT ?"
    ))
}

fn read(rows: &[AnyRow]) -> Result<Vec<RunId>, sqlx::Error> {
    rows.iter().map(|row| read_id(&mut Reader::new(row))).collect()
}

/// Removes payloads that nobody has given since `before`, so that no run that is kept can name them, unless a task or an open run does.
async fn prune_payloads(connection: &mut AnyConnection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let mut delete = Statement::new(
        "DELETE FROM payloads WHERE cdate < ? AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.payload = payloads.uuid) AND \
         NOT EXISTS (SELECT 1 FROM open_runs WHERE open_runs.payload_hash = payloads.hash)",
    );
    delete.bind_time(before);
    delete.execute(connection).await?;
    Ok(())
}

fn before(now: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(age).ok().and_then(|age| now.checked_sub_signed(age)).unwrap_or(DateTime::UNIX_EPOCH)
}
