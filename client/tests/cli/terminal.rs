//! What a person at a terminal sees beyond the output: why a run waits, how many are done.

use std::{
    fs::File,
    io::Read as _,
    process::{Child, Stdio},
};

use marabunta_proto::v1::{Run, RunState, SubmitResponse};
use nix::pty::openpty;

use crate::fake::{Fake, Script, Step, ended, submitted};

/// The binary with a terminal as its standard error, and that terminal.
fn spawn(fake: &Fake, arguments: &[&str]) -> (Child, File) {
    let pty = openpty(None, None).unwrap();
    let child = fake.command(arguments).stderr(Stdio::from(pty.slave)).spawn().unwrap();
    (child, File::from(pty.master))
}

/// Reads the terminal until it has shown `wanted`.
fn read_until(terminal: &mut File, wanted: &str) -> String {
    let mut shown = String::new();
    let mut bytes = [0; 1024];
    while !shown.contains(wanted) {
        match terminal.read(&mut bytes) {
            Ok(length @ 1..) => shown.push_str(&String::from_utf8_lossy(&bytes[..length])),
            end => panic!("{end:?} before {wanted:?}: {shown:?}"),
        }
    }
    shown
}

#[test]
fn a_run_that_does_not_start_says_why() {
    let steps = vec![Step::State(RunState::Queued, ""), Step::Gate, Step::End(ended("run-1", "web-1", 0))];
    let fake = Fake::start(Script {
        submitted: SubmitResponse { runs: vec![submitted("run-1", "web-1")], ..SubmitResponse::default() },
        follows: [("run-1".to_owned(), [steps].into())].into(),
        run: Run { waiting: "no worker web-1 is connected".into(), ..Run::default() },
        ..Script::default()
    });
    let (mut child, mut terminal) = spawn(&fake, &["run", "--target", "web-1", "--", "true"]);
    let shown = read_until(&mut terminal, "\n");
    assert_eq!(shown, "marabunta: waiting: no worker web-1 is connected\r\n");
    fake.open_gate();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn progress_is_one_line_that_makes_way() {
    let steps = |id, host, first: Vec<Step>| [first, vec![Step::End(ended(id, host, 0))]].concat();
    let fake = Fake::start(Script {
        submitted: SubmitResponse {
            runs: vec![submitted("run-a", "a"), submitted("run-b", "b")],
            group: "group-1".into(),
            ..SubmitResponse::default()
        },
        follows: [
            ("run-a".to_owned(), [steps("run-a", "a", vec![])].into()),
            ("run-b".to_owned(), [steps("run-b", "b", vec![Step::Gate, Step::Note("almost")])].into()),
        ]
        .into(),
        ..Script::default()
    });
    let (mut child, mut terminal) = spawn(&fake, &["run", "--target", "all", "--", "true"]);
    read_until(&mut terminal, "1/2 done");
    fake.open_gate();
    let shown = read_until(&mut terminal, "HOST");
    assert!(shown.contains("\r\u{1b}[Kmarabunta: b: almost\r\n1/2 done"), "{shown:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
