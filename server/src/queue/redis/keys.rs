//! Every key, in one place.
//!
//! All begin with the prefix; `{k}`, the number of the shard, is the part that Redis Cluster hashes, so that a shard is in one slot.
//! Scripts get the first thirteen as `KEYS[1..13]`, in this order, and after them what else they touch.
//!
//! | key | type | content | written by | goes |
//! |---|---|---|---|---|
//! | `p:{k}:meta` | hash | `generation`: random, there while the shard is whole; `fence`, `turn`: the latest given; `reaped`: ms of the latest reap | rebuild; claim, release; reap | never |
//! | `p:{k}:body` | hash | run id -> its body, never changed | enqueue, restore | with the run |
//! | `p:{k}:state` | hash | run id -> its state, one line: see below | every script | with the run |
//! | `p:{k}:ready` | zset, all scores 0 | place, NUL, rank, turn, run id: in this order they are claimed | release | claimed, ended |
//! | `p:{k}:due` | zset | run id, by ms when it is due | enqueue, settle | released, ended |
//! | `p:{k}:expiry` | zset | run id, by ms when it is given up; only while it waits | enqueue, settle | claimed, ended |
//! | `p:{k}:endings` | zset | run id, by ms when its end, or that it was missed, is offered | expiry, cancel, overlap, tick | settled |
//! | `p:{k}:flights` | zset, all scores 0 | worker, NUL, run id: what is in flight | claim, open | settled |
//! | `p:{k}:slots` | hash | slot -> id of the run that has it | release | the run ends, nobody waits |
//! | `p:{k}:waiters` | zset, all scores 0 | slot, turn, run id: who waits for a slot, in order | release | gets it, ended |
//! | `p:{k}:sessions` | hash | worker -> session, stage (`L`ive, `C`losed; past its deadline: `S`ilent, or `G`one if it was closed), ms of its deadline, server, instance | open, renew, close, reap | silent and nothing in flight |
//! | `p:{k}:deadlines` | zset | worker of a live or closed session, by ms of its deadline | open, renew, close | silent |
//! | `p:{k}:offers` | zset | worker of a silent session, by ms when it is offered again | reap | opened, forgotten |
//! | `p:{k}:results:<bucket>` | hash | run id -> its result, or nothing where one that was restored had none; the bucket is the time in the run's id, in steps of 4,096 ms | settle | an hour after the latest was added |
//! | `p:{k}:key:<key>` | string | an idempotency key -> run id, hash of the request | enqueue | after a day |
//! | `p:{0}:servers` | zset | id of a server, by ms of when it last said that it lives | beat | it has not for 15 s |
//! | `p:{0}:written` | set | ids of servers whose journal is written up to the loss that is mended | note_written | finished |
//! | `p:{0}:rebuild` | string | id of the server that rebuilds | begin, finish | finished, or its life is over |
//!
//! A place is a worker's name, or `?` and a selector. A slot is 32 hexadecimal digits of SHA-256 of an overlap key. Rank is 0 for urgent to 3
//! for low; turn counts releases, in 13 digits.
//!
//! A state is, separated by spaces: phase (`D`ue, `B`ehind, `R`eady, in `F`light, `A`ccepted; `m`issed; ending: e`x`pired, `o`verlapped, `r`eplaced,
//! `c`ancelled), worker/session that has or had it or `-`, fence or 0, attempt, ms when it expires or 0, flags (`f`ollowed, `c`ancelled, `m`issed, `r`estored) or `-`,
//! slot or `-`, its counters, turn or 0, overlap policy, rank, place.
//!
//! Channels: `p:hint` reaches every server, `p:hint:<server>` one. See [`super::hints`] for what they carry.

use marabunta_proto::selector::Selector;
use sha2::{Digest as _, Sha256};

use crate::run::{Overlap, Place, Priority, RunId};

/// What the keys of one installation begin with.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

pub(super) const SCRIPT_KEYS: [&str; 13] = [
    "meta",
    "body",
    "state",
    "ready",
    "due",
    "expiry",
    "endings",
    "flights",
    "slots",
    "waiters",
    "sessions",
    "deadlines",
    "offers",
];

impl Keys {
    pub fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// `KEYS[1..13]` of every script.
    pub fn of_shard(&self, shard: u16) -> Vec<String> {
        SCRIPT_KEYS.iter().map(|name| self.named(shard, name)).collect()
    }

    /// One key of a shard.
    pub fn named(&self, shard: u16, name: &str) -> String {
        format!("{}:{{{shard}}}:{name}", self.prefix)
    }

    /// Where the result of a run is kept.
    pub fn results(&self, shard: u16, run: RunId) -> String {
        self.results_in(shard, Self::bucket(run.millis()))
    }

    /// The results of runs of one bucket.
    pub fn results_in(&self, shard: u16, bucket: u64) -> String {
        self.named(shard, &format!("results:{bucket}"))
    }

    /// The bucket of what was made in this ms.
    pub fn bucket(millis: u64) -> u64 {
        millis >> 12
    }

    /// What is known of an idempotency key.
    pub fn idempotency(&self, shard: u16, key: &str) -> String {
        self.named(shard, &format!("key:{key}"))
    }

    /// The channel that every server listens to.
    pub fn channel(&self) -> String {
        format!("{}:hint", self.prefix)
    }

    /// The channel of one server.
    pub fn channel_of(&self, server: &str) -> String {
        format!("{}:hint:{server}", self.prefix)
    }
}

/// A place as it stands in keys and states.
pub(super) fn place_text(place: &Place) -> String {
    match place {
        Place::Worker(name) => name.to_string(),
        Place::Any(selector) => format!("?{selector}"),
    }
}

/// The place behind a text of [`place_text`]; `None` if there is none.
pub(super) fn parse_place(text: &str) -> Option<Place> {
    match text.strip_prefix('?') {
        None => Some(Place::Worker(text.parse().ok()?)),
        Some("") => Some(Place::Any(Selector::default())),
        Some(selector) => Some(Place::Any(Selector::parse(selector).ok()?)),
    }
}

/// Policy and slot as they stand in a state.
pub(super) fn slot_text(overlap: Option<&(Overlap, String)>) -> (Overlap, String) {
    match overlap {
        None | Some((Overlap::Allow, _)) => (Overlap::Allow, "-".to_owned()),
        Some((policy, key)) => {
            let digest: [u8; 32] = Sha256::digest(key).into();
            (*policy, digest[..16].iter().map(|byte| format!("{byte:02x}")).collect())
        }
    }
}

/// The most urgent is 0, so that it is first.
pub(super) fn rank(priority: Priority) -> u8 {
    Priority::Urgent as u8 - priority as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_the_way_through_its_text() {
        for text in ["web-1", "any", "any(role=web)", "any(dc!=eu,role in (api,web))", "anyone"] {
            let place = Place::parse(text).unwrap();
            assert_eq!(parse_place(&place_text(&place)), Some(place), "{text}");
        }
    }

    #[test]
    fn all_keys_of_a_shard_are_in_one_slot_whatever_the_submitter_wrote() {
        let keys = Keys::new("m".into());
        assert_eq!(keys.idempotency(3, "{7}"), "m:{3}:key:{7}");
    }
}
