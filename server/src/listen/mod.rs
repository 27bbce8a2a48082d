//! How connections come in: one accept loop per door, plaintext or TLS.
//!
//! A door is handed its listener. [`accept`] turns it into a stream of [connections](Connection) whose TLS handshake is done; slow handshakes
//! hold up nobody else, and so many at once at the most. Each connection knows its [`Peer`].

mod accept;
mod connection;
mod tls;

pub use accept::accept;
pub use connection::{Connection, Peer};
pub use tls::{Tls, TlsError, TlsFiles};
