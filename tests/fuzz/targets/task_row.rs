//! Rows of `tasks` as anybody may write them with plain SQL: read or said to be wrong, planned once, and shown in a form that is taken
//! again as the same task.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use marabunta_server::clock::StoreClock;
use marabunta_server::metrics::Metrics;
use marabunta_server::plan::{Options, Planner};
use marabunta_server::queue::{Limits, embedded::Embedded};
use marabunta_server::rpc::convert;
use marabunta_server::run::TaskId;
use marabunta_server::store::{Store, StoreOptions, StoreUrl};
use marabunta_server::unqueued::Unqueued;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

/// The columns that are written, each from a line; NULL where there is none.
const COLUMNS: [&str; 18] = [
    "name",
    "type",
    "target",
    "`when`",
    "payload",
    "timezone",
    "handler",
    "backoff",
    "timeout",
    "expires",
    "priority",
    "catch_up",
    "overlap",
    "splay",
    "start_deadline",
    "cdate",
    "planned_to",
    "uuid",
];
/// Those that hold numbers, each from a byte.
const NUMBERS: [&str; 3] = ["retries", "max_lost", "catch_up_max"];

struct House {
    store: Store,
    planner: Planner,
    sql: Mutex<AnyConnection>,
    _directory: TempDir,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
});
static HOUSE: LazyLock<House> = LazyLock::new(|| RUNTIME.block_on(House::open()));

fuzz_target!(|data: &[u8]| {
    let Some((numbers, lines)) = data.split_at_checked(NUMBERS.len()) else { return };
    let Ok(text) = std::str::from_utf8(lines) else { return };
    let house = &*HOUSE;
    RUNTIME.block_on(house.try_row(numbers, &text.lines().collect::<Vec<_>>()));
});

impl House {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("store.db");
        let store = Store::open(&StoreUrl::Sqlite(path.clone()), &StoreOptions::default())
            .await
            .expect("it can be opened");
        let now = store.now().await.expect("it knows the time");
        let options = Options { server: "server-1".to_owned(), poll_interval: Duration::from_secs(1) };
        let queue = Arc::new(Embedded::new(Limits { waiting: 10, ..Limits::default() }));
        let (clock, metrics, (unqueued, _)) =
            (StoreClock::new(now), Arc::new(Metrics::default()), Unqueued::new());
        let planner = Planner::new(store.clone(), queue, clock, metrics, unqueued, options);
        let sql =
            AnyConnection::connect(&format!("sqlite://{}", path.display())).await.expect("it can be written");
        Self { store, planner, sql: Mutex::new(sql), _directory: directory }
    }

    async fn try_row(&self, numbers: &[u8], lines: &[&str]) {
        self.execute("DELETE FROM tasks", &[], &[]).await.expect("rows can be deleted");
        self.execute("DELETE FROM open_runs", &[], &[]).await.expect("rows can be deleted");
        self.execute("DELETE FROM runs", &[], &[]).await.expect("rows can be deleted");
        let columns: Vec<_> = NUMBERS.into_iter().chain(COLUMNS.into_iter().take(lines.len())).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT INTO tasks ({}) VALUES ({marks})", columns.join(", "));
        // The database itself refuses some.
        if self.execute(&insert, numbers, lines).await.is_err() {
            return;
        }
        let page = self.store.tasks("", None, 10).await.expect("a list of tasks is read whatever is in them");
        for task in page.tasks {
            match task {
                Ok(task) => {
                    let id = task.id;
                    self.plan(id).await;
                    let task =
                        self.store.task(&id.to_string()).await.expect("it is read").expect("it is there");
                    let task = task.expect("what could be read can be read");
                    let (spec, created) = (task.spec.clone(), task.created);
                    let payload = match &spec.payload {
                        marabunta_server::run::Payload::Inline(data) => data.clone(),
                        marabunta_server::run::Payload::Stored(hash) => {
                            self.store.payload(*hash).await.expect("it is read").expect("it is there")
                        }
                    };
                    drop(convert::task(task, Some(&payload), created, 3));
                }
                Err(bad) => {
                    if let Ok(id) = bad.id.parse::<TaskId>() {
                        self.plan(id).await;
                    }
                    drop(convert::bad_task(bad));
                }
            }
        }
    }

    /// Plans it, after which there is nothing more to plan.
    async fn plan(&self, id: TaskId) {
        self.planner.plan_now(id).await;
        let now = self.store.now().await.expect("it knows the time");
        let peek = self.store.peek(now).await.expect("it can be looked at");
        assert!(!peek.changed, "it is planned over and over");
    }

    async fn execute(&self, sql: &str, numbers: &[u8], lines: &[&str]) -> Result<(), sqlx::Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        for number in numbers {
            query = query.bind(i64::from(*number) * 8 - 8);
        }
        for line in lines {
            query = query.bind((!line.is_empty()).then(|| (*line).to_owned()));
        }
        query.execute(&mut *self.sql.lock().await).await.map(drop)
    }
}
