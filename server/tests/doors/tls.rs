//! TLS, certificates of clients, and bearer tokens.

use std::fs;

use marabunta_proto::v1;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status};
use v1::dispatch_client::DispatchClient;
use v1::runs_client::RunsClient;
use v1::worker_message::Message;

use crate::server::Server;

/// A certification authority, and files of what it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    files: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let files = TempDir::new().unwrap();
        fs::write(files.path().join("ca.pem"), &pem).unwrap();
        Self { issuer: Issuer::new(params, key), pem, files }
    }

    /// Certificate and key of this common name.
    fn sign(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn server(&self, more: &[&str]) -> Server {
        let (certificate, key) = self.sign("server");
        let (certificate, key) = (self.file("server.pem", &certificate), self.file("server.key", &key));
        Server::start(&[&["--tls-cert", &certificate, "--tls-key", &key], more].concat()).await
    }

    async fn channel(
        &self,
        server: &Server,
        client: Option<&str>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls =
            ClientTlsConfig::new().domain_name("localhost").ca_certificate(Certificate::from_pem(&self.pem));
        if let Some(name) = client {
            let (certificate, key) = self.sign(name);
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Channel::from_shared(format!("https://{}", server.grpc)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }
}

fn list() -> v1::ListRunsRequest {
    v1::ListRunsRequest::default()
}

async fn hello(channel: Channel, token: Option<&str>) -> Result<(), Status> {
    let hello = v1::Hello {
        protocols: vec![1],
        name: "web-1".into(),
        instance: "i".into(),
        slots: 1,
        ..Default::default()
    };
    let (messages, outgoing) = tokio::sync::mpsc::channel(1);
    messages.send(v1::WorkerMessage { message: Some(Message::Hello(hello)) }).await.unwrap();
    let request = bearing(ReceiverStream::new(outgoing), token);
    let mut stream = DispatchClient::new(channel).connect(request).await?.into_inner();
    stream.message().await.map(|welcome| assert!(welcome.is_some()))
}

fn bearing<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let header: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
    }
    request
}

#[tokio::test]
async fn with_a_client_ca_a_worker_is_who_its_certificate_says() {
    let authority = Authority::new();
    let ca = authority.file("client-ca.pem", &authority.pem);
    let server = authority.server(&["--client-ca", &ca]).await;

    let own = authority.channel(&server, Some("web-1")).await.unwrap();
    hello(own.clone(), None).await.unwrap();
    RunsClient::new(own).list(list()).await.unwrap();

    let other = authority.channel(&server, Some("web-2")).await.unwrap();
    let error = hello(other, None).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    assert!(error.message().contains("not of `web-1`"), "{error}");

    // TLS 1.3 tells a client without a certificate only when it uses the connection.
    if let Ok(channel) = authority.channel(&server, None).await {
        RunsClient::new(channel).list(list()).await.unwrap_err();
    }
    server.stop().await;
}

#[tokio::test]
async fn callers_and_workers_have_tokens_of_their_own() {
    let authority = Authority::new();
    let (caller, worker) = ("caller-token-0123456789", "worker-token-0123456789");
    let callers =
        authority.file("callers", &format!("# two, while one is replaced\nold-caller-token-01\n{caller}\n"));
    let workers = authority.file("workers", &format!("{worker}\n"));
    let server = authority.server(&["--token-file", &callers, "--worker-token-file", &workers]).await;
    let channel = authority.channel(&server, None).await.unwrap();
    let mut runs = RunsClient::new(channel.clone());
    for (token, said) in [
        (None, "the call has no header `authorization: Bearer <token>`"),
        (Some(worker), "the bearer token is not one that this server knows"),
        (Some("caller-token-012345678"), "the bearer token is not one that this server knows"),
    ] {
        let error = runs.list(bearing(list(), token)).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Unauthenticated, said));
    }
    for token in [caller, "old-caller-token-01"] {
        runs.list(bearing(list(), Some(token))).await.unwrap();
    }
    assert_eq!(hello(channel.clone(), Some(caller)).await.unwrap_err().code(), Code::Unauthenticated);
    hello(channel, Some(worker)).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn plaintext_on_a_tls_door_gets_nothing() {
    let authority = Authority::new();
    let server = authority.server(&[]).await;
    let endpoint = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
    if let Ok(channel) = endpoint.connect().await {
        RunsClient::new(channel).list(list()).await.unwrap_err();
    }
    let secure = authority.channel(&server, None).await.unwrap();
    RunsClient::new(secure).list(list()).await.unwrap();
    server.stop().await;
}
