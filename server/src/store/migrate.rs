//! Bringing the tables to this program's version.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Connection as _, SqlSafeStr as _};

use super::StoreError;
use super::dialect::Dialect;
use super::sql::{Reader, Statement};

/// Number, name and text of each step. A step that was released is never edited.
macro_rules! steps {
    ($dialect:literal) => {
        [
            (1, "tasks", include_str!(concat!("../../../migrations/", $dialect, "/0001_tasks.sql"))),
            (2, "runs", include_str!(concat!("../../../migrations/", $dialect, "/0002_runs.sql"))),
            (3, "messages", include_str!(concat!("../../../migrations/", $dialect, "/0003_messages.sql"))),
            (4, "house", include_str!(concat!("../../../migrations/", $dialect, "/0004_house.sql"))),
        ]
    };
}

/// How long one server waits for another's migration, in seconds.
const PATIENCE: i64 = 300;

/// Does what is missing. On MySQL under a lock of the database's name, so that several servers may start at once; SQLite has one process.
pub(super) async fn run(dialect: Dialect, pool: &AnyPool) -> Result<(), StoreError> {
    let steps = match dialect {
        Dialect::Mysql => steps!("mysql"),
        Dialect::Sqlite => steps!("sqlite"),
    };
    let steps = steps.map(|(number, name, sql)| {
        Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(steps.into());
    // sqlx's own lock waits for ever, and not at all on MariaDB.
    migrator.set_locking(false);
    let mut connection = pool.acquire().await?.detach();
    if dialect == Dialect::Mysql {
        let mut lock =
            Statement::new("SELECT GET_LOCK(CONCAT('marabunta.', LEFT(SHA2(DATABASE(), 256), 40)), ?)");
        lock.bind(PATIENCE);
        let row = lock.row(&mut connection).await?.ok_or(sqlx::Error::RowNotFound)?;
        if Reader::new(&row).get::<Option<i64>>()? != Some(1) {
            return Err(StoreError::Unavailable(
                "another server has been migrating its tables for minutes".to_owned(),
            ));
        }
    }
    let done = migrator.run(&mut connection).await;
    // The lock goes with the connection.
    connection.close().await?;
    done.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => StoreError::Unusable(error.to_string()),
    })
}
