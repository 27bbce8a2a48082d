//! A command outlives the daemon that started it, and the next one hears all that the last one did not take.

use std::time::Duration;

use marabunta::exec::{Ending, Said, Supervised};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::attempt::{Attempt, Scratch, Tag, containments, is_alive, sh, until};

const NOBODY: [u32; 0] = [];

/// Waits until a file named `go` is in its working directory.
const WAIT: &str = "while [ ! -e go ]; do sleep 0.01; done";

#[tokio::test]
async fn an_attempt_goes_on_without_its_daemon_and_is_adopted_by_the_next() {
    for containment in containments() {
        let scratch = Scratch::new();
        let mut command = sh(&format!("echo $PPID; {WAIT}; echo alone; exit 7"));
        command.cwd = Some(scratch.path().into());
        let mut attempt = Attempt::start(&containment, command);
        let supervisor = attempt.lines(1).await.remove(0);
        attempt.abort().await;
        let (containment, mut orphans) = containment.again();
        assert_eq!(orphans.len(), 1, "{:?}", containment.method());
        let orphan = orphans.remove(0);
        assert_eq!((&*orphan.ticket, orphan.first), (&b"ticket"[..], 1));
        let attempt = Attempt::adopt(&containment, orphan);
        std::fs::write(scratch.path().join("go"), "").unwrap();
        let ended = attempt.end().await;
        assert_eq!((ended.exit.ending.code(), ended.text()), (7, "alone\n".to_owned()), "{ended:?}");
        until(|| !is_alive(&supervisor)).await;
        assert_eq!(std::fs::read_dir(containment.doors()).unwrap().count(), 0, "its door went with it");
    }
}

#[tokio::test]
async fn what_was_not_taken_is_said_again_under_its_number_and_so_is_the_end() {
    for containment in containments() {
        let scratch = Scratch::new();
        let script = "for n in 0 1 2 3 4 5; do echo $n; echo $n >&2; sleep 0.06; done; touch done; exit 3";
        let mut command = sh(script);
        command.cwd = Some(scratch.path().into());
        let mut supervised = Supervised::start(command, "first".into(), &containment).unwrap();
        let mut words = Vec::new();
        while words.len() < 4 {
            match supervised.hear().await {
                Said::Piece { number, piece } => words.push((number, piece)),
                Said::End(exit) => panic!("{exit:?}"),
            }
        }
        supervised.taken(2);
        supervised.relabel("second".into());
        until(|| scratch.path().join("done").exists()).await;
        drop(supervised);
        let mut containment = containment;
        let mut heard = Vec::new();
        // However many daemons come and go: until one takes the end it is there.
        for _ in 0..3 {
            let (next, mut orphans) = containment.again();
            containment = next;
            let orphan = orphans.remove(0);
            assert_eq!((&*orphan.ticket, orphan.first), (&b"second"[..], 2));
            let mut supervised = Supervised::adopt(orphan, &containment);
            heard.clear();
            let exit = loop {
                match supervised.hear().await {
                    Said::Piece { number, piece } => heard.push((number, piece)),
                    Said::End(exit) => break exit,
                }
            };
            assert_eq!(exit.ending.code(), 3);
            assert_eq!(supervised.words(), 2 + heard.len() as u64 + 1);
            assert_eq!(heard[..2], words[2..]);
            let numbers: Vec<u64> = heard.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (2..2 + heard.len() as u64).collect::<Vec<_>>());
        }
        let (containment, mut orphans) = containment.again();
        Supervised::adopt(orphans.remove(0), &containment).release();
        until(|| std::fs::read_dir(containment.doors()).unwrap().count() == 0).await;
    }
}

#[tokio::test]
async fn time_out_and_output_limit_hold_while_nobody_is_there() {
    for containment in containments() {
        let mut command = sh("exec yes");
        command.timeout = Some(Duration::from_millis(500));
        // More than what waits in memory.
        command.limits.output = 8 << 20;
        let tag = Tag::put_on(&mut command);
        let supervised = Supervised::start(command, "".into(), &containment).unwrap();
        until(|| !tag.alive().is_empty()).await;
        drop(supervised);
        until(|| tag.alive().is_empty()).await;
        let (containment, mut orphans) = containment.again();
        let ended = Attempt::adopt(&containment, orphans.remove(0)).end().await;
        assert!(matches!(ended.exit.ending, Ending::TimedOut), "{:?}", ended.exit);
        let expected = ended.exit.output_bytes.min(8 << 20);
        assert_eq!(ended.stdout.len() as u64, expected);
        assert!(ended.stdout.chunks(2).all(|line| line == b"y\n"));
        assert_eq!(
            (ended.exit.truncated, ended.notes.len()),
            (expected == 8 << 20, usize::from(expected == 8 << 20))
        );
    }
}

#[tokio::test]
async fn an_adopted_attempt_can_be_cancelled() {
    for containment in containments() {
        let mut command = sh("(setsid sleep 1000 &); echo here; sleep 1000");
        let tag = Tag::put_on(&mut command);
        let mut attempt = Attempt::start(&containment, command);
        attempt.lines(1).await;
        attempt.abort().await;
        let (containment, mut orphans) = containment.again();
        let attempt = Attempt::adopt(&containment, orphans.remove(0));
        attempt.cancel.cancel();
        let ended = attempt.end().await;
        assert!(matches!(ended.exit.ending, Ending::Cancelled), "{ended:?}");
        assert_eq!(tag.alive(), NOBODY);
    }
}

#[tokio::test]
async fn only_what_a_living_supervisor_answers_for_is_spared_by_the_next_daemon() {
    for containment in containments() {
        let start = |name: &str| {
            let mut command = sh(&format!("(setsid sleep 1000 &); echo $PPID; : {name}; sleep 1000"));
            let tag = Tag::put_on(&mut command);
            (Attempt::start(&containment, command), tag)
        };
        let ((mut kept, kept_tag), (mut killed, killed_tag)) = (start("kept"), start("killed"));
        kept.lines(1).await;
        let supervisor: i32 = killed.lines(1).await[0].parse().unwrap();
        kept.abort().await;
        killed.abort().await;
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
        until(|| !is_alive(&supervisor.to_string())).await;
        assert_ne!(killed_tag.alive(), NOBODY);
        let (containment, mut orphans) = containment.again();
        assert_eq!(orphans.len(), 1, "{:?}", containment.method());
        assert_eq!(killed_tag.alive(), NOBODY);
        assert_ne!(kept_tag.alive(), NOBODY);
        assert_eq!(std::fs::read_dir(containment.doors()).unwrap().count(), 1);
        let attempt = Attempt::adopt(&containment, orphans.remove(0));
        attempt.cancel.cancel();
        attempt.end().await;
        assert_eq!(kept_tag.alive(), NOBODY);
    }
}

#[tokio::test]
async fn what_nobody_can_find_any_more_is_killed() {
    for containment in containments() {
        let mut command = sh("echo $PPID; (setsid sleep 1000 &); sleep 1000");
        let tag = Tag::put_on(&mut command);
        let mut attempt = Attempt::start(&containment, command);
        let supervisor = attempt.lines(1).await.remove(0);
        attempt.abort().await;
        drop(containment);
        until(|| tag.alive().is_empty() && !is_alive(&supervisor)).await;
    }
}

#[tokio::test]
async fn an_idle_supervisor_ends_with_its_daemon() {
    for containment in containments() {
        let ended = crate::attempt::ended(&containment, sh("echo $PPID")).await;
        let supervisor = ended.text().trim().to_owned();
        assert!(is_alive(&supervisor));
        let (_containment, orphans) = containment.again();
        assert!(orphans.is_empty());
        until(|| !is_alive(&supervisor)).await;
    }
}

#[tokio::test]
async fn many_attempts_are_adopted_at_once() {
    for containment in containments() {
        let scratch = Scratch::new();
        let mut attempts = Vec::new();
        for number in 0..50 {
            let mut command = sh(&format!("echo {number}; {WAIT}; echo more; exit {number}"));
            command.cwd = Some(scratch.path().into());
            let mut attempt = Attempt::start(&containment, command);
            attempt.lines(1).await;
            attempts.push(attempt);
        }
        for attempt in attempts {
            attempt.abort().await;
        }
        let (containment, orphans) = containment.again();
        let adopted: Vec<_> =
            orphans.into_iter().map(|orphan| Attempt::adopt(&containment, orphan)).collect();
        std::fs::write(scratch.path().join("go"), "").unwrap();
        let mut codes = Vec::new();
        for attempt in adopted {
            let ended = attempt.end().await;
            assert_eq!(ended.text(), "more\n");
            codes.push(ended.exit.ending.code());
        }
        codes.sort_unstable();
        assert_eq!(codes, (0..50).collect::<Vec<_>>());
    }
}
