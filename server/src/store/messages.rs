//! Messages: output, notes and progress of attempts.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::columns::id;
use super::retry::{Failure, Retry};
use super::sql::{self, Reader, Statement};
use super::{Store, StoreError};
use crate::run::{Fence, RunId};

/// How many bytes of messages one statement carries at the most, far below any `max_allowed_packet`.
const STATEMENT: usize = 2 << 20;

/// What a message is. The numbers are part of the SQL interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    Stdout = 1,
    Stderr = 2,
    Note = 3,
    Progress = 4,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: MessageKind,
    /// Bytes, not text.
    pub data: Bytes,
    /// When the worker says it arose.
    pub time: DateTime<Utc>,
}

/// Messages of one attempt, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBatch {
    pub run: RunId,
    pub fence: Fence,
    /// The number of the first one, counted from 0 over the whole attempt.
    pub first: u64,
    pub messages: Vec<Message>,
}

/// A message and its place in its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    pub fence: Fence,
    /// Counted from 0 over the whole attempt.
    pub number: u64,
    pub message: Message,
}

impl Store {
    /// Keeps messages; committed on return. What is there already is left as it is.
    pub async fn append(&self, batches: Vec<MessageBatch>) -> Result<(), StoreError> {
        let mut rows: Vec<Row<'_>> = batches.iter().flat_map(rows).collect();
        rows.sort_by_key(|row| (row.run, row.fence, row.number));
        rows.dedup_by_key(|row| (row.run, row.fence, row.number));
        let mut retry = Retry::default();
        loop {
            match self.try_append(&rows).await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_append(&self, rows: &[Row<'_>]) -> Result<(), Failure> {
        let mut transaction = self.begin().await?;
        for chunk in chunks(rows) {
            // On SQLite the table's primary key says what to do with what is there.
            let head = "INSERT /*! IGNORE */ INTO messages (tuuid, fence, seq, kind, message, cdate) VALUES";
            sql::insert(&mut transaction, head, 6, chunk, |values, row| {
                values
                    .add(id(row.run))
                    .add(row.fence.0.cast_signed())
                    .add(row.number.cast_signed())
                    .add(row.message.kind as i64)
                    .add(row.message.data.to_vec())
                    .add_time(row.message.time);
            })
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// A run's messages in order, after this one, at most `limit`. Attempts are in the order of their fences.
    pub async fn messages(
        &self,
        run: RunId,
        after: Option<(Fence, u64)>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let (fence, number) =
            after.map_or((0, -1), |(fence, number)| (fence.0.cast_signed(), number.cast_signed()));
        let mut select = Statement::new(
            "SELECT fence, seq, kind, message, CAST(cdate AS CHAR) FROM messages WHERE tuuid = ? AND fence >= ? AND (fence > ? OR seq > ?) \
             ORDER BY fence, seq LIMIT ?",
        );
        select.bind(id(run)).bind(fence).bind(fence).bind(number).bind(i64::from(limit));
        let rows = select.rows(&mut *self.reader().await?).await?;
        Ok(rows.iter().map(|row| read(&mut Reader::new(row))).collect::<Result<_, _>>()?)
    }
}

impl MessageKind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Note,
            4 => Self::Progress,
            _ => return None,
        })
    }
}

struct Row<'a> {
    run: RunId,
    fence: Fence,
    number: u64,
    message: &'a Message,
}

fn rows(batch: &MessageBatch) -> impl Iterator<Item = Row<'_>> {
    let numbers = batch.first..;
    numbers.zip(&batch.messages).map(|(number, message)| Row {
        run: batch.run,
        fence: batch.fence,
        number,
        message,
    })
}

/// Cut so that each statement stays small.
fn chunks<'r, 'a>(rows: &'r [Row<'a>]) -> impl Iterator<Item = &'r [Row<'a>]> {
    let mut bytes = 0;
    rows.chunk_by(move |_, next| {
        bytes += next.message.data.len();
        let fits = bytes < STATEMENT;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

fn read(reader: &mut Reader<'_>) -> Result<StoredMessage, sqlx::Error> {
    Ok(StoredMessage {
        fence: Fence(reader.number()?),
        number: reader.number()?,
        message: Message {
            kind: MessageKind::from_number(reader.int()?).ok_or_else(|| reader.wrong("is not a kind"))?,
            data: reader.bytes()?.into(),
            time: reader.time()?,
        },
    })
}
