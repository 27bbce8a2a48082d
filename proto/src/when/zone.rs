use chrono_tz::{TZ_VARIANTS, Tz};
use thiserror::Error;

/// Reads the name of a time zone, exactly as the IANA database spells it. The database is built in.
pub fn parse(text: &str) -> Result<Tz, ZoneError> {
    if text.is_empty() {
        return Err(ZoneError::Empty);
    }
    text.parse().map_err(|_| {
        let zone = text.chars().take(64).collect();
        match TZ_VARIANTS.iter().find(|known| known.name().eq_ignore_ascii_case(text)) {
            Some(known) => ZoneError::Case { zone, right: known.name() },
            None => ZoneError::Unknown { zone },
        }
    })
}

/// Why a text is not a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// There is nothing.
    #[error("time zone is empty; write a name of the IANA database like Europe/Berlin, or UTC")]
    Empty,
    /// Only the case of letters is wrong.
    #[error("time zone {zone:?} is not spelled so; write {right}")]
    Case {
        /// The name as written.
        zone: String,
        /// The name of the database.
        right: &'static str,
    },
    /// No such name.
    #[error("time zone {zone:?} is not in the IANA database; write a name like Europe/Berlin, or UTC")]
    Unknown {
        /// The name as written, shortened if it is very long.
        zone: String,
    },
}
