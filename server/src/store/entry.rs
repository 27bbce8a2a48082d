//! How runs enter `open_runs`: each once, whoever else inserts it, whether or not it has ended already.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;

use super::columns::{self, RUN, RUN_COLUMNS, add_run, id, read_id};
use super::open::{DELETE_OPEN, sorted};
use super::retry::Failure;
use super::sql::{self, LIST, Reader, Statement};
use super::{Inserted, NewRun};
use crate::run::{Key, RunId, State};

/// How long a key is good.
const KEY_LIFE: TimeDelta = TimeDelta::days(1);

/// Enters runs in a transaction that the caller commits. One answer per run, in order.
///
/// A fast run's end may overtake its entry, in another transaction. So this writes the open row first and then looks into the history under
/// lock, while an end writes the history first and then deletes the open row: whichever comes second sees the other.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    runs: &[NewRun],
) -> Result<Vec<Inserted>, Failure> {
    runs.iter().try_for_each(|new| columns::check(&new.run))?;
    let mut keys = known_keys(connection, now, runs).await?;
    let ids: Vec<_> = runs.iter().map(|new| new.run.id).collect();
    let mut taken = present(connection, "open_runs", &ids, "").await?;
    let mut entering: Vec<(usize, &NewRun)> = Vec::new();
    let mut inserted: Vec<Inserted> = Vec::with_capacity(runs.len());
    for (index, new) in runs.iter().enumerate() {
        let request = new.key.as_ref().map(|key| (hash(key), key.request));
        let repeated = request.as_ref().and_then(|(hash, request)| {
            keys.get(hash).map(|(known, run)| Inserted::Repeated { run: *run, same: known == request })
        });
        inserted.push(match repeated {
            Some(repeated) => repeated,
            None if !taken.insert(new.run.id) => Inserted::Duplicate,
            None => {
                if let Some((hash, request)) = request {
                    keys.insert(hash, (request, new.run.id));
                }
                entering.push((index, new));
                Inserted::New
            }
        });
    }
    entering.sort_by_key(|(_, new)| new.run.id);
    insert_rows(connection, now, &entering).await?;
    let entered: Vec<_> = entering.iter().map(|(_, new)| new.run.id).collect();
    let ended = present(connection, "runs", &entered, " /*! FOR UPDATE */").await?;
    remove(connection, &ended.iter().copied().collect::<Vec<_>>()).await?;
    entering
        .iter()
        .filter(|(_, new)| ended.contains(&new.run.id))
        .for_each(|(index, _)| inserted[*index] = Inserted::Duplicate);
    entering.retain(|(_, new)| !ended.contains(&new.run.id));
    insert_keys(connection, now, &entering).await?;
    Ok(inserted)
}

/// Which of these runs the table has.
pub(super) async fn present(
    connection: &mut AnyConnection,
    table: &str,
    runs: &[RunId],
    lock: &str,
) -> Result<BTreeSet<RunId>, sqlx::Error> {
    let mut present = BTreeSet::new();
    for chunk in sorted(runs).chunks(LIST) {
        let mut select =
            Statement::new(&format!("SELECT id FROM {table} /*! FORCE INDEX (PRIMARY) */ WHERE id IN "));
        select.list(chunk).push(lock);
        for row in select.rows(connection).await? {
            present.insert(read_id(&mut Reader::new(&row))?);
        }
    }
    Ok(present)
}

/// Deletes open rows.
pub(super) async fn remove(connection: &mut AnyConnection, runs: &[RunId]) -> Result<(), sqlx::Error> {
    for chunk in sorted(runs).chunks(LIST) {
        let mut delete = Statement::new(DELETE_OPEN);
        delete.list(chunk);
        delete.execute(connection).await?;
    }
    Ok(())
}

async fn insert_rows(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    entering: &[(usize, &NewRun)],
) -> Result<(), sqlx::Error> {
    let head = format!("INSERT INTO open_runs ({RUN}, state, failed, lost, server, ready, touched) VALUES");
    sql::insert(connection, &head, RUN_COLUMNS + 6, entering, |values, (_, new)| {
        let state = if new.run.due > now { State::Todo } else { State::Queued };
        add_run(values, &new.run);
        values
            .add(state as i64)
            .add(0i64)
            .add(0i64)
            .add(new.server.clone())
            .add_time(new.run.due)
            .add_time(now);
    })
    .await
}

/// The keys among these that are good: the request and the run of each.
async fn known_keys(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    runs: &[NewRun],
) -> Result<BTreeMap<Vec<u8>, ([u8; 16], RunId)>, sqlx::Error> {
    let hashes: Vec<_> = runs.iter().filter_map(|new| new.key.as_ref()).map(hash).collect();
    let mut keys = BTreeMap::new();
    for chunk in hashes.chunks(LIST) {
        let mut select = Statement::new(
            "SELECT hash, request, run FROM idempotency /*! FORCE INDEX (PRIMARY) */ WHERE hash IN ",
        );
        select.list(chunk).push(" AND cdate > ?").bind_time(now - KEY_LIFE);
        for row in select.rows(connection).await? {
            let mut reader = Reader::new(&row);
            let (hash, request) = (reader.bytes()?, reader.bytes()?);
            let request = request.try_into().map_err(|_| reader.wrong("has not 16 bytes"))?;
            keys.insert(hash, (request, read_id(&mut reader)?));
        }
    }
    Ok(keys)
}

async fn insert_keys(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    entered: &[(usize, &NewRun)],
) -> Result<(), sqlx::Error> {
    let keys: Vec<_> = entered
        .iter()
        .filter_map(|(_, new)| Some((hash(new.key.as_ref()?), new.key.as_ref()?, new.run.id)))
        .collect();
    let hashes: Vec<_> = keys.iter().map(|(hash, ..)| hash.clone()).collect();
    for chunk in hashes.chunks(LIST) {
        // Not one that came meanwhile: there the insertion fails, and the next try finds its run.
        let mut delete = Statement::new(
            "DELETE /*! idempotency */ FROM idempotency /*! FORCE INDEX (PRIMARY) */ WHERE hash IN ",
        );
        delete.list(chunk).push(" AND cdate <= ?").bind_time(now - KEY_LIFE);
        delete.execute(connection).await?;
    }
    let head = "INSERT INTO idempotency (hash, request, run, cdate) VALUES";
    sql::insert(connection, head, 4, &keys, |values, (hash, key, run)| {
        values.add(hash.clone()).add(key.request.to_vec()).add(id(*run)).add_time(now);
    })
    .await
}

/// Forgets the keys of these runs, unless others have them by now.
pub(super) async fn free_keys(connection: &mut AnyConnection, runs: &[NewRun]) -> Result<(), sqlx::Error> {
    let keyed: Vec<_> =
        runs.iter().filter_map(|new| Some((hash(new.key.as_ref()?), id(new.run.id)))).collect();
    for chunk in keyed.chunks(LIST) {
        let (hashes, ids): (Vec<_>, Vec<_>) = chunk.iter().cloned().unzip();
        let mut delete = Statement::new(
            "DELETE /*! idempotency */ FROM idempotency /*! FORCE INDEX (PRIMARY) */ WHERE hash IN ",
        );
        delete.list(&hashes).push(" AND run IN ").list(&ids);
        delete.execute(connection).await?;
    }
    Ok(())
}

fn hash(key: &Key) -> Vec<u8> {
    Sha256::digest(key.text.as_bytes()).to_vec()
}
