//! How the two day fields are joined, by the rule of Vixie cron: either is enough, unless one starts with `*`.

use crate::times::firings;

struct Row {
    reason: &'static str,
    when: &'static str,
    after: &'static str,
    days: &'static [&'static str],
}

/// March 2026 starts on a Sunday.
const ROWS: &[Row] = &[
    Row {
        reason: "both restricted: the 13th and every Friday",
        when: "0 0 13 * FRI",
        after: "2026-03-01T00:00:00Z",
        days: &[
            "2026-03-06",
            "2026-03-13",
            "2026-03-20",
            "2026-03-27",
            "2026-04-03",
            "2026-04-10",
            "2026-04-13",
        ],
    },
    Row {
        reason: "a day of month that starts with `*` is unrestricted, so both must match: odd days that are Mondays",
        when: "0 0 */2 * MON",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-09", "2026-03-23", "2026-04-13", "2026-04-27"],
    },
    Row {
        reason: "so is a day of week that starts with `*`: the 1st if it is Sunday, Tuesday, Thursday or Saturday",
        when: "0 0 1 * */2",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-08-01", "2026-09-01", "2026-10-01", "2026-11-01", "2026-12-01"],
    },
    Row {
        reason: "the star counts when it comes first in a list: both must match, and all days do",
        when: "0 0 *,13 * FRI",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-06", "2026-03-13", "2026-03-20"],
    },
    Row {
        reason: "it does not count later in the list: the 13th, odd days and Fridays",
        when: "0 0 13,*/2 * FRI",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-03", "2026-03-05", "2026-03-06", "2026-03-07", "2026-03-09"],
    },
    Row {
        reason: "a full range is not a star: any day of the month is enough, so every day fires",
        when: "0 0 1-31 * MON",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-02", "2026-03-03", "2026-03-04"],
    },
    Row {
        reason: "a full range of week days is not a star either",
        when: "0 0 13 * 0-6",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-02", "2026-03-03", "2026-03-04"],
    },
    Row {
        reason: "0 is Sunday",
        when: "0 0 * * 0",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-08", "2026-03-15"],
    },
    Row {
        reason: "7 is Sunday too, also at the end of a range",
        when: "0 0 * * 6-7",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-07", "2026-03-08", "2026-03-14", "2026-03-15"],
    },
    Row {
        reason: "by name, Sunday may end a range",
        when: "0 0 * * sat-Sun",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-07", "2026-03-08", "2026-03-14", "2026-03-15"],
    },
    Row {
        reason: "Sunday to Sunday is Sunday",
        when: "0 0 * * SUN-SUN",
        after: "2026-03-01T00:00:00Z",
        days: &["2026-03-08", "2026-03-15"],
    },
    Row {
        reason: "either is enough, so the 30th of February does no harm beside Mondays",
        when: "0 0 30 2 MON",
        after: "2026-01-01T00:00:00Z",
        days: &["2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23", "2027-02-01"],
    },
    Row {
        reason: "29 February comes every four years",
        when: "0 0 29 2 *",
        after: "2026-01-01T00:00:00Z",
        days: &["2028-02-29", "2032-02-29", "2036-02-29"],
    },
    Row {
        reason: "both must match: a Monday that is 1 or 29 February",
        when: "0 0 */28 2 MON",
        after: "2026-01-01T00:00:00Z",
        days: &["2027-02-01", "2038-02-01", "2044-02-01", "2044-02-29"],
    },
    Row {
        reason: "2100 has no 29 February, and the calendar ends with it",
        when: "0 0 29 2 *",
        after: "2092-01-01T00:00:00Z",
        days: &["2092-02-29", "2096-02-29"],
    },
    Row {
        reason: "the last day that exists is part of the calendar",
        when: "0 0 31 12 *",
        after: "2099-01-01T00:00:00Z",
        days: &["2099-12-31", "2100-12-31"],
    },
];

#[test]
fn day_fields_are_joined_as_vixie_cron_joins_them() {
    for Row { reason, when, after, days } in ROWS {
        let expected: Vec<String> = days.iter().map(|day| format!("{day}T00:00:00+00:00")).collect();
        let asked = if after.starts_with("209") { days.len() + 1 } else { days.len() };
        assert_eq!(firings(when, "UTC", after, asked), expected, "{when}: {reason}");
    }
}
