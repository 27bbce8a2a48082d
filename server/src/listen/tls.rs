//! TLS from files: the server's certificate and key, and the CA that signs those of its clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Connection, Peer};
use crate::clock;

/// Where certificates and key are, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients need a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}

/// TLS for the connections of one door. Cloning is cheap.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
}

/// Why TLS cannot be had from these files.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("read {what} from {path}: {problem}")]
    File { what: &'static str, path: String, problem: String },
    #[error("use the certificate and key: {0}")]
    Unusable(String),
}

impl TlsFiles {
    /// All of them, to be looked at when they are replaced.
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).cloned().collect()
    }
}

impl Tls {
    /// Reads the files, for a door that speaks these protocols (ALPN), the best first.
    pub fn load(files: &TlsFiles, protocols: &[&str]) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("the client CA", path)? {
                    roots.add(certificate).map_err(|error| file("the client CA", path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(&error))?)
            }
        };
        let chain = certificates("the certificate", &files.certificate)?;
        let key =
            PrivateKeyDer::from_pem_file(&files.key).map_err(|error| file("the key", &files.key, &error))?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(&error))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        peer: Peer,
        place: OwnedSemaphorePermit,
    ) -> std::io::Result<Connection> {
        let stream = self.acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.map_or(peer.clone(), |certificate| shown_by(certificate, peer));
        Ok(Connection::tls(stream, peer, place))
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(file(what, path, &"it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(file(what, path, &error)),
    }
}

fn file(what: &'static str, path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { what, path: path.display().to_string(), problem: problem.to_string() }
}

/// The peer with this certificate, which was verified. One that cannot be read has no names.
fn shown_by(certificate: &CertificateDer<'_>, peer: Peer) -> Peer {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Peer { names: Some(Arc::new([])), ..peer };
    };
    let left = certificate.validity().not_after.timestamp() - clock::wall().timestamp();
    let left = Duration::from_secs(left.max(0).cast_unsigned());
    // What is centuries away never comes.
    let expires = Instant::now().checked_add(left);
    Peer { names: Some(names(&certificate).into()), expires, ..peer }
}

/// Common name and DNS names.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.map(str::to_owned).collect();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    names
}
