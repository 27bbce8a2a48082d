//! The worker's spool as it is found on disk: whatever is in it, the worker starts, and what it reports comes to an end.

#![no_main]

use std::cell::OnceCell;
use std::fs;

use crc::{CRC_32_ISCSI, Crc};
use libfuzzer_sys::fuzz_target;
use marabunta::worker::fuzzing::Ledger;
use marabunta_proto::v1::ReportResponse;
use tempfile::TempDir;
use tokio::time::Instant;

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// Bytes of a batch, and of the spool.
const BATCH: usize = 1 << 20;
const QUOTA: u64 = 16 << 20;

thread_local! {
    static DIRECTORY: OnceCell<TempDir> = const { OnceCell::new() };
}

// Records, each behind a byte that says how long it is, or, if that is 255, the rest as it is. The first byte is the verdict on all of them.
fuzz_target!(|data: &[u8]| {
    let Some((verdict, data)) = data.split_first() else { return };
    DIRECTORY.with(|directory| {
        let directory =
            directory.get_or_init(|| tempfile::tempdir().expect("a directory can be made")).path();
        for old in fs::read_dir(directory).expect("it can be listed") {
            fs::remove_file(old.expect("it can be listed").path()).expect("it can be emptied");
        }
        fs::write(directory.join("0000000001.log"), frames(data)).expect("it can be written");
        let (mut ledger, restored, next) =
            Ledger::open(Some(directory), QUOTA).expect("a spool of any content is opened");
        assert!(restored.iter().all(|one| one.key < next));
        let now = Instant::now();
        for _ in 0..1000 {
            let Some(batch) = ledger.batch(now, BATCH) else { return };
            let verdict = i32::from(*verdict % 6);
            let ends = vec![verdict; batch.request.ends.len()];
            let response = ReportResponse { messages: vec![verdict; batch.request.messages.len()], ends };
            ledger.settle(batch, &response, now);
        }
        panic!("it is reported for ever");
    });
});

/// As a segment of the log: the length, the CRC-32C, the record.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        if *length == 255 {
            bytes.extend(rest);
            break;
        }
        let (body, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(CRC32C.checksum(body).to_le_bytes());
        bytes.extend(body);
        data = rest;
    }
    bytes
}
