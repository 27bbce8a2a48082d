//! `task`: what reaches the server.

use marabunta_proto::v1::{CatchUp, Overlap, SubmitResponse, Task, TaskSpec, task_spec::What};

use crate::fake::{Fake, Script, Step, ended, submitted};

fn task() -> Task {
    let next = "2026-03-01T02:00:00Z".parse().unwrap();
    let spec = TaskSpec { name: "nightly".into(), ..TaskSpec::default() };
    Task { spec: Some(spec), next: vec![next], ..Task::default() }
}

#[test]
fn create_sends_the_whole_definition() {
    let fake = Fake::start(Script { task: task(), ..Script::default() });
    let ended = fake.ended(&[
        "task",
        "create",
        "nightly",
        "--when",
        "0 2 * * *",
        "--timezone",
        "Europe/Berlin",
        "--target",
        "any(role=db)",
        "--catch-up",
        "all:7",
        "--overlap",
        "skip",
        "--splay",
        "30s",
        "--start-deadline",
        "1h",
        "--retries",
        "3",
        "--description",
        "Backups",
        "--paused",
        "--",
        "/usr/local/bin/backup",
        "--full",
    ]);
    assert_eq!(ended.stdout(), "nightly created, fires next at 2026-03-01T02:00:00Z\n");
    let create = fake.asked().creates.remove(0);
    let spec = create.task.unwrap();
    assert!(create.paused);
    assert_eq!(
        (spec.name.as_str(), spec.when.as_str(), spec.timezone.as_str()),
        ("nightly", "0 2 * * *", "Europe/Berlin")
    );
    assert_eq!((spec.target.as_str(), spec.description.as_str()), ("any(role=db)", "Backups"));
    assert_eq!((spec.catch_up(), spec.catch_up_max, spec.overlap()), (CatchUp::All, 7, Overlap::Skip));
    assert_eq!((spec.splay.unwrap().seconds, spec.start_deadline.unwrap().seconds), (30, 3600));
    assert_eq!(spec.policy.unwrap().retries, 3);
    let Some(What::Exec(exec)) = spec.what else { panic!("not a command") };
    assert_eq!(exec.argv, ["/usr/local/bin/backup", "--full"]);
}

#[test]
fn edit_sends_only_what_was_given() {
    let fake = Fake::start(Script { task: task(), ..Script::default() });
    let ended = fake.ended(&[
        "task",
        "edit",
        "nightly",
        "--rename",
        "weekly",
        "--timeout",
        "none",
        "--when",
        "@weekly",
    ]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let update = fake.asked().updates.remove(0);
    assert_eq!(update.task, "nightly");
    assert_eq!(update.fields, ["when", "policy.timeout", "name"]);
    let spec = update.spec.unwrap();
    assert_eq!(
        (spec.name.as_str(), spec.when.as_str(), spec.policy.unwrap().timeout),
        ("weekly", "@weekly", None)
    );
}

#[test]
fn fire_prints_the_ids_or_follows() {
    let script = || Script {
        submitted: SubmitResponse { runs: vec![submitted("run-1", "web-1")], ..SubmitResponse::default() },
        follows: [(
            "run-1".to_owned(),
            [vec![Step::Out(b"x"), Step::End(ended("run-1", "web-1", 5))]].into(),
        )]
        .into(),
        ..Script::default()
    };
    let fake = Fake::start(script());
    assert_eq!(fake.ended(&["task", "fire", "nightly"]).stdout(), "run-1\n");
    assert!(fake.asked().fires[0].idempotency_key.starts_with("cli-"));
    let ended = Fake::start(script()).ended(&["task", "fire", "nightly", "--follow"]);
    assert_eq!((ended.stdout(), ended.code), ("x", Some(5)));
}

#[test]
fn pause_resume_and_delete_say_so() {
    let fake = Fake::start(Script { task: task(), ..Script::default() });
    assert!(fake.ended(&["task", "pause", "nightly"]).stdout().starts_with("nightly paused"));
    assert!(fake.ended(&["task", "resume", "nightly"]).stdout().starts_with("nightly resumed"));
    assert_eq!(
        fake.ended(&["task", "delete", "nightly", "other"]).stdout(),
        "nightly deleted\nother deleted\n"
    );
}
