//! Reports: each part is taken or refused by itself, and each gets a verdict.

#![no_main]

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use marabunta_proto::v1;
use marabunta_server::rpc::convert::Reported;
use marabunta_server::settle::Verdict;
use prost::Message as _;

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_790_000_000, 0).expect("2026 exists");

fuzz_target!(|data: &[u8]| {
    if let Ok(response) = v1::ReportResponse::decode(data) {
        response.ends.into_iter().for_each(|verdict| _ = marabunta::worker::fuzzing::verdict(verdict));
    }
    let Ok(request) = v1::ReportRequest::decode(data) else { return };
    let (messages, ends) = (request.messages.len(), request.ends.len());
    let reported = Reported::read(request, NOW, |worker| worker.as_str() != "web-2");
    for batch in &reported.messages {
        assert!(batch.lease.worker.as_str() != "web-2");
        assert!(i64::try_from(batch.first + batch.messages.len() as u64).is_ok());
        assert!(batch.messages.iter().all(|message| message.data.len() <= 64 << 10));
    }
    for (lease, end) in &reported.ends {
        assert!(lease.worker.as_str() != "web-2" && end.error.len() <= 4098);
        assert!(i64::try_from(end.output_bytes).is_ok());
    }
    let taken = (vec![Verdict::Recorded; reported.messages.len()], vec![Verdict::Stale; reported.ends.len()]);
    let answer = Reported::answer(reported.taken, taken.0, taken.1);
    assert_eq!((answer.messages.len(), answer.ends.len()), (messages, ends));
});
