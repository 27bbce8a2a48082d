//! Payloads of the handler `exec`: what the server takes, the worker can run; and it is shown as it was written.

#![no_main]

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use marabunta::exec::FreeCommand;
use marabunta_proto::v1;
use marabunta_server::rpc::convert;

fuzz_target!(|text: &str| {
    let handler = Some(v1::submit_request::What::Handler("exec".to_owned()));
    let submit = v1::SubmitRequest {
        target: "web-1".to_owned(),
        payload: text.to_owned(),
        what: handler,
        ..Default::default()
    };
    let worker = FreeCommand::parse(text.as_bytes());
    let request = match convert::request(submit) {
        Ok(request) => request,
        Err(error) => return assert!(error.to_string().len() < 16_384),
    };
    let command = worker.unwrap_or_else(|error| panic!("the server takes what no worker runs: {error}"));
    assert_eq!(request.payload, text);

    // The same through the other form.
    let spec = v1::TaskSpec {
        name: "t".to_owned(),
        target: "web-1".to_owned(),
        when: "now".to_owned(),
        what: Some(v1::task_spec::What::Exec(v1::Exec {
            argv: command.argv.clone(),
            env: command.env.clone().into_iter().collect(),
            cwd: command.cwd.clone().map_or_else(String::new, |cwd| cwd.to_string_lossy().into_owned()),
            stdin: command.stdin.clone(),
        })),
        ..Default::default()
    };
    let draft =
        convert::draft(spec, DateTime::UNIX_EPOCH).expect("what was taken as JSON is taken as a message");
    let again = FreeCommand::parse(&draft.payload).expect("what the server writes the worker reads");
    assert_eq!(format!("{again:?}"), format!("{command:?}"));
});
