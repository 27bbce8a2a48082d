//! What the server is told: flags, then `MARABUNTA_..` variables, then a TOML file, then defaults; the first that says something wins.
//!
//! [`Cli`] reads, [`Config`] is what came of it: whole, checked, without contradictions. No error and no log quotes a secret.

mod cli;
mod file;
mod refuse;
mod resolve;
mod value;

pub use cli::{Cli, LogFormat, Settings};
pub use resolve::{Backend, Config, ConfigError};
pub use value::{Secret, Span};
