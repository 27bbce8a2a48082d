//! The members, who of them lives, and who died.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::member::{Common, Member};
use super::testimony::Life;

/// What was sent to a member while it did not read may be begun so much later.
const LATE: Duration = Duration::from_secs(5);

/// Whoever was cut off has so long to come back before what it had is given to others.
const GRACE: Duration = Duration::from_secs(8);

/// All members of a scenario. On drop they die at once.
#[derive(Debug)]
pub struct Fleet {
    pub common: Common,
    places: Mutex<Vec<Place>>,
    deaths: Mutex<HashMap<Life, Instant>>,
    /// Members whose connections were cut, and when.
    cuts: Mutex<Vec<(usize, Instant)>>,
    /// Members that did not read, and from when until when.
    stalls: Mutex<Vec<(usize, Instant, Instant)>>,
}

#[derive(Debug, Default)]
struct Place {
    member: Option<Member>,
    /// The one before it, which has not ended what it had.
    leaving: Option<Life>,
    lives: u32,
}

impl Fleet {
    /// Places for `count` members, of which the first `living` are started; they connect when they can.
    pub fn start(count: usize, living: usize, common: Common) -> anyhow::Result<Self> {
        let fleet = Self {
            common,
            places: Mutex::default(),
            deaths: Mutex::default(),
            stalls: Mutex::default(),
            cuts: Mutex::default(),
        };
        fleet.places().resize_with(count, Place::default);
        for number in 0..living {
            fleet.revive(number)?;
        }
        Ok(fleet)
    }

    pub fn size(&self) -> usize {
        self.places().len()
    }

    /// How many have a session, as far as they know.
    pub fn connected(&self) -> usize {
        self.places()
            .iter()
            .filter_map(|place| place.member.as_ref())
            .filter(|one| one.is_connected())
            .count()
    }

    /// How many live.
    pub fn living(&self) -> usize {
        self.places().iter().filter(|place| place.member.is_some()).count()
    }

    /// Waits until all who live are connected, and says how long that took.
    pub async fn all_connected(&self, within: Duration) -> anyhow::Result<Duration> {
        let since = Instant::now();
        loop {
            let (connected, living) = (self.connected(), self.living());
            if connected == living {
                return Ok(since.elapsed());
            }
            ensure!(since.elapsed() < within, "{connected} of {living} are connected after {within:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until hardly anybody is connected.
    pub async fn most_cut(&self) {
        while self.connected() > self.size() / 10 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Acts on a member, if it lives.
    pub fn with<T>(&self, number: usize, act: impl FnOnce(&Member) -> T) -> Option<T> {
        self.places()[number].member.as_ref().map(act)
    }

    /// A sudden death.
    pub fn kill(&self, number: usize) {
        let member = self.places()[number].member.take();
        if let Some(member) = member {
            self.deaths().insert(member.life(), Instant::now());
        }
    }

    /// Cuts a member's connections, if it lives.
    pub fn cut(&self, number: usize) {
        if self.with(number, |member| member.valve.cut()).is_some() {
            self.cuts.lock().unwrap_or_else(PoisonError::into_inner).push((number, Instant::now()));
        }
    }

    /// Takes a member out, to be drained; [`left`](Self::left) is to be told when it has ended.
    pub fn take(&self, number: usize) -> Option<Member> {
        let place = &mut self.places()[number];
        let member = place.member.take();
        place.leaving = member.as_ref().map(Member::life);
        member
    }

    /// What was taken out has ended all that it had.
    pub fn left(&self, life: Life) {
        self.places()[life.member].leaving.take_if(|leaving| *leaving == life);
    }

    /// A new daemon under the name of one that died, or that is leaving: it is superseded.
    pub fn revive(&self, number: usize) -> anyhow::Result<()> {
        let place = &mut self.places()[number];
        ensure!(place.member.is_none(), "member {number} lives");
        if let Some(life) = place.leaving.take() {
            self.note_death(life, Instant::now());
        }
        place.lives += 1;
        let life = Life { member: number, number: place.lives };
        place.member = Some(Member::start(number, life, &self.common)?);
        Ok(())
    }

    /// A life has ended suddenly by itself, or was one of none of these places.
    pub fn note_death(&self, life: Life, at: Instant) {
        self.deaths().insert(life, at);
    }

    /// Opens the valves of these members again, which have been shut `since`.
    pub fn open_valves(&self, members: impl Iterator<Item = usize>, since: Instant) {
        for number in members {
            self.with(number, |member| member.valve.shut(false));
            let stall = (number, since, Instant::now());
            self.stalls.lock().unwrap_or_else(PoisonError::into_inner).push(stall);
        }
    }

    /// What happened to a life that explains that something which it had, or was given, at this time is executed again.
    pub fn fault(&self, life: Life, at: Instant) -> Option<Instant> {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let stalled = |(member, from, to): &&(usize, Instant, Instant)| {
            *member == life.member && *from <= at && at <= *to + LATE
        };
        let cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = |(member, cut): &&(usize, Instant)| *member == life.member && *cut >= at;
        let stall = stalls.iter().find(stalled).map(|(_, from, _)| *from);
        let cut = cuts.iter().find(cut).map(|(_, cut)| *cut + GRACE);
        [self.died(life), stall, cut].into_iter().flatten().min()
    }

    /// When this life ended suddenly.
    pub fn died(&self, life: Life) -> Option<Instant> {
        self.deaths().get(&life).copied()
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deaths(&self) -> MutexGuard<'_, HashMap<Life, Instant>> {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
