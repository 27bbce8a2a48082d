//! `run` on all that match: whose line it is, how each one ended, one exit code.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
};

use marabunta_proto::v1::{Run, RunState, SubmitResponse};

use crate::{
    fake::{Fake, Script, Step, ended, submitted},
    marabunta::Ended,
};

const RUN: [&str; 5] = ["run", "--target", "all(role=web)", "--", "true"];

fn group(hosts: &[(&str, Vec<Step>)]) -> Fake {
    let id = |host: &str| format!("run-{host}");
    let runs = hosts.iter().map(|(host, _)| submitted(&id(host), host)).collect();
    let follows: HashMap<_, _> =
        hosts.iter().map(|(host, steps)| (id(host), [steps.clone()].into())).collect();
    let submitted = SubmitResponse { runs, group: "group-1".into(), ..SubmitResponse::default() };
    Fake::start(Script { submitted, follows, ..Script::default() })
}

#[test]
fn each_line_has_its_host_and_each_host_its_end() {
    let fake = group(&[
        ("web-1", vec![Step::Out(b"one\ntw"), Step::Out(b"o\n"), Step::End(ended("run-web-1", "web-1", 0))]),
        ("web-10", vec![Step::Err(b"no end"), Step::End(ended("run-web-10", "web-10", 3))]),
    ]);
    let ended = fake.ended(&RUN);
    assert_eq!(ended.stdout(), "web-1  | one\nweb-1  | two\n");
    let table = "\
HOST    END                         TOOK  RUN         ERROR
web-1   done                        -     run-web-1   -
web-10  error(failed), exit code 3  -     run-web-10  -
";
    assert_eq!(ended.stderr, format!("web-10 | no end\n{table}"));
    assert_eq!(ended.code, Some(1));
}

#[test]
fn the_exit_code_is_0_only_if_all_went_well() {
    let cancelled = |id| Run { state: RunState::Cancelled.into(), reason: 0, ..ended(id, "x", 0) };
    let table = [
        (ended("run-a", "a", 0), ended("run-b", "b", 0), 0),
        (ended("run-a", "a", 0), ended("run-b", "b", 9), 1),
        (ended("run-a", "a", 0), cancelled("run-b"), 130),
        (ended("run-a", "a", 2), cancelled("run-b"), 1),
    ];
    for (a, b, code) in table {
        let fake = group(&[("a", vec![Step::End(a)]), ("b", vec![Step::End(b)])]);
        assert_eq!(fake.ended(&RUN).code, Some(code));
    }
}

#[test]
fn one_run_out_of_sight_does_not_hide_the_others() {
    let fake = group(&[("a", vec![]), ("b", vec![Step::Out(b"x\n"), Step::End(ended("run-b", "b", 0))])]);
    let ended = fake.ended(&RUN);
    assert_eq!((ended.stdout(), ended.code), ("b | x\n", Some(1)));
    assert!(
        ended.stderr.contains("a     unknown  -     run-a  follow run run-a: the script is at its end"),
        "{}",
        ended.stderr
    );
}

#[test]
fn hundreds_of_runs_are_followed_at_once() {
    // None ends before each has written, which takes more streams than one connection has.
    let hosts: Vec<String> = (0..450).map(|number| format!("w{number:03}")).collect();
    let steps =
        |host: &str| vec![Step::Out(b"x\n"), Step::Gate, Step::End(ended(&format!("run-{host}"), host, 0))];
    let script: Vec<_> = hosts.iter().map(|host| (host.as_str(), steps(host))).collect();
    let fake = group(&script);
    let mut child = fake.spawn(&RUN);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.by_ref().take(hosts.len()) {
        assert!(line.unwrap().ends_with(" | x"));
    }
    hosts.iter().for_each(|_| fake.open_gate());
    assert_eq!(lines.count(), 0);
    assert_eq!(Ended::from(child.wait_with_output().unwrap()).code, Some(0));
}

#[test]
fn json_is_one_document_of_all() {
    let fake = group(&[("a", vec![Step::Out(b"x"), Step::End(ended("run-a", "a", 0))]), ("b", vec![])]);
    let ended = fake.ended(&["run", "-t", "all(role=web)", "-q", "-o", "json", "--", "true"]);
    let document = ended.json();
    assert_eq!(document["group"], "group-1");
    assert_eq!(document["runs"][0]["stdout"], "x");
    assert_eq!(document["runs"][1]["id"], "run-b");
    assert_eq!(document["runs"][1]["failure"], "follow run run-b: the script is at its end");
}
