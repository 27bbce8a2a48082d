//! A hint says "there is something" once. Whatever comes in bulk, or before anybody could take it, must be delivered all the same.

use std::time::Duration;

use marabunta_proto::v1::Durability;

use crate::fleet::load::Wish;
use crate::fleet::scenario::Stage;
use crate::fleet::verdict::Outcome;
use crate::fleet::{Plan, member};
use crate::support::Backend;

/// Bursts larger than the credit of who is there, and queues of those who come later: all is delivered, each once.
pub async fn lost_wakeup(backend: Backend) -> anyhow::Result<Outcome> {
    const MEMBERS: usize = 20;
    const LATE: usize = 10;
    let mut stage = Stage::partly_set(&Plan::of(backend), MEMBERS, MEMBERS - LATE, 10).await?;
    // To one that is there, thirteen times what it may have; to any of them, likewise.
    let mut wishes: Vec<Wish> = (0..130).map(|_| Wish::of(0, 20)).collect();
    wishes.extend((0..1300).map(|_| any("any(shard!=3)")));
    // To those that have never been seen, by name and by a label that nobody has.
    let late = (MEMBERS - LATE)..MEMBERS;
    wishes.extend(late.clone().flat_map(|number| (0..30).map(move |_| Wish::of(number, 20))));
    wishes.extend((0..200).map(|_| any(&format!("any(name={})", member::name(MEMBERS - 1)))));
    let expected = wishes.len();
    let accepted = stage.load.submit(wishes).await.len();
    stage.outcome.judge("all is accepted", format!("{accepted} of {expected}"), accepted == expected);
    // They come while that is worked on, one by one.
    for number in late {
        stage.fleet.revive(number)?;
    }
    stage.fleet.all_connected(Duration::from_secs(60)).await?;
    Ok(stage.close().await)
}

fn any(target: &str) -> Wish {
    Wish { target: target.to_owned(), milliseconds: 20, durability: Durability::Fast }
}
