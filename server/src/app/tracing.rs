//! Where log lines go: standard error.

use std::io::IsTerminal as _;

use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Sets up logging for the whole process, panics included. `RUST_LOG` says what is logged; information and above unless it says otherwise.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        error!(place, "panicked: {}", panic.payload_as_str().unwrap_or("without words"));
    }));
}
