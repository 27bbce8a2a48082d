//! Workers: every one that ever connected.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;
use marabunta_proto::selector::{Selector, Traits};

use super::columns::cut;
use super::retry::{Failure, Retry};
use super::sql::{LIST, Reader, Statement, Values, insert};
use super::{Store, StoreError};

/// What a worker says of itself when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub name: Name,
    pub traits: Traits,
    pub slots: u32,
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
    /// It is new, or its labels or handlers are others than before: other selectors match it now.
    pub matches_others: bool,
}

impl Store {
    /// Workers have connected. One answer for each, in order.
    pub async fn register(&self, workers: &[Registration]) -> Result<Vec<Registered>, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_register(workers).await {
                Ok(registered) => return Ok(registered),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    /// Most connect again and are as they were: of those only the time is written, of all at once.
    async fn try_register(&self, workers: &[Registration]) -> Result<Vec<Registered>, Failure> {
        // One that comes twice is as it says last. In the order of their names, so that two servers never wait for each other.
        let latest: BTreeMap<&Name, &Registration> =
            workers.iter().map(|worker| (&worker.name, worker)).collect();
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let names: Vec<String> = latest.keys().map(|name| name.to_string()).collect();
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for names in names.chunks(LIST) {
            let mut select = Statement::new(
                "SELECT name, draining, labels, slots, handlers, version FROM workers WHERE name IN ",
            );
            select.list(names).push(" ORDER BY name /*! FOR UPDATE */");
            for row in &select.rows(&mut transaction).await? {
                let mut reader = Reader::new(row);
                let (name, draining) = (reader.text()?, reader.int()? == 1);
                let (labels, slots, handlers) = (reader.text()?, reader.int()?, reader.text()?);
                let said = Said { labels, slots, handlers, version: reader.text()? };
                known.insert(name, Known { draining, said });
            }
        }
        let (mut new, mut same) = (Vec::new(), Vec::new());
        for (name, worker) in &latest {
            let said = Said::of(worker);
            match known.get(name.as_str()) {
                None => new.push((name.as_str(), said)),
                Some(known) if known.said == said => same.push(name.to_string()),
                Some(_) => said.update(name, now).execute(&mut transaction).await.map(drop)?,
            }
        }
        const INSERT: &str =
            "INSERT INTO workers (name, labels, slots, handlers, version, connected, registered) VALUES";
        insert(&mut transaction, INSERT, 7, &new, |values, (name, said)| {
            values.add(*name);
            said.add_to(values).add_time(now).add_time(now);
        })
        .await?;
        for names in same.chunks(LIST) {
            let mut update = Statement::new("UPDATE workers SET connected = ? WHERE name IN ");
            update.bind_time(now).list(names);
            update.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        let registered = |worker: &Registration| {
            let known = known.get(worker.name.as_str());
            let said = Said::of(worker);
            let matches_others = known.is_none_or(|Known { said: before, .. }| {
                (&before.labels, &before.handlers) != (&said.labels, &said.handlers)
            });
            Registered { draining: known.is_some_and(|known| known.draining), matches_others }
        };
        Ok(workers.iter().map(registered).collect())
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
                if !selector.matches(&worker.registration.name, &worker.registration.traits) {
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
        let rows = Statement::new("SELECT name, labels, handlers FROM workers ORDER BY name")
            .rows(&mut *self.reader().await?)
            .await?;
        let mut names = Vec::new();
        for row in &rows {
            let reader = &mut Reader::new(row);
            let name = read_name(reader)?;
            if selector.matches(&name, &read_traits(reader)?) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// What the store has of a worker.
struct Known {
    draining: bool,
    said: Said,
}

/// What a worker said of itself, as it is stored.
#[derive(PartialEq, Eq)]
struct Said {
    labels: String,
    slots: i64,
    handlers: String,
    version: String,
}

impl Said {
    fn of(worker: &Registration) -> Self {
        let handlers: Vec<&str> = worker.traits.handlers.iter().map(Name::as_str).collect();
        Self {
            labels: json(&worker.traits.labels),
            slots: worker.slots.into(),
            handlers: json(&handlers),
            version: cut(&worker.version, 128).to_owned(),
        }
    }

    fn add_to<'v>(&self, values: &'v mut Values) -> &'v mut Values {
        values.add(self.labels.clone()).add(self.slots);
        values.add(self.handlers.clone()).add(self.version.clone())
    }

    fn update(self, name: &Name, now: DateTime<Utc>) -> Statement {
        let mut update = Statement::new(
            "UPDATE workers SET labels = ?, slots = ?, handlers = ?, version = ?, connected = ? WHERE name = ?",
        );
        update.bind(self.labels).bind(self.slots).bind(self.handlers).bind(self.version);
        update.bind_time(now).bind(name.as_str());
        update
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and lists of them are JSON")
}

/// How many workers are read at a time.
const BATCH: usize = 500;

const SELECT: &str = "SELECT name, labels, handlers, slots, version, CAST(registered AS CHAR), CAST(connected AS CHAR), draining FROM workers";

fn read(reader: &mut Reader<'_>) -> Result<WorkerRow, sqlx::Error> {
    Ok(WorkerRow {
        registration: Registration {
            name: read_name(reader)?,
            traits: read_traits(reader)?,
            slots: reader.number()?,
            version: reader.text()?,
        },
        registered: reader.time()?,
        connected: reader.time()?,
        draining: reader.int()? == 1,
    })
}

fn read_name(reader: &mut Reader<'_>) -> Result<Name, sqlx::Error> {
    reader.text()?.parse().map_err(|_| reader.wrong("is not a name"))
}

fn read_traits(reader: &mut Reader<'_>) -> Result<Traits, sqlx::Error> {
    let labels =
        serde_json::from_str(&reader.text()?).map_err(|_| reader.wrong("is not an object of texts"))?;
    let handlers: Vec<String> =
        serde_json::from_str(&reader.text()?).map_err(|_| reader.wrong("is not a list of names"))?;
    let handlers = handlers.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    Ok(Traits { labels, handlers: handlers.map_err(|_| reader.wrong("is not a list of names"))? })
}
