//! A seeded choice of faults that overlap. A plan is made before anything is broken, from the seed and the size of the arena alone, so a seed
//! replays.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::history::Touched;

/// At most so many faults are there at once.
const AT_ONCE: usize = 3;
/// What was struck has its time to be healed, too.
const MARGIN: Duration = Duration::from_secs(2);

/// What is done to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL, started again at the end.
    Kill,
    /// SIGTERM, started again at the end.
    Terminate,
    /// SIGSTOP, SIGCONT at the end.
    Pause,
    /// FLUSHALL, at an instant.
    Flush,
    /// SIGKILL to Redis and its file removed, started again at the end.
    LoseFile,
    /// The tables that every run needs are locked.
    Lock,
    /// Connections are cut, at an instant.
    Cut,
    /// Connections are cut, and new ones refused.
    Refuse,
    /// Connections stay, and nothing passes.
    Stall,
    /// Everything passes late.
    Slow,
    /// No packet passes, and nobody is told.
    Unplug,
    /// Some packets are lost.
    Lose,
}

/// What a blow falls on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A process, or a server's way to what is behind it.
    Plain(Touched),
    /// The way of this worker to the servers: it has a proxy.
    Way(String),
    /// The cable at this place, which is that of this worker.
    Cable(usize, String),
}

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Since the plan began.
    pub at: Duration,
    pub lasts: Duration,
    pub blow: Blow,
    pub part: Part,
}

/// What there is to break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub servers: usize,
    pub workers: Vec<String>,
    /// Those of them that have cables.
    pub cabled: Vec<String>,
    /// Those of them whose ways to the servers have proxies.
    pub linked: Vec<String>,
    /// Redis and MariaDB, and proxies before them.
    pub services: bool,
}

impl Part {
    /// As the history has it.
    pub fn touched(&self) -> Touched {
        match self {
            Self::Plain(touched) => touched.clone(),
            Self::Way(worker) | Self::Cable(_, worker) => Touched::Worker(worker.clone()),
        }
    }
}

/// So many strikes a minute on average, over this span, from a seed. One that finds no room comes later, and those after it the closer.
pub fn plan(seed: u64, span: Duration, a_minute: f64, parts: &Parts) -> Vec<Strike> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut strikes: Vec<Strike> = Vec::new();
    let (mut wanted, mut at) = (Duration::ZERO, Duration::ZERO);
    loop {
        wanted += Duration::from_secs_f64(60.0 / a_minute * random.random_range(0.5..1.5));
        at = room(&strikes, at.max(wanted));
        if at >= span {
            return strikes;
        }
        let struck: Vec<Touched> = there(&strikes, at).map(|strike| strike.part.touched()).collect();
        let (blow, part) = loop {
            let (blow, part) = choose(&mut random, parts);
            if !struck.contains(&part.touched()) {
                break (blow, part);
            }
        };
        let lasts = duration(&mut random, blow, &part);
        strikes.push(Strike { at, lasts, blow, part });
    }
}

/// The first moment from `at` on at which there may be one more.
fn room(strikes: &[Strike], at: Duration) -> Duration {
    let mut ends: Vec<Duration> = there(strikes, at).map(Strike::over).collect();
    ends.sort_unstable();
    ends.len().checked_sub(AT_ONCE).map_or(at, |over| ends[over])
}

fn there(strikes: &[Strike], at: Duration) -> impl Iterator<Item = &Strike> {
    strikes.iter().filter(move |strike| strike.over() > at)
}

fn choose(random: &mut StdRng, parts: &Parts) -> (Blow, Part) {
    use Blow::{Cut, Flush, Kill, Lock, Lose, LoseFile, Pause, Refuse, Slow, Stall, Terminate, Unplug};
    const PROCESS: &[Blow] = &[Kill, Kill, Terminate, Pause];
    const LINK: &[Blow] = &[Cut, Refuse, Stall, Slow];
    let server = random.random_range(0..parts.servers);
    let kinds = if parts.services { 15 } else { 9 };
    let (blows, part) = match random.random_range(0..kinds) {
        0..3 => (PROCESS, Part::Plain(Touched::Server(server))),
        3..6 => (PROCESS, Part::Plain(Touched::Worker(one(random, &parts.workers)))),
        6 if !parts.cabled.is_empty() => {
            let at = random.random_range(0..parts.cabled.len());
            (&[Unplug, Lose][..], Part::Cable(at, parts.cabled[at].clone()))
        }
        6..9 if !parts.linked.is_empty() => (LINK, Part::Way(one(random, &parts.linked))),
        6..9 => (PROCESS, Part::Plain(Touched::Worker(one(random, &parts.workers)))),
        9..11 => (&[Kill, Pause, Lock][..], Part::Plain(Touched::Store)),
        11..13 => (&[Kill, Pause, Flush, LoseFile][..], Part::Plain(Touched::Queue)),
        13 => (LINK, Part::Plain(Touched::WayToQueue(server))),
        _ => (LINK, Part::Plain(Touched::WayToStore(server))),
    };
    (blows[random.random_range(0..blows.len())], part)
}

fn one(random: &mut StdRng, names: &[String]) -> String {
    names[random.random_range(0..names.len())].clone()
}

/// Shorter and longer than the spans after which something is thought to be gone: 5 s, 15 s.
fn duration(random: &mut StdRng, blow: Blow, part: &Part) -> Duration {
    let longest = match (blow, part.touched()) {
        (Blow::Flush | Blow::Cut, _) => return Duration::ZERO,
        (Blow::Pause | Blow::Stall | Blow::Unplug, Touched::Worker(_)) => 30.0,
        (Blow::Pause, Touched::Server(_)) | (Blow::Lose | Blow::Slow, Touched::Worker(_)) => 20.0,
        (Blow::Refuse, Touched::Worker(_)) => 12.0,
        _ => 8.0,
    };
    Duration::from_secs_f64(random.random_range(0.2..longest))
}

impl Strike {
    /// When what it struck may be struck again.
    fn over(&self) -> Duration {
        self.at + self.lasts + MARGIN
    }
}

impl Blow {
    /// In words, for the history and for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Terminate => "SIGTERM",
            Self::Pause => "SIGSTOP",
            Self::Flush => "FLUSHALL",
            Self::LoseFile => "kill -9 and no file",
            Self::Lock => "tables locked",
            Self::Cut => "cut",
            Self::Refuse => "cut and refused",
            Self::Stall => "stalled",
            Self::Slow => "slow",
            Self::Unplug => "cable pulled",
            Self::Lose => "packets lost",
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match &self.part {
            Part::Plain(Touched::Server(at)) => format!("server {at}"),
            Part::Plain(Touched::Worker(name)) => format!("worker {name}"),
            Part::Plain(Touched::Queue) => "Redis".to_owned(),
            Part::Plain(Touched::Store) => "the database".to_owned(),
            Part::Plain(Touched::WayToQueue(at)) => format!("server {at} to Redis"),
            Part::Plain(Touched::WayToStore(at)) => format!("server {at} to the database"),
            Part::Way(name) | Part::Cable(_, name) => format!("worker {name} to the servers"),
        };
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{at:>7.1} s  {}: {part}, for {lasts:.1} s", self.blow.words())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn parts() -> Parts {
        let name = |number: usize| format!("w-{number}");
        let workers = (1..=50).map(name).collect();
        let (cabled, linked) = ((1..=2).map(name).collect(), (3..=8).map(name).collect());
        Parts { servers: 3, workers, cabled, linked, services: true }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_seed_replays_and_another_does_not() {
        let of = |seed| plan(seed, HOUR, 10.0, &parts());
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn a_plan_overlaps_and_keeps_its_bounds() {
        let plan = plan(7, HOUR, 12.0, &parts());
        let at_once = |strike: &Strike| {
            let there = |other: &&Strike| other.at <= strike.at && other.at + other.lasts > strike.at;
            plan.iter().filter(there).collect::<Vec<_>>()
        };
        let most = plan.iter().map(|strike| at_once(strike).len()).max().unwrap();
        assert!((2..=AT_ONCE).contains(&most), "{most} at once");
        for strike in &plan {
            let struck = |other: &&Strike| other.part.touched() == strike.part.touched();
            let same = at_once(strike).into_iter().filter(struck).count();
            assert!(same <= 1, "{strike} strikes what is struck");
        }
    }

    #[test]
    fn a_plan_has_as_many_strikes_as_are_asked_for() {
        for seed in 0..50 {
            for minutes in [3, 60] {
                let strikes = plan(seed, 60 * Duration::from_secs(minutes), 12.0, &parts()).len();
                let a_minute = strikes as f64 / minutes as f64;
                assert!((10.0..14.0).contains(&a_minute), "{a_minute} a minute from seed {seed}");
            }
        }
    }

    #[test]
    fn every_blow_falls_on_everything_that_it_can_fall_on() {
        let plan = plan(7, 4 * HOUR, 12.0, &parts());
        let kinds: HashSet<_> = plan
            .iter()
            .map(|strike| (strike.blow.words(), std::mem::discriminant(&strike.part.touched())))
            .collect();
        assert_eq!(kinds.len(), 3 + 3 + 4 + 2 + 3 + 4 + 4 + 4, "{kinds:?}");
    }
}
