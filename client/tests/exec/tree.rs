//! Nothing of a command outlives it.

use std::path::Path;
use std::time::Duration;

use marabunta::exec::{Containment, Ending, Method};

use crate::attempt::{Attempt, PROGRAM, Scratch, Tag, containments, ended, is_alive, sh, unique, until};

const NOBODY: [u32; 0] = [];

/// Prints the pids of four kinds of descendants, then waits for ever.
const FAMILY: &str = r#"
sleep 1000 & echo $!
setsid sh -c 'echo $$; sleep 1000; true' &
(setsid sh -c 'sleep 1000 & echo $!; exit' &)
sh -c 'trap "" TERM; echo $$; while :; do sleep 1000; done' &
wait
"#;

#[tokio::test]
async fn time_out_kills_the_whole_family() {
    for containment in containments() {
        let mut command = sh(FAMILY);
        command.timeout = Some(Duration::from_secs(1));
        let tag = Tag::put_on(&mut command);
        let ended = ended(&containment, command).await;
        assert!(matches!(ended.exit.ending, Ending::TimedOut), "{ended:?}");
        assert_eq!(ended.text().lines().count(), 4, "{ended:?}");
        assert_eq!((tag.alive(), ended.exit.survivors), (vec![], 0), "{:?}", containment.method());
    }
}

#[tokio::test]
async fn cancellation_kills_the_whole_family() {
    for containment in containments() {
        let mut command = sh(FAMILY);
        let tag = Tag::put_on(&mut command);
        let mut attempt = Attempt::start(&containment, command);
        let pids = attempt.lines(4).await;
        attempt.cancel.cancel();
        let ended = attempt.end().await;
        assert!(matches!(ended.exit.ending, Ending::Cancelled), "{ended:?}");
        assert_eq!(tag.alive(), NOBODY, "{:?}", containment.method());
        assert!(!pids.iter().any(|pid| is_alive(pid)));
    }
}

#[tokio::test]
async fn a_command_may_act_on_sigterm_before_it_ends() {
    for containment in containments() {
        let mut command = sh("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
        command.limits.kill_grace = Duration::from_secs(60);
        let mut attempt = Attempt::start(&containment, command);
        attempt.lines(1).await;
        attempt.cancel.cancel();
        let ended = attempt.end().await;
        assert!(matches!(ended.exit.ending, Ending::Cancelled), "{ended:?}");
        assert_eq!(ended.text(), "ready\nbye\n");
    }
}

#[tokio::test]
async fn a_stopped_command_is_terminated_too() {
    for containment in containments() {
        let mut command = sh("read line; trap 'echo bye; exit' TERM; echo ready; kill -STOP $$; sleep 1000");
        // It is fed when the attempt is under way, and no longer stopped and continued by its start.
        command.stdin = "go\n".into();
        command.limits.kill_grace = Duration::from_secs(60);
        let tag = Tag::put_on(&mut command);
        let mut attempt = Attempt::start(&containment, command);
        attempt.lines(1).await;
        let stopped = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") T "))
        };
        until(|| tag.alive().iter().any(stopped)).await;
        attempt.cancel.cancel();
        assert_eq!(attempt.end().await.text(), "ready\nbye\n");
    }
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_killed_although_it_holds_the_pipe() {
    let rows = [
        "setsid sleep 1000 & echo done",
        "(setsid sh -c 'trap \"\" TERM; echo done; sleep 1000' &); sleep 0.1",
        "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo done",
        "sleep 1000 >/dev/null 2>&1 & echo done",
    ];
    for containment in containments() {
        for script in rows {
            let mut command = sh(script);
            let tag = Tag::put_on(&mut command);
            let ended = ended(&containment, command).await;
            assert!(ended.exit.ending.is_success(), "{script}: {ended:?}");
            assert_eq!(ended.text(), "done\n", "{script}");
            assert_eq!(tag.alive(), NOBODY, "{script}, {:?}", containment.method());
        }
    }
}

#[tokio::test]
async fn a_child_that_wiped_its_environment_is_found_by_descent() {
    for containment in containments() {
        let script = "env -i setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & wait";
        let mut attempt = Attempt::start(&containment, sh(script));
        let pid = attempt.lines(1).await.remove(0);
        attempt.cancel.cancel();
        attempt.end().await;
        assert!(!is_alive(&pid), "{:?}", containment.method());
    }
}

#[tokio::test]
async fn a_growing_crowd_is_killed() {
    // Every process starts two more, each in a session of its own, five generations deep.
    let crowd = "if [ $1 -gt 0 ]; then n=$(($1 - 1)); setsid sh crowd $n & setsid sh crowd $n & fi; \
                 echo $1 >> born; sleep 1000";
    for containment in containments() {
        let scratch = Scratch::new();
        std::fs::write(scratch.path().join("crowd"), crowd).unwrap();
        let mut command = sh("sh crowd 5");
        command.cwd = Some(scratch.path().into());
        let tag = Tag::put_on(&mut command);
        let attempt = Attempt::start(&containment, command);
        let born =
            || std::fs::read_to_string(scratch.path().join("born")).unwrap_or_default().lines().count();
        until(|| born() > 20).await;
        attempt.cancel.cancel();
        let ended = attempt.end().await;
        assert_eq!((tag.alive(), ended.exit.survivors), (vec![], 0), "{:?}", containment.method());
    }
}

#[tokio::test]
async fn a_process_that_never_stays_the_same_is_killed() {
    // Each lives a moment, then starts the next one, which is without a parent and in a new session.
    let hopper = "trap '' TERM; echo $$ >> hops; sleep 0.02; setsid sh hopper & exit";
    for containment in containments() {
        let scratch = Scratch::new();
        std::fs::write(scratch.path().join("hopper"), hopper).unwrap();
        let mut command = sh("read line; sh hopper & sh hopper & sleep 1000");
        command.stdin = "go\n".into();
        command.cwd = Some(scratch.path().into());
        let tag = Tag::put_on(&mut command);
        let attempt = Attempt::start(&containment, command);
        let hops =
            || std::fs::read_to_string(scratch.path().join("hops")).unwrap_or_default().lines().count();
        until(|| hops() > 20).await;
        attempt.cancel.cancel();
        let ended = attempt.end().await;
        assert_eq!((tag.alive(), ended.exit.survivors), (vec![], 0), "{:?}", containment.method());
    }
}

#[tokio::test]
async fn attempts_beside_each_other_are_told_apart() {
    let script = "(setsid sleep 1000 &); echo ready; read line; echo $line";
    for containment in containments() {
        let (mut one, mut other) = (sh(script), sh("(setsid sh -c 'echo $$; sleep 1000' &); sleep 1000"));
        let (one_tag, other_tag) = (Tag::put_on(&mut one), Tag::put_on(&mut other));
        one.stdin = vec![b'x'; 1].into();
        let mut other = Attempt::start(&containment, other);
        let orphan = other.lines(1).await.remove(0);
        let mut one = Attempt::start(&containment, one);
        one.lines(1).await;
        assert!(one.end().await.exit.ending.code() >= 0);
        assert_eq!(one_tag.alive(), NOBODY);
        assert!(is_alive(&orphan), "{:?}", containment.method());
        other.cancel.cancel();
        other.end().await;
        assert_eq!(other_tag.alive(), NOBODY);
    }
}

#[tokio::test]
async fn an_orphan_that_ends_by_itself_does_not_stay_a_zombie() {
    let containment = containments().pop().expect("a walk is always allowed");
    let mut attempt = Attempt::start(&containment, sh("(setsid sh -c 'echo $$' &); exec sleep 1000"));
    let orphan = attempt.lines(1).await.remove(0);
    until(|| !std::path::Path::new("/proc").join(&orphan).exists()).await;
    attempt.cancel.cancel();
    attempt.end().await;
}

#[tokio::test]
async fn no_exit_status_is_stolen() {
    for containment in containments() {
        let start =
            |number: i32| Attempt::start(&containment, sh(&format!("(setsid true &); exit {number}")));
        let attempts: Vec<Attempt> = (0..40).map(start).collect();
        for (number, attempt) in attempts.into_iter().enumerate() {
            assert_eq!(attempt.end().await.exit.ending.code(), number as i32);
        }
    }
}

#[test]
fn a_worker_kills_what_its_dead_predecessor_left_running() {
    let owner = unique();
    let mut leftover = std::process::Command::new("sleep")
        .arg("1000")
        .env("MARABUNTA_TREE", format!("{owner}/1-0"))
        .spawn()
        .unwrap();
    let mut stranger = std::process::Command::new("sleep")
        .arg("1000")
        .env("MARABUNTA_TREE", format!("{owner}-2/1-0"))
        .spawn()
        .unwrap();
    let doors = tempfile::tempdir().unwrap();
    Containment::with(Method::Walk, &owner, PROGRAM, doors.path()).unwrap();
    assert!(leftover.wait().unwrap().code().is_none(), "it was killed");
    assert!(stranger.try_wait().unwrap().is_none(), "another worker's process is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn an_owner_must_be_a_name() {
    for owner in ["", ".", "..", ".a", "a/b", "a b", "a\n", "ä", &"x".repeat(65)] {
        let error = Containment::detect(owner, PROGRAM, Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains(&format!("{owner:?}")), "{error}");
    }
}

#[tokio::test]
async fn cpu_time_of_the_whole_tree_is_counted() {
    for containment in containments() {
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let ended = ended(&containment, sh(&format!("sh -c '{busy}'; true"))).await;
        assert!(!ended.exit.cpu.is_zero(), "{:?}", containment.method());
    }
}

#[tokio::test]
async fn a_supervisor_serves_one_attempt_after_another() {
    for containment in containments() {
        let parent = |ended: &crate::attempt::Ended| ended.text().trim().to_owned();
        let first = ended(&containment, sh("echo $PPID")).await;
        let second = ended(&containment, sh("echo $PPID; exit 3")).await;
        assert_eq!(parent(&first), parent(&second), "{:?}", containment.method());
        assert_eq!(second.exit.ending.code(), 3);
    }
}

#[tokio::test]
async fn what_a_killed_supervisor_ran_is_killed_and_told_to_be_lost() {
    for containment in containments() {
        let mut command = sh("(setsid sleep 1000 &); echo $PPID; sleep 1000");
        let tag = Tag::put_on(&mut command);
        let mut attempt = Attempt::start(&containment, command);
        let supervisor: i32 = attempt.lines(1).await[0].parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        let end = attempt.end().await;
        assert!(matches!(end.exit.ending, Ending::Lost), "{end:?}");
        assert_eq!(tag.alive(), NOBODY, "{:?}", containment.method());
        // The next one is served by another.
        assert_eq!(ended(&containment, sh("exit 4")).await.exit.ending.code(), 4);
    }
}

#[tokio::test]
async fn a_supervisor_minds_no_signal_that_stops_a_daemon() {
    for containment in containments() {
        let script = "for s in INT TERM HUP; do kill -$s $PPID; done; echo still; sleep 0.05; exit 5";
        let ended = ended(&containment, sh(script)).await;
        assert_eq!((ended.exit.ending.code(), ended.text()), (5, "still\n".to_owned()));
    }
}
