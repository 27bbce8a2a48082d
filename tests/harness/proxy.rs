use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use marabunta_tests::faults::proxy::{At, Cut, Direction, Protocol, Proxy, Then, Trap};
use marabunta_tests::support::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Says everything twice, and counts what it was told.
struct Echo {
    address: SocketAddr,
    heard: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let (mut tasks, counter) = (JoinSet::new(), heard.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(twice(stream, counter.clone()));
            }
        });
        Self { address, heard, _tasks: tasks }
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }
}

async fn twice(mut stream: TcpStream, heard: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        heard.fetch_add(read as u64, Ordering::SeqCst);
        for _ in 0..2 {
            if stream.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }
}

async fn say(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; 2 * text.len()];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn behind_a_proxy() -> (Echo, Proxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(echo.address, Protocol::Turns);
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (echo, proxy, client)
}

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let (_echo, proxy, mut client) = behind_a_proxy().await;
    assert_eq!(say(&mut client, "hello").await, "hellohello");
    assert_eq!((proxy.bytes(Direction::Requests), proxy.bytes(Direction::Replies)), (5, 10));
    assert_eq!((proxy.connections(), proxy.open()), (1, 1));
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "the end passes to the server, and its end back");
    eventually("the connection is closed", async || {
        ensure!(proxy.open() == 0, "{proxy:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn latency_is_added_to_each_direction() {
    let (_echo, proxy, mut client) = behind_a_proxy().await;
    let latency = Duration::from_millis(150);
    proxy.latency(latency);
    let start = Instant::now();
    say(&mut client, "slow").await;
    assert!(start.elapsed() >= 2 * latency, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_direction_that_stalls_is_not_read_so_that_its_sender_waits() {
    const MUCH: usize = 64 << 20;
    for direction in [Direction::Requests, Direction::Replies] {
        let (echo, proxy, client) = behind_a_proxy().await;
        proxy.stall(direction);
        let (mut reader, mut writer) = client.into_split();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let zeroes = vec![0; MUCH];
            writer.write_all(&zeroes).await.unwrap();
        });
        // More than all buffers on the way can take.
        let written = timeout(Duration::from_millis(700), tasks.join_next()).await;
        assert!(written.is_err(), "{MUCH} bytes went through while {direction:?} stalled");
        let heard = echo.heard();
        assert!(heard < MUCH as u64, "{heard} bytes were read");
        proxy.heal();
        let mut answer = vec![0; 2 * MUCH];
        reader.read_exact(&mut answer).await.unwrap();
        tasks.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_cut_is_an_orderly_end_or_a_reset_for_both_sides() {
    for cut in [Cut::Fin, Cut::Rst] {
        let (_echo, proxy, mut client) = behind_a_proxy().await;
        say(&mut client, "hello").await;
        proxy.cut(cut);
        let read = client.read(&mut [0; 8]).await;
        match cut {
            Cut::Fin => assert_eq!(read.unwrap(), 0),
            Cut::Rst => assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut next, "a new one").await, "a new onea new one", "only what was open is cut");
    }
}

#[tokio::test]
async fn a_cut_comes_after_exactly_so_many_bytes() {
    let (echo, proxy, mut client) = behind_a_proxy().await;
    proxy.cut_after(Direction::Replies, 7, Cut::Fin);
    client.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"hellohe");
    assert_eq!(echo.heard(), 5);
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut next, "only the first was cut").await;
}

#[tokio::test]
async fn replies_that_are_swallowed_leave_the_requests_through_and_the_connection_is_reset_when_it_heals() {
    let (echo, proxy, mut client) = behind_a_proxy().await;
    proxy.swallow(Direction::Replies);
    client.write_all(b"hello").await.unwrap();
    eventually("the server hears it", async || {
        ensure!(echo.heard() == 5, "{}", echo.heard());
        Ok(())
    })
    .await;
    let mut byte = [0];
    timeout(Duration::from_millis(200), client.read(&mut byte)).await.expect_err("nothing comes back");
    proxy.heal();
    assert_eq!(client.read(&mut byte).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn new_connections_are_refused_while_the_old_ones_stay() {
    let (_echo, proxy, mut client) = behind_a_proxy().await;
    say(&mut client, "hello").await;
    proxy.refuse();
    eventually("it is refused", async || {
        let refused = TcpStream::connect(proxy.address()).await;
        ensure!(
            matches!(&refused, Err(error) if error.kind() == ErrorKind::ConnectionRefused),
            "{refused:?}"
        );
        Ok(())
    })
    .await;
    assert_eq!(say(&mut client, "still").await, "stillstill");
    proxy.heal();
    eventually("it is taken again", async || Ok(TcpStream::connect(proxy.address()).await?)).await;
}

#[tokio::test]
async fn a_black_hole_takes_connections_and_gives_nothing_until_it_heals() {
    let (echo, proxy, mut client) = behind_a_proxy().await;
    say(&mut client, "hello").await;
    proxy.black_hole();
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    for stream in [&mut client, &mut next] {
        stream.write_all(b"anybody?").await.unwrap();
        timeout(Duration::from_millis(200), stream.read(&mut [0; 8])).await.expect_err("nobody answers");
    }
    assert_eq!(echo.heard(), 5);
    proxy.heal();
    for stream in [&mut client, &mut next] {
        stream.read_exact(&mut [0; 16]).await.unwrap();
    }
}

#[tokio::test]
async fn a_trap_springs_once_at_its_moment() {
    for (at, heard) in [(At::Before, 0), (At::Midway, 6), (At::After, 13), (At::Answered, 13)] {
        let (echo, proxy, mut client) = behind_a_proxy().await;
        let deeds = Arc::new(AtomicU64::new(0));
        let (counter, hears) = (deeds.clone(), echo.heard.clone());
        let mut sprung = proxy.trap(Trap::request(at, "COMMIT").then(Then::Cut(Cut::Fin)).deed(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            if at == At::Answered {
                assert_eq!(hears.load(Ordering::SeqCst), 18, "what is answered was heard");
            }
        }));
        say(&mut client, "BEGIN").await;
        assert!(!sprung.is());
        client.write_all(b"now COMMIT it").await.unwrap();
        sprung.wait().await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap_or_default();
        assert_eq!(answer, b"", "nothing comes back: {at:?}");
        eventually("the server has heard as much as was passed on", async || {
            ensure!(echo.heard() == 5 + heard, "{at:?}: {}", echo.heard());
            Ok(())
        })
        .await;
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut next, "COMMIT").await;
        assert_eq!(deeds.load(Ordering::SeqCst), 1, "it is gone");
    }
}

#[tokio::test]
async fn a_trap_can_leave_the_connection_silent_or_as_it_is() {
    let (_echo, proxy, mut client) = behind_a_proxy().await;
    let mut sprung = proxy.trap(Trap::reply(At::Before, "one").then(Then::GoOn));
    say(&mut client, "one").await;
    sprung.wait().await;
    let mut sprung = proxy.trap(Trap::request(At::Answered, "two"));
    client.write_all(b"two").await.unwrap();
    sprung.wait().await;
    client.write_all(b"three").await.unwrap();
    timeout(Duration::from_millis(200), client.read(&mut [0; 8])).await.expect_err("it is silent");
    drop(client);
    eventually("the connection ends with its client", async || {
        ensure!(proxy.open() == 0, "{proxy:?}");
        Ok(())
    })
    .await;
}

#[cfg(feature = "services")]
mod real {
    use marabunta_proto::v1::runs_client::RunsClient;
    use marabunta_proto::v1::submit_request::What;
    use marabunta_proto::v1::{ListRunsRequest, SubmitRequest};
    use marabunta_tests::support::mariadb::MariaDb;
    use marabunta_tests::support::redis::Redis;
    use marabunta_tests::support::server::{Options, Server};
    use redis::AsyncCommands as _;
    use sqlx::{Connection as _, MySqlConnection, Row as _};
    use tonic::transport::Channel;

    use super::*;

    #[tokio::test]
    async fn the_answer_of_one_of_many_pipelined_commands_is_withheld() {
        let redis = Redis::start().await;
        let upstream = redis.url().strip_prefix("redis://").unwrap().parse().unwrap();
        let proxy = Proxy::start(upstream, Protocol::Redis);
        let client = redis::Client::open(format!("redis://{}", proxy.address())).unwrap();
        let config =
            redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(500)));
        let shared = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let mut sprung = proxy.trap(Trap::request(At::Answered, "key-25").then(Then::Cut(Cut::Fin)));
        // Polled in this order, and so sent in it.
        let all = (0..50).map(|number| {
            let mut connection = shared.clone();
            async move { connection.incr::<_, _, u64>(format!("key-{number}"), 1).await.is_ok() }
        });
        let answered = futures_util::future::join_all(all).await;
        sprung.wait().await;
        for (number, answered) in answered.into_iter().enumerate() {
            assert_eq!(answered, number < 25, "command {number}");
        }
        let counted: u64 = redis.connect().await.get("key-25").await.unwrap();
        assert_eq!(counted, 1, "it was carried out before its answer was withheld");
    }

    #[tokio::test]
    async fn a_commit_is_made_whose_answer_is_withheld() {
        let mariadb = MariaDb::start().await;
        let database = mariadb.database().await;
        let (before, rest) = database.url().split_once('@').unwrap();
        let (upstream, name) = rest.split_once('/').unwrap();
        let proxy = Proxy::start(upstream.parse().unwrap(), Protocol::Turns);
        let mut behind = database.connect().await;
        sqlx::query("CREATE TABLE t (n INT)").execute(&mut behind).await.unwrap();
        let url = format!("{before}@{}/{name}", proxy.address());
        let mut connection = MySqlConnection::connect(&url).await.unwrap();
        let mut sprung = proxy.trap(Trap::request(At::Answered, "COMMIT").then(Then::Cut(Cut::Rst)));
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *transaction).await.unwrap();
        assert!(!sprung.is());
        transaction.commit().await.expect_err("its answer does not come");
        sprung.wait().await;
        let row = sqlx::query("SELECT COUNT(*) FROM t").fetch_one(&mut behind).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), 1);
    }

    #[tokio::test]
    async fn a_call_is_answered_and_its_answer_withheld_while_others_go_on() {
        let server = Server::start(Options::default()).await;
        let proxy = Proxy::start(server.grpc(), Protocol::Http2);
        let channel =
            Channel::from_shared(format!("http://{}", proxy.address())).unwrap().connect().await.unwrap();
        let mut runs = RunsClient::new(channel);
        let request = |target: &str| SubmitRequest {
            target: target.to_owned(),
            what: Some(What::Handler("none".to_owned())),
            ..Default::default()
        };
        let mut sprung = proxy.trap(Trap::request(At::Answered, "web-2").then(Then::Cut(Cut::Rst)));
        runs.submit(request("web-1")).await.unwrap();
        runs.submit(request("web-2")).await.expect_err("its answer does not come");
        sprung.wait().await;
        let listed =
            runs.list(ListRunsRequest { page_size: 10, ..Default::default() }).await.unwrap().into_inner();
        assert_eq!(listed.runs.len(), 2, "{listed:?}");
    }
}
