//! A new, empty store, and short ways to make what goes into it.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use marabunta_proto::name::Name;
use marabunta_server::run::{
    AttemptEnd, Counters, Durability, Fence, GroupId, Key, Next, Outcome, Overlap, Payload, Place, Policy,
    Priority, Reason, Run, RunId, State, TaskRef,
};
use marabunta_server::store::{EndedAttempt, EndedRun, NewRun, Started, Store, StoreOptions, StoreUrl};
use marabunta_server::task::{CatchUp, Task, TaskSpec};
use marabunta_tests::support::scratch::Scratch;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};

pub struct Fixture {
    pub store: Store,
    url: StoreUrl,
    /// For whoever writes plain SQL.
    sql: String,
    _directory: Option<Scratch>,
    #[cfg(feature = "services")]
    _database: Option<marabunta_tests::support::mariadb::Database>,
}

pub async fn sqlite() -> Fixture {
    let directory = Scratch::new("store");
    let path = directory.join("a store?#%.db");
    let url = StoreUrl::Sqlite(path.clone());
    let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    Fixture {
        store: open(&url).await,
        url,
        sql: format!("sqlite://{escaped}"),
        _directory: Some(directory),
        #[cfg(feature = "services")]
        _database: None,
    }
}

#[cfg(feature = "services")]
pub async fn mysql() -> Fixture {
    let database = marabunta_tests::support::mariadb::MariaDb::shared().await.database().await;
    let url = StoreUrl::mysql(database.url()).unwrap();
    Fixture {
        store: open(&url).await,
        url,
        sql: database.url().to_owned(),
        _directory: None,
        _database: Some(database),
    }
}

async fn open(url: &StoreUrl) -> Store {
    Store::open(url, &StoreOptions::default()).await.unwrap()
}

impl Fixture {
    /// The store of another server. Embedded there is one server, so its own.
    pub async fn another(&self) -> Store {
        if self.store.is_embedded() { self.store.clone() } else { open(&self.url).await }
    }

    /// What a person writes with a client of the database.
    pub async fn sql(&self, text: &str) {
        let mut connection = AnyConnection::connect(&self.sql).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The number that a query gives.
    pub async fn number(&self, text: &str) -> i64 {
        let mut connection = AnyConnection::connect(&self.sql).await.unwrap();
        let row = sqlx::query(AssertSqlSafe(text.to_owned())).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        row.get(0)
    }

    /// A run that is due now.
    pub async fn run(&self) -> Run {
        run(self.store.now().await.unwrap())
    }

    /// A run that is open and was started with this fence.
    pub async fn started(&self, fence: u64) -> Run {
        let run = self.run().await;
        self.store.insert_runs(vec![new(&run)]).await.unwrap();
        self.store.mark_running(vec![started(&run, fence)]).await.unwrap();
        run
    }

    pub async fn state(&self, run: &Run) -> Option<State> {
        self.store.run(run.id).await.unwrap().map(|view| view.state)
    }

    pub async fn task(&self, name: &str, when: &str) -> Task {
        self.store.create_task(&spec(name, when), false).await.unwrap()
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn run(now: DateTime<Utc>) -> Run {
    Run {
        id: RunId::new(now, 0),
        task: None,
        group: None,
        place: Place::Worker(name("web-1")),
        handler: name("exec"),
        payload: Payload::Inline(Bytes::from_static(br#"{"argv":["true"]}"#)),
        priority: Priority::Normal,
        durability: Durability::Durable,
        policy: Policy::default(),
        overlap: Overlap::Allow,
        created: now,
        due: now,
    }
}

/// A run in which nothing has its default.
pub fn elaborate(now: DateTime<Utc>, task: &Task) -> Run {
    Run {
        task: Some(TaskRef { id: task.id, name: task.spec.name.clone() }),
        group: Some(GroupId::new()),
        place: Place::parse("any(dc!=eu,role=web)").unwrap(),
        payload: Payload::Stored(marabunta_server::run::PayloadHash::of(b"long")),
        priority: Priority::Urgent,
        durability: Durability::Fast,
        policy: Policy {
            retries: 7,
            backoff: Duration::from_millis(1500),
            max_lost: 0,
            timeout: Some(Duration::from_secs(60)),
            expires: Some(Duration::from_secs(3600)),
        },
        overlap: Overlap::Replace,
        due: now + TimeDelta::hours(1),
        ..run(now)
    }
}

pub fn new(run: &Run) -> NewRun {
    NewRun { run: run.clone(), server: "s1".to_owned(), key: None }
}

pub fn keyed(run: &Run, key: &str, request: u8) -> NewRun {
    NewRun { key: Some(Key { text: key.to_owned(), request: [request; 16] }), ..new(run) }
}

pub fn started(run: &Run, fence: u64) -> Started {
    Started { run: run.id, fence: Fence(fence), attempt: 1, worker: name("web-1"), server: "s2".to_owned() }
}

pub fn ended(run: &Run, fence: u64, outcome: Outcome, next: Next) -> EndedAttempt {
    EndedAttempt {
        run: run.clone(),
        fence: Fence(fence),
        number: 1,
        worker: name("web-1"),
        server: "s3".to_owned(),
        end: AttemptEnd {
            outcome,
            exit_code: Some(if outcome == Outcome::Succeeded { 0 } else { 3 }),
            error: if outcome == Outcome::Succeeded { String::new() } else { "it broke".to_owned() },
            result: Bytes::from_static(b"{\"n\":1}"),
            started: DateTime::from_timestamp(1_772_850_600, 1_000),
            ended: DateTime::from_timestamp(1_772_850_601, 2_000),
            output_bytes: 10,
            truncated: true,
        },
        next,
    }
}

pub fn succeeded(run: &Run, fence: u64) -> EndedAttempt {
    ended(
        run,
        fence,
        Outcome::Succeeded,
        Next::End { state: State::Done, reason: None, counters: Counters::default() },
    )
}

pub fn lost(run: &Run, fence: u64) -> EndedAttempt {
    let counters = Counters { lost: 1, ..Counters::default() };
    ended(run, fence, Outcome::Lost, Next::Again { delay: Duration::ZERO, counters })
}

pub fn ended_run(run: &Run, state: State) -> EndedRun {
    let reason = (state == State::Error).then_some(Reason::Lost);
    EndedRun { run: run.clone(), state, reason, error: "because".to_owned(), server: "s4".to_owned() }
}

pub fn spec(name: &str, when: &str) -> TaskSpec {
    TaskSpec {
        name: self::name(name),
        description: "ein Täsk".to_owned(),
        target: "any(role=web)".parse().unwrap(),
        when: when.parse().unwrap(),
        timezone: chrono_tz::Europe::Berlin,
        handler: self::name("exec"),
        payload: Payload::Inline(Bytes::from_static(br#"{"argv":["true"]}"#)),
        policy: Policy { timeout: Some(Duration::from_millis(90_500)), ..Policy::default() },
        priority: Priority::High,
        catch_up: CatchUp::All(3),
        overlap: Overlap::Skip,
        splay: Duration::from_secs(30),
        start_deadline: Some(Duration::from_secs(300)),
    }
}
