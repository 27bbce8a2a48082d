//! What changes of the clock do: cronie's rules, with a gap or overlap of any length.

use crate::times::firings;

struct Row {
    reason: &'static str,
    when: &'static str,
    zone: &'static str,
    after: &'static str,
    times: &'static str,
}

const fn row(
    reason: &'static str,
    when: &'static str,
    zone: &'static str,
    after: &'static str,
    times: &'static str,
) -> Row {
    Row { reason, when, zone, after, times }
}

#[rustfmt::skip] // One row is the reason, the question and the answer.
const ROWS: &[Row] = &[
    // Europe/Berlin, 2026-03-29: 02:00 becomes 03:00
    row(
        "a fixed time in the gap fires at the first instant after it",
        "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
        "2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00",
    ),
    row(
        "several in one gap fire once",
        "0,15,30,45 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
        "2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00",
    ),
    row(
        "what fires at the end of the gap anyway fires once there",
        "0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
        "2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00 2026-03-30T03:00:00+02:00",
    ),
    row(
        "what fires later too does so",
        "30 2-3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
        "2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00 2026-03-30T02:30:00+02:00",
    ),
    row(
        "the seconds do not decide: minute and hour are fixed",
        "*/20 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
        "2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00 2026-03-30T02:30:20+02:00",
    ),
    row(
        "asked at the end of the gap, it has fired",
        "30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z",
        "2026-03-30T02:30:00+02:00",
    ),
    row(
        "asked half a second before, it has not",
        "30 2 * * *", "Europe/Berlin", "2026-03-29T00:59:59.5Z",
        "2026-03-29T03:00:00+02:00",
    ),
    row(
        "a minute that starts with a star: every half hour of those that exist",
        "*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
        "2026-03-29T01:30:00+01:00 2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00",
    ),
    row(
        "an hour that is a star: every hour of those that exist",
        "30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
        "2026-03-29T01:30:00+01:00 2026-03-29T03:30:00+02:00",
    ),
    row(
        "a minute that starts with a star within one hour: that hour does not exist",
        "*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
        "2026-03-30T02:00:00+02:00 2026-03-30T02:30:00+02:00",
    ),
    row(
        "every second but those that do not exist",
        "* * * * * *", "Europe/Berlin", "2026-03-29T00:59:58Z",
        "2026-03-29T01:59:59+01:00 2026-03-29T03:00:00+02:00 2026-03-29T03:00:01+02:00",
    ),
    // Europe/Berlin, 2026-10-25: 03:00 becomes 02:00
    row(
        "a fixed time that comes twice fires at the first",
        "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
        "2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00",
    ),
    row(
        "so does each of several",
        "0,30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
        "2026-10-25T02:00:00+02:00 2026-10-25T02:30:00+02:00 2026-10-26T02:00:00+01:00",
    ),
    row(
        "asked between the two, it has fired",
        "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z",
        "2026-10-26T02:30:00+01:00",
    ),
    row(
        "asked at the change, all of that hour has fired",
        "0-59 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z",
        "2026-10-26T02:00:00+01:00",
    ),
    row(
        "the hour at which the clock was put back comes once",
        "0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
        "2026-10-25T03:00:00+01:00 2026-10-26T03:00:00+01:00",
    ),
    row(
        "all hours by number are fixed times: two hours of elapsed time between",
        "0 0-23 * * *", "Europe/Berlin", "2026-10-24T22:30:00Z",
        "2026-10-25T01:00:00+02:00 2026-10-25T02:00:00+02:00 2026-10-25T03:00:00+01:00",
    ),
    row(
        "all hours by a star follow elapsed time",
        "0 * * * *", "Europe/Berlin", "2026-10-24T22:30:00Z",
        "2026-10-25T01:00:00+02:00 2026-10-25T02:00:00+02:00 2026-10-25T02:00:00+01:00 \
         2026-10-25T03:00:00+01:00",
    ),
    row(
        "a minute that starts with a star fires in both of the hours",
        "*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
        "2026-10-25T02:00:00+02:00 2026-10-25T02:30:00+02:00 2026-10-25T02:00:00+01:00 \
         2026-10-25T02:30:00+01:00 2026-10-26T02:00:00+01:00",
    ),
    row(
        "every half minute in both of the hours",
        "0,30 * * * * *", "Europe/Berlin", "2026-10-25T00:59:00Z",
        "2026-10-25T02:59:30+02:00 2026-10-25T02:00:00+01:00",
    ),
    row(
        "a fixed minute and hour with every second of it: the first time only",
        "*/30 59 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
        "2026-10-25T02:59:00+02:00 2026-10-25T02:59:30+02:00 2026-10-26T02:59:00+01:00",
    ),
    // America/New_York, 2026-03-08: 02:00 becomes 03:00; 2026-11-01: 02:00 becomes 01:00
    row(
        "a fixed time in the gap",
        "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z",
        "2026-03-08T03:00:00-04:00 2026-03-09T02:30:00-04:00",
    ),
    row(
        "an hour that starts with a star: two o'clock does not exist",
        "0 */2 * * *", "America/New_York", "2026-03-08T04:30:00Z",
        "2026-03-08T00:00:00-05:00 2026-03-08T04:00:00-04:00 2026-03-08T06:00:00-04:00",
    ),
    row(
        "office hours of the Monday after the change",
        "*/15 9-17 * * MON-FRI", "America/New_York", "2026-03-07T00:00:00Z",
        "2026-03-09T09:00:00-04:00 2026-03-09T09:15:00-04:00 2026-03-09T09:30:00-04:00 \
         2026-03-09T09:45:00-04:00 2026-03-09T10:00:00-04:00",
    ),
    row(
        "a fixed time that comes twice",
        "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z",
        "2026-11-01T01:30:00-04:00 2026-11-02T01:30:00-05:00",
    ),
    row(
        "elapsed time through the hour that comes twice",
        "30 * * * *", "America/New_York", "2026-11-01T05:00:00Z",
        "2026-11-01T01:30:00-04:00 2026-11-01T01:30:00-05:00 2026-11-01T02:30:00-05:00",
    ),
    row(
        "a day of the week in the gap",
        "0 2 * * SUN", "America/New_York", "2026-03-07T12:00:00Z",
        "2026-03-08T03:00:00-04:00 2026-03-15T02:00:00-04:00",
    ),
    // Australia/Lord_Howe moves by half an hour: 2026-10-04 02:00 becomes 02:30; 2026-04-05 02:00 becomes 01:30
    row(
        "a fixed time in the short gap",
        "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
        "2026-10-04T02:30:00+11:00 2026-10-05T02:15:00+11:00",
    ),
    row(
        "two in the gap and one at its end fire once",
        "0,15,30 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
        "2026-10-04T02:30:00+11:00 2026-10-05T02:00:00+11:00",
    ),
    row(
        "a fixed time behind the gap is not touched",
        "45 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
        "2026-10-04T02:45:00+11:00 2026-10-05T02:45:00+11:00",
    ),
    row(
        "elapsed time: two quarters do not exist",
        "*/15 * * * *", "Australia/Lord_Howe", "2026-10-03T15:10:00Z",
        "2026-10-04T01:45:00+10:30 2026-10-04T02:30:00+11:00 2026-10-04T02:45:00+11:00",
    ),
    row(
        "elapsed time: the full hour does not exist",
        "0 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z",
        "2026-10-04T01:00:00+10:30 2026-10-04T03:00:00+11:00",
    ),
    row(
        "a fixed time that comes twice",
        "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z",
        "2026-04-05T01:45:00+11:00 2026-04-06T01:45:00+10:30",
    ),
    row(
        "a fixed time of the same hour that comes once",
        "15 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z",
        "2026-04-05T01:15:00+11:00 2026-04-06T01:15:00+10:30",
    ),
    row(
        "elapsed time: two quarters come twice",
        "*/15 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:20:00Z",
        "2026-04-05T01:30:00+11:00 2026-04-05T01:45:00+11:00 2026-04-05T01:30:00+10:30 \
         2026-04-05T01:45:00+10:30 2026-04-06T01:00:00+10:30",
    ),
    // Africa/Casablanca puts its clock back for Ramadan: 2026-02-15 03:00 becomes 02:00; 2026-03-22 02:00 becomes 03:00
    row(
        "a fixed time that comes twice as Ramadan nears",
        "30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00Z",
        "2026-02-15T02:30:00+01:00 2026-02-16T02:30:00+00:00",
    ),
    row(
        "elapsed time as Ramadan nears",
        "30 * * * *", "Africa/Casablanca", "2026-02-15T01:00:00Z",
        "2026-02-15T02:30:00+01:00 2026-02-15T02:30:00+00:00 2026-02-15T03:30:00+00:00",
    ),
    row(
        "a fixed time in the gap after Ramadan",
        "30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00:00Z",
        "2026-03-22T03:00:00+01:00 2026-03-23T02:30:00+01:00",
    ),
    row(
        "elapsed time after Ramadan",
        "*/30 * * * *", "Africa/Casablanca", "2026-03-22T01:00:00Z",
        "2026-03-22T01:30:00+00:00 2026-03-22T03:00:00+01:00",
    ),
    // Pacific/Apia crossed the date line: 2011-12-30, a Friday, does not exist
    row(
        "a fixed time of the missing day fires as the next one starts",
        "0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z",
        "2011-12-29T12:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T12:00:00+14:00",
    ),
    row(
        "the midnight that is missing and the one at the end are one",
        "0 0 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z",
        "2011-12-31T00:00:00+14:00 2012-01-01T00:00:00+14:00",
    ),
    row(
        "several in the gap of a day fire once",
        "0 9,12,15 * * *", "Pacific/Apia", "2011-12-30T02:00:00Z",
        "2011-12-31T00:00:00+14:00 2011-12-31T09:00:00+14:00",
    ),
    row(
        "a date that does not exist that year",
        "0 12 30 12 *", "Pacific/Apia", "2011-01-01T00:00:00Z",
        "2011-12-31T00:00:00+14:00 2012-12-30T12:00:00+14:00",
    ),
    row(
        "the Friday that does not exist",
        "0 12 * * FRI", "Pacific/Apia", "2011-12-25T00:00:00Z",
        "2011-12-31T00:00:00+14:00 2012-01-06T12:00:00+14:00",
    ),
    row(
        "elapsed time steps over the day",
        "0 * * * *", "Pacific/Apia", "2011-12-30T08:30:00Z",
        "2011-12-29T23:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T01:00:00+14:00",
    ),
    row(
        "elapsed time has nothing on that day",
        "*/30 12 30 12 *", "Pacific/Apia", "2011-01-01T00:00:00Z",
        "2012-12-30T12:00:00+14:00 2012-12-30T12:30:00+14:00",
    ),
    // America/Sao_Paulo changed at midnight: 2018-11-04 00:00 became 01:00; 2018-02-18 00:00 became 23:00 of the 17th
    row(
        "midnight is in the gap",
        "@daily", "America/Sao_Paulo", "2018-11-03T12:00:00Z",
        "2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00",
    ),
    row(
        "midnight of a Sunday is in the gap",
        "@weekly", "America/Sao_Paulo", "2018-11-03T12:00:00Z",
        "2018-11-04T01:00:00-02:00 2018-11-11T00:00:00-02:00",
    ),
    row(
        "half past midnight and one o'clock are one instant",
        "30 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z",
        "2018-11-04T01:00:00-02:00 2018-11-05T00:30:00-02:00",
    ),
    row(
        "elapsed time steps over the hour",
        "@hourly", "America/Sao_Paulo", "2018-11-04T01:30:00Z",
        "2018-11-03T23:00:00-03:00 2018-11-04T01:00:00-02:00 2018-11-04T02:00:00-02:00",
    ),
    row(
        "elapsed time within the missing hour has nothing",
        "* 0 4 11 *", "America/Sao_Paulo", "2018-11-03T12:00:00Z",
        "2019-11-04T00:00:00-03:00",
    ),
    row(
        "half past eleven comes twice, on one date",
        "30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00:00Z",
        "2018-02-17T23:30:00-02:00 2018-02-18T23:30:00-03:00",
    ),
    row(
        "midnight comes once, an hour after it would have",
        "0 0 * * *", "America/Sao_Paulo", "2018-02-17T12:00:00Z",
        "2018-02-18T00:00:00-03:00 2018-02-19T00:00:00-03:00",
    ),
    row(
        "elapsed time goes back to the day before",
        "30 * * * *", "America/Sao_Paulo", "2018-02-18T01:00:00Z",
        "2018-02-17T23:30:00-02:00 2018-02-17T23:30:00-03:00 2018-02-18T00:30:00-03:00",
    ),
    row(
        "daylight saving was given up in 2019",
        "0 0 * * *", "America/Sao_Paulo", "2019-11-02T12:00:00Z",
        "2019-11-03T00:00:00-03:00 2019-11-04T00:00:00-03:00",
    ),
    // Antarctica/Casey: 2010-03-05 02:00 became 23:00 of the day before
    row(
        "a fixed time of three hours that come twice",
        "30 23 * * *", "Antarctica/Casey", "2010-03-04T00:00:00Z",
        "2010-03-04T23:30:00+11:00 2010-03-05T23:30:00+08:00",
    ),
    row(
        "elapsed time goes through them again",
        "30 * * * *", "Antarctica/Casey", "2010-03-04T14:00:00Z",
        "2010-03-05T01:30:00+11:00 2010-03-04T23:30:00+08:00 2010-03-05T00:30:00+08:00 \
         2010-03-05T01:30:00+08:00 2010-03-05T02:30:00+08:00",
    ),
    // Schedules that know no wall time
    row(
        "an interval is elapsed time through a gap",
        "@every 1h", "Europe/Berlin", "2026-03-29T00:30:00Z",
        "2026-03-29T03:30:00+02:00 2026-03-29T04:30:00+02:00",
    ),
    row(
        "and through an overlap",
        "@every 30m", "Europe/Berlin", "2026-10-25T00:15:00Z",
        "2026-10-25T02:45:00+02:00 2026-10-25T02:15:00+01:00 2026-10-25T02:45:00+01:00",
    ),
    row(
        "an instant is an instant",
        "@at 2026-10-25T02:30:00+01:00", "Europe/Berlin", "2026-10-25T00:00:00Z",
        "2026-10-25T02:30:00+01:00",
    ),
];

#[test]
fn changes_of_the_clock_follow_the_rules_of_cronie() {
    for Row { reason, when, zone, after, times } in ROWS {
        let expected: Vec<&str> = times.split(' ').collect();
        let found = firings(when, zone, after, expected.len());
        assert_eq!(found, expected, "{when} in {zone} after {after}: {reason}");
    }
}
