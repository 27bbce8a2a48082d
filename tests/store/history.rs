//! What people see of runs.

use chrono::TimeDelta;
use marabunta_server::run::{Run, State, TaskRef};
use marabunta_server::store::{Cursor, RunFilter};

use crate::fixture::{Fixture, elaborate, ended_run, name, new, run, started};

pub async fn pages_hold_each_run_once_newest_first(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    // Open and ended ones in turn, three accepted at each moment.
    let runs: Vec<Run> = (0..30).map(|n| run(now - TimeDelta::seconds(n / 3))).collect();
    f.store.insert_runs(runs.iter().map(new).collect()).await.unwrap();
    f.store
        .end_runs(runs.iter().step_by(2).map(|run| ended_run(run, State::Expired)).collect())
        .await
        .unwrap();
    let mut expected: Vec<_> = runs.iter().map(|run| (run.created, run.id)).collect();
    expected.sort();
    expected.reverse();
    for size in [1, 4, 30, 100] {
        let (mut seen, mut after) = (vec![], None);
        loop {
            let page = f.store.runs(&RunFilter::default(), after, size).await.unwrap();
            assert!(page.runs.len() <= size as usize);
            seen.extend(page.runs.iter().map(|view| (view.run.created, view.run.id)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "in pages of {size}");
    }
}

pub async fn each_filter_finds_what_it_names(f: &Fixture) {
    let task = f.task("nightly", "0 2 * * *").await;
    let now = f.store.now().await.unwrap();
    let odd = elaborate(now, &task);
    let plain = run(now - TimeDelta::hours(1));
    let renamed =
        Run { task: Some(TaskRef { id: task.id, name: name("before") }), ..run(now - TimeDelta::hours(2)) };
    let gone = run(now - TimeDelta::hours(3));
    f.store.insert_runs([&odd, &plain, &renamed, &gone].map(new).to_vec()).await.unwrap();
    f.store.mark_running(vec![started(&renamed, 3)]).await.unwrap();
    f.store.end_runs(vec![ended_run(&gone, State::Cancelled), ended_run(&odd, State::Error)]).await.unwrap();

    let all = RunFilter::default;
    let states = |states: &[State]| RunFilter { states: states.to_vec(), ..all() };
    let table = [
        (all(), vec![&odd, &plain, &renamed, &gone]),
        (states(&[State::Queued]), vec![&plain]),
        (states(&[State::Todo]), vec![]),
        (states(&[State::Running, State::Error, State::Done]), vec![&odd, &renamed]),
        (states(&[State::Cancelled, State::Cancelled]), vec![&gone]),
        (RunFilter { task: Some("nightly".into()), ..all() }, vec![&odd]),
        (RunFilter { task: Some("before".into()), ..all() }, vec![&renamed]),
        (RunFilter { task: Some(task.id.to_string()), ..all() }, vec![&odd, &renamed]),
        (RunFilter { task: Some("nobody's".into()), ..all() }, vec![]),
        (RunFilter { place: Some(odd.place.clone()), ..all() }, vec![&odd]),
        (RunFilter { worker: Some(name("web-1")), ..all() }, vec![&renamed]),
        (RunFilter { group: odd.group, ..all() }, vec![&odd]),
        (RunFilter { since: Some(plain.created), ..all() }, vec![&odd, &plain]),
        (RunFilter { until: Some(plain.created), ..all() }, vec![&renamed, &gone]),
        (
            RunFilter { since: Some(renamed.created), until: Some(odd.created), ..states(&[State::Queued]) },
            vec![&plain],
        ),
    ];
    for (filter, expected) in table {
        let page = f.store.runs(&filter, None, 10).await.unwrap();
        let found: Vec<_> = page.runs.iter().map(|view| &view.run).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let known = f.store.states(vec![odd.id, run(now).id, renamed.id]).await.unwrap();
    assert_eq!(known, [Some(State::Error), None, Some(State::Running)]);
}

pub async fn a_running_attempt_is_shown_as_the_last(f: &Fixture) {
    let run = f.started(5).await;
    f.store.end_attempts(vec![crate::fixture::lost(&run, 5)]).await.unwrap();
    f.store.mark_running(vec![started(&run, 6)]).await.unwrap();
    let view = f.store.run(run.id).await.unwrap().unwrap();
    let attempts: Vec<_> =
        view.attempts.iter().map(|attempt| (attempt.fence.0, attempt.outcome.is_some())).collect();
    assert_eq!(attempts, [(5, true), (6, false)]);
}

pub async fn a_cursor_survives_as_text(f: &Fixture) {
    for _ in 0..2 {
        let run = f.run().await;
        f.store.insert_runs(vec![new(&run)]).await.unwrap();
    }
    let cursor = f.store.runs(&RunFilter::default(), None, 1).await.unwrap().next.unwrap();
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    let run = "0199c1a2-b3c4-8007-8001-8f2e6d3a5b71";
    assert!(format!("5.{run}").parse::<Cursor>().is_ok());
    let negative = format!("-5.{run}");
    let nil = "7fffffffffffffff.00000000-0000-0000-0000-000000000000";
    for text in ["", ".", "1", "zz.x", "1.x", "-.", &negative, nil] {
        assert!(text.parse::<Cursor>().is_err(), "{text}");
    }
}
