//! The way to a server: its URL, the TLS files and the token become a [`Connection`], which the command line and the worker share.
//!
//! The channel behind it connects when it is first used and again whenever it was cut, so opening one never waits and fails only for
//! what is wrong on this side.

mod dialer;

use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use marabunta_proto::v1::{
    dispatch_client::DispatchClient, runs_client::RunsClient, tasks_client::TasksClient,
    workers_client::WorkersClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};

pub use dialer::{Dialer, Wire};

/// Where the server is expected unless something else is said.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// How long a TCP and TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to answer a call; for a stream, to open it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent connection is probed, and how long the probe may stay unanswered before the connection counts as cut.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// A page of runs with large results fits; the server bounds what it sends long before.
const LARGEST_ANSWER: usize = 64 << 20;

/// How to reach a server.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// URL of the server or of the balancer before it: `http://127.0.0.1:50051`, `https://marabunta.example.net`.
    pub server: String,
    /// PEM file of the certificate authorities to trust, instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// PEM files of this side's certificate and its key; both or none.
    pub tls_cert: Option<PathBuf>,
    /// See `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// File whose text, without the white space around it, is the bearer token. Goes before `token`.
    pub token_file: Option<PathBuf>,
    /// The bearer token itself.
    pub token: Option<Token>,
    /// Allow plaintext to an address that is not loopback.
    pub insecure: bool,
    /// How connections are made; by the system's resolver and TCP unless set.
    pub dialer: Option<Dialer>,
}

/// A bearer token. It does not show in debug output.
#[derive(Clone)]
pub struct Token(String);

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What is wrong with a [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL that names a scheme and a host.
    #[error("use the server URL `{url}`: {problem}")]
    Url { url: String, problem: String },
    /// Plaintext would leave this host.
    #[error(
        "connect to {0} in plaintext: the token and all output could be read on the way; use an https URL, or --insecure to allow it"
    )]
    Plaintext(String),
    /// A TLS file was given for a server that is spoken to in plaintext.
    #[error("use {option} with {url}: it has a meaning for an https URL only")]
    TlsWithoutHttps { option: &'static str, url: String },
    /// One half of certificate and key.
    #[error("use --tls-cert or --tls-key alone: a certificate needs its key and the key its certificate")]
    HalfIdentity,
    /// A file that was named cannot be read.
    #[error("read {option} {}: {source}", path.display())]
    File { option: &'static str, path: PathBuf, source: std::io::Error },
    /// A token of characters that no header can carry.
    #[error("use the token from {0}: it is empty or holds something else than visible ASCII characters")]
    Token(String),
    /// The TLS files were read and not understood.
    #[error("set up TLS from the given files: {0}")]
    Tls(String),
}

/// A connection to one server or balancer; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    bearer: Bearer,
}

/// What the generated clients run on.
pub type Service = InterceptedService<Channel, Bearer>;

impl Connection {
    /// Opens a connection, which is made when it is first used. Needs a tokio runtime.
    pub fn open(config: &Config) -> Result<Self, ConnectError> {
        let endpoint = endpoint(config)?;
        let bearer = Bearer(bearer_header(config)?);
        let channel = match &config.dialer {
            None => endpoint.connect_lazy(),
            Some(dialer) => endpoint.connect_with_connector_lazy(dialer.clone()),
        };
        Ok(Self { channel, bearer })
    }

    /// Client of the service `Runs`.
    pub fn runs(&self) -> RunsClient<Service> {
        RunsClient::new(self.service()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Client of the service `Tasks`.
    pub fn tasks(&self) -> TasksClient<Service> {
        TasksClient::new(self.service()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Client of the service `Workers`.
    pub fn workers(&self) -> WorkersClient<Service> {
        WorkersClient::new(self.service()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Client of the service `Dispatch`.
    pub fn dispatch(&self) -> DispatchClient<Service> {
        DispatchClient::new(self.service()).max_decoding_message_size(LARGEST_ANSWER)
    }

    fn service(&self) -> Service {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }
}

/// Puts `authorization: Bearer ..` (RFC 6750) on each call.
#[derive(Clone, Debug)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

fn endpoint(config: &Config) -> Result<Endpoint, ConnectError> {
    let url = &config.server;
    let endpoint = Endpoint::from(parse_url(url)?)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PROBE.0)
        .keep_alive_timeout(PROBE.1)
        .keep_alive_while_idle(true);
    let endpoint = endpoint
        .user_agent(concat!("marabunta/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| ConnectError::Url { url: url.clone(), problem: error.to_string() })?;
    if endpoint.uri().scheme_str() == Some("https") {
        return endpoint.tls_config(tls(config)?).map_err(|error| ConnectError::Tls(chain(&error)));
    }
    let files =
        [("--tls-ca", &config.tls_ca), ("--tls-cert", &config.tls_cert), ("--tls-key", &config.tls_key)];
    if let Some((option, _)) = files.into_iter().find(|(_, path)| path.is_some()) {
        return Err(ConnectError::TlsWithoutHttps { option, url: url.clone() });
    }
    if !config.insecure && !is_loopback(endpoint.uri()) {
        return Err(ConnectError::Plaintext(url.clone()));
    }
    Ok(endpoint)
}

fn parse_url(url: &str) -> Result<Uri, ConnectError> {
    let wrong = |problem: &str| ConnectError::Url { url: url.to_owned(), problem: problem.to_owned() };
    let uri: Uri = url.parse().map_err(|_| wrong("write it like http://127.0.0.1:50051 or https://host"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(wrong("it must start with http:// or https://")),
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(wrong(
            "it must hold no user or password; tokens come by --token-file or MARABUNTA_TOKEN",
        ));
    }
    let has_port = authority.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    if has_port && uri.port_u16().is_none() {
        return Err(wrong("its port must be 1 to 65535"));
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("it must end after the host and port"));
    }
    Ok(uri)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls(config: &Config) -> Result<ClientTlsConfig, ConnectError> {
    let tls = match &config.tls_ca {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("--tls-ca", path)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => {
            Ok(tls.identity(Identity::from_pem(read("--tls-cert", cert)?, read("--tls-key", key)?)))
        }
        (None, None) => Ok(tls),
        _ => Err(ConnectError::HalfIdentity),
    }
}

fn bearer_header(config: &Config) -> Result<Option<MetadataValue<Ascii>>, ConnectError> {
    let (token, origin) = match (&config.token_file, &config.token) {
        (Some(path), _) => {
            let text = String::from_utf8_lossy(&read("--token-file", path)?).into_owned();
            (text, path.display().to_string())
        }
        (None, Some(Token(token))) => (token.clone(), "MARABUNTA_TOKEN".to_owned()),
        (None, None) => return Ok(None),
    };
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConnectError::Token(origin));
    }
    let mut header: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| ConnectError::Token(origin))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn read(option: &'static str, path: &PathBuf) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|source| ConnectError::File { option, path: path.clone(), source })
}

/// An error and what caused it, from the outside in, without saying anything twice.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !words.contains(&inner) {
            words = format!("{words}: {inner}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: &str) -> Config {
        Config { server: server.to_owned(), ..Config::default() }
    }

    #[tokio::test]
    async fn loopback_and_https_are_allowed_without_saying_more() {
        for server in [
            "http://127.0.0.1:50051",
            "http://[::1]:1",
            "http://localhost:1",
            "http://127.9.9.9",
            "https://web",
        ] {
            Connection::open(&config(server)).unwrap_or_else(|error| panic!("{server}: {error}"));
        }
        Connection::open(&Config { insecure: true, ..config("http://web:50051") }).unwrap();
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let file = Some(PathBuf::from("/nonexistent/x.pem"));
        let table = [
            (config("web-1:50051"), "must start with http:// or https://"),
            (config("ftp://web-1"), "must start with http:// or https://"),
            (config(""), "write it like"),
            (config("http://127.0.0.1:70000"), "port must be 1 to 65535"),
            (config("http://me:secret@127.0.0.1"), "no user or password"),
            (config("http://127.0.0.1/api"), "end after the host and port"),
            (config("http://web-1:50051"), "--insecure"),
            (config("http://127.0.0.1.example.net"), "--insecure"),
            (Config { tls_ca: file.clone(), ..config("http://127.0.0.1") }, "https URL only"),
            (Config { tls_ca: file.clone(), ..config("https://web") }, "read --tls-ca /nonexistent/x.pem"),
            (Config { tls_cert: file.clone(), ..config("https://web") }, "needs its key"),
            (Config { token_file: file, ..config("http://127.0.0.1") }, "read --token-file"),
            (Config { token: Some(Token("a b".into())), ..config("http://127.0.0.1") }, "MARABUNTA_TOKEN"),
            (Config { token: Some(Token(" \n".into())), ..config("http://127.0.0.1") }, "MARABUNTA_TOKEN"),
        ];
        for (config, expected) in table {
            let error = Connection::open(&config).expect_err(expected).to_string();
            assert!(error.contains(expected), "{config:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_token_never_shows() {
        let config = Config { token: Some(Token("s3cret".into())), ..config("http://127.0.0.1") };
        let connection = Connection::open(&config).unwrap();
        assert!(!format!("{config:?} {connection:?}").contains("s3cret"));
        let header = bearer_header(&config).unwrap().unwrap();
        assert_eq!((header.to_str().unwrap(), header.is_sensitive()), ("Bearer s3cret", true));
    }
}
