//! What only Redis can do to a queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use marabunta_server::dispatch::{FromWorker, Hello, Options, Owner};
use marabunta_server::metrics::Metrics;
use marabunta_server::queue::redis::{RedisOptions, RedisQueue};
use marabunta_server::queue::{
    Admission, Beat, Hint, Limits, Phase, Queue as _, QueueError, Settled, Settlement, Step,
};
use marabunta_server::run::{Fence, RunId};
use marabunta_tests::support::eventually;
use marabunta_tests::support::redis::Redis;
use redis::aio::MultiplexedConnection;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bench::{Bench, claim, hinted, ms, name};

async fn private(server: &Redis) -> Bench {
    let prefix = server.prefix();
    let queue = RedisQueue::connect(Bench::options(&prefix, 1, "server-1")).await.unwrap();
    Bench { queue: std::sync::Arc::new(queue), prefix: Some(prefix) }
}

async fn command(connection: &mut MultiplexedConnection, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).exec_async(connection).await.unwrap();
}

#[tokio::test]
async fn servers_that_claim_at_once_never_get_the_same_run() {
    let prefix = Redis::shared().await.prefix();
    let connect = async |server: &str| RedisQueue::connect(Bench::options(&prefix, 2, server)).await.unwrap();
    let queues = [connect("server-1").await, connect("server-2").await];
    let bench = Bench { queue: std::sync::Arc::new(connect("server-3").await), prefix: None };
    let (one, two) = (bench.connect("web-1").await, bench.connect("web-2").await);
    let entries: Vec<_> = (0..200).map(|_| bench.entry("any(role=web)")).collect();
    bench.queue.enqueue(entries).await.unwrap();

    let drain = async |queue: &RedisQueue, session| {
        let mut runs = vec![];
        loop {
            let claimed = queue.claim(vec![claim(session, "any(role=web)", 7)]).await.unwrap().remove(0);
            if claimed.deliveries.is_empty() && !claimed.more {
                return runs;
            }
            runs.extend(claimed.deliveries.into_iter().map(|one| one.run));
        }
    };
    let (first, second) = tokio::join!(drain(&queues[0], &one), drain(&queues[1], &two));
    assert_eq!(first.len() + second.len(), 200);
    assert_eq!(first.into_iter().chain(second).collect::<HashSet<_>>().len(), 200);
}

#[tokio::test]
async fn of_a_server_that_is_silent_one_other_is_told() {
    let prefix = Redis::shared().await.prefix();
    let connect = async |server: &str| RedisQueue::connect(Bench::options(&prefix, 1, server)).await.unwrap();
    let (first, second) = (connect("server-1").await, connect("server-2").await);
    assert!(first.beat(ms(60_000)).await.unwrap().gone.is_empty());
    let Beat { alive, gone } = second.beat(ms(60_000)).await.unwrap();
    assert_eq!((alive, gone), (vec!["server-1".to_owned(), "server-2".to_owned()], vec![]), "both live");
    let told = eventually("it has been silent", async || {
        let gone = second.beat(ms(20)).await?.gone;
        ensure!(!gone.is_empty(), "nobody is gone");
        Ok(gone)
    })
    .await;
    assert_eq!(told, ["server-1"]);
    assert!(second.beat(ms(0)).await.unwrap().gone.iter().all(|gone| gone == "server-2"), "it was told");
}

#[tokio::test]
async fn whoever_rebuilds_is_told_which_servers_have_written_what_they_knew() {
    let prefix = Redis::shared().await.prefix();
    let connect = async |server: &str| RedisQueue::connect(Bench::options(&prefix, 1, server)).await.unwrap();
    let (first, second) = (connect("server-1").await, connect("server-2").await);
    assert!(second.begin_rebuild(ms(60_000)).await.unwrap());
    assert!(second.written().await.unwrap().is_empty());
    second.note_written().await.unwrap();
    assert_eq!(second.written().await.unwrap(), ["server-2"]);
    first.note_written().await.unwrap();
    let written: HashSet<_> = second.written().await.unwrap().into_iter().collect();
    assert_eq!(written, HashSet::from(["server-1".to_owned(), "server-2".to_owned()]));
    second.finish_rebuild().await.unwrap();
    assert!(first.written().await.unwrap().is_empty(), "each loss is another one");
}

#[tokio::test]
async fn runs_whose_result_is_kept_are_found_by_when_they_were_made() {
    let bench = Bench::redis_with(3, Limits::default()).await;
    let session = bench.connect("web-1").await;
    let (kept, dropped) = (bench.start(&session).await, bench.start(&session).await);
    for (delivery, result) in [(&kept, Some("how it ended".into())), (&dropped, None)] {
        let step = Step::Remove { result };
        let settlement = Settlement { run: delivery.run, fence: Some(delivery.fence), step };
        assert_eq!(bench.queue.settle(vec![settlement]).await.unwrap(), [Settled::Settled]);
    }
    let made = kept.run.millis();
    assert_eq!(bench.queue.kept(made..made + 1, 9).await.unwrap(), [kept.run]);
    assert!(bench.queue.kept(made + 60_000..made + 120_000, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn hints_reach_the_server_that_holds_the_session_and_no_other() {
    let prefix = Redis::shared().await.prefix();
    let connect = async |server: &str| RedisQueue::connect(Bench::options(&prefix, 1, server)).await.unwrap();
    let (near, far) = (connect("server-1").await, connect("server-2").await);
    let bench = Bench { queue: std::sync::Arc::new(far), prefix: None };
    let session = crate::bench::session("web-1");
    near.open(session, vec![]).await.unwrap();
    let (mut at_near, mut at_far) = (near.hints(), bench.queue.hints());
    bench.enqueue(bench.entry("web-1")).await;
    hinted(&mut at_near, &Hint::Ready("web-1".parse().map(marabunta_server::run::Place::Worker).unwrap()))
        .await;
    let last = Hint::Drain { worker: name("web-1"), draining: true };
    near.announce(last.clone()).await.unwrap();
    assert_eq!(at_far.recv().await.unwrap(), last);
}

#[tokio::test]
async fn scripts_that_were_forgotten_are_loaded_again() {
    let server = Redis::start().await;
    let bench = private(&server).await;
    let session = bench.connect("web-1").await;
    let delivery = bench.deliver(&session).await;
    command(&mut server.connect().await, &["SCRIPT", "FLUSH"]).await;
    assert!(bench.accept(&delivery).await);
    assert_eq!(bench.finish(&delivery).await, Settled::Settled);
}

#[tokio::test]
async fn out_of_memory_nothing_is_taken_in_but_everything_goes_out() {
    let server = Redis::start().await;
    let bench = private(&server).await;
    let session = bench.connect("web-1").await;
    let running = bench.start(&session).await;
    let waiting = bench.enqueue(bench.entry("web-1")).await;
    let mut connection = server.connect().await;
    command(&mut connection, &["CONFIG", "SET", "maxmemory", "1mb"]).await;

    let refused = bench.queue.enqueue(vec![bench.entry("web-1")]).await.unwrap_err();
    assert!(matches!(refused, QueueError::Full(_)), "{refused:?}");
    let claimed = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
    assert_eq!(claimed.run, waiting);
    assert!(bench.accept(&claimed).await);
    assert_eq!(bench.again(&running, ms(0)).await, Settled::Settled);
    assert_eq!(bench.finish(&claimed).await, Settled::Settled);
    assert_eq!(bench.finish(&running).await, Settled::Settled);
    bench.queue.reap().await.unwrap();
    bench.assert_empty(&[running.run, waiting]).await;

    command(&mut connection, &["CONFIG", "SET", "maxmemory", "0"]).await;
    bench.enqueue(bench.entry("web-1")).await;
}

#[tokio::test]
async fn a_redis_that_deletes_what_it_holds_is_refused() {
    let server = Redis::start().await;
    let mut connection = server.connect().await;
    command(&mut connection, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let options = || RedisOptions::new(server.url(), "m", "server-1");
    RedisQueue::connect(options()).await.expect("without a limit nothing is deleted");
    command(&mut connection, &["CONFIG", "SET", "maxmemory", "100mb"]).await;
    let refused = RedisQueue::connect(options()).await.err().unwrap();
    assert!(matches!(&refused, QueueError::Unusable(why) if why.contains("noeviction")), "{refused:?}");
}

#[tokio::test]
async fn options_that_would_break_keys_are_refused() {
    let options = || RedisOptions::new("redis://127.0.0.1:1", "m", "server-1");
    for wrong in [
        RedisOptions { prefix: "a{b}".into(), ..options() },
        RedisOptions { prefix: String::new(), ..options() },
        RedisOptions { server: "two words".into(), ..options() },
        RedisOptions { shards: 0, ..options() },
    ] {
        let refused = RedisQueue::connect(wrong).await.err().unwrap();
        assert!(matches!(refused, QueueError::Unusable(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_empty_handed_and_fences_still_grow() {
    let server = Redis::start().await;
    let bench = private(&server).await;
    bench.queue.finish_rebuild().await.unwrap();
    let session = bench.connect("web-1").await;
    let floor = Fence(bench.deliver(&session).await.fence.0 + 3_600_000_000);
    command(&mut server.connect().await, &["FLUSHALL"]).await;

    assert!(bench.queue.is_empty_handed().await.unwrap());
    assert_eq!(
        bench.queue.renew(vec![(name("web-1"), session.id)]).await.unwrap(),
        [false],
        "it must be opened again"
    );
    bench.queue.raise_fence(floor).await.unwrap();
    bench.open(&session, vec![]).await;
    assert!(bench.deliver(&session).await.fence >= floor);
}

#[tokio::test]
async fn after_a_restart_the_queue_is_whole_and_whoever_listens_is_told() {
    let server = Redis::start().await;
    let bench = private(&server).await;
    bench.queue.finish_rebuild().await.unwrap();
    let session = bench.connect("web-1").await;
    let delivery = bench.start(&session).await;
    let mut hints = bench.queue.hints();

    written(&server).await;
    server.kill();
    let lost = bench.queue.tick().await.unwrap_err();
    assert!(matches!(lost, QueueError::Unavailable(_)), "{lost:?}");
    server.restart().await;

    hinted(&mut hints, &Hint::Interrupted).await;
    eventually("the queue answers", async || {
        ensure!(!bench.queue.is_empty_handed().await?);
        Ok(())
    })
    .await;
    assert_eq!(bench.finish(&delivery).await, Settled::Settled);
    bench.enqueue(bench.entry("any")).await;
    hinted(&mut hints, &Hint::Ready(marabunta_server::run::Place::parse("any").unwrap())).await;
}

/// Redis answers before it has written, if an fsync is under way (`appendfsync everysec`): what it then loses comes back by reconciling.
async fn written(server: &Redis) {
    let mut connection = server.connect().await;
    eventually("the append-only file is written", async || {
        let info: redis::InfoDict =
            redis::cmd("INFO").arg("persistence").query_async(&mut connection).await?;
        let buffered: u64 = info.get("aof_buffer_length").unwrap_or(0);
        ensure!(buffered == 0, "{buffered} bytes are not");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_unavailable_and_what_was_asked_may_have_been_done() {
    let server = Redis::start().await;
    let prefix = server.prefix();
    let options = RedisOptions { timeout: ms(200), ..Bench::options(&prefix, 1, "server-1") };
    let bench = Bench {
        queue: std::sync::Arc::new(RedisQueue::connect(options).await.unwrap()),
        prefix: Some(prefix),
    };
    let entry = bench.entry("web-1");
    server.pause();
    let lost = bench.queue.enqueue(vec![entry.clone()]).await.unwrap_err();
    assert!(matches!(lost, QueueError::Unavailable(_)), "{lost:?}");
    server.resume();
    let answer =
        eventually("the queue answers", async || Ok(bench.queue.enqueue(vec![entry.clone()]).await?)).await;
    assert!(matches!(answer[..], [Admission::Duplicate | Admission::Queued]));
    assert_eq!(bench.queue.depth(entry.place).await.unwrap(), 1);
}

#[tokio::test]
async fn a_settled_queue_leaves_no_keys_but_its_counters() {
    let bench = Bench::redis(1).await;
    let session = bench.connect("web-1").await;
    for _ in 0..3 {
        let delivery = bench.start(&session).await;
        bench.finish(&delivery).await;
    }
    bench.queue.reap().await.unwrap();
    bench.until_silent().await;
    let prefix = bench.prefix.as_ref().unwrap();
    assert_eq!(prefix.keys().await, [format!("{}:{{0}}:meta", prefix.prefix())]);
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_left_for_the_one_that_took_its_address() {
    let (first, second) = (Redis::start().await, Redis::start().await);
    // What stands before them leads new connections to whoever is the master now; those that are open stay.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (promote, master) = watch::channel(first.url().to_owned());
    let mut forwarding = JoinSet::new();
    forwarding.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            let to = master.borrow().trim_start_matches("redis://").to_owned();
            open.spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    let options = RedisOptions::new(format!("redis://{address}"), "m", "server-1");
    let queue = RedisQueue::connect(options).await.unwrap();
    let mut hints = queue.hints();

    let (host, port) = second.url().trim_start_matches("redis://").split_once(':').unwrap();
    let mut demoted = first.connect().await;
    ::redis::cmd("REPLICAOF").arg(host).arg(port).exec_async(&mut demoted).await.unwrap();
    promote.send_replace(second.url().to_owned());
    eventually("it writes to the other one", async || Ok(queue.finish_rebuild().await?)).await;
    hinted(&mut hints, &Hint::Interrupted).await;
    queue.announce(Hint::Due).await.unwrap();
    hinted(&mut hints, &Hint::Due).await;
    assert!(!queue.is_empty_handed().await.unwrap());
    forwarding.shutdown().await;
}

#[tokio::test]
async fn a_session_that_one_shard_has_lost_is_opened_there_again() {
    let bench = Bench::redis_with(3, Limits::default()).await;
    let (options, tracker) =
        (Options { server: "server-1".into(), session_age: Duration::from_secs(3600) }, TaskTracker::new());
    let ((started, _started), (findings, _findings)) = (mpsc::channel(9), mpsc::channel(9));
    let metrics = Arc::new(Metrics::new());
    let (owner, dispatch) = Owner::new(bench.queue.clone(), options, metrics, &tracker, started, findings);
    let stop = CancellationToken::new();
    tracker.spawn(owner.run(stop.clone(), Duration::ZERO));

    let hello = Hello {
        worker: name("web-1"),
        instance: "i".into(),
        boot_id: String::new(),
        traits: Default::default(),
        slots: 1,
        version: String::new(),
        holding: vec![],
        credit: 1,
    };
    let (said, incoming) = mpsc::channel::<Result<FromWorker, String>>(1);
    let mut heard = dispatch.connect(hello, false, ReceiverStream::new(incoming)).await.unwrap();
    tracker.spawn(async move { while heard.next().await.is_some() {} });
    let prefix = bench.prefix.as_ref().unwrap();
    let sessions = format!("{}:{{1}}:sessions", prefix.prefix());
    let mut connection = Redis::shared().await.connect().await;
    command(&mut connection, &["HDEL", &sessions, "web-1"]).await;

    let run = RunId::new(marabunta_server::clock::wall(), 1);
    bench.enqueue(crate::bench::entry(run, "web-1")).await;
    eventually("it is given out", async || {
        // The worker is alive.
        said.try_send(Ok(FromWorker::Heartbeat(1))).ok();
        let phase = bench.phase(run).await;
        ensure!(matches!(phase, Some(Phase::InFlight { .. })), "it is {phase:?}");
        Ok(())
    })
    .await;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}
