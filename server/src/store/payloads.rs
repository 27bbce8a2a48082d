//! Payloads: stored once each, whoever uses them.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AnyConnection;
use uuid::Uuid;

use super::retry::{Failure, Retry};
use super::sql::{LIST, Reader, Statement};
use super::{Store, StoreError};
use crate::run::{Payload, PayloadHash};

/// How exact `payloads.cdate` is: an older one is renewed when the payload is given again, so that pruning passes it over.
const FRESH: TimeDelta = TimeDelta::hours(1);

impl Store {
    /// Makes each of these JSON texts fit to travel: kept in the store if it is longer than [`Payload::INLINE`], as it is otherwise. In order.
    pub async fn intern(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>, StoreError> {
        let long: Vec<_> = payloads.iter().filter(|data| data.len() > Payload::INLINE).cloned().collect();
        if !long.is_empty() {
            let mut retry = Retry::default();
            loop {
                match self.try_intern(&long).await {
                    Ok(()) => break,
                    Err(failure) => retry.after(failure).await?,
                }
            }
        }
        Ok(payloads.into_iter().map(travelling).collect())
    }

    async fn try_intern(&self, payloads: &[Bytes]) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        keep(&mut transaction, now, payloads).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The payload with this hash.
    pub async fn payload(&self, hash: PayloadHash) -> Result<Option<Bytes>, StoreError> {
        let mut select = Statement::new("SELECT data FROM payloads WHERE hash = ?");
        select.bind(hash.as_bytes().to_vec());
        let Some(row) = select.row(&mut *self.reader().await?).await? else { return Ok(None) };
        let data = Bytes::from(Reader::new(&row).text()?);
        // One that was edited in place is not what was asked for.
        Ok(Some(data).filter(|data| PayloadHash::of(data) == hash))
    }
}

/// As a run carries it.
pub(super) fn travelling(data: Bytes) -> Payload {
    if data.len() > Payload::INLINE { Payload::Stored(PayloadHash::of(&data)) } else { Payload::Inline(data) }
}

/// Keeps payloads, whatever their length. Gives the `uuid` of each hash.
pub(super) async fn keep(
    connection: &mut AnyConnection,
    now: DateTime<Utc>,
    payloads: &[Bytes],
) -> Result<BTreeMap<PayloadHash, String>, Failure> {
    let wanted: BTreeMap<PayloadHash, &Bytes> =
        payloads.iter().map(|data| (PayloadHash::of(data), data)).collect();
    let mut kept = BTreeMap::new();
    let mut aged = Vec::new();
    let hashes: Vec<_> = wanted.keys().map(|hash| hash.as_bytes().to_vec()).collect();
    for chunk in hashes.chunks(LIST) {
        let mut select =
            Statement::new("SELECT hash, uuid, CAST(cdate AS CHAR) FROM payloads WHERE hash IN ");
        select.list(chunk);
        for row in select.rows(connection).await? {
            let mut reader = Reader::new(&row);
            let hash =
                PayloadHash::from_bytes(&reader.bytes()?).map_err(|_| reader.wrong("is not a hash"))?;
            let uuid = reader.text()?;
            if reader.time()? < now - FRESH {
                aged.push(uuid.clone());
            }
            kept.insert(hash, uuid);
        }
    }
    for chunk in aged.chunks(LIST) {
        let mut update = Statement::new("UPDATE payloads SET cdate = ? WHERE uuid IN ");
        update.bind_time(now).list(chunk);
        update.execute(connection).await?;
    }
    for (hash, data) in wanted {
        if kept.contains_key(&hash) {
            continue;
        }
        let text = std::str::from_utf8(data)
            .map_err(|_| StoreError::Unusable("a payload is not UTF-8".to_owned()))?;
        let uuid = Uuid::new_v4().to_string();
        let mut insert = Statement::new("INSERT INTO payloads (uuid, data, hash, cdate) VALUES (?, ?, ?, ?)");
        insert.bind(uuid.as_str()).bind(text).bind(hash.as_bytes().to_vec()).bind_time(now);
        insert.execute(connection).await?;
        kept.insert(hash, uuid);
    }
    Ok(kept)
}
