use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use anyhow::ensure;
use marabunta_tests::support::eventually;
use marabunta_tests::support::process::Process;
use marabunta_tests::support::scratch::Scratch;
use nix::sys::signal::Signal;

#[tokio::test]
async fn a_command_gives_its_output_its_errors_and_its_code_as_a_shell_would() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        let scratch = Scratch::new("process");
        let process = start(&scratch, &format!("cat; echo bad >&2; {script}"), b"first\nsecond\0\xff");
        assert_eq!(process.exit().await, code, "of {script}");
        assert_eq!(process.stdout(), b"first\nsecond\0\xff", "the input passes byte for byte");
        assert_eq!(process.stderr(), b"bad\n");
    }
}

#[tokio::test]
async fn arguments_environment_and_directory_arrive_as_given() {
    let scratch = Scratch::new("process");
    let mut command = Command::new("sh");
    command.args(["-c", r#"printf '%s|' "$@" "$GIVEN" "${HOME-none}"; pwd"#, "sh", "a b", "", "$(x)\n'\""]);
    command.env("GIVEN", "v w").env_remove("HOME").current_dir(scratch.path());
    let process = Process::start("sh", &command, b"", &scratch.join("stdout"), &scratch.join("stderr"));
    assert_eq!(process.exit().await, 0);
    let expected = format!("a b||$(x)\n'\"|v w|none|{}\n", scratch.path().display());
    assert_eq!(String::from_utf8(process.stdout()).unwrap(), expected);
}

#[tokio::test]
async fn a_paused_process_stands_still_until_it_is_resumed() {
    let scratch = Scratch::new("process");
    let process = start(&scratch, "while echo tick; do sleep 0.01; done", b"");
    process
        .until_ready(async || {
            ensure!(!process.stdout().is_empty(), "no tick yet");
            Ok(())
        })
        .await;

    process.pause();
    eventually("it is stopped", async || {
        ensure!(state(&process) == 'T', "{}", state(&process));
        Ok(())
    })
    .await;
    let before = process.stdout().len();
    assert!(process.exited().is_none());
    process.resume();
    eventually("it ticks again", async || {
        ensure!(process.stdout().len() > before, "no more ticks");
        Ok(())
    })
    .await;

    process.pause();
    process.kill();
    assert_eq!(process.exit_code(), Some(137), "a stopped process can be killed");
    process.signal(Signal::SIGTERM); // a process that has ended is left in peace
}

#[tokio::test]
async fn a_dropped_process_takes_its_children_along() {
    let scratch = Scratch::new("process");
    let process = start(&scratch, "sleep 100000 & echo $!; wait", b"");
    let child =
        process.until_ready(async || Ok(String::from_utf8(process.stdout())?.trim().parse::<u32>()?)).await;
    drop(process);
    eventually("the child is gone", async || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        ensure!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        Ok(())
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "no such option")]
async fn a_service_that_does_not_come_up_fails_at_once_with_its_log() {
    let scratch = Scratch::new("process");
    let process = start(&scratch, "echo no such option >&2; exit 2", b"");
    process.until_ready(async || -> anyhow::Result<()> { anyhow::bail!("not ready") }).await;
}

#[test]
fn a_directory_is_removed_also_when_the_test_fails() {
    let mut path = None;
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let scratch = Scratch::new("doomed");
        scratch.write("file", "text");
        path = Some(scratch.path().to_owned());
        std::panic::resume_unwind(Box::new("a test fails"));
    }));
    assert!(failed.is_err());
    assert!(!path.unwrap().exists());
}

fn start(scratch: &Scratch, script: &str, input: &[u8]) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::start("sh", &command, input, &scratch.join("stdout"), &scratch.join("stderr"))
}

fn state(process: &Process) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}
