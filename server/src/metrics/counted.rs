//! All that is counted.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

use super::{
    Family, Judged, Loss, PanicIn, Reconciled, Requeue, RunEnd, SessionEnd, SessionRefused, Submitted,
};
use crate::panics::Panics;
use crate::queue::Census;

/// What is late by less is on time; by more than the last, out of order.
const LAG: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// The counters of one server.
pub struct Metrics {
    pub runs_submitted: Family<Submitted>,
    pub runs_ended: Family<RunEnd>,
    /// Runs queued ahead whose task was changed, paused or deleted.
    pub runs_withdrawn: IntCounter,
    pub runs_requeued: Family<Requeue>,
    pub attempts_lost: Family<Loss>,
    /// Ends of attempts that workers report.
    pub reports: Family<Judged>,
    /// Messages that workers report.
    pub messages: Family<Judged>,
    pub sessions_connected: IntGauge,
    pub sessions_opened: IntCounter,
    pub sessions_ended: Family<SessionEnd>,
    pub sessions_refused: Family<SessionRefused>,
    pub queue_rebuilds: IntCounter,
    /// Runs entered by rebuilds.
    pub runs_rebuilt: IntCounter,
    pub runs_reconciled: Family<Reconciled>,
    /// Runs that were judged to take place although nobody was there when they were due.
    pub runs_let_go_late: IntCounter,
    pub journal_entries: IntGauge,
    /// Entries that will never be written.
    pub journal_dropped: IntCounter,
    pub panics: Panics,
    release_lag: Histogram,
    poll_lag: Histogram,
    queue: Depths,
    registry: Registry,
}

/// The queue as it was when it was last looked at.
struct Depths {
    delayed: Gauge,
    behind: Gauge,
    ready: Gauge,
    in_flight: Gauge,
    ending: Gauge,
    age: Gauge,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        let version =
            Opts::new("marabunta_build_info", "Always 1; the version of the server is in its label.")
                .const_label("version", env!("CARGO_PKG_VERSION"));
        keep(r, IntGauge::with_opts(version)).set(1);
        Self {
            runs_submitted: Family::register(
                r,
                "marabunta_runs_submitted_total",
                "Runs accepted, by durability class and origin.",
            ),
            runs_ended: Family::register(
                r,
                "marabunta_runs_ended_total",
                "Runs ended, by final state and reason; firings that did not take place are skipped ones.",
            ),
            runs_withdrawn: counter(
                r,
                "marabunta_runs_withdrawn_total",
                "Runs queued ahead and taken back, as their task was changed, paused or deleted.",
            ),
            runs_requeued: Family::register(
                r,
                "marabunta_runs_requeued_total",
                "Runs given back to the queue, by what ended the delivery.",
            ),
            attempts_lost: Family::register(
                r,
                "marabunta_attempts_lost_total",
                "Attempts lost with their worker, by how it was found.",
            ),
            reports: Family::register(
                r,
                "marabunta_reports_total",
                "Ends of attempts reported by workers, by what was answered.",
            ),
            messages: Family::register(
                r,
                "marabunta_messages_total",
                "Messages of attempts reported by workers, by what was answered; stale and invalid ones are dropped.",
            ),
            sessions_connected: gauge(r, "marabunta_sessions_connected", "Sessions open on this server now."),
            sessions_opened: counter(r, "marabunta_sessions_opened_total", "Sessions opened."),
            sessions_ended: Family::register(
                r,
                "marabunta_sessions_ended_total",
                "Sessions ended, by cause.",
            ),
            sessions_refused: Family::register(
                r,
                "marabunta_sessions_refused_total",
                "Workers that got no session, by why; what the queue or an invalid Hello prevents is not among them.",
            ),
            queue_rebuilds: counter(
                r,
                "marabunta_queue_rebuilds_total",
                "Rebuilds of a queue that held nothing, its first filling included.",
            ),
            runs_rebuilt: counter(
                r,
                "marabunta_runs_rebuilt_total",
                "Open runs given to the queue by its rebuilds.",
            ),
            runs_reconciled: Family::register(
                r,
                "marabunta_runs_reconciled_total",
                "Runs on which store, queue and workers differed, by what was found.",
            ),
            runs_let_go_late: counter(
                r,
                "marabunta_runs_let_go_late_total",
                "Runs queued ahead that were due while no server was up and take place all the same.",
            ),
            journal_entries: gauge(
                r,
                "marabunta_journal_entries",
                "Late writes that wait for the store on this server.",
            ),
            journal_dropped: counter(
                r,
                "marabunta_journal_dropped_total",
                "Late writes given up; what a fast run's end needs is still kept by the queue.",
            ),
            panics: Panics::new(Family::<PanicIn>::register(
                r,
                "marabunta_panics_total",
                "Panics, by what they ended; each is a bug, and its place and message are in the log.",
            )),
            release_lag: lag(
                r,
                "marabunta_release_lag_seconds",
                "How late runs were let go after they were due.",
            ),
            poll_lag: lag(
                r,
                "marabunta_poll_lag_seconds",
                "How late the tasks were planned after their poll was due.",
            ),
            queue: Depths::register(r),
            registry,
        }
    }

    /// A run was let go, so long after it was due.
    pub fn released(&self, late: Duration) {
        self.release_lag.observe(late.as_secs_f64());
    }

    /// The tasks have been planned, so long after their poll was due.
    pub fn polled(&self, late: Duration) {
        self.poll_lag.observe(late.as_secs_f64());
    }

    /// The queue as it is now, with the age of its oldest ready run; `None`: it does not say.
    pub(super) fn counted(&self, census: Option<(Census, Duration)>) {
        let values = census.map_or([f64::NAN; 6], |(census, age)| {
            let Census { delayed, behind, ready, in_flight, ending, oldest: _ } = census;
            let [delayed, behind, ready, in_flight, ending] =
                [delayed, behind, ready, in_flight, ending].map(|count| count as f64);
            [delayed, behind, ready, in_flight, ending, age.as_secs_f64()]
        });
        let Depths { delayed, behind, ready, in_flight, ending, age } = &self.queue;
        for (gauge, value) in [delayed, behind, ready, in_flight, ending, age].into_iter().zip(values) {
            gauge.set(value);
        }
    }

    /// In the text format of Prometheus, version 0.0.4.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Depths {
    fn register(registry: &Registry) -> Self {
        let phases = keep(
            registry,
            GaugeVec::new(
                Opts::new(
                    "marabunta_queue_runs",
                    "Open runs in the queue, by phase: the same on every server. NaN: the queue does not say.",
                ),
                &["phase"],
            ),
        );
        let phase = |name| phases.with_label_values(&[name]);
        Self {
            delayed: phase("delayed"),
            behind: phase("behind"),
            ready: phase("ready"),
            in_flight: phase("in_flight"),
            ending: phase("ending"),
            age: keep(
                registry,
                Gauge::new(
                    "marabunta_queue_oldest_ready_age_seconds",
                    "Time since the oldest run that waits for a worker was submitted or was to fire; 0: none waits.",
                ),
            ),
        }
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    keep(registry, IntCounter::new(name, help))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    keep(registry, IntGauge::new(name, help))
}

fn lag(registry: &Registry, name: &str, help: &str) -> Histogram {
    keep(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(LAG.to_vec())))
}

fn keep<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let made = made.expect("names, labels and buckets are valid");
    registry.register(Box::new(made.clone())).expect("no two metrics have one name");
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_and_each_value_of_its_labels_is_documented() {
        let documented = include_str!("../../../docs/metrics.md");
        for family in Metrics::new().registry.gather() {
            let name = family.name();
            assert!(documented.contains(&format!("| `{name}` |")), "{name}");
            for label in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
                let known = documented.contains(label.value()) || label.name() == "version";
                assert!(known, "{name}: {} {}", label.name(), label.value());
            }
        }
    }

    #[test]
    fn what_the_queue_does_not_say_is_no_number() {
        let metrics = Metrics::new();
        metrics.counted(Some((Census { ready: 3, ..Census::default() }, Duration::from_secs(2))));
        let shown = metrics.text().unwrap();
        assert!(shown.contains("marabunta_queue_runs{phase=\"ready\"} 3\n"), "{shown}");
        assert!(shown.contains("marabunta_queue_oldest_ready_age_seconds 2\n"), "{shown}");
        metrics.counted(None);
        let shown = metrics.text().unwrap();
        assert!(shown.contains("marabunta_queue_runs{phase=\"ready\"} NaN\n"), "{shown}");
    }
}
