//! Redis and the database, alive and of no use: full, slow, out of reach, locked.

use std::time::Duration;

use sqlx::{AnyConnection, Connection as _};
use tokio::time::sleep;
use tonic::Code;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::{Submission, Touched};
use super::super::links::Links;
use super::super::moment::Moment;
use super::super::proxy::{At, Cut, Then, Trap};
use super::super::testimony::Word;
use super::super::workload::Load;
use crate::support::{Backend, Link, eventually, http};

const DEED: &str = "\"op\":";
/// How many are asked for, once each, to see what is answered.
const ASKED: usize = 20;

/// Both classes on named and any workers, and a schedule.
pub(super) async fn busy(backend: Backend, links: &Links) -> (Arena, Vec<Load>) {
    let detour = links.detour(|link| matches!(link, Link::ToQueue(_) | Link::ToStore(_)));
    let mut arena = Arena::on(backend).servers(2).witnesses(3).detour(detour).start().await;
    let short = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let long = arena.mix(&Deed::taking(Duration::from_secs(3)));
    let tick = arena.shape("w-1", true, &Deed::default());
    arena.each_second("tick", tick).await;
    let loads = vec![arena.load(short, 20.0), arena.load(long, 2.0)];
    sleep(Duration::from_secs(3)).await;
    (arena, loads)
}

async fn conclude(mut arena: Arena, loads: Vec<Load>, back: Moment) -> Finding {
    sleep(Duration::from_secs(5)).await;
    for load in loads {
        arena.stop(load).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    Finding::of(verdict).recovered("the first new run is done", evidence.first_end_after(back), 5)
}

/// Nothing more can be submitted, and what is there runs to its end.
pub async fn redis_full(backend: Backend) -> Finding {
    let links = Links::default();
    let (mut arena, loads) = busy(backend, &links).await;
    let waiting = arena.shape("w-1", false, &Deed::taking(Duration::from_millis(200)));
    let waiting = arena.burst(&[waiting], 40).await;
    let mut redis = arena.cluster.redis().connect().await;
    let mut limit = async |bytes: u64| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes).exec_async(&mut redis).await.expect("Redis answers");
    };
    let fault = arena.history.apply("maxmemory reached", [Touched::Queue]);
    limit(1 << 20).await;
    let full = Moment::now();
    let mut answers = Vec::new();
    for durable in [false, true] {
        let refused = arena.shape(&format!("any({ALL})"), durable, &Deed::default());
        answers.push(arena.ask(&refused, ASKED).await);
    }
    eventually("what was there is done", async || {
        let testimony = arena.testimony();
        let is_done = |run: u128| testimony.of(run).iter().any(|one| one.word == Some(Word::Done));
        let left = waiting.iter().filter(|run| run.run != 0 && !is_done(run.run)).count();
        anyhow::ensure!(left == 0, "{left} runs are not");
        Ok(())
    })
    .await;
    // Their slots were taken, so most of them were claimed, and all ended, when there was no room.
    let claimed = {
        let testimony = arena.testimony();
        let begun = |run: &&Submission| testimony.of(run.run).iter().any(|one| one.start > full);
        waiting.iter().filter(begun).count()
    };
    sleep(Duration::from_secs(5)).await;
    limit(0).await;
    let back = arena.history.heal(fault);
    let exhausted = |codes: &Vec<Code>| codes == &[Code::ResourceExhausted; ASKED];
    conclude(arena, loads, back)
        .await
        .demand(
            answers.iter().all(exhausted),
            format!("of {ASKED} fast and {ASKED} durable submits to a full Redis were refused: {answers:?}"),
        )
        .demand(claimed > 0, "nothing was claimed while there was no room")
        .seen(format!("{} of {} runs begun and ended without room", claimed, waiting.len()))
        .nothing_again()
}

/// Answers after 2 s, which is when nobody waits for them any more; then none at all.
pub async fn redis_slow(backend: Backend) -> Finding {
    let links = Links::default();
    let (arena, loads) = busy(backend, &links).await;
    let proxies = links.on(|link| matches!(link, Link::ToQueue(_)));
    let mut back = Moment::now();
    for one_way in [300, 1_000] {
        let fault = arena.history.apply("Redis slow", [Touched::Queue]);
        proxies.iter().for_each(|proxy| proxy.latency(Duration::from_millis(one_way)));
        sleep(Duration::from_secs(8)).await;
        proxies.iter().for_each(|proxy| proxy.heal());
        back = arena.history.heal(fault);
        sleep(Duration::from_secs(2)).await;
    }
    let fault = arena.history.apply("CLIENT PAUSE", [Touched::Queue]);
    let mut redis = arena.cluster.redis().connect().await;
    redis::cmd("CLIENT").arg("PAUSE").arg(4_000).exec_async(&mut redis).await.expect("Redis answers");
    sleep(Duration::from_secs(4)).await;
    arena.history.heal(fault);
    sleep(Duration::from_secs(2)).await;
    let fault = arena.history.apply("SIGSTOP", [Touched::Queue]);
    arena.cluster.redis().pause();
    sleep(Duration::from_secs(6)).await;
    arena.cluster.redis().resume();
    back = back.max(arena.history.heal(fault));
    conclude(arena, loads, back).await.nothing_again()
}

/// The connection is cut when Redis answers a claim: what it gave, nobody has.
pub async fn redis_cut_at_a_claim(backend: Backend) -> Finding {
    const TIMES: usize = 5;
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToQueue(_)));
    let mut arena = Arena::on(backend).servers(2).witnesses(2).detour(detour).start().await;
    let anywhere = format!("any({ALL})");
    let shapes = ["w-1", "w-2", &anywhere]
        .map(|target| [true, false].map(|durable| arena.shape(target, durable, &Deed::default())));
    let (mut runs, mut slowest) = (Vec::new(), Duration::ZERO);
    for _ in 0..TIMES {
        let trap = || Trap::reply(At::Before, DEED).then(Then::Cut(Cut::Rst));
        let mut sprung = [0, 1].map(|at| links.to_queue(at).trap(trap()));
        let fault = arena.history.apply("cut at the answer of a claim", [Touched::Queue]);
        let asked = arena.burst(shapes.as_flattened(), 6).await;
        let waiting = sprung.iter_mut().map(|one| Box::pin(one.wait()));
        let (cut, ..) = futures_util::future::select_all(waiting).await;
        links.on(|_| true).iter().for_each(|proxy| proxy.heal());
        arena.history.heal(fault);
        for run in asked.iter().filter(|run| run.run != 0) {
            let done =
                arena.until("it is done", |_, one| one.run == run.run && one.word == Some(Word::Done)).await;
            slowest = slowest.max(done.end.since(cut));
        }
        runs.extend(asked);
    }
    let (evidence, verdict) = arena.conclude().await;
    let records = runs.iter().filter_map(|run| evidence.records.of(run.run));
    let cost: u16 = records.map(|record| record.lost + record.failed).sum();
    Finding::of(verdict)
        .recovered("what was claimed and not seen is done", Some(slowest), 15)
        .demand(cost == 0, format!("{cost} losses or failures were counted for what was never accepted"))
        .nothing_again()
}

/// Longer than a session lives without being renewed. Ends wait at the workers, and what needs no database goes on.
pub async fn database_out_of_reach(backend: Backend) -> Finding {
    let links = Links::default();
    let (mut arena, mut loads) = busy(backend, &links).await;
    let fast = arena.shape(&format!("any({ALL})"), false, &Deed::default());
    loads.push(arena.load(vec![fast], 10.0));
    let proxies = links.on(|link| matches!(link, Link::ToStore(_)));
    let fault = arena.history.apply("database out of reach", [Touched::Store]);
    let gone = arena.history.applied(fault);
    proxies.iter().for_each(|proxy| proxy.black_hole());
    let server = arena.servers()[0].http();
    eventually("a server says that it is not ready", async || {
        let answer = http::get(server, "/readyz").await?;
        anyhow::ensure!(answer.status == 503, "/readyz says {}: {}", answer.status, answer.body);
        Ok(())
    })
    .await;
    let noticed = Moment::now();
    sleep(Duration::from_secs(70).saturating_sub(noticed.since(gone))).await;
    let connected = arena.counted("marabunta_sessions_connected").await;
    proxies.iter().for_each(|proxy| proxy.heal());
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(5)).await;
    for load in loads {
        arena.stop(load).await;
    }
    let workers = arena.names.len();
    let (evidence, verdict) = arena.conclude().await;
    let meanwhile = evidence.accepted().filter(|(submission, shape)| {
        let executions = evidence.testimony.of(submission.run).iter();
        let late = gone.plus(Duration::from_secs(30));
        !shape.durable && submission.asked > late && executions.clone().any(|one| one.end < back)
    });
    let meanwhile = meanwhile.count();
    Finding::of(verdict)
        // A server that has nothing to do asks the database each 30 s, and waits 5 s for its answer.
        .detected("/readyz says so", Some(noticed.since(gone)), 40)
        .recovered("the first new run is done", evidence.first_end_after(back), 5)
        .demand(
            connected == workers as f64,
            format!("{connected} of {workers} workers were connected at its end"),
        )
        .demand(meanwhile > 0, "no fast run was asked for and done after 30 s of it")
        .seen(format!("{meanwhile} fast runs asked for and done after 30 s of it"))
        .nothing_again()
}

/// Somebody locks the tables for longer than a server waits, and then crosswise, so that statements wait too long and some are chosen to fail.
pub async fn database_locked(backend: Backend) -> Finding {
    let links = Links::default();
    let (arena, loads) = busy(backend, &links).await;
    sqlx::any::install_default_drivers();
    let connect =
        async || AnyConnection::connect(&arena.cluster.store()).await.expect("the database answers");
    let (mut one, mut other) = (connect().await, connect().await);
    let before = conflicts(&mut one).await;
    let fault = arena.history.apply("tables locked", [Touched::Store]);
    let mut ours = i64::from(lock(&mut one, " DESC").await);
    // A server waits 10 s for a lock.
    sleep(Duration::from_secs(12)).await;
    release(&mut one).await;
    for _ in 0..5 {
        for (connection, order) in [(&mut one, ""), (&mut other, " DESC")] {
            ours += i64::from(lock(connection, order).await);
            sleep(Duration::from_millis(1_500)).await;
        }
        release(&mut one).await;
        release(&mut other).await;
        sleep(Duration::from_millis(300)).await;
    }
    let back = arena.history.heal(fault);
    let theirs = conflicts(&mut one).await - before - ours;
    conclude(arena, loads, back)
        .await
        .demand(theirs > 0, "no statement of a server waited too long or was chosen to fail")
        .seen(format!("{theirs} statements of servers failed by a lock"))
        .nothing_again()
}

/// Locks the first runs in this order, and the gap before or behind them. True if the database chose this to fail: it locks all the same until then.
async fn lock(connection: &mut AnyConnection, order: &str) -> bool {
    let rows = format!("SELECT id FROM runs ORDER BY id{order} LIMIT 50 FOR UPDATE");
    let mut failed = false;
    for statement in ["BEGIN".to_owned(), rows] {
        if let Err(error) = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await {
            assert!(error.as_database_error().is_some(), "failed to lock: {error}");
            failed = true;
        }
    }
    failed
}

async fn release(connection: &mut AnyConnection) {
    sqlx::query("ROLLBACK").execute(connection).await.expect("the database answers");
}

/// How many statements have waited too long for a lock (1205) or were chosen to end a deadlock (1213), as the database counts them.
async fn conflicts(connection: &mut AnyConnection) -> i64 {
    const COUNTED: &str = "SELECT CAST(SUM(count) AS SIGNED) FROM information_schema.innodb_metrics \
                           WHERE name IN ('lock_deadlocks', 'lock_timeouts')";
    sqlx::query_scalar(COUNTED).fetch_one(connection).await.expect("the database counts them")
}
