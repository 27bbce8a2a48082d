//! Ctrl-C, and a reader that goes away.

use std::io::{BufRead as _, BufReader};

use marabunta_proto::v1::{Run, RunState};

use crate::{
    fake::{Fake, Step, ended},
    marabunta::{Ended, interrupt},
};

const RUN: [&str; 5] = ["run", "--target", "web-1", "--", "true"];

fn cancelled() -> Run {
    Run { state: RunState::Cancelled.into(), exit_code: None, reason: 0, ..ended("run-1", "web-1", 0) }
}

#[test]
fn the_first_ctrl_c_cancels_and_waits_for_the_end() {
    let fake = Fake::running(vec![
        Step::Out(b"ready\n"),
        Step::Cancelled,
        Step::Out(b"last words"),
        Step::End(cancelled()),
    ]);
    let mut child = fake.spawn(&RUN);
    let mut ready = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut ready).unwrap();
    interrupt(&child);
    let mut rest = String::new();
    stdout.read_line(&mut rest).unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!((rest.as_str(), ended.code), ("last words", Some(130)));
    assert_eq!(fake.asked().cancels, ["run-1"]);
    assert!(ended.stderr.starts_with("marabunta: cancelling run run-1"), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("marabunta: run run-1 on web-1 ended as cancelled\n"), "{}", ended.stderr);
}

#[test]
fn the_second_ctrl_c_leaves() {
    let fake = Fake::running(vec![Step::Out(b"ready\n"), Step::Gate]);
    let mut child = fake.spawn(&RUN);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    interrupt(&child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    interrupt(&child);
    let mut last = String::new();
    stderr.read_line(&mut last).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(last, "marabunta: left run run-1 before the end; see `marabunta runs logs -f run-1`\n");
}

#[test]
fn when_nobody_reads_the_output_the_run_is_cancelled_quietly() {
    let fake = Fake::running(vec![Step::Out(b"first\n"), Step::Gate, Step::Out(b"second\n"), Step::Gate]);
    let mut child = fake.spawn(&RUN);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    fake.open_gate();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(141), ""));
    assert_eq!(fake.asked().cancels, ["run-1"]);
}
