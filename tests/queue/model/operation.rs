//! What can be asked of a queue and its surroundings, in any order. Numbers choose among what there is when an operation is carried out,
//! so a sequence from which some were taken out still means something: that is how a failing one is made small.

use proptest::collection::vec;
use proptest::prelude::*;

use marabunta_server::run::{Overlap, Priority};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Enqueue {
        what: What,
        loss: Loss,
    },
    /// The submitter asks once more.
    EnqueueAgain {
        run: u8,
        loss: Loss,
    },
    /// The session of a worker asks for work, from its own place or the shared one.
    Claim {
        worker: u8,
        shared: bool,
        max: u8,
        loss: Loss,
    },
    Accept {
        held: u8,
        loss: Loss,
    },
    /// The run ends, with a result or without.
    Finish {
        held: u8,
        result: bool,
        loss: Loss,
    },
    /// The attempt ends and the run goes back.
    Release {
        held: u8,
        delay: Delay,
        why: Why,
        loss: Loss,
    },
    Renew {
        worker: u8,
        loss: Loss,
    },
    /// The stream of a session ends.
    Close {
        worker: u8,
        loss: Loss,
    },
    /// A worker comes, with all that it holds or, as another daemon, with nothing. A session that it had is superseded.
    Connect {
        worker: u8,
        empty: bool,
        server: u8,
        loss: Loss,
    },
    /// Nothing is heard of this server's sessions any more.
    ServerDies {
        server: u8,
    },
    Tick {
        loss: Loss,
    },
    Reap {
        loss: Loss,
    },
    Cancel {
        run: u8,
        loss: Loss,
    },
    Withdraw {
        run: u8,
        loss: Loss,
    },
    Census,
    Pass {
        millis: u8,
    },
    /// The queue loses all it has and is filled again by what the store knows.
    Flush,
}

/// A run to be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What {
    pub place: u8,
    pub priority: Priority,
    pub delay: Delay,
    pub expires: bool,
    pub overlap: Option<(Overlap, bool)>,
    pub key: Option<bool>,
}

/// What of a call gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Nothing,
    Request,
    Response,
    /// The caller goes away while it waits: the call was carried out, or it was not.
    Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    None,
    Short,
    Long,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Failed,
    Lost,
    Unaccepted,
    /// It is asked with the numbers that the run has already, as one who repeats a request does.
    Repeated,
}

pub fn sequence(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..=most)
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let number = any::<u8>;
    prop_oneof![
        14 => (what(), loss()).prop_map(|(what, loss)| Enqueue { what, loss }),
        2 => (number(), loss()).prop_map(|(run, loss)| EnqueueAgain { run, loss }),
        20 => (number(), any::<bool>(), 1..5u8, loss())
            .prop_map(|(worker, shared, max, loss)| Claim { worker, shared, max, loss }),
        8 => (number(), loss()).prop_map(|(held, loss)| Accept { held, loss }),
        3 => (number(), any::<bool>(), loss()).prop_map(|(held, result, loss)| Finish { held, result, loss }),
        6 => (number(), delay(), why(), loss())
            .prop_map(|(held, delay, why, loss)| Release { held, delay, why, loss }),
        2 => (number(), loss()).prop_map(|(worker, loss)| Renew { worker, loss }),
        1 => (number(), loss()).prop_map(|(worker, loss)| Close { worker, loss }),
        6 => (number(), prop::bool::weighted(0.2), number(), loss())
            .prop_map(|(worker, empty, server, loss)| Connect { worker, empty, server, loss }),
        1 => number().prop_map(|server| ServerDies { server }),
        5 => loss().prop_map(|loss| Tick { loss }),
        3 => loss().prop_map(|loss| Reap { loss }),
        3 => (number(), loss()).prop_map(|(run, loss)| Cancel { run, loss }),
        2 => (number(), loss()).prop_map(|(run, loss)| Withdraw { run, loss }),
        2 => Just(Census),
        3 => prop_oneof![Just(4), Just(30), Just(100), Just(150)].prop_map(|millis| Pass { millis }),
        1 => Just(Flush),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let priority = prop::sample::select(&Priority::ALL[..]);
    let policy = prop::sample::select(&[Overlap::Skip, Overlap::Queue, Overlap::Replace][..]);
    let overlap = prop::option::weighted(0.25, (policy, any::<bool>()));
    let key = prop::option::weighted(0.1, any::<bool>());
    let expires = prop::bool::weighted(0.2);
    (any::<u8>(), priority, delay(), expires, overlap, key).prop_map(
        |(place, priority, delay, expires, overlap, key)| What {
            place,
            priority,
            delay,
            expires,
            overlap,
            key,
        },
    )
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![6 => Just(Loss::Nothing), 1 => Just(Loss::Request), 4 => Just(Loss::Response), 1 => Just(Loss::Caller)]
}

fn delay() -> impl Strategy<Value = Delay> {
    prop_oneof![8 => Just(Delay::None), 3 => Just(Delay::Short), 1 => Just(Delay::Long)]
}

fn why() -> impl Strategy<Value = Why> {
    prop::sample::select(&[Why::Failed, Why::Lost, Why::Unaccepted, Why::Repeated][..])
}
