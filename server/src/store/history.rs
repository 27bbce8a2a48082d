//! What people see of runs: open and ended ones as one list.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;

use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use thiserror::Error;

use super::columns::{READ_RUN, id, read_id, read_run};
use super::open::{OpenRow, read_open, select_open, sorted};
use super::sql::{LIST, Reader, Statement};
use super::{Store, StoreError};
use crate::run::{Counters, Fence, GroupId, Outcome, Place, Reason, Run, RunId, State, TaskId};

/// A run and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunView {
    pub run: Run,
    pub state: State,
    /// There exactly for [`State::Error`].
    pub reason: Option<Reason>,
    /// What went wrong, in words; empty when nothing did.
    pub error: String,
    pub counters: Counters,
    /// Of the last attempt, once the run has ended.
    pub exit_code: Option<i32>,
    /// What the handler returned, JSON; empty for commands.
    pub result: Bytes,
    /// The worker of the latest attempt.
    pub worker: Option<Name>,
    /// The server that last had to do with it.
    pub server: String,
    /// When it may start, or might have: [`Run::due`], or the end of its backoff.
    pub ready: DateTime<Utc>,
    /// When the latest attempt started.
    pub started: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// It is to be cancelled.
    pub cancelled: bool,
    /// Oldest first, the one under way last; in [`Store::run`] only.
    pub attempts: Vec<AttemptView>,
}

/// One delivery of a run to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    pub fence: Fence,
    /// From 1.
    pub number: u32,
    pub worker: Name,
    pub server: String,
    pub started: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// `None` while it runs.
    pub outcome: Option<Outcome>,
    pub exit_code: Option<i32>,
    pub error: String,
    pub output_bytes: u64,
    pub truncated: bool,
}

/// Which runs; what is empty or `None` does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    pub states: Vec<State>,
    /// A task's name or id.
    pub task: Option<String>,
    pub place: Option<Place>,
    /// The worker of the latest attempt.
    pub worker: Option<Name>,
    pub group: Option<GroupId>,
    /// Created at or after.
    pub since: Option<DateTime<Utc>>,
    /// Created before.
    pub until: Option<DateTime<Utc>>,
}

/// Some runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunPage {
    pub runs: Vec<RunView>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<Cursor>,
}

/// A place in the list of runs: right after this one. As text it is opaque and safe in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    created: DateTime<Utc>,
    run: RunId,
}

/// A text that is no [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the `next_page` of an answer before")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.created.timestamp_micros(), self.run)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (micros, run) = text.split_once('.').ok_or(CursorError)?;
        let micros = i64::from_str_radix(micros, 16).ok().filter(|micros| *micros >= 0).ok_or(CursorError)?;
        let created = DateTime::from_timestamp_micros(micros).ok_or(CursorError)?;
        Ok(Self { created, run: run.parse().map_err(|_| CursorError)? })
    }
}

/// How often a run is read that changes while it is read.
const LOOKS: u32 = 5;

/// Whether an attempt of an open run ended between the look at the run and the look at its attempts: each that has ended is counted by an open run.
fn is_torn(view: &RunView) -> bool {
    let ended = view.attempts.iter().filter(|attempt| attempt.outcome.is_some()).count() as u64;
    let counted = u64::from(view.counters.failed) + u64::from(view.counters.lost);
    !view.state.is_final() && ended > counted
}

impl Store {
    /// A run with its attempts; `None` when there is none, or its history was pruned.
    pub async fn run(&self, run: RunId) -> Result<Option<RunView>, StoreError> {
        let mut looks = 1;
        loop {
            let view = self.look_at(run).await?;
            if looks == LOOKS || !view.as_ref().is_some_and(is_torn) {
                return Ok(view);
            }
            looks += 1;
        }
    }

    async fn look_at(&self, run: RunId) -> Result<Option<RunView>, StoreError> {
        let mut connection = self.reader().await?;
        let now = self.now_in(&mut connection).await?;
        // Open runs before ended ones, so that one which ends in between is found in one of them; attempts last, so that one too many tells
        // that the run has moved on.
        let mut select = select_open();
        select.push(" WHERE id = ?").bind(id(run));
        let mut view = if let Some(row) = select.row(&mut connection).await? {
            view_open(read_open(&row)?, now)
        } else {
            let mut select = select_ended("result");
            select.push(" WHERE id = ?").bind(id(run));
            let Some(row) = select.row(&mut connection).await? else { return Ok(None) };
            read_ended(&row)?
        };
        view.attempts.splice(0..0, attempts(&mut connection, run).await?);
        Ok(Some(view))
    }

    /// The runs that match, newest first, at most `limit`, after the cursor; without their results and attempts.
    pub async fn runs(
        &self,
        filter: &RunFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RunPage, StoreError> {
        let mut connection = self.reader().await?;
        let now = self.now_in(&mut connection).await?;
        let mut runs = Vec::new();
        // One state at a time is one range of one index; ended ones last, so that none is missed on its way.
        for state in filter.open_states() {
            let mut select = select_open();
            filter.restrict(&mut select, after);
            match state {
                None => &mut select,
                Some(State::Todo) => select.push(" AND state = 1 AND ready > ?").bind_time(now),
                Some(State::Queued) => {
                    select.push(" AND (state = 2 OR (state = 1 AND ready <= ?))").bind_time(now)
                }
                Some(state) => select.push(" AND state = ?").bind(state as i64),
            };
            for row in page(select, limit).rows(&mut connection).await? {
                runs.push(RunView { attempts: vec![], ..view_open(read_open(&row)?, now) });
            }
        }
        for state in filter.ended_states() {
            let mut select = select_ended("NULL");
            filter.restrict(&mut select, after);
            if let Some(state) = state {
                select.push(" AND state = ?").bind(state as i64);
            }
            for row in page(select, limit).rows(&mut connection).await? {
                runs.push(read_ended(&row)?);
            }
        }
        Ok(newest(runs, limit))
    }

    /// The attempts of these runs that have ended, by run and fence.
    pub async fn attempts_of(&self, runs: Vec<RunId>) -> Result<Vec<(RunId, AttemptView)>, StoreError> {
        let mut connection = self.reader().await?;
        let mut attempts = Vec::new();
        for chunk in sorted(&runs).chunks(LIST) {
            let mut select = Statement::new(&format!(
                "SELECT run, {ATTEMPT} FROM attempts /*! FORCE INDEX (PRIMARY) */ WHERE run IN "
            ));
            select.list(chunk).push(" ORDER BY run, fence");
            for row in select.rows(&mut connection).await? {
                let mut reader = Reader::new(&row);
                attempts.push((read_id(&mut reader)?, read_attempt(&mut reader)?));
            }
        }
        Ok(attempts)
    }

    /// The states of these runs, in order; `None` for one that is not known. Cheaper than [`Store::run`]; a run is queued from when it was
    /// accepted.
    pub async fn states(&self, runs: Vec<RunId>) -> Result<Vec<Option<State>>, StoreError> {
        let mut connection = self.reader().await?;
        let mut states = BTreeMap::new();
        for table in ["open_runs", "runs"] {
            for chunk in sorted(&runs).chunks(LIST) {
                let mut select = Statement::new(&format!(
                    "SELECT id, state FROM {table} /*! FORCE INDEX (PRIMARY) */ WHERE id IN "
                ));
                select.list(chunk);
                for row in select.rows(&mut connection).await? {
                    let mut reader = Reader::new(&row);
                    let run = read_id(&mut reader)?;
                    let state =
                        State::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not a state"))?;
                    states.insert(run, state);
                }
            }
        }
        Ok(runs.iter().map(|run| states.get(run).copied()).collect())
    }
}

impl RunFilter {
    /// One query of the open runs for each; `None`: whatever their state.
    fn open_states(&self) -> Vec<Option<State>> {
        self.each_state(|state| !state.is_final(), 3)
    }

    fn ended_states(&self) -> Vec<Option<State>> {
        self.each_state(State::is_final, 5)
    }

    fn each_state(&self, belongs: impl Fn(State) -> bool, all: usize) -> Vec<Option<State>> {
        let mut states: Vec<_> = self.states.iter().copied().filter(|state| belongs(*state)).collect();
        states.sort();
        states.dedup();
        match self.states.is_empty() || states.len() == all {
            true => vec![None],
            false => states.into_iter().map(Some).collect(),
        }
    }

    fn restrict(&self, select: &mut Statement, after: Option<Cursor>) {
        select.push(" WHERE 1 = 1");
        if let Some(task) = self.task.as_deref() {
            let column = if task.parse::<TaskId>().is_ok() { "task" } else { "task_name" };
            select.push(" AND ").push(column).push(" = ?").bind(task);
        }
        if let Some(place) = &self.place {
            select.push(" AND place = ?").bind(place.to_string());
        }
        if let Some(worker) = &self.worker {
            select.push(" AND worker = ?").bind(worker.to_string());
        }
        if let Some(group) = &self.group {
            select.push(" AND group_id = ?").bind(group.as_bytes().to_vec());
        }
        if let Some(since) = self.since {
            select.push(" AND created >= ?").bind_time(since);
        }
        if let Some(until) = self.until {
            select.push(" AND created < ?").bind_time(until);
        }
        if let Some(after) = after {
            select.push(" AND created <= ? AND (created < ? OR id < ?)");
            select.bind_time(after.created).bind_time(after.created).bind(id(after.run));
        }
    }
}

fn page(mut select: Statement, limit: u32) -> Statement {
    select.push(" ORDER BY created DESC, id DESC LIMIT ?").bind(i64::from(limit) + 1);
    select
}

/// The newest of these, each once, as a page.
fn newest(mut runs: Vec<RunView>, limit: u32) -> RunPage {
    runs.sort_by_key(|view| std::cmp::Reverse((view.run.created, view.run.id, view.state.is_final())));
    runs.dedup_by_key(|view| view.run.id);
    let limit = limit as usize;
    let more = runs.len() > limit;
    runs.truncate(limit);
    let next =
        runs.last().filter(|_| more).map(|view| Cursor { created: view.run.created, run: view.run.id });
    RunPage { runs, next }
}

fn view_open(row: OpenRow, now: DateTime<Utc>) -> RunView {
    let OpenRow { open, server, started } = row;
    let running = open.state == State::Running;
    let attempt =
        open.fence.zip(open.worker.clone()).filter(|_| running).map(|(fence, worker)| AttemptView {
            fence,
            number: open.attempt,
            worker,
            server: server.clone(),
            started,
            ended: None,
            outcome: None,
            exit_code: None,
            error: String::new(),
            output_bytes: 0,
            truncated: false,
        });
    RunView {
        state: if open.state == State::Todo && open.ready <= now { State::Queued } else { open.state },
        reason: None,
        error: String::new(),
        counters: open.counters,
        exit_code: None,
        result: Bytes::new(),
        worker: open.worker,
        server,
        ready: open.ready,
        started,
        ended: None,
        cancelled: open.cancelled,
        attempts: attempt.into_iter().collect(),
        run: open.run,
    }
}

fn select_ended(result: &str) -> Statement {
    Statement::new(&format!(
        "SELECT {READ_RUN}, state, failed, lost, worker, server, CAST(started AS CHAR), CAST(ended AS CHAR), reason, error, exit_code, \
         {result} FROM runs"
    ))
}

fn read_ended(row: &AnyRow) -> Result<RunView, sqlx::Error> {
    let mut reader = Reader::new(row);
    let run = read_run(&mut reader)?;
    let state = State::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not a state"))?;
    let counters = Counters { failed: reader.number()?, lost: reader.number()?, unaccepted: 0 };
    let worker: Option<String> = reader.get()?;
    let worker = worker.map(|name| name.parse().map_err(|_| reader.wrong("is not a name"))).transpose()?;
    let (server, started, ended) = (reader.text()?, reader.opt_time()?, reader.opt_time()?);
    let reason: Option<i64> = reader.get()?;
    let reason = reason
        .map(|reason| Reason::from_number(reason).ok_or_else(|| reader.wrong("is not a reason")))
        .transpose()?;
    Ok(RunView {
        state,
        reason,
        error: reader.text()?,
        counters,
        exit_code: reader.get()?,
        result: reader.get::<Option<Vec<u8>>>()?.unwrap_or_default().into(),
        worker,
        server,
        ready: run.due,
        started,
        ended,
        cancelled: state == State::Cancelled,
        attempts: vec![],
        run,
    })
}

/// What [`read_attempt`] reads.
const ATTEMPT: &str = "fence, number, worker, server, CAST(started AS CHAR), CAST(ended AS CHAR), outcome, exit_code, error, \
                       output_bytes, truncated";

async fn attempts(connection: &mut AnyConnection, run: RunId) -> Result<Vec<AttemptView>, sqlx::Error> {
    let mut select = Statement::new(&format!("SELECT {ATTEMPT} FROM attempts WHERE run = ? ORDER BY fence"));
    select.bind(id(run));
    let rows = select.rows(connection).await?;
    rows.iter().map(|row| read_attempt(&mut Reader::new(row))).collect()
}

fn read_attempt(reader: &mut Reader<'_>) -> Result<AttemptView, sqlx::Error> {
    Ok(AttemptView {
        fence: Fence(reader.number()?),
        number: reader.number()?,
        worker: reader.text()?.parse().map_err(|_| reader.wrong("is not a name"))?,
        server: reader.text()?,
        started: reader.opt_time()?,
        ended: reader.opt_time()?,
        outcome: Some(Outcome::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not an outcome"))?),
        exit_code: reader.get()?,
        error: reader.text()?,
        output_bytes: reader.number()?,
        truncated: reader.int()? == 1,
    })
}
