//! What hints of the queue make the owner do.

use marabunta_proto::name::Name;
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, warn};

use super::{Owner, ToWorker};
use crate::metrics::SessionEnd;
use crate::planted::{self, Bug};
use crate::queue::{Hint, SessionId};

impl Owner {
    pub(super) fn on_hint(&mut self, hint: Result<Hint, RecvError>) {
        match hint {
            Ok(Hint::Ready(_)) if planted::is(Bug::LostHint) => {}
            Ok(Hint::Ready(place)) => self.state.board.ready(place),
            Ok(Hint::Superseded { worker, session, by, instance }) => {
                self.superseded(&worker, session, &by, &instance);
            }
            Ok(Hint::Cancel { worker, run, fence }) => {
                if let Some((session, lease)) = self.state.board.lease(&worker, run, fence) {
                    self.send(&worker, session, ToWorker::Cancel(vec![lease]));
                }
            }
            Ok(Hint::Drain { worker, draining }) => self.state.board.drain(&worker, draining),
            Ok(Hint::Interrupted) => {
                self.renew();
                self.sweep();
            }
            Ok(Hint::Due | Hint::Changed(_)) => {}
            Err(RecvError::Lagged(missed)) => {
                debug!(missed, "hints were missed");
                self.sweep();
            }
            Err(RecvError::Closed) => warn!("the queue gives no more hints"),
        }
    }

    /// A session of ours was replaced by one on another server.
    pub(super) fn superseded(&mut self, worker: &Name, session: SessionId, by: &str, instance: &str) {
        let Some(live) = self.state.board.get(worker, session) else { return };
        let other = live.session.instance != instance;
        if other {
            warn!(%worker, server = by, "another daemon of the same name has taken over");
            // One that took over here is counted where it is opened.
            if by != self.options.server {
                self.swapped(worker, instance);
            }
            self.send(worker, session, ToWorker::Superseded { server: by.to_owned() });
        }
        self.forget(worker, session, if other { SessionEnd::Superseded } else { SessionEnd::Replaced });
    }
}
