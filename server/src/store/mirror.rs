//! The latest run of each task, shown beside it for those who read `tasks` by plain SQL.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::columns::id;
use super::open::UPDATES;
use super::retry::{Failure, Retry};
use super::sql::Statement;
use super::{Store, StoreError, time};
use crate::run::{RunId, State, TaskId};

/// A task's latest run, to be shown beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub task: TaskId,
    pub run: RunId,
    pub state: State,
    pub started: Option<DateTime<Utc>>,
    /// How many attempts failed so far.
    pub retried: u32,
}

impl Store {
    /// Shows the latest runs beside their tasks; of several of one task the last counts. A task that is gone is passed over.
    pub async fn mirror(&self, latest: Vec<Mirror>) -> Result<(), StoreError> {
        let latest: BTreeMap<_, _> = latest.into_iter().map(|mirror| (mirror.task, mirror)).collect();
        let latest: Vec<_> = latest.into_values().collect();
        let mut retry = Retry::default();
        loop {
            match self.try_mirror(&latest).await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_mirror(&self, latest: &[Mirror]) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        for chunk in latest.chunks(UPDATES) {
            let uuids: Vec<_> = chunk.iter().map(|mirror| mirror.task.to_string()).collect();
            let mut update = Statement::new("UPDATE tasks /*! FORCE INDEX (PRIMARY) */ SET last_run = ");
            update.case("uuid", &each(chunk, |mirror| id(mirror.run)));
            update.push(", state = ").case("uuid", &each(chunk, |mirror| mirror.state as i64));
            update.push(", sdate = ").case("uuid", &each(chunk, |mirror| mirror.started.map(time::text)));
            update.push(", retried = ").case("uuid", &each(chunk, |mirror| i64::from(mirror.retried)));
            update.push(" WHERE uuid IN ").list(&uuids);
            update.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn each<V>(latest: &[Mirror], value: impl Fn(&Mirror) -> V) -> Vec<(String, V)> {
    latest.iter().map(|mirror| (mirror.task.to_string(), value(mirror))).collect()
}
