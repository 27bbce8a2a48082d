//! The file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{ConfigError, Settings};

/// Reads the settings of a file.
pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let failed = |problem: String| ConfigError::File { path: path.display().to_string(), problem };
    private(path)?;
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    // The whole error would quote the line, and a secret with it.
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        failed(format!("line {line}: {}", error.message()))
    })
}

/// Refuses a file that others than its owner can write: they could make this server do anything.
pub(super) fn private(path: &Path) -> Result<(), ConfigError> {
    let failed = |problem: String| ConfigError::File { path: path.display().to_string(), problem };
    let mode = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(failed(format!("others can write it (mode {mode:o}): chmod go-w")));
    }
    Ok(())
}
