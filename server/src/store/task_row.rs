//! A row of `tasks`, which anybody may have written, as a task or as the reason why it is none.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::{duration, when};
use sqlx::any::AnyRow;

use super::sql::Reader;
use super::time;
use crate::run::{Overlap, Payload, Policy, Priority, RunId, State, TaskId};
use crate::task::{CatchUp, LastRun, Task, TaskSpec};

/// A row of `tasks` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTask {
    pub id: String,
    pub name: String,
    pub target: String,
    pub when: String,
    pub paused: bool,
    /// What is wrong, in words that name the column.
    pub problem: String,
}

/// The columns that [`TaskRow::read`] reads.
pub(super) const COLUMNS: &str = "uuid, name, type, target, `when`, payload, timezone, handler, retries, backoff, max_lost, timeout, \
     expires, priority, catch_up, catch_up_max, overlap, splay, start_deadline, paused, description, CAST(cdate AS CHAR), \
     CAST(mdate AS CHAR), problem, last_run, state, CAST(sdate AS CHAR), CAST(planned_to AS CHAR), planned_paused, changed";

/// A row as it is. Its types are what the columns enforce, and no more.
#[derive(Debug, Clone)]
pub(super) struct TaskRow {
    pub uuid: String,
    pub name: String,
    kind: String,
    target: String,
    when: String,
    /// The `uuid` of a payload, or JSON.
    pub payload: Option<String>,
    timezone: String,
    handler: String,
    retries: i64,
    backoff: String,
    max_lost: i64,
    timeout: Option<String>,
    expires: Option<String>,
    priority: String,
    catch_up: String,
    catch_up_max: i64,
    overlap: String,
    splay: String,
    start_deadline: Option<String>,
    pub paused: bool,
    description: String,
    created: String,
    modified: String,
    problem: String,
    last_run: Option<Vec<u8>>,
    state: i64,
    started: Option<String>,
    planned_to: Option<String>,
    pub planned_paused: bool,
    pub changed: bool,
}

/// The payloads that rows name, by `uuid`.
pub(super) type Payloads = BTreeMap<String, Payload>;

impl TaskRow {
    pub fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let mut reader = Reader::new(row);
        Ok(Self {
            uuid: reader.text()?,
            name: reader.text()?,
            kind: reader.text()?,
            target: reader.text()?,
            when: reader.text()?,
            payload: reader.get()?,
            timezone: reader.text()?,
            handler: reader.text()?,
            retries: reader.int()?,
            backoff: reader.text()?,
            max_lost: reader.int()?,
            timeout: reader.get()?,
            expires: reader.get()?,
            priority: reader.text()?,
            catch_up: reader.text()?,
            catch_up_max: reader.int()?,
            overlap: reader.text()?,
            splay: reader.text()?,
            start_deadline: reader.get()?,
            paused: reader.int()? != 0,
            description: reader.text()?,
            created: reader.text()?,
            modified: reader.text()?,
            problem: reader.text()?,
            last_run: reader.get()?,
            state: reader.int()?,
            started: reader.get()?,
            planned_to: reader.get()?,
            planned_paused: reader.int()? != 0,
            changed: reader.int()? != 0,
        })
    }

    /// The id, or what is wrong with it.
    pub fn id(&self) -> Result<TaskId, String> {
        self.uuid.parse().map_err(|error| format!("uuid: {error}"))
    }

    pub fn created(&self) -> Result<DateTime<Utc>, String> {
        time::parse(&self.created)
            .ok_or_else(|| format!("cdate: `{}` is not like 2026-03-01 12:00:00.000000", self.created))
    }

    pub fn planned_to(&self) -> Option<DateTime<Utc>> {
        self.planned_to.as_deref().and_then(time::parse)
    }

    /// What the row says, or the first thing that is wrong with it, with its column's name.
    pub fn spec(&self, payloads: &Payloads) -> Result<TaskSpec, String> {
        let when = read("when", &self.when)?;
        match self.kind.as_str() {
            "scheduled" => {}
            "ondemand" if when == when::When::Now => {}
            "ondemand" => {
                return Err(format!(
                    "type: `ondemand` does not go with the schedule `{}`; write scheduled",
                    self.when
                ));
            }
            other => return Err(format!("type: `{other}` is not scheduled or ondemand")),
        }
        self.created()?;
        Ok(TaskSpec {
            name: read("name", &self.name)?,
            description: self.description.clone(),
            target: read("target", &self.target)?,
            when,
            timezone: when::parse_zone(&self.timezone).map_err(|error| format!("timezone: {error}"))?,
            handler: read("handler", &self.handler)?,
            payload: self.payload(payloads)?,
            policy: Policy {
                retries: count("retries", self.retries, 0, 1000)?,
                backoff: span("backoff", &self.backoff)?,
                max_lost: count("max_lost", self.max_lost, 0, 1000)?,
                timeout: self.timeout.as_deref().map(|text| span("timeout", text)).transpose()?,
                expires: self.expires.as_deref().map(|text| span("expires", text)).transpose()?,
            },
            priority: word("priority", &self.priority, &PRIORITIES)?,
            catch_up: match word("catch_up", &self.catch_up, &CATCH_UPS)? {
                CatchUp::All(_) => CatchUp::All(count("catch_up_max", self.catch_up_max, 1, 1000)?),
                other => other,
            },
            overlap: word("overlap", &self.overlap, &OVERLAPS)?,
            splay: span("splay", &self.splay)?,
            start_deadline: self
                .start_deadline
                .as_deref()
                .map(|text| span("start_deadline", text))
                .transpose()?,
        })
    }

    fn payload(&self, payloads: &Payloads) -> Result<Payload, String> {
        let text = match self.payload.as_deref() {
            None | Some("") => "null",
            Some(text) => text,
        };
        if is_uuid(text) {
            let payload = payloads
                .get(text)
                .ok_or_else(|| format!("payload: there is no row of payloads with the uuid {text}"))?;
            if let Payload::Inline(data) = payload {
                check_json(data)
                    .map_err(|error| format!("payload: the data of {text} is not JSON: {error}"))?;
            }
            return Ok(payload.clone());
        }
        check_json(text.as_bytes())
            .map_err(|error| format!("payload: neither the uuid of a row of payloads nor JSON: {error}"))?;
        Ok(super::payloads::travelling(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// As people see it.
    #[expect(clippy::result_large_err, reason = "a task is larger still")]
    pub fn task(self, payloads: &Payloads) -> Result<Task, BadTask> {
        let read = || -> Result<Task, String> {
            let last = self
                .last_run
                .as_deref()
                .and_then(|run| RunId::from_bytes(run).ok())
                .zip(State::from_number(self.state));
            Ok(Task {
                id: self.id()?,
                spec: self.spec(payloads)?,
                paused: self.paused,
                created: self.created()?,
                modified: time::parse(&self.modified)
                    .ok_or_else(|| format!("mdate: `{}` is not a time", self.modified))?,
                problem: self.problem.clone(),
                planned_to: self.planned_to().map_or_else(|| self.created(), Ok)?,
                last: last.map(|(run, state)| LastRun {
                    run,
                    state,
                    started: self.started.as_deref().and_then(time::parse),
                }),
            })
        };
        read().map_err(|problem| BadTask {
            id: self.uuid.clone(),
            name: self.name.clone(),
            target: self.target.clone(),
            when: self.when.clone(),
            paused: self.paused,
            problem,
        })
    }
}

const PRIORITIES: [(&str, Priority); 4] = [
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
    ("urgent", Priority::Urgent),
];
const CATCH_UPS: [(&str, CatchUp); 3] =
    [("none", CatchUp::None), ("latest", CatchUp::Latest), ("all", CatchUp::All(0))];
const OVERLAPS: [(&str, Overlap); 4] = [
    ("allow", Overlap::Allow),
    ("skip", Overlap::Skip),
    ("queue", Overlap::Queue),
    ("replace", Overlap::Replace),
];

/// The word for a priority in its column.
pub(super) fn priority_word(priority: Priority) -> &'static str {
    PRIORITIES.iter().find(|(_, known)| *known == priority).map_or("", |(word, _)| *word)
}

/// The words for what is done about missed firings in their columns.
pub(super) fn catch_up_words(catch_up: CatchUp) -> (&'static str, i64) {
    match catch_up {
        CatchUp::None => ("none", 10),
        CatchUp::Latest => ("latest", 10),
        CatchUp::All(max) => ("all", max.into()),
    }
}

/// The word for an overlap policy in its column.
pub(super) fn overlap_word(overlap: Overlap) -> &'static str {
    OVERLAPS.iter().find(|(_, known)| *known == overlap).map_or("", |(word, _)| *word)
}

/// Whether a payload column holds the id of a row rather than JSON, which no UUID is.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn check_json(data: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<serde::de::IgnoredAny>(data).map(drop)
}

fn read<T: FromStr<Err: std::fmt::Display>>(column: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{column}: {error}"))
}

fn span(column: &str, text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| format!("{column}: {error}"))
}

fn count(column: &str, value: i64, least: u32, most: u32) -> Result<u32, String> {
    u32::try_from(value)
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("{column}: {value} is not between {least} and {most}"))
}

fn word<T: Copy>(column: &str, text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("{column}: `{text}` is none of {}", words.join(", "))
    })
}
