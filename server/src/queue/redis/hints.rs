//! Hints between servers: lines of text over pub/sub, on a connection of their own.
//!
//! `ready <place>`, `due`, `superseded <worker> <session> <by>`, `cancel <worker> <run> <fence>`, `changed <run>`,
//! `drain <worker> <0 or 1>`; several in one message are several lines. A line that this version does not know is skipped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::Client;
use redis::aio::PubSub;
use tokio::sync::{Notify, broadcast};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::keys::{parse_place, place_text};
use super::link::explain;
use crate::metrics::PanicIn;
use crate::panics::Panics;
use crate::queue::{Hint, QueueError, SessionId};
use crate::run::Fence;

/// A connection that does not answer for so long is given up.
const SILENCE: Duration = Duration::from_secs(3);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A subscription.
pub(super) struct Listener {
    pub client: Client,
    pub channels: [String; 2],
    pub hints: broadcast::Sender<Hint>,
    /// Redis may be another one than before.
    pub moved: Arc<Notify>,
    pub panics: Panics,
}

impl Listener {
    /// Subscribes, so that nothing is missed from now on, and returns what passes the hints on for ever.
    pub async fn subscribe(self) -> Result<impl Future<Output = ()>, QueueError> {
        let first = self.connect().await?;
        Ok(self.listen(first))
    }

    async fn listen(self, first: PubSub) {
        self.pass_on(first).await;
        let mut wait = SHORTEST_WAIT;
        loop {
            sleep(wait).await;
            match self.connect().await {
                Ok(connection) => {
                    wait = SHORTEST_WAIT;
                    self.tell(Hint::Interrupted);
                    self.pass_on(connection).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "failed to listen for hints");
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn connect(&self) -> Result<PubSub, QueueError> {
        let connect = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(&self.channels[..]).await?;
            Ok(connection)
        };
        match timeout(SILENCE, connect).await {
            Ok(connected) => connected.map_err(explain),
            Err(_) => Err(QueueError::Unavailable(format!("no answer within {SILENCE:?}"))),
        }
    }

    /// Passes hints on until the connection breaks or no longer answers; or there is a panic, and what it was about is lost like any hint.
    async fn pass_on(&self, connection: PubSub) {
        self.panics.catch(PanicIn::Hints, self.relay(connection)).await.unwrap_or_default();
    }

    async fn relay(&self, connection: PubSub) {
        let (mut sink, mut messages) = connection.split();
        let alive = async {
            let mut beat = interval(SILENCE);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                if !matches!(timeout(SILENCE, sink.ping::<redis::Value>()).await, Ok(Ok(_))) {
                    return;
                }
            }
        };
        let pass_on = async {
            while let Some(message) = messages.next().await {
                let lines = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
                lines.lines().filter_map(decode).for_each(|hint| self.tell(hint));
            }
        };
        tokio::select! {
            () = alive => {}
            () = pass_on => {}
            () = self.moved.notified() => {}
        }
    }

    fn tell(&self, hint: Hint) {
        // An error says that nobody listens, which is allowed.
        self.hints.send(hint).ok();
    }
}

/// A hint as a line; `None` for one that is no other server's business.
pub(super) fn encode(hint: &Hint) -> Option<String> {
    Some(match hint {
        Hint::Ready(place) => format!("ready {}", place_text(place)),
        Hint::Due => "due".to_owned(),
        Hint::Superseded { worker, session, by, instance } => {
            format!("superseded {worker} {session} {by} {instance}")
        }
        Hint::Cancel { worker, run, fence } => format!("cancel {worker} {run} {}", fence.0),
        Hint::Changed(run) => format!("changed {run}"),
        Hint::Drain { worker, draining } => format!("drain {worker} {}", u8::from(*draining)),
        Hint::Interrupted => return None,
    })
}

fn decode(line: &str) -> Option<Hint> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut words = rest.split(' ');
    let mut next = || words.next();
    Some(match word {
        "ready" => Hint::Ready(parse_place(rest)?),
        "due" => Hint::Due,
        "superseded" => Hint::Superseded {
            worker: next()?.parse().ok()?,
            session: SessionId(next()?.parse().ok()?),
            by: next()?.to_owned(),
            instance: next()?.to_owned(),
        },
        "cancel" => Hint::Cancel {
            worker: next()?.parse().ok()?,
            run: next()?.parse().ok()?,
            fence: Fence(next()?.parse().ok()?),
        },
        "changed" => Hint::Changed(rest.parse().ok()?),
        "drain" => Hint::Drain { worker: next()?.parse().ok()?, draining: next()? == "1" },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Place, RunId};
    use uuid::Uuid;

    #[test]
    fn a_hint_survives_the_way_through_its_line() {
        let worker: marabunta_proto::name::Name = "web-1".parse().unwrap();
        let run = RunId::new(crate::clock::wall(), 3);
        let session = SessionId(Uuid::new_v4());
        let hints = [
            Hint::Ready(Place::Worker(worker.clone())),
            Hint::Ready(Place::parse("any").unwrap()),
            Hint::Ready(Place::parse("any(role in (api,web))").unwrap()),
            Hint::Due,
            Hint::Superseded { worker: worker.clone(), session, by: "s2".into(), instance: "i7".into() },
            Hint::Cancel { worker: worker.clone(), run, fence: Fence(1_767_225_600_000_001) },
            Hint::Changed(run),
            Hint::Drain { worker, draining: true },
        ];
        for hint in hints {
            assert_eq!(decode(&encode(&hint).unwrap()), Some(hint));
        }
    }

    #[test]
    fn a_line_of_a_later_version_is_skipped() {
        for line in ["", "paused web-1", "ready", "cancel web-1", "changed yes"] {
            assert_eq!(decode(line), None, "{line}");
        }
    }
}
