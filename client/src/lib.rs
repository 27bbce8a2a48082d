//! The client side of marabunta: the way to a server, and the command line. The binary `marabunta` is [`cli`] and nothing more.

pub mod cli;
pub mod connect;
