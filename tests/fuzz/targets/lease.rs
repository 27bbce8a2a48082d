//! What others hand back without knowing what it says: leases, cursors, ids; and the bodies of queued runs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use marabunta_server::run::{GroupId, Lease, Run, RunId, TaskId};
use marabunta_server::store::Cursor;

fuzz_target!(|data: &[u8]| {
    if let Ok(lease) = Lease::decode(data) {
        assert_eq!(lease.encode(), data);
        assert!(lease.fence.0 > 0);
    }
    let id = RunId::from_bytes(&[7; 16]).expect("16 bytes are an id");
    if let Ok(run) = Run::decode(id, data) {
        assert_eq!(Run::decode(id, &run.encode()).ok(), Some(run));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    if let Ok(run) = text.parse::<RunId>() {
        assert_eq!(run.to_string(), text);
        assert!(run.shard() < 4096);
    }
    text.parse::<TaskId>()
        .map_or_else(|error| drop(error.to_string()), |id| assert_eq!(id.to_string(), text));
    text.parse::<GroupId>()
        .map_or_else(|error| drop(error.to_string()), |id| assert_eq!(id.to_string(), text));
});
