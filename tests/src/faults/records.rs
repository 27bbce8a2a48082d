//! What stands in the tables when all is quiet: read from the database itself, so that no server can tell another story.

use std::collections::HashMap;

use anyhow::Context as _;
use chrono::NaiveDateTime;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio_stream::StreamExt as _;

use super::moment::Moment;

/// A run that has ended. Small: an hour has millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub run: u128,
    /// Microseconds since 1970, by the database's clock.
    pub due: i64,
    /// When the end was recorded.
    pub ended: Moment,
    /// The place of its task's name in [`Records::names`]; 0 for a run on demand.
    pub task: u16,
    /// Likewise, where it waited.
    pub place: u16,
    pub failed: u16,
    pub lost: u16,
    pub retries: u16,
    pub max_lost: u16,
    /// As the proto numbers them.
    pub state: u8,
    pub reason: u8,
    pub durable: bool,
}

/// A delivery of a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub run: u128,
    pub fence: u64,
    /// When it was given to its worker: a fence is that moment, unless it had to be later than one before.
    pub claimed: Moment,
    pub number: u32,
    /// The place of its worker's name in [`Records::names`].
    pub worker: u16,
    /// Likewise, the id of the server that recorded its end.
    pub server: u16,
    /// As the proto numbers them.
    pub outcome: u8,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// By run.
    pub ended: Vec<Record>,
    /// What has not ended.
    pub open: Vec<u128>,
    /// By run and number.
    pub attempts: Vec<Attempt>,
    /// The first is empty.
    pub names: Vec<String>,
}

const RUNS: &str = "SELECT id, CAST(due AS CHAR) AS due, CAST(ended AS CHAR) AS ended, COALESCE(task_name, '') AS task_name, place, failed, lost, retries, max_lost, state, \
                    COALESCE(reason, 0) AS reason, durable FROM runs";
const ATTEMPTS: &str = "SELECT run, fence, number, worker, server, outcome FROM attempts";

impl Records {
    /// Reads the tables behind this URL.
    pub async fn read(url: &str) -> anyhow::Result<Self> {
        let mut connection = connect(url).await?;
        let (mut records, mut names) = (Self::default(), Names::default());
        names.place(String::new())?;
        let mut rows = sqlx::query(RUNS).fetch(&mut connection);
        while let Some(row) = rows.next().await {
            let row = row?;
            let number = |column: &str| row.try_get::<i64, _>(column);
            let mut name = |column: &str| names.place(row.try_get(column)?);
            records.ended.push(Record {
                ended: Moment::of_wall(micros(&row.try_get::<String, _>("ended")?)?),
                task: name("task_name")?,
                place: name("place")?,
                run: id(row.try_get("id")?)?,
                due: micros(&row.try_get::<String, _>("due")?)?,
                failed: number("failed")?.try_into()?,
                lost: number("lost")?.try_into()?,
                retries: number("retries")?.try_into()?,
                max_lost: number("max_lost")?.try_into()?,
                state: number("state")?.try_into()?,
                reason: number("reason")?.try_into()?,
                durable: number("durable")? == 1,
            });
        }
        drop(rows);
        let mut rows = sqlx::query(ATTEMPTS).fetch(&mut connection);
        while let Some(row) = rows.next().await {
            let row = row?;
            let fence: i64 = row.try_get("fence")?;
            records.attempts.push(Attempt {
                run: id(row.try_get("run")?)?,
                fence: fence.try_into()?,
                claimed: Moment::of_wall(fence),
                worker: names.place(row.try_get("worker")?)?,
                server: names.place(row.try_get("server")?)?,
                number: row.try_get::<i64, _>("number")?.try_into()?,
                outcome: row.try_get::<i64, _>("outcome")?.try_into()?,
            });
        }
        drop(rows);
        records.names = names.all;
        records.open = open(&mut connection).await?;
        connection.close().await?;
        records.ended.sort_unstable_by_key(|record| record.run);
        records.attempts.sort_unstable_by_key(|attempt| (attempt.run, attempt.number));
        Ok(records)
    }

    /// What became of a run, if it has ended.
    pub fn of(&self, run: u128) -> Option<&Record> {
        self.ended.binary_search_by_key(&run, |record| record.run).ok().map(|at| &self.ended[at])
    }

    /// The attempts of a run, by number.
    pub fn attempts_of(&self, run: u128) -> &[Attempt] {
        let from = self.attempts.partition_point(|attempt| attempt.run < run);
        let rest = &self.attempts[from..];
        &rest[..rest.partition_point(|attempt| attempt.run == run)]
    }

    pub fn name(&self, name: u16) -> &str {
        &self.names[usize::from(name)]
    }
}

/// Each name once.
#[derive(Default)]
struct Names {
    places: HashMap<String, u16>,
    all: Vec<String>,
}

impl Names {
    fn place(&mut self, name: String) -> anyhow::Result<u16> {
        if let Some(place) = self.places.get(&name) {
            return Ok(*place);
        }
        let place = u16::try_from(self.all.len())?;
        self.places.insert(name.clone(), place);
        self.all.push(name);
        Ok(place)
    }
}

/// The runs that have not ended.
pub async fn still_open(url: &str) -> anyhow::Result<Vec<u128>> {
    let mut connection = connect(url).await?;
    let open = open(&mut connection).await?;
    connection.close().await?;
    Ok(open)
}

/// A connection to the database itself.
pub async fn connect(url: &str) -> anyhow::Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.with_context(|| format!("{url} does not answer"))
}

async fn open(connection: &mut AnyConnection) -> anyhow::Result<Vec<u128>> {
    let rows = sqlx::query("SELECT id FROM open_runs ORDER BY id").fetch_all(connection).await?;
    rows.iter().map(|row| id(row.try_get("id")?)).collect()
}

fn id(bytes: Vec<u8>) -> anyhow::Result<u128> {
    let bytes = bytes.try_into().map_err(|bytes| anyhow::anyhow!("{bytes:?} is no id"))?;
    Ok(u128::from_be_bytes(bytes))
}

fn micros(text: &str) -> anyhow::Result<i64> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    Ok(time.with_context(|| format!("{text:?} is no time"))?.and_utc().timestamp_micros())
}
