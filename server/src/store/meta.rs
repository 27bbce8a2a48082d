//! Facts about the whole installation.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::retry::{Failure, Retry};
use super::sql::{Reader, Statement};
use super::{Store, StoreError, time};
use crate::run::Fence;

const RELEASED: &str = "released";
const DARK: &str = "dark";

impl Store {
    /// The number of shards of the queue: `default` at the very first call, and the same for ever.
    pub async fn shards(&self, default: u16) -> Result<u16, StoreError> {
        let value = self.fact("shards", default.to_string()).await?;
        value.parse().map_err(|_| StoreError::Corrupt(format!("meta: shards is `{value}`, not a number")))
    }

    /// The id of the installation, made at the very first call.
    pub async fn installation(&self) -> Result<Uuid, StoreError> {
        let value = self.fact("installation", Uuid::new_v4().to_string()).await?;
        value.parse().map_err(|_| StoreError::Corrupt(format!("meta: installation is `{value}`, not a UUID")))
    }

    /// No fence below this may be given out.
    pub async fn fence_floor(&self) -> Result<Fence, StoreError> {
        fence(&self.fact("fence_floor", "1".to_owned()).await?)
    }

    /// Raises the floor to this, unless it is higher.
    pub async fn raise_fence_floor(&self, floor: Fence) -> Result<(), StoreError> {
        self.fence_floor().await?;
        let mut retry = Retry::default();
        loop {
            match self.try_raise(floor).await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_raise(&self, floor: Fence) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        let select = Statement::new("SELECT value FROM meta WHERE name = 'fence_floor' /*! FOR UPDATE */");
        let row = select.row(&mut transaction).await?.ok_or(sqlx::Error::RowNotFound)?;
        if fence(&Reader::new(&row).text()?)? < floor {
            let mut update = Statement::new("UPDATE meta SET value = ? WHERE name = 'fence_floor'");
            update.bind(floor.0.to_string());
            update.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Up to when everything that was due has been let go, as far as it is known. What is due later and not running was missed if its time has passed.
    pub async fn released(&self) -> Result<DateTime<Utc>, StoreError> {
        let now = self.now().await?;
        let value = self.fact(RELEASED, time::text(now)).await?;
        time::parse(&value)
            .ok_or_else(|| StoreError::Corrupt(format!("meta: {RELEASED} is `{value}`, not a time")))
    }

    /// Everything that was due by then has been let go.
    pub async fn note_released(&self, to: DateTime<Utc>) -> Result<(), StoreError> {
        self.advance(RELEASED, time::text(to)).await
    }

    /// The last time that nobody let anything go, from and to; `None` if there was none yet.
    pub async fn dark(&self) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
        let mut select = Statement::new("SELECT value FROM meta WHERE name = ?");
        select.bind(DARK);
        let Some(row) = select.row(&mut *self.reader().await?).await? else { return Ok(None) };
        let value = Reader::new(&row).text()?;
        let times = value.split_once('/').and_then(|(to, from)| Some((time::parse(from)?, time::parse(to)?)));
        times
            .map(Some)
            .ok_or_else(|| StoreError::Corrupt(format!("meta: {DARK} is `{value}`, not two times")))
    }

    /// Nothing was let go between. What overlaps with the last such time is one with it.
    pub async fn note_dark(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), StoreError> {
        let from = match self.dark().await? {
            Some((before, until)) if until >= from => from.min(before),
            _ => from,
        };
        // The end comes first, so that the later is the greater.
        self.advance(DARK, format!("{}/{}", time::text(to), time::text(from))).await
    }

    /// Sets a fact unless it is greater already.
    async fn advance(&self, name: &str, value: String) -> Result<(), StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_advance(name, &value).await {
                Ok(true) => return Ok(()),
                Ok(false) => return self.fact(name, value).await.map(|_| ()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    /// Whether there is a smaller one, which is this now.
    async fn try_advance(&self, name: &str, value: &str) -> Result<bool, Failure> {
        let mut transaction = self.begin().await?;
        let mut update = Statement::new("UPDATE meta SET value = ? WHERE name = ? AND value < ?");
        update.bind(value).bind(name).bind(value);
        let moved = update.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(moved > 0)
    }

    /// A fact; `first` when nobody has said it before.
    async fn fact(&self, name: &str, first: String) -> Result<String, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_fact(name, &first).await {
                Ok(value) => return Ok(value),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_fact(&self, name: &str, first: &str) -> Result<String, Failure> {
        let mut select = Statement::new("SELECT value FROM meta WHERE name = ?");
        select.bind(name);
        if let Some(row) = select.row(&mut *self.reader().await?).await? {
            return Ok(Reader::new(&row).text()?);
        }
        // Whoever loses the race for the key reads the winner's value at the next try.
        let mut transaction = self.begin().await?;
        let mut insert = Statement::new("INSERT INTO meta (name, value) VALUES (?, ?)");
        insert.bind(name).bind(first);
        insert.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(first.to_owned())
    }
}

fn fence(value: &str) -> Result<Fence, StoreError> {
    value
        .parse()
        .map(Fence)
        .map_err(|_| StoreError::Corrupt(format!("meta: fence_floor is `{value}`, not a number")))
}
