//! What servers count, read as strictly as the text format of Prometheus allows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};

use super::http;
use super::server::Server;

/// Samples by series, `name{label="value"}`, labels in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// What a server counts now.
    pub async fn of(server: &Server) -> anyhow::Result<Self> {
        let answer = http::get(server.http(), "/metrics").await?;
        ensure!(answer.status == 200, "/metrics says {}", answer.status);
        let head = answer.head.to_ascii_lowercase();
        ensure!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        Self::parse(&answer.body)
    }

    /// The sum over servers of what each counts.
    pub async fn sum(servers: &[Server]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for server in servers {
            for (series, value) in Self::of(server).await?.samples {
                *sum.samples.entry(series).or_default() += value;
            }
        }
        Ok(sum)
    }

    /// Version 0.0.4. Every metric has HELP and TYPE, in this order, and then its samples; none comes twice.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(text.ends_with('\n'), "the last line is cut off");
        let (mut metrics, mut names) = (Self::default(), BTreeSet::new());
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let help = line.strip_prefix("# HELP ").with_context(|| format!("no HELP: {line:?}"))?;
            let (name, help) = help.split_once(' ').with_context(|| format!("no help: {line:?}"))?;
            ensure!(is_name(name) && !help.is_empty(), "{line:?}");
            ensure!(names.insert(name), "{name} comes twice");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")?.strip_prefix(name));
            let kind = kind.with_context(|| format!("no TYPE of {name}"))?.trim_start();
            ensure!(matches!(kind, "counter" | "gauge" | "histogram"), "{name} is a {kind:?}");
            ensure!((kind == "counter") == name.ends_with("_total"), "{name} is a {kind}");
            let before = metrics.samples.len();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                metrics.add(name, kind, line).with_context(|| format!("{line:?}"))?;
            }
            ensure!(metrics.samples.len() > before, "{name} has no sample");
            ensure!(kind != "histogram" || metrics.is_cumulative(name), "the buckets of {name} are wrong");
        }
        Ok(metrics)
    }

    /// The value of a series that must be there.
    #[track_caller]
    pub fn get(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} among {:?}", self.samples.keys()))
    }

    /// All series of a metric that are not zero, by their labels.
    pub fn counted(&self, name: &str) -> BTreeMap<&str, f64> {
        let of = format!("{name}{{");
        let counted = self.samples.iter().filter(|(_, value)| **value != 0.0);
        counted
            .filter_map(|(series, value)| Some((series.strip_prefix(&of)?.strip_suffix('}')?, *value)))
            .collect()
    }

    fn add(&mut self, name: &str, kind: &str, line: &str) -> anyhow::Result<()> {
        let (series, value) = line.rsplit_once(' ').context("no value")?;
        let value: f64 = value.parse()?;
        ensure!(kind == "gauge" || value >= 0.0, "less than nothing");
        let (sample, labels) = match series.split_once('{') {
            None => (series, Vec::new()),
            Some((sample, labels)) => (sample, pairs(labels.strip_suffix('}').context("no end of labels")?)?),
        };
        let suffix = sample.strip_prefix(name).context("of another metric")?;
        let known: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        ensure!(known.contains(&suffix), "of another metric");
        let labels: BTreeMap<_, _> = labels.into_iter().collect();
        let text: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let series =
            if text.is_empty() { sample.to_owned() } else { format!("{sample}{{{}}}", text.join(",")) };
        ensure!(self.samples.insert(series, value).is_none(), "it comes twice");
        Ok(())
    }

    fn is_cumulative(&self, name: &str) -> bool {
        let prefix = format!("{name}_bucket{{le=\"");
        let bound = |series: &String| series.strip_prefix(&prefix)?.strip_suffix("\"}")?.parse::<f64>().ok();
        let buckets = self.samples.iter().filter_map(|(series, count)| Some((bound(series)?, *count)));
        let mut buckets: Vec<_> = buckets.collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let whole = buckets.last().copied() == Some((f64::INFINITY, self.samples[&format!("{name}_count")]));
        whole && buckets.is_sorted_by(|one, other| one.1 <= other.1)
    }
}

/// Labels and their values, these still in quotes.
fn pairs(text: &str) -> anyhow::Result<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    for pair in text.split(',') {
        let (label, value) = pair.split_once('=').context("no value of a label")?;
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        // No value of ours needs to be escaped.
        let plain = inner.is_some_and(|inner| !inner.contains(['"', '\\', '\n']));
        ensure!(is_name(label) && plain, "label {pair:?}");
        pairs.push((label, value));
    }
    Ok(pairs)
}

fn is_name(text: &str) -> bool {
    let begins = |c: char| c.is_ascii_lowercase() || c == '_';
    text.starts_with(begins) && text.chars().all(|c| begins(c) || c.is_ascii_digit())
}
