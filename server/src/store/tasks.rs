//! Tasks, as the API creates and changes them.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::duration;
use marabunta_proto::when::When;
use sqlx::AnyConnection;

use super::payloads::keep;
use super::retry::{Failure, Retry};
use super::sql::{LIST, Reader, Statement};
use super::task_row::{self, COLUMNS, Payloads, TaskRow};
use super::{BadTask, Store, StoreError};
use crate::run::{Payload, PayloadHash, TaskId};
use crate::task::{Task, TaskSpec};

/// Some tasks, by name. A row that plain SQL wrote and nobody can read is there too.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskPage {
    pub tasks: Vec<Result<Task, BadTask>>,
    /// Where the next page starts: after this name. `None` on the last.
    pub next: Option<String>,
}

impl Store {
    /// [`StoreError::Conflict`]: another task has the name.
    pub async fn create_task(&self, spec: &TaskSpec, paused: bool) -> Result<Task, StoreError> {
        let id = TaskId::new();
        let mut retry = Retry::default();
        loop {
            match self.try_create_task(id, spec, paused).await {
                Ok(task) => return Ok(task),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_create_task(&self, id: TaskId, spec: &TaskSpec, paused: bool) -> Result<Task, Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        refuse_taken(&mut transaction, spec, id).await?;
        let payload = payload_uuid(&mut transaction, now, &spec.payload).await?;
        let mut insert = Statement::new("INSERT INTO tasks (");
        insert
            .push(&SPEC.join(", "))
            .push(", paused, mdate, cdate, uuid) VALUES (")
            .push(&"?, ".repeat(SPEC.len() + 3))
            .push("?)");
        bind_spec(&mut insert, spec, &payload);
        insert.bind(i64::from(paused)).bind_time(now).bind_time(now).bind(id.to_string());
        insert.execute(&mut transaction).await?;
        let task = the_task(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(task)
    }

    /// The task of this name or id.
    pub async fn task(&self, key: &str) -> Result<Option<Result<Task, BadTask>>, StoreError> {
        let mut connection = self.reader().await?;
        let Some(row) = find(&mut connection, key, "").await? else { return Ok(None) };
        let payloads = payloads_of(&mut connection, std::slice::from_ref(&row)).await?;
        Ok(Some(row.task(&payloads)))
    }

    /// The tasks whose names start so, by name, at most `limit`.
    pub async fn tasks(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<TaskPage, StoreError> {
        let mut connection = self.reader().await?;
        let after = after.filter(|after| *after >= prefix);
        let mut select =
            Statement::new(&format!("SELECT {COLUMNS} FROM tasks WHERE name >= ? AND name < ? "));
        // `~` sorts behind every character of a name.
        select.bind(prefix).bind(format!("{prefix}~"));
        if let Some(after) = after {
            select.push("AND name > ? ").bind(after);
        }
        select.push("ORDER BY name LIMIT ?").bind(i64::from(limit) + 1);
        let mut rows = select
            .rows(&mut connection)
            .await?
            .iter()
            .map(TaskRow::read)
            .collect::<Result<Vec<_>, sqlx::Error>>()?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let payloads = payloads_of(&mut connection, &rows).await?;
        let next = rows.last().filter(|_| more).map(|row| row.name.clone());
        let mut page = TaskPage { tasks: Vec::with_capacity(rows.len()), next };
        for row in rows {
            page.tasks.push(row.task(&payloads));
        }
        Ok(page)
    }

    /// Replaces a spec. [`StoreError::Changed`]: the row is not `from` any more (`None`: whatever it is), [`StoreError::NotFound`]: it is gone,
    /// [`StoreError::Conflict`]: another task has the new name.
    pub async fn update_task(
        &self,
        id: TaskId,
        from: Option<&TaskSpec>,
        to: &TaskSpec,
    ) -> Result<Task, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_update_task(id, from, to).await {
                Ok(task) => return Ok(task),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_update_task(
        &self,
        id: TaskId,
        from: Option<&TaskSpec>,
        to: &TaskSpec,
    ) -> Result<Task, Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let row = find(&mut transaction, &id.to_string(), " /*! FOR UPDATE */").await?;
        let row = row
            .filter(|row| row.uuid == id.to_string())
            .ok_or_else(|| StoreError::NotFound(format!("task {id}")))?;
        let payloads = payloads_of(&mut transaction, std::slice::from_ref(&row)).await?;
        if from.is_some_and(|from| row.spec(&payloads).as_ref() != Ok(from)) {
            return Err(StoreError::Changed.into());
        }
        refuse_taken(&mut transaction, to, id).await?;
        let payload = payload_uuid(&mut transaction, now, &to.payload).await?;
        let mut update = Statement::new("UPDATE tasks SET ");
        update.push(&SPEC.join(" = ?, ")).push(" = ?, mdate = ? WHERE uuid = ?");
        bind_spec(&mut update, to, &payload);
        update.bind_time(now).bind(id.to_string());
        update.execute(&mut transaction).await?;
        let task = the_task(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(task)
    }

    /// Pauses or resumes. `None`: no such task.
    pub async fn set_paused(
        &self,
        key: &str,
        paused: bool,
    ) -> Result<Option<Result<Task, BadTask>>, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_set_paused(key, paused).await {
                Ok(task) => return Ok(task),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_set_paused(
        &self,
        key: &str,
        paused: bool,
    ) -> Result<Option<Result<Task, BadTask>>, Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let Some(mut row) = find(&mut transaction, key, " /*! FOR UPDATE */").await? else { return Ok(None) };
        if row.paused != paused {
            let mut update = Statement::new("UPDATE tasks SET paused = ?, mdate = ? WHERE uuid = ?");
            update.bind(i64::from(paused)).bind_time(now).bind(row.uuid.as_str());
            update.execute(&mut transaction).await?;
            row.paused = paused;
        }
        let payloads = payloads_of(&mut transaction, std::slice::from_ref(&row)).await?;
        transaction.commit().await?;
        Ok(Some(row.task(&payloads)))
    }

    /// Removes a task; what it has queued ahead is then found by [`Store::orphans`]. `false`: no such task.
    pub async fn delete_task(&self, key: &str) -> Result<bool, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_delete_task(key).await {
                Ok(found) => return Ok(found),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_delete_task(&self, key: &str) -> Result<bool, Failure> {
        let mut transaction = self.begin().await?;
        let Some(row) = find(&mut transaction, key, " /*! FOR UPDATE */").await? else { return Ok(false) };
        let mut delete = Statement::new("DELETE FROM tasks WHERE uuid = ?");
        delete.bind(row.uuid);
        delete.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The columns of a spec, in the order of [`bind_spec`].
const SPEC: [&str; 20] = [
    "name",
    "type",
    "target",
    "`when`",
    "payload",
    "timezone",
    "handler",
    "retries",
    "backoff",
    "max_lost",
    "timeout",
    "expires",
    "priority",
    "catch_up",
    "catch_up_max",
    "overlap",
    "splay",
    "start_deadline",
    "description",
    "problem",
];

fn bind_spec(statement: &mut Statement, spec: &TaskSpec, payload: &str) {
    let kind = if spec.when == When::Now { "ondemand" } else { "scheduled" };
    let (catch_up, catch_up_max) = task_row::catch_up_words(spec.catch_up);
    statement
        .bind(spec.name.to_string())
        .bind(kind)
        .bind(spec.target.to_string())
        .bind(spec.when.to_string())
        .bind(payload)
        .bind(spec.timezone.name())
        .bind(spec.handler.to_string())
        .bind(i64::from(spec.policy.retries))
        .bind(duration::format(spec.policy.backoff))
        .bind(i64::from(spec.policy.max_lost))
        .bind(spec.policy.timeout.map(duration::format))
        .bind(spec.policy.expires.map(duration::format))
        .bind(task_row::priority_word(spec.priority))
        .bind(catch_up)
        .bind(catch_up_max)
        .bind(task_row::overlap_word(spec.overlap))
        .bind(duration::format(spec.splay))
        .bind(spec.start_deadline.map(duration::format))
        .bind(spec.description.as_str())
        .bind("");
}

/// The row of this name, or else of this id. The two lock no other row.
async fn find(connection: &mut AnyConnection, key: &str, lock: &str) -> Result<Option<TaskRow>, sqlx::Error> {
    // Identifiers are ASCII, and the database would trim spaces.
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(None);
    }
    for column in ["uuid", "name"] {
        let mut select = Statement::new(&format!("SELECT {COLUMNS} FROM tasks WHERE {column} = ?{lock}"));
        select.bind(key);
        if let Some(row) = select.row(connection).await? {
            return TaskRow::read(&row).map(Some);
        }
    }
    Ok(None)
}

async fn the_task(connection: &mut AnyConnection, id: TaskId) -> Result<Task, Failure> {
    let missing = || StoreError::NotFound(format!("task {id}"));
    let row = find(connection, &id.to_string(), "").await?.ok_or_else(missing)?;
    let payloads = payloads_of(connection, std::slice::from_ref(&row)).await?;
    row.task(&payloads).map_err(|bad| StoreError::Unusable(bad.problem).into())
}

async fn refuse_taken(connection: &mut AnyConnection, spec: &TaskSpec, id: TaskId) -> Result<(), Failure> {
    let mut select = Statement::new("SELECT uuid FROM tasks WHERE name = ?");
    select.bind(spec.name.to_string());
    match select.row(connection).await? {
        Some(row) if Reader::new(&row).text()? != id.to_string() => {
            Err(StoreError::Conflict(spec.name.to_string()).into())
        }
        _ => Ok(()),
    }
}

/// The row of a task's payload, which is shared with all that are equal.
async fn payload_uuid(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    payload: &Payload,
) -> Result<String, Failure> {
    match payload {
        Payload::Inline(data) => {
            let kept = keep(connection, now, std::slice::from_ref(data)).await?;
            kept.into_values()
                .next()
                .ok_or_else(|| StoreError::NotFound("payload just kept".to_owned()).into())
        }
        Payload::Stored(hash) => {
            let mut select = Statement::new("SELECT uuid FROM payloads WHERE hash = ?");
            select.bind(hash.as_bytes().to_vec());
            let row = select
                .row(connection)
                .await?
                .ok_or_else(|| StoreError::NotFound(format!("payload {hash}")))?;
            Ok(Reader::new(&row).text()?)
        }
    }
}

/// The payloads that these rows name, as runs carry them. Long ones that plain SQL wrote have no hash yet; see [`super::planning`].
pub(super) async fn payloads_of(
    connection: &mut AnyConnection,
    rows: &[TaskRow],
) -> Result<Payloads, sqlx::Error> {
    let mut uuids: Vec<_> =
        rows.iter().filter_map(|row| row.payload.clone()).filter(|text| task_row::is_uuid(text)).collect();
    uuids.sort();
    uuids.dedup();
    let mut payloads = Payloads::new();
    for chunk in uuids.chunks(LIST) {
        let mut select = Statement::new(&format!(
            "SELECT uuid, hash, CASE WHEN hash IS NULL OR OCTET_LENGTH(data) <= {} THEN data END FROM payloads WHERE uuid IN ",
            Payload::INLINE
        ));
        select.list(chunk);
        for row in select.rows(connection).await? {
            let mut reader = Reader::new(&row);
            let (uuid, hash, data) =
                (reader.text()?, reader.get::<Option<Vec<u8>>>()?, reader.get::<Option<String>>()?);
            let payload = match (hash, data) {
                (_, Some(data)) => super::payloads::travelling(Bytes::from(data)),
                (hash, None) => Payload::Stored(
                    PayloadHash::from_bytes(&hash.unwrap_or_default())
                        .map_err(|_| reader.wrong("is not a hash"))?,
                ),
            };
            payloads.insert(uuid, payload);
        }
    }
    Ok(payloads)
}
