//! What follows the end of an attempt: another one, or the end of the run. The one place where retries and losses are counted.

use std::time::Duration;

use super::{Outcome, Policy, Reason, State};

/// So many deliveries that no worker accepted bury a run.
pub const UNACCEPTED_DELIVERIES: u32 = 20;

const LONGEST_BACKOFF: Duration = Duration::from_secs(3600);

/// What a run has behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Attempts that failed or timed out.
    pub failed: u32,
    /// Attempts that were lost with their worker.
    pub lost: u32,
    /// Deliveries in a row that nobody accepted.
    pub unaccepted: u32,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Back to the queue, not before this time has passed.
    Again { delay: Duration, counters: Counters },
    /// The run has ended. The reason is there exactly when the state is [`State::Error`].
    End { state: State, reason: Option<Reason>, counters: Counters },
}

/// What follows an attempt that ended so (`None`: it was never accepted). `cancelled`: the run is to be cancelled. `jitter` is a random number from 0 to 1
/// that spreads the wait.
#[must_use]
pub fn next(
    policy: &Policy,
    before: Counters,
    outcome: Option<Outcome>,
    cancelled: bool,
    jitter: f64,
) -> Next {
    let mut counters = before;
    match outcome {
        None => counters.unaccepted += 1,
        Some(Outcome::Failed | Outcome::TimedOut) => counters.failed += 1,
        Some(Outcome::Lost) => counters.lost += 1,
        Some(_) => {}
    }
    if outcome.is_some() {
        counters.unaccepted = 0;
    }
    let end = |state, reason| Next::End { state, reason, counters };
    let again = |delay| if cancelled { end(State::Cancelled, None) } else { Next::Again { delay, counters } };
    match outcome {
        Some(Outcome::Succeeded) => end(State::Done, None),
        Some(Outcome::Cancelled) => end(State::Cancelled, None),
        Some(Outcome::Rejected) => end(State::Error, Some(Reason::Rejected)),
        Some(Outcome::Failed) if counters.failed > policy.retries => end(State::Error, Some(Reason::Failed)),
        Some(Outcome::TimedOut) if counters.failed > policy.retries => {
            end(State::Error, Some(Reason::Timeout))
        }
        Some(Outcome::Failed | Outcome::TimedOut) => {
            again(backoff(policy.backoff, counters.failed - 1, jitter))
        }
        Some(Outcome::Lost) if policy.max_lost == 0 => end(State::Error, Some(Reason::Lost)),
        Some(Outcome::Lost) if counters.lost > policy.max_lost => end(State::Error, Some(Reason::Poison)),
        // The first loss is the host's bad luck; from the second on it may be the run's own doing.
        Some(Outcome::Lost) if counters.lost == 1 => again(Duration::ZERO),
        Some(Outcome::Lost) => again(backoff(Duration::from_secs(1), counters.lost - 2, jitter)),
        None if counters.unaccepted >= UNACCEPTED_DELIVERIES => end(State::Error, Some(Reason::Poison)),
        None => again(Duration::ZERO),
    }
}

fn backoff(first: Duration, doublings: u32, jitter: f64) -> Duration {
    let longest = first.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST_BACKOFF);
    longest.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(retries: u32, max_lost: u32) -> Policy {
        Policy { retries, max_lost, ..Policy::default() }
    }

    fn end(state: State, reason: Option<Reason>) -> (State, Option<Reason>) {
        (state, reason)
    }

    /// Applies outcomes until the run has ended: how it ended and after how many attempts.
    fn play(policy: &Policy, outcome: Option<Outcome>, cancelled: bool) -> ((State, Option<Reason>), u32) {
        let mut counters = Counters::default();
        for attempt in 1.. {
            match next(policy, counters, outcome, cancelled, 1.0) {
                Next::Again { counters: after, .. } => counters = after,
                Next::End { state, reason, .. } => return ((state, reason), attempt),
            }
        }
        unreachable!("a run whose attempts are bounded ends")
    }

    #[test]
    fn each_outcome_ends_a_run_after_as_many_attempts_as_its_policy_allows() {
        use Outcome::*;
        let table = [
            (policy(0, 3), Some(Succeeded), false, end(State::Done, None), 1),
            (policy(0, 3), Some(Failed), false, end(State::Error, Some(Reason::Failed)), 1),
            (policy(2, 3), Some(Failed), false, end(State::Error, Some(Reason::Failed)), 3),
            (policy(2, 3), Some(TimedOut), false, end(State::Error, Some(Reason::Timeout)), 3),
            (policy(2, 3), Some(Failed), true, end(State::Cancelled, None), 1),
            (policy(9, 0), Some(Lost), false, end(State::Error, Some(Reason::Lost)), 1),
            (policy(0, 3), Some(Lost), false, end(State::Error, Some(Reason::Poison)), 4),
            (policy(0, 3), Some(Lost), true, end(State::Cancelled, None), 1),
            (policy(9, 9), Some(Rejected), false, end(State::Error, Some(Reason::Rejected)), 1),
            (policy(9, 9), Some(Cancelled), false, end(State::Cancelled, None), 1),
            (policy(0, 0), None, false, end(State::Error, Some(Reason::Poison)), UNACCEPTED_DELIVERIES),
        ];
        for (policy, outcome, cancelled, ended, attempts) in table {
            assert_eq!(
                play(&policy, outcome, cancelled),
                (ended, attempts),
                "{policy:?} {outcome:?} {cancelled}"
            );
        }
    }

    #[test]
    fn the_wait_before_a_retry_doubles_up_to_an_hour() {
        let policy = policy(1000, 0);
        for (failed, seconds) in [(0, 1), (1, 2), (5, 32), (11, 2048), (12, 3600), (40, 3600)] {
            let counters = Counters { failed, ..Counters::default() };
            match next(&policy, counters, Some(Outcome::Failed), false, 1.0) {
                Next::Again { delay, .. } => assert_eq!(delay.as_secs(), seconds, "after {failed} failures"),
                other => panic!("{other:?}"),
            }
        }
    }
}
