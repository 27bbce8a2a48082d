//! Who calls: found out once per call, before the call is decoded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use marabunta_proto::name::Name;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::listen::Peer;

/// Bearer tokens that are let in, as hashes: comparing those tells nothing by the time that it takes.
#[derive(Clone)]
pub struct Tokens(Arc<[[u8; 32]]>);

/// Why a file is none of tokens. It never quotes a token.
#[derive(Debug, Error)]
#[error("read the token file {path}: {problem}")]
pub struct TokensError {
    path: String,
    problem: String,
}

/// The shortest token, in bytes.
const SHORTEST: usize = 16;

impl Tokens {
    /// One token a line; several, so that one can be replaced by the next without a gap. Empty lines and those that start with `#` are passed over.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let failed = |problem: String| TokensError { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let tokens: Vec<&str> = lines.collect();
        if tokens.is_empty() {
            return Err(failed("it holds no token; write one a line".into()));
        }
        if tokens
            .iter()
            .any(|token| token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(failed(format!("a token is shorter than {SHORTEST} bytes or not visible ASCII")));
        }
        Ok(Self(tokens.iter().map(|token| Sha256::digest(token.as_bytes()).into()).collect()))
    }

    fn know(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.0.iter().fold(false, |found, known| found | (*known == digest))
    }
}

/// Who a caller is, as far as is known.
#[derive(Debug, Clone, Default)]
pub struct Principal {
    /// The names of its certificate; `None`: it showed none, and is who it claims to be.
    names: Option<Arc<[String]>>,
    /// When its certificate expires.
    expires: Option<Instant>,
}

impl Principal {
    /// Of this call; put there by [`Access`].
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Whether it may speak for this worker.
    pub fn may_be(&self, worker: &Name) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|name| name == worker.as_str()))
    }

    /// How long its certificate is good for.
    pub fn life(&self) -> Option<Duration> {
        self.expires.map(|expires| expires.saturating_duration_since(Instant::now()))
    }

    /// What it is called, for errors.
    pub fn shown(&self) -> String {
        self.names.as_ref().map_or_else(String::new, |names| names.join(", "))
    }
}

/// Lets calls in, each with its [`Principal`].
#[derive(Clone)]
pub struct Access {
    /// `None`: no token is asked for.
    pub tokens: Option<watch::Receiver<Tokens>>,
}

impl Interceptor for Access {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        check_content_type(&request)?;
        if let Some(tokens) = &self.tokens {
            let header = request.metadata().get("authorization");
            let header = header.and_then(|header| header.to_str().ok());
            let token =
                header.and_then(|header| header.strip_prefix("Bearer ").or(header.strip_prefix("bearer ")));
            match token {
                Some(token) if tokens.borrow().know(token.trim()) => {}
                Some(_) => {
                    return Err(Status::unauthenticated(
                        "the bearer token is not one that this server knows",
                    ));
                }
                None => {
                    return Err(Status::unauthenticated(
                        "the call has no header `authorization: Bearer <token>`",
                    ));
                }
            }
        }
        let peer = request.extensions().get::<Peer>();
        let principal = peer.map(|peer| Principal { names: peer.names.clone(), expires: peer.expires });
        request.extensions_mut().insert(principal.unwrap_or_default());
        Ok(request)
    }
}

/// A page in a browser may send anybody a form, or text, but no gRPC: it is told from a caller by this.
fn check_content_type(request: &Request<()>) -> Result<(), Status> {
    let kind = request.metadata().get("content-type").map_or(&[][..], |kind| kind.as_encoded_bytes());
    if kind.starts_with(b"application/grpc") {
        return Ok(());
    }
    let kind = String::from_utf8_lossy(kind);
    Err(Status::invalid_argument(format!("content-type is {kind:?}: a gRPC call has application/grpc")))
}
