//! The client side of marabunta: the way to a server, the command line, and the worker, whose parts are the SDK for programs that run
//! handlers of their own.

pub mod cli;
pub mod connect;
pub mod exec;
pub mod worker;
