//! Redis and the database, alive and refusing: what operators, failovers and limits do to them.

use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use sqlx::{AnyConnection, Connection as _};
use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::links::Links;
use super::super::moment::Moment;
use super::super::workload::Load;
use super::services::busy;
use crate::support::Backend;

/// How long each is refused, and how long all is well before the next.
const REFUSED: Duration = Duration::from_secs(8);
const WELL: Duration = Duration::from_secs(4);
/// The fewest connections that MariaDB can be told to have.
const MOST: usize = 10;

/// `backs`: when each of the faults was over, and what had been refused.
async fn conclude(mut arena: Arena, loads: Vec<Load>, backs: &[(&str, Moment)]) -> Finding {
    sleep(WELL).await;
    for load in loads {
        arena.stop(load).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    let ends = backs.iter().map(|(_, back)| evidence.first_end_after(*back));
    let slowest = ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
    let names: Vec<&str> = backs.iter().map(|(name, _)| *name).collect();
    Finding::of(verdict)
        .recovered("the first new run is done", slowest, 5)
        .seen(names.join(", "))
        .nothing_again()
}

/// Writes are refused for want of a replica, then as by a master that became a replica, then new connections are.
pub async fn by_redis(backend: Backend) -> Finding {
    let links = Links::default();
    let (arena, loads) = busy(backend, &links).await;
    let mut redis = arena.cluster.redis().connect().await;
    let (mut backs, mut let_in) = (Vec::new(), Vec::new());
    // The port of nobody: the replica never hears from its master, and keeps what it has.
    let refusals: [(&str, &[&str], &[&str]); 3] = [
        (
            "NOREPLICAS",
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        ("READONLY", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        (
            "max number of clients",
            &["CONFIG", "SET", "maxclients", "1"],
            &["CONFIG", "SET", "maxclients", "10000"],
        ),
    ];
    for (name, begin, end) in refusals {
        let fault = arena.history.apply(name, [Touched::Queue]);
        say(&mut redis, begin).await;
        // Whoever is connected stays so, unless it is cut off.
        say(&mut redis, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        say(&mut redis, &["CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"]).await;
        if write(&arena).await.is_ok() {
            let_in.push(name);
        }
        sleep(REFUSED).await;
        say(&mut redis, end).await;
        backs.push((name, arena.history.heal(fault)));
        sleep(WELL).await;
    }
    let finding = conclude(arena, loads, &backs).await;
    finding.demand(let_in.is_empty(), format!("a newcomer could write all the same: {let_in:?}"))
}

/// What a newcomer does.
async fn write(arena: &Arena) -> RedisResult<()> {
    let client = redis::Client::open(arena.cluster.redis().url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("SET").arg("newcomer").arg(1).exec_async(&mut connection).await
}

async fn say(redis: &mut MultiplexedConnection, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).exec_async(redis).await.expect("Redis answers whoever is connected");
}

/// A backup holds the lock on all tables, then nobody gets a connection any more.
pub async fn by_the_database(backend: Backend) -> Finding {
    let links = Links::default();
    let (arena, loads) = busy(backend, &links).await;
    sqlx::any::install_default_drivers();
    let mut operator = AnyConnection::connect(&arena.cluster.store()).await.expect("the database answers");
    let mut backs = Vec::new();
    let fault = arena.history.apply("FLUSH TABLES WITH READ LOCK", [Touched::Store]);
    execute(&mut operator, "FLUSH TABLES WITH READ LOCK").await;
    sleep(REFUSED).await;
    execute(&mut operator, "UNLOCK TABLES").await;
    backs.push(("all tables locked for reading", arena.history.heal(fault)));
    sleep(WELL).await;
    let fault = arena.history.apply("max_connections", [Touched::Store]);
    let before = number(&mut operator, "SELECT CAST(@@max_connections AS SIGNED)").await;
    execute(&mut operator, &format!("SET GLOBAL max_connections = {MOST}")).await;
    let held = hold_all(&arena, &mut operator).await;
    let count = held.len();
    sleep(REFUSED).await;
    drop(held);
    execute(&mut operator, &format!("SET GLOBAL max_connections = {before}")).await;
    backs.push(("no connection left", arena.history.heal(fault)));
    let finding = conclude(arena, loads, &backs).await;
    finding.demand(count + 1 >= MOST, format!("{count} connections were taken: some were left"))
}

/// Cuts off everybody else, and takes all the connections that there are.
async fn hold_all(arena: &Arena, operator: &mut AnyConnection) -> Vec<AnyConnection> {
    const OTHERS: &str = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                          WHERE id <> CONNECTION_ID() AND user = 'marabunta'";
    let (mut held, mut own) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let others: Vec<i64> =
            sqlx::query_scalar(OTHERS).fetch_all(&mut *operator).await.expect("it lists them");
        for other in others.iter().filter(|other| !own.contains(*other)) {
            // It may have ended by itself.
            let kill = sqlx::AssertSqlSafe(format!("KILL CONNECTION {other}"));
            sqlx::raw_sql(kill).execute(&mut *operator).await.ok();
        }
        while let Ok(mut connection) = AnyConnection::connect(&arena.cluster.store()).await {
            own.push(number(&mut connection, "SELECT CAST(CONNECTION_ID() AS SIGNED)").await);
            held.push(connection);
        }
    }
    held
}

async fn number(connection: &mut AnyConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(connection).await.expect("the database answers")
}

async fn execute(connection: &mut AnyConnection, statement: &str) {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(connection).await.expect("the database answers");
}
