//! Time, as far as it can be known from outside, and what its passing does.

use std::time::Duration;

use marabunta_server::queue::{EndingCause, Limits};
use marabunta_server::run::RunId;

use super::{Life, Shard, Stage};

/// A moment of the queue's clock, between two of the test's: how long since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub least: Duration,
    pub most: Duration,
}

/// Whether a moment has passed cannot be told from outside: the case says nothing from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uncertain;

/// How long things last, and by how much a clock in milliseconds may differ from one that runs on.
#[derive(Debug, Clone)]
pub struct Clock {
    pub limits: Limits,
    pub slack: Duration,
}

/// Who ended, who was missed, and how many were let go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticked {
    pub endings: Vec<(RunId, EndingCause)>,
    pub missed: Vec<RunId>,
    pub released: usize,
    /// Whether there is a moment to wait for.
    pub more: bool,
}

impl Moment {
    pub fn after(self, span: Duration) -> Self {
        Self { least: self.least + span, most: self.most + span }
    }

    pub fn min(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.min(other.most) }
    }
}

impl Clock {
    pub fn is_past(&self, moment: Moment, now: Moment) -> Result<bool, Uncertain> {
        match () {
            () if moment.most + self.slack <= now.least => Ok(true),
            () if moment.least > now.most + self.slack => Ok(false),
            () => Err(Uncertain),
        }
    }
}

impl Shard {
    pub fn tick(&mut self, now: Moment) -> Result<Ticked, Uncertain> {
        let mut ticked = Ticked::default();
        let due = self.due(now)?;
        let late = self.clock.limits.late;
        let dark = due.first().map_or(Ok(false), |(_, at)| self.clock.is_past(at.after(late), now))?;
        let waiting: Vec<RunId> =
            self.runs.keys().copied().filter(|run| self.runs[run].stage.waits()).collect();
        for run in waiting {
            if let Some(at) = self.runs[&run].expires
                && self.clock.is_past(at, now)?
            {
                self.put(run, Stage::Ending { cause: EndingCause::Expired, offer: now });
            }
        }
        for (run, at) in due {
            if !self.clock.is_past(at, now)? {
                continue;
            }
            let open = &self.runs[&run];
            // It may have expired, or been replaced by one before it.
            if !matches!(open.stage, Stage::Due(_)) {
                continue;
            }
            if open.attempt == 0 && (dark || open.missed) {
                self.put(run, Stage::Missed { offer: now });
            } else {
                self.release(run, now);
                ticked.released += 1;
            }
        }
        let again = now.after(self.clock.limits.offer);
        for (run, open) in &mut self.runs {
            let (Stage::Ending { offer, .. } | Stage::Missed { offer }) = &mut open.stage else { continue };
            // What ended just now is offered at once.
            if *offer == now || self.clock.is_past(*offer, now)? {
                *offer = again;
                match open.stage {
                    Stage::Ending { cause, .. } => ticked.endings.push((*run, cause)),
                    _ => ticked.missed.push(*run),
                }
            }
        }
        ticked.more = self.moments().next().is_some();
        Ok(ticked)
    }

    /// What is due some time, in order. Of two in one place that are past, it must be certain which was first.
    fn due(&self, now: Moment) -> Result<Vec<(RunId, Moment)>, Uncertain> {
        let stages = self.runs.iter().map(|(id, run)| (*id, run.stage));
        let mut due: Vec<(RunId, Moment)> = stages
            .filter_map(|(id, stage)| if let Stage::Due(at) = stage { Some((id, at)) } else { None })
            .collect();
        due.sort_by_key(|(id, at)| (at.least, *id));
        for (index, (one, before)) in due.iter().enumerate() {
            for (other, after) in &due[index + 1..] {
                // Within a millisecond the id decides.
                let certain = before.most + self.clock.slack <= after.least
                    || before.most <= after.least && one < other
                    || self.runs[one].entry.place != self.runs[other].entry.place;
                if !certain && self.clock.is_past(*after, now)? {
                    return Err(Uncertain);
                }
            }
        }
        Ok(due)
    }

    /// All that a tick waits for.
    fn moments(&self) -> impl Iterator<Item = Moment> {
        self.runs.values().flat_map(|run| {
            let stage = match run.stage {
                Stage::Due(at) | Stage::Ending { offer: at, .. } | Stage::Missed { offer: at } => Some(at),
                Stage::Behind | Stage::Ready | Stage::InFlight { .. } => None,
            };
            stage.into_iter().chain(run.expires.filter(|_| run.stage.waits()))
        })
    }

    /// All moments at which something changes, if somebody looks.
    pub fn edges(&self) -> Vec<Moment> {
        let late = self.clock.limits.late;
        let dark = self.runs.values().filter_map(|run| match run.stage {
            Stage::Due(at) => Some(at.after(late)),
            _ => None,
        });
        let deadlines = self.sessions.values().map(|known| match known.life {
            Life::Live(at) | Life::Closed(at) | Life::Silent(at) => at,
        });
        self.moments().chain(dark).chain(deadlines).collect()
    }
}
