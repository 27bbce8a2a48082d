//! Exit codes. Those of `run` are those of `timeout`(1), `env`(1) and the shells, so that scripts know them already.

use marabunta_proto::v1::{Reason, Run, RunState};

use super::view::run::ended;

/// The arguments make no sense.
pub const USAGE: u8 = 2;
/// A command other than `run` failed; or one of the runs of an `all(..)` did.
pub const FAILED: u8 = 1;
/// The task took longer than its timeout.
pub const TIMED_OUT: u8 = 124;
/// `run` could not find out how the task ended, or it never ran: no server, lost, expired.
pub const OURS: u8 = 125;
/// The worker refused to run it.
pub const REFUSED: u8 = 126;
/// Cancelled, or interrupted: 128 + 2, as after Ctrl-C in a shell.
pub const CANCELLED: u8 = 130;
/// 128 + 13, as if SIGPIPE had ended this process.
pub const BROKEN_PIPE: u8 = 141;

/// The exit code that stands for how a run ended.
pub fn of(run: &Run) -> u8 {
    let task = run.exit_code.map(|code| u8::try_from(code).unwrap_or(FAILED));
    match (run.state(), run.reason()) {
        (RunState::Done, _) => task.unwrap_or(0),
        (RunState::Error, Reason::Failed) => task.filter(|code| *code != 0).unwrap_or(FAILED),
        (RunState::Error, Reason::Timeout) => TIMED_OUT,
        // The worker says 127 when there is no such program.
        (RunState::Error, Reason::Rejected) => task.filter(|code| *code == 127).unwrap_or(REFUSED),
        (RunState::Error, Reason::Lost | Reason::Poison | Reason::Unspecified) => OURS,
        (RunState::Cancelled, _) => CANCELLED,
        (RunState::Expired | RunState::Skipped, _) => OURS,
        // Not an end, or one that this version does not know.
        (RunState::Todo | RunState::Queued | RunState::Running | RunState::Unspecified, _) => OURS,
    }
}

/// What there is to say about an end that the exit code of the task's own command does not say already.
pub fn explain(run: &Run) -> Option<String> {
    let own = matches!(run.exit_code, Some(1..=128)) && run.reason() == Reason::Failed;
    if own || run.state() == RunState::Done {
        return None;
    }
    let place = if run.worker.is_empty() { &run.target } else { &run.worker };
    let error = if run.error.is_empty() { String::new() } else { format!(": {}", run.error) };
    Some(format!("run {} on {place} ended as {}{error}", run.id, ended(run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_code() {
        use {Reason as R, RunState as S};
        let table = [
            (S::Done, R::Unspecified, None, 0),
            (S::Done, R::Unspecified, Some(0), 0),
            (S::Error, R::Failed, Some(3), 3),
            (S::Error, R::Failed, Some(128 + 9), 137),
            (S::Error, R::Failed, Some(0), 1),
            (S::Error, R::Failed, Some(-1), 1),
            (S::Error, R::Failed, Some(256), 1),
            (S::Error, R::Failed, None, 1),
            (S::Error, R::Timeout, Some(137), 124),
            (S::Error, R::Lost, None, 125),
            (S::Error, R::Poison, None, 125),
            (S::Error, R::Rejected, None, 126),
            (S::Error, R::Rejected, Some(127), 127),
            (S::Cancelled, R::Unspecified, Some(143), 130),
            (S::Expired, R::Unspecified, None, 125),
            (S::Skipped, R::Unspecified, None, 125),
            (S::Running, R::Unspecified, None, 125),
        ];
        for (state, reason, exit_code, expected) in table {
            let run = Run { state: state.into(), reason: reason.into(), exit_code, ..Run::default() };
            assert_eq!(of(&run), expected, "{state:?} {reason:?} {exit_code:?}");
        }
    }
}
