use crate::times::schedule;
use chrono::DateTime;

/// Written by `oracle.py`, which says what it is.
const ROWS: &str = include_str!("oracle.tsv");

#[test]
fn croniter_agrees_on_every_random_expression() {
    let mut rows = 0;
    for row in ROWS.lines().filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [when, zone, start, steps] = columns[..] else { panic!("{row}: not four columns") };
        let start = DateTime::from_timestamp(start.parse().expect(row), 0).expect(row);
        let steps: Vec<i64> = steps.split(',').map(|step| step.parse().expect(row)).collect();
        let schedule = schedule(when, zone, start);
        let mut last = start;
        let found: Vec<i64> = schedule
            .after(start)
            .take(steps.len())
            .map(|time| {
                let step = (time - last).num_seconds();
                last = time;
                step
            })
            .collect();
        assert_eq!(found, steps, "{row}");
        assert_eq!(schedule.latest(start, last), Some(last), "{row}: the last of several");
        rows += 1;
    }
    assert!(rows >= 2_000, "only {rows} rows");
}

#[test]
fn the_canonical_form_means_the_same_as_the_expression() {
    for row in ROWS.lines().filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let when = marabunta_proto::when::When::parse(columns[0]).expect(row);
        let canonical = when.to_string();
        assert_eq!(marabunta_proto::when::When::parse(&canonical).as_ref(), Ok(&when), "{row}: {canonical}");
        assert!(canonical.len() <= marabunta_proto::when::When::MAX_LEN, "{row}: {canonical}");
    }
}
