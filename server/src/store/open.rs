//! Open runs: what has been accepted and has not ended.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marabunta_proto::name::Name;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::columns::{self, READ_RUN, id, read_id, read_run};
use super::entry;
use super::retry::{Failure, Retry};
use super::sql::{LIST, Reader, Statement};
use super::{Store, StoreError};
use crate::run::{Counters, Fence, Key, Run, RunId, State};

/// A run to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    pub run: Run,
    /// The server that accepted it.
    pub server: String,
    /// A second run with the same key within a day is not accepted.
    pub key: Option<Key>,
}

/// What became of a [`NewRun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    New,
    /// Its id is open already, or has ended.
    Duplicate,
    /// Its key was used, for this run; `same`: of the same request.
    Repeated {
        run: RunId,
        same: bool,
    },
}

/// A worker accepted an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub run: RunId,
    pub fence: Fence,
    /// From 1.
    pub attempt: u32,
    pub worker: Name,
    pub server: String,
}

/// An accepted run that has not ended, with what it has behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    pub run: Run,
    /// [`State::Todo`], [`State::Queued`] or [`State::Running`].
    pub state: State,
    pub counters: Counters,
    /// The number of the latest attempt known; 0 before the first.
    pub attempt: u32,
    pub fence: Option<Fence>,
    /// The worker of the latest attempt known.
    pub worker: Option<Name>,
    /// When it may start: [`Run::due`], or the end of its backoff.
    pub ready: DateTime<Utc>,
    /// It is to be cancelled.
    pub cancelled: bool,
}

impl Store {
    /// Accepts runs, each once; committed on return. One answer per run, in order.
    pub async fn insert_runs(&self, runs: Vec<NewRun>) -> Result<Vec<Inserted>, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_insert_runs(&runs).await {
                Ok(inserted) => return Ok(inserted),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_insert_runs(&self, runs: &[NewRun]) -> Result<Vec<Inserted>, Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let inserted = entry::insert(&mut transaction, now, runs).await?;
        transaction.commit().await?;
        Ok(inserted)
    }

    /// Notes that attempts have begun, at the store's time. What is older than what is known, or concerns a run that is not open, changes
    /// nothing; the latter are answered. A call that is lost is made up for by the attempt's end.
    pub async fn mark_running(&self, started: Vec<Started>) -> Result<Vec<RunId>, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_mark_running(&started).await {
                Ok(closed) => return Ok(closed),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_mark_running(&self, started: &[Started]) -> Result<Vec<RunId>, Failure> {
        let mut latest: BTreeMap<RunId, &Started> = BTreeMap::new();
        for item in started {
            let known = latest.entry(item.run).or_insert(item);
            if item.fence > known.fence {
                *known = item;
            }
        }
        let latest: Vec<_> = latest.into_iter().map(|(run, item)| (id(run), item)).collect();
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let mut closed = Vec::new();
        for chunk in latest.chunks(UPDATES) {
            closed.extend(mark_running(&mut transaction, now, chunk).await?);
        }
        transaction.commit().await?;
        Ok(closed)
    }

    /// Notes that open runs are to be cancelled, so that a rebuilt queue knows it too.
    pub async fn request_cancel(&self, runs: Vec<RunId>) -> Result<(), StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_request_cancel(&sorted(&runs)).await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_request_cancel(&self, runs: &[Vec<u8>]) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        for chunk in runs.chunks(LIST) {
            let mut update = Statement::new(
                "UPDATE open_runs /*! FORCE INDEX (PRIMARY) */ SET cancelled = 1, touched = ? WHERE id IN ",
            );
            update.bind_time(now).list(chunk);
            update.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Removes runs that never started, without a trace: what was queued ahead of a task that changed or is gone.
    pub async fn withdraw(&self, runs: Vec<RunId>) -> Result<(), StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_withdraw(&runs).await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_withdraw(&self, runs: &[RunId]) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        withdraw(&mut transaction, runs).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes runs that the queue refused, without a trace, and frees their keys: who asks again with the same key is to be accepted then, not told of
    /// a run that is none.
    pub async fn take_back(&self, refused: Vec<NewRun>) -> Result<(), StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_take_back(&refused).await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_take_back(&self, refused: &[NewRun]) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        let runs: Vec<RunId> = refused.iter().map(|new| new.run.id).collect();
        withdraw(&mut transaction, &runs).await?;
        entry::free_keys(&mut transaction, refused).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// All open runs by id, from `after` on, at most `limit`: to rebuild a queue.
    pub async fn open_runs(&self, after: Option<RunId>, limit: u32) -> Result<Vec<OpenRun>, StoreError> {
        let mut connection = self.reader().await?;
        let mut select = select_open();
        select
            .push(" WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after.map_or(Vec::new(), id))
            .bind(i64::from(limit));
        read_open_runs(&select.rows(&mut connection).await?)
    }

    /// Those of these runs that are open, by id.
    pub async fn open_among(&self, runs: Vec<RunId>) -> Result<Vec<OpenRun>, StoreError> {
        let mut connection = self.reader().await?;
        let mut open = Vec::with_capacity(runs.len());
        for chunk in sorted(&runs).chunks(LIST) {
            let mut select = select_open();
            select.push(" /*! FORCE INDEX (PRIMARY) */ WHERE id IN ").list(chunk).push(" ORDER BY id");
            open.extend(read_open_runs(&select.rows(&mut connection).await?)?);
        }
        Ok(open)
    }

    /// The same as [`Store::open_runs`], but only what has seen no change for so long: to be reconciled with the queue.
    pub async fn unsettled(
        &self,
        older_than: Duration,
        after: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<OpenRun>, StoreError> {
        let mut connection = self.reader().await?;
        let now = self.now_in(&mut connection).await?;
        let before = now - TimeDelta::from_std(older_than).unwrap_or(TimeDelta::MAX);
        let mut select = select_open();
        select
            .push(" WHERE id > ? AND touched < ? ORDER BY id LIMIT ?")
            .bind(after.map_or(Vec::new(), id))
            .bind_time(before)
            .bind(i64::from(limit));
        read_open_runs(&select.rows(&mut connection).await?)
    }
}

/// How many rows one statement updates, each with its own values.
pub(super) const UPDATES: usize = 64;

/// Deletes rows of `open_runs` by id, locking no others.
pub(super) const DELETE_OPEN: &str =
    "DELETE /*! open_runs */ FROM open_runs /*! FORCE INDEX (PRIMARY) */ WHERE id IN ";

/// A statement that selects what [`read_open`] reads.
pub(super) fn select_open() -> Statement {
    Statement::new(&format!(
        "SELECT {READ_RUN}, state, failed, lost, worker, server, CAST(started AS CHAR), unaccepted, CAST(ready AS CHAR), fence, attempt, \
         cancelled FROM open_runs"
    ))
}

/// An open run, and what only people want to know.
pub(super) struct OpenRow {
    pub open: OpenRun,
    pub server: String,
    pub started: Option<DateTime<Utc>>,
}

pub(super) fn read_open(row: &AnyRow) -> Result<OpenRow, sqlx::Error> {
    let mut reader = Reader::new(row);
    let run = read_run(&mut reader)?;
    let state = State::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not a state"))?;
    let (failed, lost) = (reader.number()?, reader.number()?);
    let worker: Option<String> = reader.get()?;
    let worker = worker.map(|name| name.parse().map_err(|_| reader.wrong("is not a name"))).transpose()?;
    let (server, started) = (reader.text()?, reader.opt_time()?);
    let counters = Counters { failed, lost, unaccepted: reader.number()? };
    let ready = reader.time()?;
    let fence: Option<i64> = reader.get()?;
    let attempt = reader.number()?;
    let cancelled = reader.int()? == 1;
    let fence = fence.map(|fence| Fence(fence.unsigned_abs()));
    Ok(OpenRow {
        open: OpenRun { run, state, counters, attempt, fence, worker, ready, cancelled },
        server,
        started,
    })
}

fn read_open_runs(rows: &[AnyRow]) -> Result<Vec<OpenRun>, StoreError> {
    rows.iter().map(|row| Ok(read_open(row)?.open)).collect()
}

async fn mark_running(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    items: &[(Vec<u8>, &Started)],
) -> Result<Vec<RunId>, Failure> {
    let ids: Vec<_> = items.iter().map(|(id, _)| id.clone()).collect();
    let mut select =
        Statement::new("SELECT id, fence FROM open_runs /*! FORCE INDEX (PRIMARY) */ WHERE id IN ");
    select.list(&ids).push(" /*! FOR UPDATE */");
    let mut known = BTreeMap::new();
    for row in select.rows(connection).await? {
        let mut reader = Reader::new(&row);
        known.insert(columns::id(read_id(&mut reader)?), reader.get::<Option<i64>>()?);
    }
    let closed: Vec<_> =
        items.iter().filter(|(id, _)| !known.contains_key(id)).map(|(_, item)| item.run).collect();
    let news: Vec<_> = items
        .iter()
        .filter(|(id, item)| {
            known.get(id).is_some_and(|fence| fence.is_none_or(|fence| fence.unsigned_abs() < item.fence.0))
        })
        .collect();
    if news.is_empty() {
        return Ok(closed);
    }
    let ids: Vec<_> = news.iter().map(|(id, _)| id.clone()).collect();
    let mut update = Statement::new(
        "UPDATE open_runs /*! FORCE INDEX (PRIMARY) */ SET state = 3, started = ?, touched = ?, fence = ",
    );
    update.bind_time(now).bind_time(now);
    update.case("id", &each(&news, |item| item.fence.0.cast_signed()));
    update.push(", attempt = ").case("id", &each(&news, |item| i64::from(item.attempt)));
    update.push(", worker = ").case("id", &each(&news, |item| item.worker.to_string()));
    update.push(", server = ").case("id", &each(&news, |item| item.server.clone()));
    update.push(" WHERE id IN ").list(&ids);
    update.execute(connection).await?;
    Ok(closed)
}

fn each<V>(items: &[&(Vec<u8>, &Started)], value: impl Fn(&Started) -> V) -> Vec<(Vec<u8>, V)> {
    items.iter().map(|(id, item)| (id.clone(), value(item))).collect()
}

/// Removes runs that never started.
pub(super) async fn withdraw(connection: &mut AnyConnection, runs: &[RunId]) -> Result<(), Failure> {
    for chunk in sorted(runs).chunks(LIST) {
        let mut delete = Statement::new(DELETE_OPEN);
        delete.list(chunk).push(" AND fence IS NULL");
        delete.execute(connection).await?;
    }
    Ok(())
}

/// Ids in the one order in which they are locked, each once.
pub(super) fn sorted(runs: &[RunId]) -> Vec<Vec<u8>> {
    let mut ids: Vec<_> = runs.iter().copied().map(id).collect();
    ids.sort();
    ids.dedup();
    ids
}
