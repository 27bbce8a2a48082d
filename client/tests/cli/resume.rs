//! Broken connections: the output goes on where it stopped.

use std::io::{BufRead as _, BufReader};

use marabunta_proto::v1::RunState;
use tonic::Status;

use crate::{
    fake::{Fake, Step, ended},
    marabunta::Ended,
};

const RUN: [&str; 5] = ["run", "--target", "web-1", "--", "true"];

#[test]
fn a_broken_stream_is_taken_up_at_its_cursor() {
    let fake = Fake::followed([
        vec![
            Step::State(RunState::Running, ""),
            Step::Out(b"one "),
            Step::Break(Status::unavailable("going")),
        ],
        vec![Step::Break(Status::internal("h2"))],
        vec![Step::Out(b"two "), Step::Out(b"three")],
        vec![Step::End(ended("run-1", "web-1", 7))],
    ]);
    let ended = fake.ended(&RUN);
    assert_eq!((ended.stdout(), ended.code), ("one two three", Some(7)));
    let cursors: Vec<String> = fake.asked().follows.into_iter().map(|follow| follow.cursor).collect();
    assert_eq!(cursors, ["", "after-1", "after-1", "after-1"]);
    assert_eq!(ended.stderr.matches("lost the connection").count(), 2, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("connected again").count(), 2, "{}", ended.stderr);
}

#[test]
fn a_restarted_server_is_found_again() {
    let mut fake = Fake::followed([
        vec![Step::Out(b"before\n"), Step::Gate],
        vec![Step::Out(b"after\n"), Step::End(ended("run-1", "web-1", 0))],
    ]);
    let mut child = fake.spawn(&RUN);
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    fake.restart();
    let mut rest = String::new();
    stdout.read_line(&mut rest).unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!((first.as_str(), rest.as_str(), ended.code), ("before\n", "after\n", Some(0)));
}

#[test]
fn a_run_that_is_gone_is_our_failure() {
    let fake = Fake::followed([vec![Step::Break(Status::unavailable("going"))]]);
    let ended = fake.ended(&RUN);
    assert_eq!(ended.code, Some(125));
    assert!(
        ended.stderr.ends_with("marabunta: failed to follow run run-1: the script is at its end\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn patience_can_be_bounded() {
    let mut fake = Fake::followed([vec![Step::Out(b"x\n"), Step::Gate]]);
    let mut child = fake.spawn(&["run", "-t", "web-1", "--reconnect-timeout", "1ms", "--", "true"]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    fake.stop();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(125));
    assert!(ended.stderr.contains("failed to follow run run-1: no server at"), "{}", ended.stderr);
}
