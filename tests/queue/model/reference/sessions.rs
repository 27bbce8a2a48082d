//! Sessions: opened, renewed, closed, found silent.

use marabunta_proto::name::Name;
use marabunta_server::queue::{Session, SessionId};
use marabunta_server::run::{Fence, RunId};

use super::{Known, Life, Moment, Shard, Stage, Uncertain};

/// What a session that was opened finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    pub superseded: Option<SessionId>,
    pub adopted: Vec<(RunId, Fence)>,
    /// And whether its worker may have begun it.
    pub missing: Vec<(RunId, bool)>,
    pub stale: Vec<(RunId, Fence)>,
    pub unknown: Vec<(RunId, Fence)>,
}

impl Shard {
    pub fn open(&mut self, session: Session, holding: &[(RunId, Fence)], now: Moment) -> Met {
        let mut met = Met::default();
        let (worker, id) = (session.worker.clone(), session.id);
        let before = self.live(&worker).filter(|live| live.id != id);
        met.superseded = before.map(|live| live.id);
        let life = Life::Live(now.after(self.clock.limits.life));
        let instance = session.instance.clone();
        let former = self.sessions.insert(worker.clone(), Known { session, life });
        let same =
            former.filter(|former| former.session.instance == instance).map(|former| former.session.id);
        // Of two attempts of one run the later counts.
        let mut holding = holding.to_vec();
        holding.sort_by_key(|(_, fence)| std::cmp::Reverse(*fence));
        for (run, fence) in holding {
            match self.runs.get(&run) {
                None => met.unknown.push((run, fence)),
                Some(open)
                    if open.fence > fence.0
                        || matches!(open.stage, Stage::Ending { .. } | Stage::Missed { .. }) =>
                {
                    met.stale.push((run, fence));
                }
                Some(_) => {
                    self.hold(run, fence, worker.clone(), id);
                    met.adopted.push((run, fence));
                }
            }
        }
        for run in self.in_flight(&worker) {
            let open = &self.runs[&run];
            let Some((_, holder)) = open.holder.as_ref().filter(|(_, holder)| *holder != id) else {
                continue;
            };
            let begun = open.stage == Stage::InFlight { accepted: true } || same != Some(*holder);
            met.missing.push((run, begun));
        }
        met
    }

    /// The session of a worker that is connected.
    pub fn live(&self, worker: &Name) -> Option<&Session> {
        let known = self.sessions.get(worker)?;
        matches!(known.life, Life::Live(_)).then_some(&known.session)
    }

    pub(super) fn is_live(&self, worker: &Name, id: SessionId) -> bool {
        self.live(worker).is_some_and(|session| session.id == id)
    }

    pub fn renew(&mut self, worker: &Name, id: SessionId, now: Moment) -> bool {
        let live = self.is_live(worker, id);
        if live && let Some(known) = self.sessions.get_mut(worker) {
            known.life = Life::Live(now.after(self.clock.limits.life));
        }
        live
    }

    pub fn close(&mut self, worker: &Name, id: SessionId, now: Moment) {
        let grace = now.after(self.clock.limits.grace);
        if let Some(known) = self.sessions.get_mut(worker).filter(|known| known.session.id == id)
            && let Life::Live(deadline) = known.life
        {
            known.life = Life::Closed(deadline.min(grace));
        }
    }

    /// Who is silent, each with what it has.
    pub fn reap(&mut self, now: Moment) -> Result<Vec<(Name, SessionId, Vec<RunId>)>, Uncertain> {
        // Nobody looked before: nobody could come in time.
        if !std::mem::replace(&mut self.reaped, true) {
            let deadline = now.after(self.clock.limits.life);
            for known in self.sessions.values_mut() {
                match &mut known.life {
                    Life::Live(at) | Life::Closed(at) => *at = deadline,
                    Life::Silent(_) => {}
                }
            }
        }
        let mut silent = Vec::new();
        let workers: Vec<Name> = self.sessions.keys().cloned().collect();
        for worker in workers {
            let known = &self.sessions[&worker];
            let (Life::Live(at) | Life::Closed(at) | Life::Silent(at)) = known.life;
            if !self.clock.is_past(at, now)? {
                continue;
            }
            let (id, first) = (known.session.id, !matches!(known.life, Life::Silent(_)));
            let holding = self.in_flight(&worker);
            if holding.is_empty() {
                self.sessions.remove(&worker);
            } else if let Some(known) = self.sessions.get_mut(&worker) {
                known.life = Life::Silent(now.after(self.clock.limits.offer));
            }
            if first || !holding.is_empty() {
                silent.push((worker, id, holding));
            }
        }
        Ok(silent)
    }
}
