//! What commands print and read is bytes, however many.

use std::time::Duration;

use marabunta::exec::Ending;

use crate::attempt::{Attempt, Tag, any_containment, command, ended, sh, until};

#[tokio::test]
async fn both_outputs_are_kept_apart_and_byte_exact() {
    let ended = ended(&any_containment(), sh(r"printf 'a\000\377\033[31m'; printf '\376b' >&2")).await;
    assert_eq!(ended.stdout, b"a\0\xff\x1b[31m");
    assert_eq!(ended.stderr, b"\xfeb");
    assert_eq!((ended.exit.output_bytes, ended.exit.truncated), (10, false));
}

#[tokio::test]
async fn output_appears_while_the_command_runs() {
    let mut attempt = Attempt::start(&any_containment(), sh("echo now; exec sleep 1000"));
    assert_eq!(attempt.lines(1).await, ["now"]);
    attempt.cancel.cancel();
    attempt.end().await;
}

#[tokio::test]
async fn a_long_input_comes_back_through_both_pipes_at_once() {
    let input: Vec<u8> = (0..5_000_000_u32).map(|number| (number / 7) as u8).collect();
    let mut command = command(&["cat"]);
    command.stdin = input.clone().into();
    command.limits.output = 10_000_000;
    let ended = ended(&any_containment(), command).await;
    assert!(ended.stdout == input, "the bytes differ");
    assert!(!ended.exit.truncated);
}

#[tokio::test]
async fn an_input_that_nobody_reads_is_no_error() {
    for script in ["exit 0", "exec <&-; exit 0", "read line; exit 0"] {
        let mut command = sh(script);
        command.stdin = vec![b'x'; 1 << 20].into();
        let ended = ended(&any_containment(), command).await;
        assert!(!matches!(ended.exit.ending, Ending::Signalled(_) | Ending::TimedOut), "{script}: {ended:?}");
    }
}

#[tokio::test]
async fn one_line_of_a_hundred_megabytes_keeps_head_and_tail() {
    let mut command = sh("printf head; head -c 100000000 /dev/zero; printf tail");
    command.limits.output = 64 << 10;
    let ended = ended(&any_containment(), command).await;
    assert_eq!((ended.exit.output_bytes, ended.exit.truncated), (100_000_008, true));
    assert_eq!(ended.stdout.len(), 64 << 10);
    assert!(ended.stdout.starts_with(b"head\0") && ended.stdout.ends_with(b"\0tail"));
    assert_eq!(
        ended.notes,
        [format!("{} bytes of output are left out here; 65536 are kept", 100_000_008 - 65536)]
    );
}

#[tokio::test]
async fn endless_output_to_a_receiver_that_never_reads_still_times_out() {
    let mut command = command(&["yes"]);
    command.timeout = Some(Duration::from_millis(300));
    command.limits.output = 64 << 10;
    let tag = Tag::put_on(&mut command);
    let attempt = Attempt::start(&any_containment(), command);
    until(|| !tag.alive().is_empty()).await;
    until(|| tag.alive().is_empty()).await;
    // Only now is anything received, and of what is kept nothing is lost.
    let ended = attempt.end().await;
    assert!(matches!(ended.exit.ending, Ending::TimedOut), "{:?}", ended.exit);
    assert!(ended.exit.truncated && ended.exit.output_bytes > 64 << 10);
    assert_eq!(ended.stdout.len(), 64 << 10);
}

#[tokio::test]
async fn a_command_outlives_its_outputs_and_its_receiver() {
    let ended = ended(&any_containment(), sh("exec >&- 2>&-; sleep 0.1; exit 4")).await;
    assert_eq!(ended.exit.ending.code(), 4);

    let mut attempt = Attempt::start(&any_containment(), sh("head -c 1000000 /dev/zero; exit 5"));
    attempt.pieces.close();
    assert_eq!(attempt.end().await.exit.ending.code(), 5);
}
