//! Requests of callers: submissions, tasks and changes of them, lists. A task that was taken is shown in a form that is taken again as the
//! same task.

#![no_main]

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use marabunta_proto::v1;
use marabunta_server::rpc::convert;
use marabunta_server::run::TaskId;
use marabunta_server::task::Task;
use prost::Message as _;

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_790_000_000, 0).expect("2026 exists");

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 4 {
        0 => v1::SubmitRequest::decode(data).map_or_else(drop, submit),
        1 => v1::TaskSpec::decode(data).map_or_else(drop, task),
        2 => v1::UpdateTaskRequest::decode(data).map_or_else(drop, update),
        _ => v1::ListRunsRequest::decode(data).map_or_else(drop, list),
    }
});

fn short(error: &impl std::fmt::Display) {
    assert!(error.to_string().len() < 16_384);
}

fn submit(request: v1::SubmitRequest) {
    match convert::request(request) {
        Ok(request) => assert!(request.payload.len() <= 8 << 20),
        Err(error) => short(&error),
    }
}

fn task(spec: v1::TaskSpec) {
    let draft = match convert::draft(spec, NOW) {
        Ok(draft) => draft,
        Err(error) => return short(&error),
    };
    let task = Task {
        id: TaskId::from_bytes(&[7; 16]).expect("16 bytes are an id"),
        spec: draft.spec.clone(),
        paused: false,
        created: NOW,
        modified: NOW,
        problem: String::new(),
        planned_to: NOW,
        last: None,
    };
    let shown = convert::task(task, Some(&draft.payload), NOW, 5);
    assert!(shown.next.is_sorted_by(|a, b| (a.seconds, a.nanos) < (b.seconds, b.nanos)));
    let again = convert::draft(shown.spec.expect("a task has a spec"), NOW).expect("what is shown is taken");
    assert_eq!(again.spec, draft.spec);
}

fn update(request: v1::UpdateTaskRequest) {
    let base = v1::TaskSpec {
        name: "t".to_owned(),
        target: "web-1".to_owned(),
        when: "@hourly".to_owned(),
        payload: "{}".to_owned(),
        what: Some(v1::task_spec::What::Handler("h".to_owned())),
        ..Default::default()
    };
    let base = convert::draft(base, NOW).expect("it is a task").spec;
    match convert::update(request.spec.unwrap_or_default(), &request.fields, NOW) {
        Ok(update) => match update.apply(base, None) {
            Ok(spec) => drop(spec.when.to_string()),
            Err(error) => short(&error),
        },
        Err(error) => short(&error),
    }
}

fn list(request: v1::ListRunsRequest) {
    match convert::run_filter(request) {
        Ok((_, _, size)) => assert!((1..=1000).contains(&size)),
        Err(error) => short(&error),
    }
}
