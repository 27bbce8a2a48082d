//! What the planner needs: which tasks are due or were changed, and one transaction that records what it made of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::columns::read_id;
use super::database::Writing;
use super::payloads::keep;
use super::retry::{Failure, Retry};
use super::sql::{LIST, Reader, Statement};
use super::task_row::{self, COLUMNS, Payloads, TaskRow};
use super::tasks::payloads_of;
use super::{NewRun, Store, StoreError};
use crate::metrics::PanicIn;
use crate::run::{Payload, RunId, TaskId};
use crate::task::TaskSpec;

/// Whether there is anything to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    pub now: DateTime<Utc>,
    /// A task is to be looked at by the moment asked for.
    pub due: bool,
    /// A task was created or edited since it was planned, perhaps by plain SQL.
    pub changed: bool,
    /// There are runs queued ahead of a task that is gone.
    pub orphaned: bool,
}

/// Tasks to plan, locked until [`PlanBatch::commit`] or drop: others plan others meanwhile. Embedded, every other write waits as well, so
/// nothing else may be written to the store before it is committed.
pub struct PlanBatch {
    /// The store's time.
    pub now: DateTime<Utc>,
    /// Empty: nothing is due, or others have it.
    pub tasks: Vec<PlanTask>,
    /// Rows without a proper id, and what is wrong with them.
    pub(super) nameless: Vec<(String, String)>,
    pub(super) transaction: Writing,
}

/// A task to plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanTask {
    pub id: TaskId,
    /// Or what is wrong with the row, for [`Planned::problem`].
    pub spec: Result<TaskSpec, String>,
    /// It is not what was planned before.
    pub changed: bool,
    pub paused: bool,
    /// It was paused when it was planned before: what it missed since then is not caught up.
    pub resumed: bool,
    pub created: DateTime<Utc>,
    /// Up to when its firings have been planned; `None` for one never planned.
    pub planned_to: Option<DateTime<Utc>>,
    /// What is queued ahead of it and not due yet, to be withdrawn and planned again; only when it was changed.
    pub ahead: Vec<RunId>,
}

/// What the planner made of a [`PlanTask`].
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub task: TaskId,
    pub runs: Vec<NewRun>,
    /// Firings that do not take place, each with the reason.
    pub skipped: Vec<(NewRun, String)>,
    /// Those of [`PlanTask::ahead`] that the queue has given up.
    pub withdrawn: Vec<RunId>,
    /// When to look at it again; `None`: not before it is edited.
    pub next: Option<DateTime<Utc>>,
    /// Up to when its firings are planned now.
    pub planned_to: DateTime<Utc>,
    /// What keeps it from firing, in words; empty when all is well.
    pub problem: String,
}

impl Store {
    /// One cheap statement: is there anything to plan up to `until`?
    pub async fn peek(&self, until: DateTime<Utc>) -> Result<Peek, StoreError> {
        let mut connection = self.reader().await?;
        // What is queued ahead is due after now, and only that is looked through for orphans; so embedded the time goes in, not out.
        let (clock, steady) = self.clock_sql();
        let mut select = Statement::new(&format!(
            "SELECT CAST({clock} AS CHAR), EXISTS (SELECT 1 FROM tasks /*! FORCE INDEX (tasks_next_look) */ WHERE next_look <= ?), \
             EXISTS (SELECT 1 FROM tasks /*! FORCE INDEX (tasks_changed) */ WHERE changed = 1), \
             EXISTS (SELECT 1 FROM open_runs /*! FORCE INDEX (open_runs_due) */ WHERE due > {clock} AND {ORPHANED})"
        ));
        if let Some(steady) = steady {
            select.bind_time(steady);
        }
        select.bind_time(until);
        if let Some(steady) = steady {
            select.bind_time(steady);
        }
        let row = select.row(&mut connection).await?.ok_or(sqlx::Error::RowNotFound)?;
        let mut reader = Reader::new(&row);
        Ok(Peek {
            now: reader.time()?,
            due: reader.int()? != 0,
            changed: reader.int()? != 0,
            orphaned: reader.int()? != 0,
        })
    }

    /// Locks tasks that were changed or are to be looked at by `until`, at most `limit`, passing over those that others have locked:
    /// to be called until [`Store::peek`] sees nothing more.
    pub async fn plan_batch(&self, until: DateTime<Utc>, limit: u32) -> Result<PlanBatch, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_plan_batch(until, limit).await {
                Ok(batch) => return Ok(batch),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_plan_batch(&self, until: DateTime<Utc>, limit: u32) -> Result<PlanBatch, Failure> {
        let mut transaction = self.begin().await?;
        let mut select = Statement::new(&format!(
            "SELECT {COLUMNS} FROM tasks /*! FORCE INDEX (tasks_changed) */ WHERE changed = 1 LIMIT ? /*! FOR UPDATE SKIP LOCKED */"
        ));
        select.bind(i64::from(limit));
        let mut rows = read(&select.rows(&mut transaction).await?)?;
        let left = i64::from(limit) - rows.len() as i64;
        if left > 0 {
            let mut select = Statement::new(&format!(
                "SELECT {COLUMNS} FROM tasks /*! FORCE INDEX (tasks_next_look) */ WHERE next_look <= ? AND changed = 0 ORDER BY next_look \
                 LIMIT ? /*! FOR UPDATE SKIP LOCKED */"
            ));
            select.bind_time(until).bind(left);
            rows.extend(read(&select.rows(&mut transaction).await?)?);
        }
        self.batch(transaction, rows).await
    }

    /// Locks this one task, waiting for whoever has it, to plan a change made through the API at once. No task: it is gone.
    pub async fn plan_task(&self, task: TaskId) -> Result<PlanBatch, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_plan_task(task).await {
                Ok(batch) => return Ok(batch),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_plan_task(&self, task: TaskId) -> Result<PlanBatch, Failure> {
        let mut transaction = self.begin().await?;
        let mut select =
            Statement::new(&format!("SELECT {COLUMNS} FROM tasks WHERE uuid = ? /*! FOR UPDATE */"));
        select.bind(task.to_string());
        let rows = read(&select.rows(&mut transaction).await?)?;
        self.batch(transaction, rows).await
    }

    async fn batch(&self, mut transaction: Writing, rows: Vec<TaskRow>) -> Result<PlanBatch, Failure> {
        let now = self.now_in(&mut transaction).await?;
        let payloads = travelling(&mut transaction, now, &rows).await?;
        let mut ahead = ahead(&mut transaction, now, &rows).await?;
        let mut batch = PlanBatch { now, tasks: Vec::new(), nameless: Vec::new(), transaction };
        for row in rows {
            match (row.id(), row.created()) {
                (Ok(id), created) => batch.tasks.push(PlanTask {
                    id,
                    spec: self.spec(&row, &payloads),
                    changed: row.changed,
                    paused: row.paused,
                    resumed: row.planned_paused && !row.paused,
                    created: created.unwrap_or(now),
                    planned_to: row.planned_to(),
                    ahead: ahead.remove(&row.uuid).unwrap_or_default(),
                }),
                (Err(problem), _) => batch.nameless.push((row.uuid, problem)),
            }
        }
        Ok(batch)
    }

    fn spec(&self, row: &TaskRow, payloads: &Payloads) -> Result<TaskSpec, String> {
        let spec = self.panics().catch_now(PanicIn::Task, || row.spec(payloads));
        spec.unwrap_or_else(|| Err("reading it panicked: a bug of the server; see its log".to_owned()))
    }

    /// Tasks that fire for `all(..)` are to be looked at now: what is queued ahead of them may lack a worker.
    pub async fn look_at_fan_outs(&self) -> Result<(), StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_look_at_fan_outs().await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_look_at_fan_outs(&self) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let mut update = Statement::new(
            "UPDATE tasks /*! FORCE INDEX (tasks_target) */ SET next_look = ? \
             WHERE target >= 'all' AND target < 'alm' AND (target = 'all' OR target LIKE 'all(%') AND next_look > ?",
        );
        update.bind_time(now).bind_time(now);
        update.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Runs queued ahead whose task is gone: to be withdrawn from the queue, then by [`Store::withdraw`].
    pub async fn orphans(&self, limit: u32) -> Result<Vec<RunId>, StoreError> {
        let mut connection = self.reader().await?;
        let now = self.now_in(&mut connection).await?;
        let mut select = Statement::new(&format!(
            "SELECT id FROM open_runs /*! FORCE INDEX (open_runs_due) */ WHERE due > ? AND {ORPHANED} LIMIT ?"
        ));
        select.bind_time(now).bind(i64::from(limit));
        let rows = select.rows(&mut connection).await?;
        Ok(rows.iter().map(|row| read_id(&mut Reader::new(row))).collect::<Result<_, _>>()?)
    }
}

/// What tells that a row of `open_runs`, queued ahead, has lost its task.
const ORPHANED: &str = "fence IS NULL AND task IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.uuid = open_runs.task)";

fn read(rows: &[AnyRow]) -> Result<Vec<TaskRow>, sqlx::Error> {
    rows.iter().map(TaskRow::read).collect()
}

/// The payloads of these rows. Long ones, which travel by hash, are kept under it first.
async fn travelling(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    rows: &[TaskRow],
) -> Result<Payloads, Failure> {
    let named = payloads_of(connection, rows).await?;
    let long = |data: &str| data.len() > Payload::INLINE && !task_row::is_uuid(data);
    let mut texts: Vec<Bytes> = rows
        .iter()
        .filter_map(|row| row.payload.clone())
        .filter(|data| long(data))
        .map(Bytes::from)
        .collect();
    let unhashed: Vec<_> = named
        .iter()
        .filter(|(_, payload)| matches!(payload, Payload::Stored(_)))
        .map(|(uuid, _)| uuid.clone())
        .collect();
    for chunk in unhashed.chunks(LIST) {
        let mut select = Statement::new("SELECT data FROM payloads WHERE hash IS NULL AND uuid IN ");
        select.list(chunk);
        for row in select.rows(connection).await? {
            texts.push(Bytes::from(Reader::new(&row).text()?));
        }
    }
    keep(connection, now, &texts).await?;
    Ok(named)
}

/// What is queued ahead of those of these tasks that were changed, by their `uuid`.
async fn ahead(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    rows: &[TaskRow],
) -> Result<BTreeMap<String, Vec<RunId>>, sqlx::Error> {
    let changed: Vec<_> = rows.iter().filter(|row| row.changed).map(|row| row.uuid.clone()).collect();
    let mut ahead = BTreeMap::<_, Vec<_>>::new();
    for chunk in changed.chunks(LIST) {
        let mut select = Statement::new(
            "SELECT task, id FROM open_runs /*! FORCE INDEX (open_runs_due) */ WHERE due > ? AND fence IS NULL AND task IN ",
        );
        select.bind_time(now).list(chunk);
        for row in select.rows(connection).await? {
            let mut reader = Reader::new(&row);
            ahead.entry(reader.text()?).or_default().push(read_id(&mut reader)?);
        }
    }
    Ok(ahead)
}
