//! What server and worker say to each other on the stream, each side's bytes as the other reads them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use marabunta_proto::v1;
use marabunta_server::dispatch::FromWorker;
use marabunta_server::rpc::convert;
use prost::Message as _;

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = v1::WorkerMessage::decode(data) {
        from_worker(message);
    }
    if let Ok(message) = v1::ServerMessage::decode(data) {
        from_server(message);
    }
});

fn from_worker(message: v1::WorkerMessage) {
    match convert::first(Some(message.clone())) {
        Ok(hello) => {
            assert!(hello.slots > 0 && !hello.instance.is_empty());
            assert!(hello.holding.iter().all(|lease| lease.worker == hello.worker));
        }
        Err(error) => assert!(error.to_string().len() < 8192),
    }
    let worker = "web-1".parse().expect("it is a name");
    match convert::from_worker(&worker, message) {
        Ok(FromWorker::Accepted(leases) | FromWorker::Credit { ended: leases, .. }) => {
            assert!(leases.iter().all(|lease| lease.worker == worker));
        }
        Ok(FromWorker::Heartbeat(_)) => {}
        Err(error) => assert!(error.to_string().len() < 8192),
    }
}

fn from_server(message: v1::ServerMessage) {
    use v1::server_message::Message;
    match message.message {
        Some(Message::Assign(assign)) => {
            for wire in assign.assignments {
                let lease = wire.lease.clone();
                match marabunta::worker::fuzzing::assignment(wire) {
                    Ok(assignment) => assert!(assignment.lease.0 == lease && !assignment.run.is_empty()),
                    Err(error) => drop(error.to_string()),
                }
            }
        }
        Some(Message::Welcome(welcome)) => drop(welcome.heartbeat.map(marabunta::worker::fuzzing::duration)),
        _ => {}
    }
}
