//! Workers: every one that ever connected.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;
use marabunta_proto::selector::Selector;

use super::columns::cut;
use super::retry::{Failure, Retry};
use super::sql::{Reader, Statement};
use super::{Store, StoreError};

/// What a worker says of itself when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub name: Name,
    pub labels: BTreeMap<String, String>,
    pub slots: u32,
    pub handlers: Vec<Name>,
    pub version: String,
}

/// A worker as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    pub registration: Registration,
    /// When it first connected.
    pub registered: DateTime<Utc>,
    /// When it last connected.
    pub connected: DateTime<Utc>,
    pub draining: bool,
}

/// Some workers, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerPage {
    pub workers: Vec<WorkerRow>,
    /// Where the next page starts: after this name. `None` on the last.
    pub next: Option<Name>,
}

/// What came of registering a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// It is to be drained.
    pub draining: bool,
    /// It is new, or its labels are others than before: other selectors match it now.
    pub matches_others: bool,
}

impl Store {
    /// A worker has connected.
    pub async fn register(&self, worker: Registration) -> Result<Registered, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_register(&worker).await {
                Ok(registered) => return Ok(registered),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_register(&self, worker: &Registration) -> Result<Registered, Failure> {
        let json = |value: serde_json::Value| value.to_string();
        let labels = json(serde_json::json!(worker.labels));
        let handlers = json(worker.handlers.iter().map(Name::as_str).collect());
        let version = cut(&worker.version, 128);
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let mut select =
            Statement::new("SELECT draining, labels FROM workers WHERE name = ? /*! FOR UPDATE */");
        select.bind(worker.name.as_str());
        let known = match select.row(&mut transaction).await? {
            Some(row) => {
                let mut reader = Reader::new(&row);
                Some((reader.int()? == 1, reader.text()?))
            }
            None => None,
        };
        let mut write = Statement::new(match known {
            Some(_) => {
                "UPDATE workers SET labels = ?, slots = ?, handlers = ?, version = ?, connected = ? WHERE name = ?"
            }
            None => {
                "INSERT INTO workers (labels, slots, handlers, version, connected, name, registered) VALUES (?, ?, ?, ?, ?, ?, ?)"
            }
        });
        write.bind(labels.as_str()).bind(i64::from(worker.slots)).bind(handlers.as_str()).bind(version);
        write.bind_time(now).bind(worker.name.as_str());
        if known.is_none() {
            write.bind_time(now);
        }
        write.execute(&mut transaction).await?;
        transaction.commit().await?;
        let matches_others = known.as_ref().is_none_or(|(_, before)| *before != labels);
        Ok(Registered { draining: known.is_some_and(|(draining, _)| draining), matches_others })
    }

    /// The workers that match, by name, at most `limit`.
    pub async fn workers(
        &self,
        selector: &Selector,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<WorkerPage, StoreError> {
        let mut page = WorkerPage::default();
        let mut last = after.map_or(String::new(), Name::to_string);
        loop {
            let mut select = Statement::new(&format!("{SELECT} WHERE name > ? ORDER BY name LIMIT {BATCH}"));
            select.bind(last.as_str());
            let rows = select.rows(&mut *self.reader().await?).await?;
            for row in &rows {
                let worker = read(&mut Reader::new(row))?;
                last = worker.registration.name.to_string();
                if !selector.matches_worker(&worker.registration.name, &worker.registration.labels) {
                    continue;
                }
                if page.workers.len() == limit as usize {
                    page.next = page.workers.last().map(|worker| worker.registration.name.clone());
                    return Ok(page);
                }
                page.workers.push(worker);
            }
            if rows.len() < BATCH {
                return Ok(page);
            }
        }
    }

    /// The worker of this name.
    pub async fn worker(&self, name: &Name) -> Result<Option<WorkerRow>, StoreError> {
        let mut select = Statement::new(&format!("{SELECT} WHERE name = ?"));
        select.bind(name.as_str());
        let row = select.row(&mut *self.reader().await?).await?;
        Ok(row.map(|row| read(&mut Reader::new(&row))).transpose()?)
    }

    /// From now on it gets nothing new, or gets work again. `false`: no such worker.
    pub async fn set_draining(&self, name: &Name, draining: bool) -> Result<bool, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_set_draining(name, draining).await {
                Ok(known) => return Ok(known),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_set_draining(&self, name: &Name, draining: bool) -> Result<bool, Failure> {
        let mut transaction = self.begin().await?;
        let mut update = Statement::new("UPDATE workers SET draining = ? WHERE name = ?");
        update.bind(i64::from(draining)).bind(name.as_str());
        let known = update.execute(&mut transaction).await? > 0;
        transaction.commit().await?;
        Ok(known)
    }

    /// The names of all registered workers that match, in order.
    pub async fn matching(&self, selector: &Selector) -> Result<Vec<Name>, StoreError> {
        let rows = Statement::new("SELECT name, labels FROM workers ORDER BY name")
            .rows(&mut *self.reader().await?)
            .await?;
        let mut names = Vec::new();
        for row in &rows {
            let (name, labels) = read_labels(&mut Reader::new(row))?;
            if selector.matches_worker(&name, &labels) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// How many workers are read at a time.
const BATCH: usize = 500;

const SELECT: &str = "SELECT name, labels, slots, handlers, version, CAST(registered AS CHAR), CAST(connected AS CHAR), draining FROM workers";

fn read(reader: &mut Reader<'_>) -> Result<WorkerRow, sqlx::Error> {
    let (name, labels) = read_labels(reader)?;
    let slots = reader.number()?;
    let handlers: Vec<String> =
        serde_json::from_str(&reader.text()?).map_err(|_| reader.wrong("is not a list of names"))?;
    let handlers = handlers.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    Ok(WorkerRow {
        registration: Registration {
            name,
            labels,
            slots,
            handlers: handlers.map_err(|_| reader.wrong("is not a list of names"))?,
            version: reader.text()?,
        },
        registered: reader.time()?,
        connected: reader.time()?,
        draining: reader.int()? == 1,
    })
}

fn read_labels(reader: &mut Reader<'_>) -> Result<(Name, BTreeMap<String, String>), sqlx::Error> {
    let name = reader.text()?.parse().map_err(|_| reader.wrong("is not a name"))?;
    let labels =
        serde_json::from_str(&reader.text()?).map_err(|_| reader.wrong("is not an object of texts"))?;
    Ok((name, labels))
}
