//! How runs enter, and when the overlap policy lets them go.

use marabunta_server::queue::{Admission, EndingCause, Entry, Restored, Session, SessionId};
use marabunta_server::run::{Counters, Overlap, RunId};

use super::{Known, Life, Moment, Run, Shard, Stage};

impl Shard {
    pub fn enqueue(&mut self, entry: Entry, now: Moment) -> Admission {
        let run = entry.run;
        if self.runs.contains_key(&run) || self.results.contains_key(&run) {
            return Admission::Duplicate;
        }
        if let Some((key, (first, request))) =
            entry.key.as_ref().and_then(|key| Some((key, *self.keys.get(&key.text)?)))
        {
            return match first == run {
                true => Admission::Duplicate,
                false => Admission::Repeated { run: first, same: request == key.request },
            };
        }
        let most = self.clock.limits.waiting;
        let in_line = entry.overlap.as_ref().map(|(_, key)| self.line(key).len());
        if self.ready(&entry.place).len() >= most || in_line.is_some_and(|waiting| waiting >= most) {
            return Admission::Full;
        }
        if let Some(key) = &entry.key {
            self.keys.insert(key.text.clone(), (run, key.request));
        }
        let new = new(entry, now);
        self.enter(new, now);
        Admission::Queued
    }

    pub fn restore(&mut self, restored: Restored, now: Moment) {
        let run = restored.entry.run;
        if self.runs.contains_key(&run) || self.results.get(&run) == Some(&true) {
            return;
        }
        if let Some(key) = &restored.entry.key {
            self.keys.entry(key.text.clone()).or_insert((run, key.request));
        }
        let fence = restored.fence.map_or(0, |fence| fence.0);
        self.fence = self.fence.max(fence);
        let new = Run {
            fence,
            attempt: restored.attempt,
            counters: restored.counters,
            missed: restored.missed,
            restored: true,
            ..new(restored.entry, now)
        };
        if let Some(slot) = new.slot().filter(|_| new.attempt > 0 || restored.held.is_some()) {
            self.slots.entry(slot).or_insert(run);
        }
        let Some(worker) = restored.held else { return self.enter(new, now) };
        let deadline = now.after(self.clock.limits.life);
        let (server, instance) = (String::new(), String::new());
        let session = Session { worker: worker.clone(), id: SessionId::NONE, server, instance };
        self.sessions.insert(worker.clone(), Known { session, life: Life::Closed(deadline) });
        let holder = Some((worker, SessionId::NONE));
        self.runs
            .insert(run, Run { holder, expires: None, stage: Stage::InFlight { accepted: true }, ..new });
    }

    /// A run is due: it is ready, unless its policy says otherwise.
    pub(super) fn release(&mut self, run: RunId, now: Moment) {
        let Some(slot) = self.runs[&run].slot() else { return self.put(run, Stage::Ready) };
        let holder = *self.slots.entry(slot.clone()).or_insert(run);
        match self.runs[&run].policy() {
            _ if holder == run => self.put(run, Stage::Ready),
            Some(Overlap::Skip) => {
                self.put(run, Stage::Ending { cause: EndingCause::Overlapped, offer: now });
            }
            Some(Overlap::Replace) => {
                let replaced = Stage::Ending { cause: EndingCause::Replaced, offer: now };
                self.line(&slot).into_iter().for_each(|waiter| self.put(waiter, replaced));
                match self.runs.get_mut(&holder) {
                    Some(open) if matches!(open.stage, Stage::InFlight { .. }) => open.cancelled = true,
                    Some(open) if open.stage.waits() => open.stage = replaced,
                    _ => {}
                }
                self.put(run, Stage::Behind);
            }
            Some(Overlap::Queue | Overlap::Allow) | None => self.put(run, Stage::Behind),
        }
    }

    fn enter(&mut self, new: Run, now: Moment) {
        let (run, delay) = (new.entry.run, new.entry.delay);
        self.runs.insert(run, new);
        if delay.is_zero() {
            self.release(run, now);
        }
    }
}

fn new(entry: Entry, now: Moment) -> Run {
    let due = now.after(entry.delay);
    Run {
        expires: entry.expires.map(|after| due.after(after)),
        entry,
        stage: Stage::Due(due),
        turn: 0,
        fence: 0,
        attempt: 0,
        counters: Counters::default(),
        cancelled: false,
        missed: false,
        restored: false,
        holder: None,
    }
}
