//! Statements put together from text and values.
//!
//! Lists are padded to a few lengths, by repeating their last value, and rows are inserted by a few numbers at a time: each distinct text is
//! one prepared statement on each connection, and forgetting one costs a round trip that the kernel may delay.

use std::io;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AnyConnection, Arguments as _, AssertSqlSafe, Encode, Row as _, Type};
use tokio::time::timeout;

use super::time;

/// The longest list that fits into one statement.
pub(super) const LIST: usize = 256;
const LISTS: [usize; 4] = [1, 8, 64, LIST];
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];

/// A statement and its values, in the order in which they are bound.
pub(super) struct Statement {
    sql: String,
    values: Values,
}

/// What is bound.
#[derive(Default)]
pub(super) struct Values(AnyArguments);

impl Values {
    pub fn add<'v, T: Encode<'v, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        self.0.add(value).expect("integers, text and bytes are always taken");
        self
    }

    pub fn add_time(&mut self, time: DateTime<Utc>) -> &mut Self {
        self.add(time::text(time))
    }
}

impl Statement {
    pub fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Values::default() }
    }

    /// Appends text.
    pub fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// The value of the next `?`.
    pub fn bind<'v, T: Encode<'v, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        self.values.add(value);
        self
    }

    pub fn bind_time(&mut self, time: DateTime<Utc>) -> &mut Self {
        self.values.add_time(time);
        self
    }

    /// Appends `(?, ?, ..)` with these values, at least one and at most [`LIST`].
    pub fn list<T: Clone + for<'v> Encode<'v, Any> + Type<Any>>(&mut self, values: &[T]) -> &mut Self {
        let length = padded(values.len());
        self.sql.push('(');
        self.sql.push_str(&vec!["?"; length].join(","));
        self.sql.push(')');
        for index in 0..length {
            self.values.add(values[index.min(values.len() - 1)].clone());
        }
        self
    }

    /// Appends `CASE key WHEN ? THEN ? .. END`: for each row its own value.
    pub fn case<K, V>(&mut self, key: &str, rows: &[(K, V)]) -> &mut Self
    where
        K: Clone + for<'v> Encode<'v, Any> + Type<Any>,
        V: Clone + for<'v> Encode<'v, Any> + Type<Any>,
    {
        self.sql.push_str("CASE ");
        self.sql.push_str(key);
        for index in 0..padded(rows.len()) {
            let (key, value) = &rows[index.min(rows.len() - 1)];
            self.sql.push_str(" WHEN ? THEN ?");
            self.values.add(key.clone()).add(value.clone());
        }
        self.sql.push_str(" END");
        self
    }

    /// How many rows it changed, or matched.
    pub async fn execute(self, connection: &mut AnyConnection) -> Result<u64, sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(self.sql), self.values.0);
        Ok(patiently(query.execute(connection)).await?.rows_affected())
    }

    pub async fn rows(self, connection: &mut AnyConnection) -> Result<Vec<AnyRow>, sqlx::Error> {
        patiently(sqlx::query_with(AssertSqlSafe(self.sql), self.values.0).fetch_all(connection)).await
    }

    pub async fn row(self, connection: &mut AnyConnection) -> Result<Option<AnyRow>, sqlx::Error> {
        patiently(sqlx::query_with(AssertSqlSafe(self.sql), self.values.0).fetch_optional(connection)).await
    }
}

/// How long a statement may take: longer than it may wait for a lock, and not as long as TCP tries to reach a network that has swallowed it.
const PATIENCE: Duration = Duration::from_secs(15);

/// The answer to a statement. One that does not come is an error; what was asked may have been done.
pub(super) async fn patiently<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(late(PATIENCE)))
}

/// That no answer came within this time.
pub(super) fn late(patience: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))
}

fn padded(length: usize) -> usize {
    LISTS.into_iter().find(|size| *size >= length).unwrap_or(length)
}

/// Inserts rows: `head` ends with `VALUES`, `add` adds the `columns` values of a row.
pub(super) async fn insert<R>(
    connection: &mut AnyConnection,
    head: &str,
    columns: usize,
    rows: &[R],
    add: impl Fn(&mut Values, &R),
) -> Result<(), sqlx::Error> {
    let row = format!("({})", vec!["?"; columns].join(","));
    let mut rest = rows;
    for size in ROWS {
        while let Some((chunk, after)) = rest.split_at_checked(size) {
            let mut statement = Statement::new(head);
            statement.push(" ").push(&vec![row.as_str(); size].join(","));
            chunk.iter().for_each(|row| add(&mut statement.values, row));
            statement.execute(connection).await?;
            rest = after;
        }
    }
    Ok(())
}

/// Reads the columns of a row one after the other.
pub(super) struct Reader<'r> {
    row: &'r AnyRow,
    next: usize,
}

impl<'r> Reader<'r> {
    pub fn new(row: &'r AnyRow) -> Self {
        Self { row, next: 0 }
    }

    pub fn get<T: sqlx::Decode<'r, Any> + Type<Any>>(&mut self) -> Result<T, sqlx::Error> {
        self.next += 1;
        self.row.try_get(self.next - 1)
    }

    pub fn text(&mut self) -> Result<String, sqlx::Error> {
        self.get()
    }

    pub fn int(&mut self) -> Result<i64, sqlx::Error> {
        self.get()
    }

    pub fn bytes(&mut self) -> Result<Vec<u8>, sqlx::Error> {
        self.get()
    }

    /// A number that is stored as it is and never negative.
    pub fn number<T: TryFrom<i64>>(&mut self) -> Result<T, sqlx::Error> {
        let value = self.int()?;
        T::try_from(value).map_err(|_| self.wrong("is out of range"))
    }

    pub fn time(&mut self) -> Result<DateTime<Utc>, sqlx::Error> {
        self.opt_time()?.ok_or_else(|| self.wrong("is NULL"))
    }

    pub fn opt_time(&mut self) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        let text: Option<String> = self.get()?;
        text.map(|text| time::parse(&text).ok_or_else(|| self.wrong("is not a time"))).transpose()
    }

    /// What to say of the column read last when its value is none that this program writes.
    pub fn wrong(&self, problem: &str) -> sqlx::Error {
        let column = self.row.columns().get(self.next - 1).map_or("", |column| sqlx::Column::name(column));
        sqlx::Error::ColumnDecode { index: column.to_owned(), source: problem.to_owned().into() }
    }
}
