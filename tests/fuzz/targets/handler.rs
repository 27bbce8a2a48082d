//! Handlers of a worker's configuration, filled from payloads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use marabunta::exec::{ArgumentTemplate, HandlerConfig};

// A table, then a NUL, then the payload.
fuzz_target!(|text: &str| {
    let (table, payload) = text.split_once('\0').unwrap_or((text, "{}"));
    for argument in table.lines() {
        if let Ok(template) = argument.parse::<ArgumentTemplate>()
            && template.is_fixed()
        {
            assert!(!argument.contains("{{"));
        }
    }
    let Ok(handler) = toml::from_str::<HandlerConfig>(table) else { return };
    match handler.command(payload.as_bytes()) {
        Ok(command) => command.check().expect("what a handler makes can be run"),
        Err(error) => drop(error.to_string()),
    }
});
