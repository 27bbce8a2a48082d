use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use marabunta_tests::faults::clock::FakeClock;
use marabunta_tests::support::eventually;
use marabunta_tests::support::process::Process;
use marabunta_tests::support::scratch::Scratch;

#[tokio::test]
async fn the_wall_clock_of_a_running_program_jumps_while_its_monotonic_clock_does_not() {
    let (clock, scratch) = (FakeClock::new(), Scratch::new("program"));
    let look = "print(int(time.time()), int(time.monotonic()), flush=True)";
    let script = format!("import select, time\nwhile True: {look}; select.select([], [], [], 0.02)");
    let mut command = Command::new("python3");
    command.args(["-c", &script]).envs(clock.environment());
    let program = Process::service("program", &command, &scratch.join("log"));
    for hours in [0, 1, -1, 0] {
        clock.offset(hours * 3600);
        eventually("its clock shows it", async || {
            let log = String::from_utf8(program.stdout())?;
            let last = log.lines().last().unwrap_or_default();
            let (wall, _) = last.split_once(' ').ok_or_else(|| anyhow::anyhow!("{last:?}"))?;
            let ahead = wall.parse::<i64>()? - now();
            ensure!((ahead - hours * 3600).abs() < 5, "it is {ahead} s ahead");
            Ok(())
        })
        .await;
    }
    let log = String::from_utf8(program.stdout()).unwrap();
    let steady: Vec<i64> = log.lines().filter_map(|line| line.split_once(' ')?.1.parse().ok()).collect();
    assert!(steady.is_sorted() && steady.last().unwrap() - steady[0] < 600, "{steady:?}");
}

#[expect(clippy::disallowed_methods, reason = "the true time is what a fake one is compared with")]
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
