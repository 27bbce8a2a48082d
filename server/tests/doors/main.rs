//! The doors of a server in this process, on an embedded store and real sockets: what comes in wrong is refused with a precise error.

mod bad_input;
mod probes;
mod server;
mod sessions;
mod settings;
mod tls;
