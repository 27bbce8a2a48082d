//! How connections come in: one accept loop per door, plaintext or TLS.
//!
//! A door is handed its listener. [`accept`] turns it into a stream of [connections](Connection) whose TLS handshake is done; slow handshakes
//! hold up nobody else, and so many at once at the most. Each connection knows its [`Peer`]. What doors read from files is read again
//! when those are replaced: see [`Renewal`].

mod accept;
mod connection;
mod renew;
mod room;
mod tls;

pub use accept::accept;
pub use connection::{Connection, Peer};
pub use renew::Renewal;
pub use room::{Room, bind};
pub use tls::{Tls, TlsError, TlsFiles};
