//! `when`: what a schedule means, without a server.

use serde_json::json;

use crate::marabunta::alone;

#[test]
fn one_time_per_line_with_the_offset_of_the_zone() {
    let ended = alone(&[
        "when",
        "*/15 9-17 * * MON-FRI",
        "--timezone",
        "America/New_York",
        "--after",
        "2026-03-06T22:30:00Z",
        "--count",
        "3",
    ]);
    let times = "2026-03-06T17:45:00-05:00\n2026-03-09T09:00:00-04:00\n2026-03-09T09:15:00-04:00\n";
    assert_eq!((ended.code, ended.stdout(), ended.stderr.as_str()), (Some(0), times, ""));
}

#[test]
fn json_repeats_what_was_asked() {
    let ended = alone(&[
        "when",
        "@every 1h30m",
        "--after",
        "2026-03-01T12:00:00+01:00",
        "--count",
        "1",
        "-o",
        "json",
    ]);
    let expected = json!({
        "when": "@every 1h30m",
        "timezone": "UTC",
        "after": "2026-03-01T11:00:00Z",
        "times": ["2026-03-01T12:30:00+00:00"],
    });
    assert_eq!(ended.json(), expected);
}

#[test]
fn what_does_not_fire_any_more_is_said_to() {
    let ended = alone(&["when", "@at 2020-01-01T00:00:00Z", "--after", "2026-01-01T00:00:00Z"]);
    assert_eq!((ended.code, ended.stdout()), (Some(0), ""));
    assert_eq!(ended.stderr, "marabunta: it does not fire after 2026-01-01T00:00:00Z\n");
}

#[test]
fn a_bad_expression_says_which_field_and_why() {
    let table = [
        (vec!["when", "60 * * * *"], "minute"),
        (vec!["when", "0 0 30 2 *"], "never fires"),
        (vec!["when", "* * *"], "fields, 3"),
        (vec!["when", ""], "empty"),
        (vec!["when", "- * * * *"], "minute"),
        (vec!["when", "@every -5m"], "@every"),
        (vec!["when", "* * * * *", "--timezone", "Mars/Phobos"], "Mars/Phobos"),
        (vec!["when", "* * * * *", "--after", "2026-03-01T00:00:00"], "--after"),
        (vec!["when", "* * * * *", "--count", "0"], "--count"),
    ];
    for (arguments, expected) in table {
        let ended = alone(&arguments);
        assert_eq!((ended.code, ended.stdout()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}
