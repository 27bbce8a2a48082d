//! However a test process ends, its programs and its directory go with it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use marabunta_tests::support::eventually;
use marabunta_tests::support::process::{Process, through};
use marabunta_tests::support::scratch::Scratch;
use marabunta_tests::support::watchdog;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Tells the other test process where to say what it has started.
const NOTE: &str = "MARABUNTA_TEST_NOTE";

#[tokio::test]
async fn a_test_process_that_dies_leaves_nothing_behind() {
    // Not SIGINT and SIGHUP: whoever started the tests may have had them ignored.
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let scratch = Scratch::new("note");
        let mut other =
            other_test_process("nothing_left_behind::a_process_that_is_killed", &scratch.join("note"));
        let (programs, root) = read_note(&scratch.join("note")).await;
        assert!(root.is_dir(), "{} is there while its test process is", root.display());

        kill(Pid::from_raw(i32::try_from(other.id()).unwrap()), signal).unwrap();
        other.wait().unwrap();

        gone(signal, &programs, &root).await;
    }
}

#[tokio::test]
async fn a_test_process_that_ends_with_live_statics_leaves_nothing_behind() {
    let scratch = Scratch::new("note");
    let mut other = other_test_process("nothing_left_behind::a_process_that_forgets", &scratch.join("note"));
    let (programs, root) = read_note(&scratch.join("note")).await;
    assert!(other.wait().unwrap().success());
    gone("its end", &programs, &root).await;
}

#[test]
#[ignore = "run by a_test_process_that_dies_leaves_nothing_behind"]
fn a_process_that_is_killed() {
    let Some(note) = env::var_os(NOTE) else { return };
    let scratch = Scratch::new("victim");
    let process = start_family(&scratch, &[]);
    write_note(Path::new(&note), &process, &scratch);
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "run by a_test_process_that_ends_with_live_statics_leaves_nothing_behind"]
fn a_process_that_forgets() {
    let Some(note) = env::var_os(NOTE) else { return };
    let scratch = Scratch::new("victim");
    let process = start_family(&scratch, &[]);
    write_note(Path::new(&note), &process, &scratch);
    std::mem::forget((process, scratch));
}

#[cfg(feature = "services")]
#[tokio::test]
async fn a_test_process_that_is_killed_leaves_no_namespace_and_no_mount() {
    let scratch = Scratch::new("note");
    let test = "nothing_left_behind::a_process_with_a_namespace_and_a_disk";
    let mut other = other_test_process(test, &scratch.join("note"));
    let (programs, root) = read_note(&scratch.join("note")).await;
    let name = root.file_name().unwrap().to_str().unwrap().to_owned();
    let left = || {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let namespaces = fs::read_dir("/run/netns").unwrap();
        let namespaces = namespaces.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        mounts.lines().map(str::to_owned).chain(namespaces).filter(|line| line.contains(&name)).count()
    };
    assert_eq!(left(), 5, "a disk, a namespace and its cable, and these two are mounts as well");
    other.kill().unwrap();
    other.wait().unwrap();
    gone("its death", &programs, &root).await;
    eventually("no mount and no namespace is left", async || {
        ensure!(left() == 0, "{} are", left());
        Ok(())
    })
    .await;
}

#[cfg(feature = "services")]
#[test]
#[ignore = "run by a_test_process_that_is_killed_leaves_no_namespace_and_no_mount"]
fn a_process_with_a_namespace_and_a_disk() {
    use marabunta_tests::faults::{disk::Disk, network::Namespace};

    let Some(note) = env::var_os(NOTE) else { return };
    let (scratch, namespace, disk) = (Scratch::new("victim"), Namespace::new(), Disk::new(1 << 20));
    let process = start_family(&scratch, &namespace.launcher());
    disk.fill();
    write_note(Path::new(&note), &process, &scratch);
    loop {
        std::thread::park();
    }
}

/// A program with a child, both of which would run for ever and ignore what is ignorable.
fn start_family(scratch: &Scratch, launcher: &[OsString]) -> Process {
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP INT TERM; sleep 100000 & echo $! >child; wait"])
        .current_dir(scratch.path());
    Process::service("family", &through(launcher, command), &scratch.join("log"))
}

fn write_note(note: &Path, process: &Process, scratch: &Scratch) {
    let child = loop {
        match fs::read_to_string(scratch.join("child")) {
            Ok(child) if child.ends_with('\n') => break child,
            _ => std::thread::yield_now(),
        }
    };
    let text = format!("{}\n{}\n{}\n", process.pid(), child.trim(), watchdog::root().display());
    let unfinished = note.with_extension("unfinished");
    fs::write(&unfinished, text).unwrap();
    fs::rename(unfinished, note).unwrap();
}

async fn read_note(note: &Path) -> (Vec<PathBuf>, PathBuf) {
    let text =
        eventually("the other test process has started its program", async || Ok(fs::read_to_string(note)?))
            .await;
    let mut lines: Vec<&str> = text.lines().collect();
    let root = PathBuf::from(lines.pop().unwrap());
    (lines.iter().map(|pid| Path::new("/proc").join(pid)).collect(), root)
}

fn other_test_process(test: &str, note: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", test])
        .env(NOTE, note)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn gone(after: impl std::fmt::Display, programs: &[PathBuf], root: &Path) {
    eventually(&format!("everything is gone after {after}"), async || {
        for program in programs {
            ensure!(ended(program), "{} is running", program.display());
        }
        ensure!(!root.exists(), "{} exists", root.display());
        Ok(())
    })
    .await;
}

/// Whether a process is gone, or dead and only not yet collected by whoever adopted it.
fn ended(process: &Path) -> bool {
    let state = || -> anyhow::Result<char> {
        let stat = fs::read_to_string(process.join("stat"))?;
        let (_, rest) = stat.rsplit_once(") ").context("no state")?;
        rest.chars().next().context("no state")
    };
    matches!(state(), Err(_) | Ok('Z' | 'X'))
}
