//! Below the messages: frames and bytes that no client of ours would send.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use marabunta_proto::v1;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::codegen::http::{HeaderMap, Request};

use crate::server::Server;

/// A connection of HTTP/2, driven until it is dropped.
struct Wire {
    requests: SendRequest<Bytes>,
    _driver: JoinSet<Result<(), h2::Error>>,
}

impl Wire {
    async fn open(server: &Server) -> Self {
        let (requests, connection) = handshake(TcpStream::connect(server.grpc).await.unwrap()).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Self { requests: requests.ready().await.unwrap(), _driver: driver }
    }

    /// Sends these bytes as the body of a call. Returns `grpc-status` and `grpc-message`, or the HTTP status if there is none.
    async fn call(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (String, String) {
        let request = Request::post(format!("http://server{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (response, mut sending) = self
            .requests
            .clone()
            .ready()
            .await
            .unwrap()
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        sending.send_data(Bytes::copy_from_slice(body), true).unwrap();
        let response = response.await.unwrap();
        let status = response.status();
        let said = |headers: &HeaderMap| {
            let word = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            word("grpc-status").map(|status| (status, word("grpc-message").unwrap_or_default()))
        };
        if let Some(said) = said(response.headers()) {
            return said;
        }
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            data.unwrap();
        }
        let trailers = body.trailers().await.unwrap();
        trailers.and_then(|trailers| said(&trailers)).unwrap_or_else(|| (status.to_string(), String::new()))
    }
}

/// A message in its frame: a flag, a length, the bytes.
fn framed(flag: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[flag], &length.to_be_bytes()[..], message].concat()
}

fn whole(message: &[u8]) -> Vec<u8> {
    framed(0, message.len() as u32, message)
}

/// A field that nobody knows, 200 groups deep.
fn nested() -> Vec<u8> {
    // Field 1000 as the start, then the end, of a group.
    [[0xc3, 0x3e].repeat(200), [0xc4, 0x3e].repeat(200)].concat()
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];
const FORM: &[(&str, &str)] = &[("content-type", "text/plain")];
const SUBMIT: &str = "/marabunta.v1.Runs/Submit";

#[tokio::test]
async fn a_damaged_call_is_refused_and_hurts_no_other() {
    let server = Server::start(&[]).await;
    let good = v1::SubmitRequest {
        target: "web-1".into(),
        durability: v1::Durability::Durable.into(),
        what: Some(v1::submit_request::What::Exec(v1::Exec {
            argv: vec!["true".into()],
            ..Default::default()
        })),
        ..Default::default()
    };
    let good = good.encode_to_vec();
    let hurried = [GRPC, &[("grpc-timeout", "1n")]].concat();
    let packed = [GRPC, &[("grpc-encoding", "gzip")]].concat();
    let strange = [GRPC, &[("grpc-timeout", "soon")]].concat();
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, Vec<u8>, &'a [&'a str]);
    let (invalid, exhausted, unimplemented, internal) = ("3", "8", "12", "13");
    let rows: &[Row<'_>] = &[
        ("no message", GRPC, SUBMIT, vec![], &[internal, unimplemented]),
        ("half a header", GRPC, SUBMIT, vec![0, 0, 0], &[internal, "2"]),
        ("a length that lies", GRPC, SUBMIT, framed(0, good.len() as u32 + 1, &good), &[internal, "2"]),
        ("a length of 4 GiB", GRPC, SUBMIT, framed(0, u32::MAX, &good), &["11", exhausted]),
        (
            "packed, but not how",
            GRPC,
            SUBMIT,
            framed(1, good.len() as u32, &good),
            &[internal, unimplemented],
        ),
        ("packed in a way nobody knows", &packed, SUBMIT, framed(1, 4, b"gzip"), &[unimplemented]),
        ("a flag that is none", GRPC, SUBMIT, framed(7, good.len() as u32, &good), &[internal]),
        ("text that is no UTF-8", GRPC, SUBMIT, whole(&[0x0a, 2, 0xff, 0xfe]), &[internal, invalid]),
        ("a field cut off", GRPC, SUBMIT, whole(&[0x0a, 9, b'x']), &[internal, invalid]),
        ("groups 200 deep", GRPC, SUBMIT, whole(&nested()), &[internal, invalid]),
        ("no time at all", &hurried, SUBMIT, framed(0, good.len() as u32 + 1, &good), &["1", "4", internal]),
        ("a time that is none", &strange, SUBMIT, whole(&[]), &[invalid]),
        ("a method nobody has", GRPC, "/marabunta.v1.Runs/Sumbit", whole(&good), &[unimplemented]),
        ("a service nobody has", GRPC, "/no.such/Service", whole(&good), &[unimplemented]),
        ("no content type", &[], SUBMIT, whole(&good), &[invalid]),
        ("a form of a browser", FORM, SUBMIT, whole(&good), &[invalid]),
    ];
    let mut wire = Wire::open(&server).await;
    for (what, headers, path, body, expected) in rows {
        let (status, message) = wire.call(path, headers, body).await;
        assert!(expected.contains(&status.as_str()), "{what}: {status} {message:?}, not {expected:?}");
    }
    // On the same connection a right call is answered, and none of the wrong ones has become a run.
    let list = v1::ListRunsRequest::default().encode_to_vec();
    assert_eq!(wire.call("/marabunta.v1.Runs/List", GRPC, &whole(&list)).await.0, "0");
    let runs = v1::runs_client::RunsClient::new(server.channel().await);
    assert!(runs.clone().list(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_do_not_stop_the_door() {
    let server = Server::start(&[]).await;
    let mut reset = 0;
    'connections: while reset < 10_000 {
        let wire = Wire::open(&server).await;
        loop {
            // The server hangs up on who does that too often; the next connection goes on.
            let Ok(mut requests) = wire.requests.clone().ready().await else { continue 'connections };
            let mut request = Request::post(format!("http://server{SUBMIT}")).body(()).unwrap();
            request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            let Ok((_, mut sending)) = requests.send_request(request, false) else { continue 'connections };
            sending.send_reset(h2::Reason::CANCEL);
            reset += 1;
            if reset == 10_000 {
                break 'connections;
            }
        }
    }
    let list = v1::ListRunsRequest::default().encode_to_vec();
    let answer = Wire::open(&server).await.call("/marabunta.v1.Runs/List", GRPC, &whole(&list)).await;
    assert_eq!(answer.0, "0");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_http2_is_hung_up_on() {
    let server = Server::start(&[]).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"POST /marabunta.v1.Runs/Submit HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut stream = TcpStream::connect(server.grpc).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // Whatever is said before, the connection ends.
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{:?} is still connected", String::from_utf8_lossy(bytes));
    }
    server.stop().await;
}
