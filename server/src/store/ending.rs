//! How runs leave `open_runs` for `runs`, and how they stay for another attempt.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AnyConnection;

use super::columns::{RUN, RUN_COLUMNS, add_run, cut, id, read_id};
use super::entry::{present, remove};
use super::finish::EndedAttempt;
use super::open::{UPDATES, sorted};
use super::sql::{self, LIST, Reader, Statement};
use crate::run::{Counters, Fence, Next, Outcome, Reason, Run, RunId, State};

/// The longest error text that is kept, in bytes.
const ERROR: usize = 16 << 10;

/// What the store knows of a run that is said to have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Open(Known),
    Ended(State),
    Absent,
}

/// An open run, as far as its end needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    pub fence: Option<Fence>,
    pub failed: u32,
    pub lost: u32,
    pub worker: Option<String>,
    pub started: Option<DateTime<Utc>>,
}

/// A run's last row.
pub(super) struct Ending<'a> {
    pub run: &'a Run,
    pub state: State,
    pub reason: Option<Reason>,
    pub error: &'a str,
    pub failed: u32,
    pub lost: u32,
    pub worker: Option<String>,
    pub server: &'a str,
    pub started: Option<DateTime<Utc>>,
    pub exit_code: Option<i32>,
    pub result: &'a [u8],
}

/// An attempt's row.
pub(super) struct Account<'a> {
    pub item: &'a EndedAttempt,
    pub started: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
}

/// Another attempt follows.
pub(super) struct Again<'a> {
    pub attempt: &'a EndedAttempt,
    pub counters: Counters,
    pub ready: DateTime<Utc>,
}

/// What is known of these runs; the open ones are locked. Each asked for is there.
pub(super) async fn standings(
    connection: &mut AnyConnection,
    runs: &[RunId],
) -> Result<BTreeMap<RunId, Standing>, sqlx::Error> {
    let mut standings: BTreeMap<_, _> = runs.iter().map(|run| (*run, Standing::Absent)).collect();
    for chunk in sorted(runs).chunks(LIST) {
        let mut select = Statement::new(
            "SELECT id, fence, failed, lost, worker, CAST(started AS CHAR) FROM open_runs /*! FORCE INDEX (PRIMARY) */ WHERE id IN ",
        );
        select.list(chunk).push(" /*! FOR UPDATE */");
        for row in select.rows(connection).await? {
            let mut reader = Reader::new(&row);
            let run = read_id(&mut reader)?;
            let fence = reader.get::<Option<i64>>()?.map(|fence| Fence(fence.unsigned_abs()));
            let (failed, lost) = (reader.number()?, reader.number()?);
            let (worker, started) = (reader.get()?, reader.opt_time()?);
            standings.insert(run, Standing::Open(Known { fence, failed, lost, worker, started }));
        }
    }
    let rest: Vec<_> = standings
        .iter()
        .filter(|(_, standing)| **standing == Standing::Absent)
        .map(|(run, _)| *run)
        .collect();
    for chunk in sorted(&rest).chunks(LIST) {
        let mut select =
            Statement::new("SELECT id, state FROM runs /*! FORCE INDEX (PRIMARY) */ WHERE id IN ");
        select.list(chunk);
        for row in select.rows(connection).await? {
            let mut reader = Reader::new(&row);
            let run = read_id(&mut reader)?;
            let state = State::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not a state"))?;
            standings.insert(run, Standing::Ended(state));
        }
    }
    Ok(standings)
}

/// How attempts of these runs ended, as far as it is recorded.
pub(super) async fn outcomes(
    connection: &mut AnyConnection,
    runs: &[RunId],
) -> Result<BTreeMap<(RunId, Fence), Outcome>, sqlx::Error> {
    let mut outcomes = BTreeMap::new();
    for chunk in sorted(runs).chunks(LIST) {
        let mut select = Statement::new(
            "SELECT run, fence, outcome FROM attempts /*! FORCE INDEX (PRIMARY) */ WHERE run IN ",
        );
        select.list(chunk);
        for row in select.rows(connection).await? {
            let mut reader = Reader::new(&row);
            let (run, fence) = (read_id(&mut reader)?, Fence(reader.number()?));
            let outcome =
                Outcome::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not an outcome"))?;
            outcomes.insert((run, fence), outcome);
        }
    }
    Ok(outcomes)
}

pub(super) async fn record_attempts(
    connection: &mut AnyConnection,
    accounts: &[Account<'_>],
) -> Result<(), sqlx::Error> {
    let head = "INSERT INTO attempts (run, fence, number, worker, server, started, ended, outcome, exit_code, error, output_bytes, truncated) \
                VALUES";
    sql::insert(connection, head, 12, accounts, |values, Account { item, started, ended }| {
        let end = &item.end;
        values
            .add(id(item.run.id))
            .add(item.fence.0.cast_signed())
            .add(i64::from(item.number))
            .add(item.worker.to_string())
            .add(item.server.clone())
            .add(started.map(super::time::text))
            .add(ended.map(super::time::text))
            .add(end.outcome as i64)
            .add(end.exit_code)
            .add(cut(&end.error, ERROR))
            .add(i64::try_from(end.output_bytes).unwrap_or(i64::MAX))
            .add(i64::from(end.truncated));
    })
    .await
}

/// Forgets a recorded attempt, whose worker has a better account.
pub(super) async fn forget_attempt(
    connection: &mut AnyConnection,
    run: RunId,
    fence: Fence,
) -> Result<(), sqlx::Error> {
    let mut delete = Statement::new("DELETE FROM attempts WHERE run = ? AND fence = ?");
    delete.bind(id(run)).bind(fence.0.cast_signed());
    delete.execute(connection).await?;
    Ok(())
}

/// Moves runs to the history, and out of the open ones even where none was seen: see [`super::entry::insert`].
pub(super) async fn leave(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    endings: &mut [Ending<'_>],
) -> Result<(), sqlx::Error> {
    endings.sort_by_key(|ending| ending.run.id);
    let head = format!(
        "INSERT INTO runs ({RUN}, state, failed, lost, worker, server, started, ended, reason, error, exit_code, result) VALUES"
    );
    sql::insert(connection, &head, RUN_COLUMNS + 11, endings, |values, ending| {
        add_run(values, ending.run);
        values
            .add(ending.state as i64)
            .add(i64::from(ending.failed))
            .add(i64::from(ending.lost))
            .add(ending.worker.clone())
            .add(ending.server)
            .add(ending.started.map(super::time::text))
            .add_time(now)
            .add(ending.reason.map(|reason| reason as i64))
            .add(cut(ending.error, ERROR))
            .add(ending.exit_code)
            .add(if ending.result.is_empty() { None } else { Some(ending.result.to_vec()) });
    })
    .await?;
    let ids: Vec<_> = endings.iter().map(|ending| ending.run.id).collect();
    remove(connection, &ids).await
}

/// Enters runs that nobody has entered yet, to be updated by [`again`]. Answers those that have ended meanwhile, by the hand of another server, and are not
/// entered: see [`super::entry::insert`].
pub(super) async fn enter(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    absent: &[&EndedAttempt],
) -> Result<BTreeSet<RunId>, sqlx::Error> {
    let head = format!("INSERT INTO open_runs ({RUN}, state, failed, lost, server, ready, touched) VALUES");
    sql::insert(connection, &head, RUN_COLUMNS + 6, absent, |values, ended| {
        add_run(values, &ended.run);
        values
            .add(State::Queued as i64)
            .add(0i64)
            .add(0i64)
            .add(ended.server.clone())
            .add_time(now)
            .add_time(now);
    })
    .await?;
    let entered: Vec<_> = absent.iter().map(|ended| ended.run.id).collect();
    let ended = present(connection, "runs", &entered, " /*! FOR UPDATE */").await?;
    remove(connection, &ended.iter().copied().collect::<Vec<_>>()).await?;
    Ok(ended)
}

/// Back to waiting.
pub(super) async fn again(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    again: &[Again<'_>],
) -> Result<(), sqlx::Error> {
    for chunk in again.chunks(UPDATES) {
        let each = |value: fn(&Again<'_>) -> i64| -> Vec<(Vec<u8>, i64)> {
            chunk.iter().map(|item| (id(item.attempt.run.id), value(item))).collect()
        };
        let texts = |value: fn(&Again<'_>) -> String| -> Vec<(Vec<u8>, String)> {
            chunk.iter().map(|item| (id(item.attempt.run.id), value(item))).collect()
        };
        let mut update = Statement::new(
            "UPDATE open_runs /*! FORCE INDEX (PRIMARY) */ SET state = 2, touched = ?, fence = ",
        );
        update.bind_time(now);
        update.case("id", &each(|item| item.attempt.fence.0.cast_signed()));
        update.push(", attempt = ").case("id", &each(|item| item.attempt.number.into()));
        update.push(", failed = ").case("id", &each(|item| item.counters.failed.into()));
        update.push(", lost = ").case("id", &each(|item| item.counters.lost.into()));
        update.push(", unaccepted = ").case("id", &each(|item| item.counters.unaccepted.into()));
        update.push(", ready = ").case("id", &texts(|item| super::time::text(item.ready)));
        update.push(", worker = ").case("id", &texts(|item| item.attempt.worker.to_string()));
        update.push(", server = ").case("id", &texts(|item| item.attempt.server.clone()));
        let ids: Vec<_> = chunk.iter().map(|item| id(item.attempt.run.id)).collect();
        update.push(" WHERE id IN ").list(&ids);
        update.execute(connection).await?;
    }
    Ok(())
}

/// Sees to it that runs count their attempts that were written late, wherever they are. Rare, and so one by one.
pub(super) async fn count(
    connection: &mut AnyConnection,
    earlier: &[&EndedAttempt],
) -> Result<(), sqlx::Error> {
    for ended in earlier {
        let Next::Again { counters: Counters { failed, lost, .. }, .. } = ended.next else { continue };
        for table in ["open_runs", "runs"] {
            let mut update = Statement::new(&format!(
                "UPDATE {table} /*! FORCE INDEX (PRIMARY) */ SET failed = ?, lost = ? WHERE id = ? AND failed + lost < ?"
            ));
            update.bind(i64::from(failed)).bind(i64::from(lost)).bind(id(ended.run.id));
            update.bind(i64::from(failed) + i64::from(lost));
            update.execute(connection).await?;
        }
    }
    Ok(())
}

/// Delays that end beyond the calendar end at its end.
pub(super) fn after(now: DateTime<Utc>, delay: std::time::Duration) -> DateTime<Utc> {
    TimeDelta::from_std(delay)
        .ok()
        .and_then(|delay| now.checked_add_signed(delay))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
