//! The columns that open and ended runs share: a run's definition.

use std::time::Duration;

use sqlx::Error;

use super::StoreError;
use super::sql::{Reader, Values};
use crate::run::{
    Durability, GroupId, Overlap, Payload, PayloadHash, Place, Policy, Priority, Run, RunId, TaskRef,
};

/// To be written by [`add_run`].
pub(super) const RUN: &str = "id, task, task_name, group_id, place, handler, payload, payload_hash, priority, durable, retries, \
     backoff_ms, max_lost, timeout_ms, expires_ms, overlap, created, due";

/// How many they are.
pub(super) const RUN_COLUMNS: usize = 18;

/// To be read by [`read_run`].
pub(super) const READ_RUN: &str = "id, task, task_name, group_id, place, handler, payload, payload_hash, priority, durable, retries, \
     backoff_ms, max_lost, timeout_ms, expires_ms, overlap, CAST(created AS CHAR), CAST(due AS CHAR)";

/// Refuses what no column can hold, before anything is written.
pub(super) fn check(run: &Run) -> Result<(), StoreError> {
    match &run.payload {
        Payload::Inline(data) if std::str::from_utf8(data).is_err() => {
            Err(StoreError::Unusable(format!("the payload of run {} is not UTF-8", run.id)))
        }
        Payload::Inline(data) if data.len() > Payload::INLINE => {
            Err(StoreError::Unusable(format!("the payload of run {} is too long to travel with it", run.id)))
        }
        _ => Ok(()),
    }
}

pub(super) fn add_run(values: &mut Values, run: &Run) {
    let (inline, stored) = match &run.payload {
        Payload::Inline(data) => (Some(String::from_utf8_lossy(data).into_owned()), None),
        Payload::Stored(hash) => (None, Some(hash.as_bytes().to_vec())),
    };
    values
        .add(id(run.id))
        .add(run.task.as_ref().map(|task| task.id.to_string()))
        .add(run.task.as_ref().map(|task| task.name.to_string()))
        .add(run.group.map(|group| group.as_bytes().to_vec()))
        .add(run.place.to_string())
        .add(run.handler.to_string())
        .add(inline)
        .add(stored)
        .add(run.priority as i64)
        .add(i64::from(run.durability == Durability::Durable))
        .add(i64::from(run.policy.retries))
        .add(millis(run.policy.backoff))
        .add(i64::from(run.policy.max_lost))
        .add(run.policy.timeout.map(millis))
        .add(run.policy.expires.map(millis))
        .add(run.overlap as i64)
        .add_time(run.created)
        .add_time(run.due);
}

pub(super) fn read_run(reader: &mut Reader<'_>) -> Result<Run, Error> {
    let id = read_id(reader)?;
    let task: Option<String> = reader.get()?;
    let task = task.map(|id| id.parse().map_err(|_| reader.wrong("is not a task's id"))).transpose()?;
    let name: Option<String> = reader.get()?;
    let name = name.map(|name| name.parse().map_err(|_| reader.wrong("is not a task's name"))).transpose()?;
    let group: Option<Vec<u8>> = reader.get()?;
    let group = group
        .map(|group| GroupId::from_bytes(&group).map_err(|_| reader.wrong("is not an id")))
        .transpose()?;
    let place = Place::parse(&reader.text()?).ok_or_else(|| reader.wrong("is not a place"))?;
    let handler = reader.text()?.parse().map_err(|_| reader.wrong("is not a name"))?;
    let inline: Option<String> = reader.get()?;
    let stored: Option<Vec<u8>> = reader.get()?;
    let payload = match (inline, stored) {
        (_, Some(hash)) => {
            Payload::Stored(PayloadHash::from_bytes(&hash).map_err(|_| reader.wrong("is not a hash"))?)
        }
        (Some(data), None) => Payload::Inline(data.into()),
        (None, None) => return Err(reader.wrong("and payload are both NULL")),
    };
    Ok(Run {
        id,
        task: task.zip(name).map(|(id, name)| TaskRef { id, name }),
        group,
        place,
        handler,
        payload,
        priority: Priority::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not a priority"))?,
        durability: if reader.int()? == 1 { Durability::Durable } else { Durability::Fast },
        policy: Policy {
            retries: reader.number()?,
            backoff: Duration::from_millis(reader.number()?),
            max_lost: reader.number()?,
            timeout: reader.get::<Option<i64>>()?.map(|ms| Duration::from_millis(ms.unsigned_abs())),
            expires: reader.get::<Option<i64>>()?.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        },
        overlap: Overlap::from_number(reader.int()?)
            .ok_or_else(|| reader.wrong("is not an overlap policy"))?,
        created: reader.time()?,
        due: reader.time()?,
    })
}

/// A run's id as its column holds it.
pub(super) fn id(run: RunId) -> Vec<u8> {
    run.as_bytes().to_vec()
}

pub(super) fn read_id(reader: &mut Reader<'_>) -> Result<RunId, Error> {
    RunId::from_bytes(&reader.bytes()?).map_err(|_| reader.wrong("is not an id"))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A text that fits into a column of so many bytes, cut between characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
