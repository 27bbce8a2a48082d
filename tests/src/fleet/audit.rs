//! What was accepted against what was executed. Pure.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::load::Accepted;
use super::testimony::{Execution, Life, Testimony};

/// How many stories are told.
const STORIES: usize = 10;

/// What came of all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub accepted: usize,
    pub executions: usize,
    /// Accepted and never executed to the end.
    pub lost: Vec<String>,
    /// Executed again though nothing had happened to the member that had it.
    pub doubled: Vec<String>,
    /// Executed again after the death, or a stall, of the member that had it.
    pub explained: usize,
    /// Executed twice by one member at the same time.
    pub overlapping: Vec<String>,
    /// Executed though nobody knows to have submitted it.
    pub strangers: Vec<String>,
    /// Of some that were executed more than once: where, and when after their acceptance.
    pub stories: Vec<String>,
}

impl Audit {
    /// `fault`: since when something was wrong with a life that had begun a run at this moment, if something was.
    pub fn of(
        accepted: &HashMap<String, Accepted>,
        testimony: &Testimony,
        fault: impl Fn(Life, Instant) -> Option<Instant>,
    ) -> Self {
        let mut audit = Self { accepted: accepted.len(), ..Self::default() };
        for (run, one) in accepted {
            let (executions, doubled) = (testimony.of(run), audit.doubled.len());
            audit.judge(run, &executions, &fault);
            if audit.doubled.len() > doubled && audit.stories.len() < STORIES {
                audit.stories.push(story(run, one, &executions));
            }
        }
        audit.strangers = testimony.strangers(|run| accepted.contains_key(run));
        audit
    }

    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.doubled, &self.overlapping, &self.strangers].iter().all(|wrong| wrong.is_empty())
    }

    pub fn json(&self) -> Value {
        let wrong = [&self.lost, &self.doubled, &self.overlapping, &self.strangers];
        let examples = wrong.map(|wrong| wrong.iter().take(5).cloned().collect::<Vec<_>>());
        json!({
            "accepted": self.accepted, "executions": self.executions, "explained": self.explained,
            "lost": self.lost.len(), "doubled": self.doubled.len(), "overlapping": self.overlapping.len(),
            "strangers": self.strangers.len(),
            "examples": examples, "stories": self.stories,
        })
    }

    fn judge(
        &mut self,
        run: &str,
        executions: &[Execution],
        fault: impl Fn(Life, Instant) -> Option<Instant>,
    ) {
        self.executions += executions.len();
        if executions.iter().all(|one| one.ended.is_none()) {
            self.lost.push(run.to_owned());
        }
        for (before, after) in executions.iter().zip(executions.iter().skip(1)) {
            let fault = fault(before.life, before.began);
            // A member that died after the end may not have been able to report it: so the whole execution counts too.
            match fault {
                Some(since) if since <= after.began => self.explained += 1,
                _ => self.doubled.push(run.to_owned()),
            }
            let same_host = before.life.member == after.life.member;
            let died = fault.filter(|_| before.life != after.life);
            let until = before.ended.or(before.stopped).or(died);
            if same_host && until.is_none_or(|until| until > after.began) {
                self.overlapping.push(run.to_owned());
            }
        }
    }
}

fn story(run: &str, accepted: &Accepted, executions: &[Execution]) -> String {
    let after = |at: Instant| format!("{:.3}", at.saturating_duration_since(accepted.at).as_secs_f64());
    let told = executions.iter().map(|one| {
        let ended = one.ended.map_or("-".to_owned(), after);
        format!("attempt {} on {:?} {} to {ended}", one.attempt, one.life, after(one.began))
    });
    format!("{run} for {}: {}", accepted.target, told.collect::<Vec<_>>().join(", "))
}

/// How long runs waited from their acceptance to their first execution, those accepted within this span.
pub fn waits(
    accepted: &HashMap<String, Accepted>,
    testimony: &Testimony,
    from: Instant,
    to: Instant,
    of: impl Fn(&Accepted) -> bool,
) -> Vec<Duration> {
    let within = accepted.iter().filter(|(_, one)| one.at >= from && one.at < to && of(one));
    let mut waits: Vec<_> = within
        .filter_map(|(run, one)| Some(testimony.of(run).first()?.began.saturating_duration_since(one.at)))
        .collect();
    waits.sort_unstable();
    waits
}

/// This share of the sorted values is not above it; nothing of nothing.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Life = Life { member: 1, number: 1 };
    const B: Life = Life { member: 2, number: 1 };

    fn accepted(runs: &[&str]) -> HashMap<String, Accepted> {
        let one = || Accepted { target: String::new(), at: Instant::now() };
        runs.iter().map(|run| ((*run).to_owned(), one())).collect()
    }

    fn whole(testimony: &Testimony, run: &str, life: Life) {
        let execution = testimony.began(run, 1, life);
        testimony.ended(run, execution);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_executed_once_is_clean() {
        let testimony = Testimony::default();
        whole(&testimony, "a", A);
        whole(&testimony, "b", B);
        let audit = Audit::of(&accepted(&["a", "b"]), &testimony, |_, _| None);
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!((audit.accepted, audit.executions), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_is_found() {
        let testimony = Testimony::default();
        testimony.began("begun", 1, A);
        whole(&testimony, "twice", A);
        whole(&testimony, "twice", B);
        whole(&testimony, "unknown", A);
        let open = testimony.began("both", 1, A);
        whole(&testimony, "both", A);
        testimony.ended("both", open);
        let audit = Audit::of(&accepted(&["never", "begun", "twice", "both"]), &testimony, |_, _| None);
        let mut lost = audit.lost.clone();
        lost.sort_unstable();
        assert_eq!(lost, ["begun", "never"]);
        let mut doubled = audit.doubled.clone();
        doubled.sort_unstable();
        assert_eq!(doubled, ["both", "twice"]);
        assert_eq!((audit.strangers, audit.overlapping.len()), (vec!["unknown".to_owned()], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn two_at_once_on_one_member_are_found() {
        let testimony = Testimony::default();
        let open = testimony.began("both", 1, A);
        whole(&testimony, "both", A);
        tokio::time::advance(Duration::from_millis(1)).await;
        testimony.ended("both", open);
        let audit = Audit::of(&accepted(&["both"]), &testimony, |_, _| None);
        assert_eq!(audit.overlapping, ["both"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_death_explains_what_began_after_it_and_nothing_before() {
        let testimony = Testimony::default();
        testimony.began("after", 1, A);
        testimony.began("before", 1, A);
        whole(&testimony, "before", B);
        tokio::time::advance(Duration::from_millis(1)).await;
        let death = Instant::now();
        whole(&testimony, "after", B);
        let died = |life: Life, _| (life == A).then_some(death);
        let audit = Audit::of(&accepted(&["after", "before"]), &testimony, died);
        assert_eq!((audit.explained, audit.doubled), (1, vec!["before".to_owned()]));
    }

    #[test]
    fn percentiles_of_nothing_and_of_some() {
        let ms = Duration::from_millis;
        assert_eq!(percentile(&[], 0.5), ms(0));
        let all: Vec<_> = (1..=100).map(ms).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| percentile(&all, share)), [1, 51, 100, 100].map(ms));
    }
}
