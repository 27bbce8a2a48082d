use super::{Action::*, *};

fn lease(name: &str) -> Lease {
    Lease(Bytes::copy_from_slice(name.as_bytes()))
}

/// `run/attempt` is the lease of that attempt of that run.
pub(super) fn given(name: &str) -> Assignment {
    let (run, attempt) = name.split_once('/').unwrap();
    Assignment {
        lease: lease(name),
        run: run.to_owned(),
        handler: "h".to_owned(),
        payload: Payload::Inline(Bytes::new()),
        timeout: None,
        attempt: attempt.parse().unwrap(),
        task: String::new(),
    }
}

fn open(key: u64, name: &str) -> Action {
    Open { key: Key(key), run: given(name).run, lease: lease(name) }
}

fn start(key: u64, name: &str) -> Action {
    Start(Key(key), given(name))
}

fn attempts(slots: usize) -> Attempts {
    Attempts::new(slots, 2, Key(1))
}

#[test]
fn an_attempt_is_accepted_started_and_forgotten_with_its_verdict() {
    let mut attempts = attempts(1);
    assert_eq!(attempts.free(), 3);
    assert_eq!(attempts.assign(given("a/1")), [open(1, "a/1"), Accept(lease("a/1")), start(1, "a/1")]);
    assert_eq!((attempts.free(), attempts.busy()), (2, 1));
    assert_eq!(attempts.ended(Key(1)), []);
    assert_eq!((attempts.free(), attempts.busy(), attempts.holding()), (3, 0, vec![lease("a/1")]));
    assert_eq!(attempts.judged(Key(1), &lease("a/1"), Verdict::Retry), []);
    assert_eq!(
        attempts.judged(Key(1), &lease("a/1"), Verdict::Recorded),
        [Settled(lease("a/1")), Forget(Key(1))]
    );
    assert_eq!(attempts.holding(), []);
}

#[test]
fn a_prefetched_attempt_is_accepted_and_waits_for_a_slot() {
    let mut attempts = attempts(1);
    attempts.assign(given("a/1"));
    assert_eq!(attempts.assign(given("b/1")), [open(2, "b/1"), Accept(lease("b/1"))]);
    assert_eq!(attempts.ended(Key(1)), [start(2, "b/1")]);
}

#[test]
fn a_verdict_that_overtakes_the_end_of_the_task_frees_the_slot_once() {
    let mut attempts = attempts(1);
    attempts.assign(given("a/1"));
    attempts.assign(given("b/1"));
    let actions = attempts.judged(Key(1), &lease("a/1"), Verdict::Recorded);
    assert_eq!(actions, [Settled(lease("a/1")), Forget(Key(1)), start(2, "b/1")]);
    assert_eq!(attempts.ended(Key(1)), []);
    assert_eq!(attempts.free(), 2);
}

#[test]
fn a_run_that_runs_takes_the_new_lease_and_is_not_started_again() {
    let mut attempts = attempts(2);
    attempts.assign(given("a/1"));
    let relet = [Relet { key: Key(1), lease: lease("a/2") }, Accept(lease("a/2"))];
    assert_eq!(attempts.assign(given("a/2")), relet);
    assert_eq!(attempts.assign(given("a/2")), [Accept(lease("a/2"))]);
    assert_eq!(
        attempts.judged(Key(1), &lease("a/1"), Verdict::Stale),
        [],
        "the old lease says nothing any more"
    );
    assert_eq!(attempts.cancel(&lease("a/1")), []);
    assert_eq!(attempts.cancel(&lease("a/2")), [Stop(Key(1), super::Stop::Cancel)]);
    assert_eq!(attempts.holding(), [lease("a/2")]);
}

#[test]
fn an_end_whose_lease_went_stale_is_reported_with_the_new_lease() {
    let mut attempts = attempts(1);
    attempts.assign(given("a/1"));
    attempts.ended(Key(1));
    assert_eq!(attempts.assign(given("a/2")), [open(2, "a/2"), Accept(lease("a/2"))]);
    assert_eq!(attempts.holding(), [lease("a/1"), lease("a/2")]);
    assert_eq!(
        attempts.judged(Key(1), &lease("a/1"), Verdict::Stale),
        [Forget(Key(2)), Relet { key: Key(1), lease: lease("a/2") }]
    );
    assert_eq!(attempts.holding(), [lease("a/2")]);
    assert_eq!(attempts.free(), 3);
}

#[test]
fn a_retry_that_overtakes_the_verdict_on_the_failure_is_started() {
    let mut attempts = attempts(1);
    attempts.assign(given("a/1"));
    attempts.ended(Key(1));
    attempts.assign(given("a/2"));
    assert_eq!(
        attempts.judged(Key(1), &lease("a/1"), Verdict::Recorded),
        [Settled(lease("a/1")), Forget(Key(1)), start(2, "a/2")]
    );
}

#[test]
fn a_run_given_back_while_its_old_process_dies_waits_for_the_death() {
    let mut attempts = attempts(4);
    attempts.assign(given("a/1"));
    assert_eq!(attempts.abandon(&lease("a/1")), [Stop(Key(1), super::Stop::Abandon)]);
    assert_eq!(attempts.holding(), [], "what was given up is not held");
    assert_eq!(attempts.assign(given("a/2")), [open(2, "a/2"), Accept(lease("a/2"))]);
    assert_eq!(attempts.cancel(&lease("a/2")), [Drop(Key(2), super::Stop::Cancel)]);
    attempts.assign(given("a/3"));
    let settled = attempts.judged(Key(2), &lease("a/2"), Verdict::Recorded);
    assert_eq!(settled, [Settled(lease("a/2")), Forget(Key(2))], "the first process is not dead yet");
    assert_eq!(attempts.ended(Key(1)), [Settled(lease("a/1")), Forget(Key(1)), start(3, "a/3")]);
}

#[test]
fn a_refused_lease_kills_what_runs_forgets_what_ended_and_is_told_to_be_held_no_longer() {
    for verdict in [Verdict::Stale, Verdict::Invalid] {
        let mut attempts = attempts(2);
        attempts.assign(given("a/1"));
        attempts.assign(given("b/1"));
        attempts.ended(Key(2));
        assert_eq!(attempts.judged(Key(1), &lease("a/1"), verdict), [Stop(Key(1), super::Stop::Abandon)]);
        assert_eq!(attempts.judged(Key(2), &lease("b/1"), verdict), [Settled(lease("b/1")), Forget(Key(2))]);
        assert_eq!(attempts.ended(Key(1)), [Settled(lease("a/1")), Forget(Key(1))]);
        assert_eq!((attempts.free(), attempts.holding()), (4, vec![]));
    }
}

#[test]
fn cancel_and_abandon_do_what_the_state_asks_for() {
    let mut attempts = attempts(1);
    for name in ["runs/1", "waits/1", "waits-too/1"] {
        attempts.assign(given(name));
    }
    assert_eq!(attempts.cancel(&lease("waits/1")), [Drop(Key(2), super::Stop::Cancel)]);
    assert_eq!(attempts.cancel(&lease("waits/1")), [], "it has ended");
    assert_eq!(attempts.abandon(&lease("waits-too/1")), [Settled(lease("waits-too/1")), Forget(Key(3))]);
    assert_eq!(attempts.cancel(&lease("runs/1")), [Stop(Key(1), super::Stop::Cancel)]);
    assert_eq!(
        attempts.abandon(&lease("runs/1")),
        [Stop(Key(1), super::Stop::Abandon)],
        "the stronger reason wins"
    );
    assert_eq!(attempts.cancel(&lease("runs/1")), [], "and stays");
    assert_eq!(attempts.cancel(&lease("unknown/1")), []);
    assert_eq!(attempts.abandon(&lease("unknown/1")), []);
}

#[test]
fn draining_takes_nothing_more_but_adopts_what_it_runs() {
    let mut attempts = attempts(1);
    attempts.assign(given("a/1"));
    attempts.assign(given("b/1"));
    assert_eq!(attempts.drain(), [Drop(Key(2), super::Stop::Drain)]);
    assert_eq!(attempts.free(), 0);
    let back = attempts.assign(given("c/1"));
    assert_eq!(back.last(), Some(&Drop(Key(3), super::Stop::Drain)), "at once, and it never began");
    assert!(!back.contains(&Accept(lease("c/1"))));
    assert_eq!(attempts.assign(given("a/2")).last(), Some(&Accept(lease("a/2"))));
    assert_eq!(attempts.stop_all(super::Stop::Drain), [Stop(Key(1), super::Stop::Drain)]);
}

#[test]
fn what_outlived_the_daemon_is_held_as_it_was_left() {
    use super::Stop::{Abandon, Cancel, Drain};
    // What it was told to do, whether it is named in Hello, and what becomes of it when its run is given again.
    for (stop, held, relet) in [
        (None, true, true),
        (Some(Cancel), true, false),
        (Some(Drain), true, false),
        (Some(Abandon), false, false),
    ] {
        let mut attempts = attempts(1);
        attempts.adopt(Key(7), "a".into(), lease("a/1"), stop);
        assert_eq!((attempts.busy(), attempts.free()), (1, 2), "{stop:?}");
        assert_eq!(attempts.holding().contains(&lease("a/1")), held, "{stop:?}");
        let actions = attempts.assign(given("a/2"));
        if relet {
            assert_eq!(actions, [Relet { key: Key(7), lease: lease("a/2") }, Accept(lease("a/2"))]);
        } else {
            assert_eq!(actions, [open(8, "a/2"), Accept(lease("a/2"))], "{stop:?}: it waits for the old one");
        }
    }
}

#[test]
fn trouble_with_the_spool_and_too_many_open_verdicts_stop_the_credit() {
    let mut attempts = attempts(1);
    attempts.set_trouble(true);
    assert_eq!(attempts.free(), 0);
    attempts.set_trouble(false);
    for key in 0..UNSETTLED_LIMIT as u64 {
        attempts.restore(Key(key), format!("r{key}"), lease(&format!("r{key}/1")));
    }
    assert_eq!(attempts.free(), 0);
    attempts.judged(Key(7), &lease("r7/1"), Verdict::Recorded);
    assert_eq!(attempts.free(), 3);
    assert_eq!(
        attempts.assign(given("new/1"))[0],
        open(UNSETTLED_LIMIT as u64, "new/1"),
        "keys do not collide"
    );
}
