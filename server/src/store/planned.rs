//! What the planner made of tasks, recorded in the transaction that holds them.

use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

use super::ending::{Ending, leave};
use super::entry::{self, present};
use super::open::{UPDATES, withdraw};
use super::retry::Failure;
use super::sql::Statement;
use super::{Inserted, NewRun, PlanBatch, Planned, StoreError, time};
use crate::run::State;

/// What became of what was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Of each run, in the order of the tasks and of [`Planned::runs`].
    pub inserted: Vec<Inserted>,
    /// Of each of [`Planned::skipped`], in the order of the tasks: whether it was recorded now, and not before.
    pub skipped: Vec<bool>,
}

impl PlanBatch {
    /// Records all of it at once.
    ///
    /// On failure nothing was recorded, unless the connection was lost: plan again.
    pub async fn commit(self, planned: Vec<Planned>) -> Result<Committed, StoreError> {
        Ok(self.try_commit(&planned).await?)
    }

    async fn try_commit(mut self, planned: &[Planned]) -> Result<Committed, Failure> {
        let connection = &mut *self.transaction;
        let withdrawn: Vec<_> = planned.iter().flat_map(|task| task.withdrawn.iter().copied()).collect();
        withdraw(connection, &withdrawn).await?;
        let runs: Vec<NewRun> = planned.iter().flat_map(|task| task.runs.iter().cloned()).collect();
        let inserted = entry::insert(connection, self.now, &runs).await?;
        let skipped = skip(connection, self.now, planned).await?;
        for chunk in planned.chunks(UPDATES) {
            record(connection, self.now, chunk).await?;
        }
        for (uuid, problem) in &self.nameless {
            let mut update = Statement::new(
                "UPDATE tasks SET problem = ?, next_look = NULL, planned = definition WHERE uuid = ?",
            );
            update.bind(problem.as_str()).bind(uuid.as_str());
            update.execute(connection).await?;
        }
        self.transaction.commit().await?;
        Ok(Committed { inserted, skipped })
    }
}

/// Firings that do not take place go straight to the history, each once: whether it was now.
async fn skip(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    planned: &[Planned],
) -> Result<Vec<bool>, sqlx::Error> {
    let skipped: Vec<_> = planned.iter().flat_map(|task| &task.skipped).collect();
    let ids: Vec<_> = skipped.iter().map(|(new, _)| new.run.id).collect();
    let mut known = present(connection, "runs", &ids, "").await?;
    known.extend(present(connection, "open_runs", &ids, "").await?);
    let new: Vec<bool> = ids.into_iter().map(|id| known.insert(id)).collect();
    let mut endings: Vec<_> = skipped
        .into_iter()
        .zip(&new)
        .filter(|(_, new)| **new)
        .map(|((new, why), _)| Ending {
            run: &new.run,
            state: State::Skipped,
            reason: None,
            error: why,
            failed: 0,
            lost: 0,
            worker: None,
            server: &new.server,
            started: None,
            exit_code: None,
            result: &[],
        })
        .collect();
    leave(connection, now, &mut endings).await?;
    Ok(new)
}

async fn record(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    planned: &[Planned],
) -> Result<(), sqlx::Error> {
    let each = |value: fn(&Planned) -> Option<String>| -> Vec<(String, Option<String>)> {
        planned.iter().map(|task| (task.task.to_string(), value(task))).collect()
    };
    let uuids: Vec<_> = planned.iter().map(|task| task.task.to_string()).collect();
    // MySQL assigns from left to right: `planned` last, as what it says decides about `changed`.
    let mut update = Statement::new("UPDATE tasks /*! FORCE INDEX (PRIMARY) */ SET next_look = ");
    update.case("uuid", &each(|task| task.next.map(time::text)));
    update.push(", planned_to = ").case("uuid", &each(|task| Some(time::text(task.planned_to))));
    update.push(", problem = ").case("uuid", &each(|task| Some(task.problem.clone())));
    update.push(", mdate = CASE WHEN changed = 1 THEN ? ELSE mdate END, planned_paused = paused, planned = definition WHERE uuid IN ");
    update.bind_time(now).list(&uuids);
    update.execute(connection).await?;
    Ok(())
}
