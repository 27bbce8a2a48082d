//! How a worker's stream begins, and what ends it.

use marabunta_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use v1::dispatch_client::DispatchClient;
use v1::worker_message::Message;

use crate::server::Server;

fn hello() -> v1::Hello {
    v1::Hello {
        protocols: vec![1],
        name: "web-1".into(),
        instance: "i".into(),
        slots: 2,
        ..Default::default()
    }
}

async fn connect(
    server: &Server,
    first: Option<Message>,
) -> Result<(mpsc::Sender<v1::WorkerMessage>, Streaming<v1::ServerMessage>), Status> {
    let (messages, outgoing) = mpsc::channel(8);
    messages.send(v1::WorkerMessage { message: first }).await.unwrap();
    let mut dispatch = DispatchClient::new(server.channel().await);
    let incoming = dispatch.connect(ReceiverStream::new(outgoing)).await?;
    Ok((messages, incoming.into_inner()))
}

#[tokio::test]
async fn a_session_begins_with_a_valid_hello_or_not_at_all() {
    let server = Server::start(&[]).await;
    let said = |hello: v1::Hello| Some(Message::Hello(hello));
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let invalid = Code::InvalidArgument;
    for (first, code, begins) in [
        (None, invalid, "the first message is empty: a session begins with Hello"),
        (Some(Message::Heartbeat(v1::Heartbeat { sequence: 1 })), invalid, "the first message is Heartbeat"),
        (Some(Message::Credit(v1::Credit::default())), invalid, "the first message is Credit"),
        (Some(Message::Accepted(v1::Accepted::default())), invalid, "the first message is Accepted"),
        (
            said(v1::Hello::default()),
            Code::FailedPrecondition,
            "protocols is []: this server speaks version 1",
        ),
        (
            said(v1::Hello { protocols: vec![2, 3], ..hello() }),
            Code::FailedPrecondition,
            "protocols is [2, 3]",
        ),
        (said(v1::Hello { name: "all".into(), ..hello() }), invalid, "hello.name: name `all` is reserved"),
        (
            said(v1::Hello { name: "Web".into(), ..hello() }),
            invalid,
            "hello.name: name has 'W' at character 1",
        ),
        (said(v1::Hello { instance: "".into(), ..hello() }), invalid, "hello.instance is \"\""),
        (said(v1::Hello { slots: 0, ..hello() }), invalid, "hello.slots is 0: 1 to 100000"),
        (said(v1::Hello { handlers: vec!["A".into()], ..hello() }), invalid, "hello.handlers: name has 'A'"),
        (
            said(v1::Hello { labels: label("name", "x"), ..hello() }),
            invalid,
            "hello.labels: label `name` is reserved",
        ),
        (
            said(v1::Hello { labels: label("a b", "x"), ..hello() }),
            invalid,
            "hello.labels: label key \"a b\"",
        ),
    ] {
        let error = connect(&server, first).await.expect_err(begins);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().starts_with(begins), "{:?} should begin with {begins:?}", error.message());
    }
    server.stop().await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_stream_and_says_why() {
    let server = Server::start(&[]).await;
    for (message, begins) in [
        (Some(Message::Hello(hello())), "message is a second Hello: only the first message is one"),
        (None, "message is empty: Accepted, Credit or Heartbeat may follow Hello"),
    ] {
        let damaged = v1::Hello { holding: vec![vec![1, 2, 3].into()], ..hello() };
        let (worker, mut incoming) = connect(&server, Some(Message::Hello(damaged))).await.unwrap();
        let welcome = incoming.message().await.unwrap().unwrap().message.unwrap();
        let v1::server_message::Message::Welcome(welcome) = welcome else { panic!("{welcome:?}") };
        assert_eq!((welcome.protocol, welcome.heartbeat.unwrap().seconds), (1, 5));
        worker.send(v1::WorkerMessage { message }).await.unwrap();
        let error = incoming.message().await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert_eq!(error.message(), begins);
    }
    server.stop().await;
}

#[tokio::test]
async fn each_part_of_a_report_has_a_verdict_of_its_own() {
    let server = Server::start(&[]).await;
    let mut dispatch = DispatchClient::new(server.channel().await);
    let run = marabunta_server::run::RunId::new(marabunta_server::clock::wall(), 0);
    let lease = |fence| marabunta_server::run::Lease {
        run,
        fence: marabunta_server::run::Fence(fence),
        attempt: 1,
        durability: marabunta_server::run::Durability::Durable,
        worker: "web-1".parse().unwrap(),
    };
    let end = |lease: Vec<u8>, outcome: v1::Outcome| v1::AttemptEnd {
        lease: lease.into(),
        outcome: outcome.into(),
        ..Default::default()
    };
    let batch = |kind: i32, data: Vec<u8>, first| v1::MessageBatch {
        lease: lease(7).encode().into(),
        first,
        messages: vec![v1::Message { kind, data: data.into(), time: None }],
    };
    let report = v1::ReportRequest {
        messages: vec![
            v1::MessageBatch { lease: vec![9].into(), ..Default::default() },
            batch(0, vec![], 0),
            batch(1, vec![0; (64 << 10) + 1], 0),
            batch(1, vec![0], u64::MAX),
            batch(1, vec![0], 0),
        ],
        ends: vec![
            end(vec![], v1::Outcome::Succeeded),
            end(lease(0).encode(), v1::Outcome::Succeeded),
            end(lease(7).encode(), v1::Outcome::Unspecified),
            v1::AttemptEnd { result: "{".into(), ..end(lease(7).encode(), v1::Outcome::Succeeded) },
            end(lease(u64::MAX).encode(), v1::Outcome::Succeeded),
        ],
    };
    let answer = dispatch.report(report).await.unwrap().into_inner();
    assert_eq!(
        answer.messages,
        [i32::from(v1::Verdict::Invalid); 5],
        "the last is of a run that nobody knows"
    );
    assert_eq!(answer.ends, [i32::from(v1::Verdict::Invalid); 5]);
    let error =
        dispatch.fetch_payload(v1::FetchPayloadRequest { hash: vec![1; 31].into() }).await.unwrap_err();
    assert_eq!(error.message(), "hash is 31 bytes long: SHA-256 has 32");
    let error =
        dispatch.fetch_payload(v1::FetchPayloadRequest { hash: vec![1; 32].into() }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    server.stop().await;
}
