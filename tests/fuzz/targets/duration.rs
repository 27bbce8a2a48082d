//! Durations and sizes, as people write them in schedules and in configurations.

#![no_main]

use libfuzzer_sys::fuzz_target;
use marabunta::exec::{ByteSize, Span};
use marabunta_proto::duration;

fuzz_target!(|text: &str| {
    match duration::parse(text) {
        Ok(read) => {
            assert!(read <= duration::MAX);
            assert_eq!(duration::parse(&duration::format(read)), Ok(read));
        }
        Err(error) => assert!(error.to_string().len() < 1024),
    }
    if let Err(error) = text.parse::<ByteSize>() {
        drop(error.to_string());
    }
    match text.parse::<Span>() {
        Ok(span) => assert!(span.0 <= duration::MAX),
        Err(error) => drop(error.to_string()),
    }
});
