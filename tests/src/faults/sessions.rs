//! Which server had the session of which worker, and when: read from what the servers logged when they opened one.

use std::collections::HashMap;

use chrono::DateTime;

use super::moment::Moment;

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub worker: String,
    pub at: Moment,
    /// The place of its server in the arena.
    pub server: usize,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// By worker and moment.
    pub opened: Vec<Opened>,
    /// Places of servers by their ids, of which each start has another.
    pub servers: HashMap<String, usize>,
}

impl Sessions {
    /// From the logs of the servers, by their places.
    pub fn read(logs: &[String]) -> Self {
        let mut sessions = Self::default();
        for (server, log) in logs.iter().enumerate() {
            for line in log.lines() {
                if let Some(id) = after(line, ": started server=") {
                    sessions.servers.insert(id.to_owned(), server);
                }
                if let (Some(worker), Some(at)) = (after(line, ": worker connected worker="), moment(line)) {
                    sessions.opened.push(Opened { worker: worker.to_owned(), at, server });
                }
            }
        }
        sessions.opened.sort_unstable_by(|one, other| (&one.worker, one.at).cmp(&(&other.worker, other.at)));
        sessions
    }

    /// The servers that had a session of this worker at some moment from `from` to `to`.
    pub fn of(&self, worker: &str, from: Moment, to: Moment) -> impl Iterator<Item = usize> {
        let place = |moment: Moment| {
            self.opened.partition_point(|opened| (opened.worker.as_str(), opened.at) <= (worker, moment))
        };
        let (first, end) = (place(from).saturating_sub(1), place(to));
        let spans = self.opened.get(first..end).unwrap_or_default().iter();
        spans.filter(move |opened| opened.worker == worker).map(|opened| opened.server)
    }
}

/// The word after these words.
fn after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    line.split_once(words)?.1.split(' ').next()
}

fn moment(line: &str) -> Option<Moment> {
    let time = DateTime::parse_from_rfc3339(line.split(' ').next()?).ok()?;
    Some(Moment::of_wall(time.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_with_the_server_that_opened_its_latest_session() {
        // Later than the boot of this machine.
        let connected = |second: u32, worker: &str| {
            format!(
                "2100-01-01T00:00:{second:02}.5Z  INFO marabunta_server::dispatch: worker connected worker={worker} session=7\n"
            )
        };
        let first = "2100-01-01T00:00:00.5Z  INFO marabunta_server::app: started server=host-1 version=1\n";
        let logs = [
            [first.to_owned(), connected(1, "w-1"), connected(40, "w-1")].concat(),
            [connected(2, "w-10"), connected(20, "w-1")].concat(),
        ];
        let sessions = Sessions::read(&logs);
        assert_eq!(sessions.servers["host-1"], 0);
        let began = sessions.opened[0].at;
        let second = |second: u64| Moment(began.0 + second * 1_000_000);
        let table = [(0, 5, vec![0]), (5, 25, vec![0, 1]), (25, 30, vec![1]), (25, 60, vec![1, 0])];
        for (from, to, expected) in table {
            let found: Vec<usize> = sessions.of("w-1", second(from), second(to)).collect();
            assert_eq!(found, expected, "from {from} to {to}");
        }
        assert_eq!(sessions.of("w-10", second(25), second(30)).collect::<Vec<_>>(), [1]);
        assert_eq!(sessions.of("w-2", second(25), second(30)).count(), 0);
    }
}
