use marabunta_proto::when::{When, parse_zone, preview};

use crate::times::{Dice, schedule, utc};

const FORMS: &str = "write 5 fields (minute hour day-of-month month day-of-week), 6 with seconds first, @daily or the like, \
                     @every 1h30m, @at 2026-03-07T02:30:00Z, or now";
const VISIBLE: &str = "only visible ASCII characters and spaces are allowed";
const WORDS: &str = "does not exist; there are @hourly @daily @midnight @weekly @monthly @yearly @annually, \
                     @every DURATION and @at TIME";

#[test]
fn wrong_expressions_are_refused_with_the_field_and_the_reason() {
    for (text, message) in [
        ("60 * * * *", "minute: 60 is not in 0-59"),
        ("* 24 * * *", "hour: 24 is not in 0-23"),
        ("0 0 32 1 *", "day of month: 32 is not in 1-31"),
        ("0 0 0 * *", "day of month: 0 is not in 1-31"),
        ("0 0 * 13 *", "month: 13 is not in 1-12"),
        ("0 0 * 0 *", "month: 0 is not in 1-12"),
        ("* * * * 8", "day of week: 8 is not in 0-7"),
        ("60 * * * * *", "second: 60 is not in 0-59"),
        ("0 0 30 2 *", "day of month: 30 never comes in month 2, so this never fires"),
        ("0 0 31 2,4,6,9,11 *", "day of month: 31 never comes in month 2,4,6,9,11, so this never fires"),
        ("0 0 30,31 FEB */2", "day of month: 30,31 never comes in month 2, so this never fires"),
        ("*/0 * * * *", "minute: the step \"0\" is not in 1-60"),
        ("*/-1 * * * *", "minute: the step \"-1\" is not in 1-60"),
        ("*/ * * * *", "minute: the step \"\" is not in 1-60"),
        ("*/1/2 * * * *", "minute: the step \"1/2\" is not in 1-60"),
        ("*/99999999999 * * * *", "minute: the step \"99999999999\" is not in 1-60"),
        ("*/90 * * * *", "minute: the step \"90\" is not in 1-60"),
        ("0 */25 * * *", "hour: the step \"25\" is not in 1-24"),
        ("99999999999 * * * *", "minute: 99999999999 is not in 0-59"),
        ("5-1 * * * *", "minute: the range 5-1 runs backwards; write it as two: a-59,0-b"),
        ("0 0 * * FRI-MON", "day of week: the range FRI-MON runs backwards; write it as two: a-7,0-b"),
        ("5/15 * * * *", "minute: 5/15 has a step but no range; write 5-59/n"),
        ("1,,2 * * * *", "minute: the list has an empty item; write values with one comma between them"),
        (", * * * *", "minute: the list has an empty item; write values with one comma between them"),
        ("1, * * * *", "minute: the list has an empty item; write values with one comma between them"),
        ("- * * * *", "minute: \"-\" is neither `*` nor a number in 0-59"),
        ("-5 * * * *", "minute: \"-5\" is neither `*` nor a number in 0-59"),
        ("5- * * * *", "minute: \"5-\" is neither `*` nor a number in 0-59"),
        ("1-2-3 * * * *", "minute: \"1-2-3\" is neither `*` nor a number in 0-59"),
        ("*5 * * * *", "minute: \"*5\" is neither `*` nor a number in 0-59"),
        ("** * * * *", "minute: \"**\" is neither `*` nor a number in 0-59"),
        ("+5 * * * *", "minute: \"+5\" is neither `*` nor a number in 0-59"),
        ("0x1 * * * *", "minute: \"0x1\" is neither `*` nor a number in 0-59"),
        ("1.5 * * * *", "minute: \"1.5\" is neither `*` nor a number in 0-59"),
        ("MON * * * *", "minute: \"MON\" is neither `*` nor a number in 0-59"),
        ("* * ? * *", "day of month: \"?\" is neither `*` nor a number in 1-31"),
        ("* * L * *", "day of month: \"L\" is neither `*` nor a number in 1-31"),
        ("* * * * MON#6", "day of week: \"MON#6\" is neither `*` nor a number in 0-7 nor a name in SUN-SAT"),
        (
            "* * * * MONDAY",
            "day of week: \"MONDAY\" is neither `*` nor a number in 0-7 nor a name in SUN-SAT",
        ),
        ("* * * MAI *", "month: \"MAI\" is neither `*` nor a number in 1-12 nor a name in JAN-DEC"),
        ("@every", "@every: duration is empty; write it like 1h30m10s"),
        ("@every 0s", "@every: 0s is shorter than 1s"),
        ("@every 999ms", "@every: 999ms is shorter than 1s"),
        (
            "@every -5m",
            "@every: duration has \"-5m\" where a number must stand; write it like 1h30m10s, without sign or space",
        ),
        ("@every 1e9h", "@every: duration has the unit \"e\"; the units are d, h, m, s and ms"),
        ("@every 5", "@every: duration 5 has no unit; add d, h, m, s or ms"),
        ("@every 1000000000h", "@every: duration is longer than 3650d"),
        ("@at 1969-12-31T23:59:59Z", "@at: year 1969 is not in 1970-2100"),
        ("@at 9999-01-01T00:00:00Z", "@at: year 9999 is not in 1970-2100"),
        ("@at 2026-13-07T00:00:00Z", "@at: month 13 is not in 1-12"),
        ("@at 2026-03-07T24:00:00Z", "@at: hour 24 is not in 0-23"),
        ("@at 2026-03-07T23:60:00Z", "@at: minute 60 is not in 0-59"),
        ("@at 2026-12-31T23:59:60Z", "@at: second 60 is not in 0-59"),
        ("@at 2026-02-29T00:00:00Z", "@at: 2026-02-29 does not exist in the calendar"),
        ("@at 2026-03-07T02:30:00", "@at: offset \"\" is neither Z nor like +02:00"),
        ("@at 2026-03-07T02:30:00.5", "@at: offset \"\" is neither Z nor like +02:00"),
        ("@at 2026-03-07T02:30:00+0200", "@at: offset \"+0200\" is neither Z nor like +02:00"),
        ("@at 2026-03-07T02:30:00+24:00", "@at: offset \"+24:00\" is neither Z nor like +02:00"),
        ("@at 2026-03-07T02:30:00 CET", "@at: offset \" CET\" is neither Z nor like +02:00"),
    ] {
        let error = When::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text:?}");
    }
}

#[test]
fn what_is_no_expression_at_all_is_told_which_forms_there_are() {
    for (text, message) in [
        ("", format!("when is empty; {FORMS}")),
        ("   ", format!("when is empty; {FORMS}")),
        ("* * *", format!("when has the wrong number of fields, 3; {FORMS}")),
        ("* * * *", format!("when has the wrong number of fields, 4; {FORMS}")),
        ("0 0 0 1 1 * 2027", format!("when has the wrong number of fields, 7; {FORMS}")),
        ("* * * * * * * *", format!("when has the wrong number of fields, 8; {FORMS}")),
        ("Now", format!("when has the wrong number of fields, 1; {FORMS}")),
        ("daily", format!("when has the wrong number of fields, 1; {FORMS}")),
        ("@unknown", format!("@unknown {WORDS}")),
        ("@", format!("@ {WORDS}")),
        ("@Daily", format!("@Daily {WORDS}")),
        ("@reboot", format!("@reboot {WORDS}")),
        ("@daily 5", format!("@daily 5 {WORDS}")),
        ("\t", format!("when has '\\t' at character 1; {VISIBLE}")),
        ("*\t* * * *", format!("when has '\\t' at character 2; {VISIBLE}")),
        ("* * * * *\n", format!("when has '\\n' at character 10; {VISIBLE}")),
        ("*\n* * * *", format!("when has '\\n' at character 2; {VISIBLE}")),
        ("\u{0665} * * * *", format!("when has '\u{0665}' at character 1; {VISIBLE}")),
        ("* \u{ff0a} * * *", format!("when has '\u{ff0a}' at character 3; {VISIBLE}")),
        ("*\u{200b} * * * *", format!("when has '\\u{{200b}}' at character 2; {VISIBLE}")),
        ("*\u{a0}* * * *", format!("when has '\\u{{a0}}' at character 2; {VISIBLE}")),
        ("* * * * *\0", format!("when has '\\0' at character 10; {VISIBLE}")),
        ("@every 1\u{0665}s", format!("when has '\u{0665}' at character 9; {VISIBLE}")),
    ] {
        let error = When::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text:?}");
    }
    for (text, length) in
        [("1,".repeat(5_000), 10_000), (" ".repeat(1_025), 1_025), ("\u{0665}".repeat(513), 1_026)]
    {
        let error = When::parse(&text).expect_err("too long").to_string();
        assert_eq!(error, format!("when has {length} bytes; at most 1024 are allowed"));
    }
}

#[test]
fn wrong_time_zones_are_refused_with_the_right_one_if_there_is_one() {
    let advice = "is not in the IANA database; write a name like Europe/Berlin, or UTC";
    for (zone, message) in [
        ("", "time zone is empty; write a name of the IANA database like Europe/Berlin, or UTC".to_owned()),
        ("Mars/Phobos", format!("time zone \"Mars/Phobos\" {advice}")),
        ("../../etc/passwd", format!("time zone \"../../etc/passwd\" {advice}")),
        ("Europe/Berlin ", format!("time zone \"Europe/Berlin \" {advice}")),
        ("+02:00", format!("time zone \"+02:00\" {advice}")),
        ("Europe/Berlin\0", format!("time zone \"Europe/Berlin\\0\" {advice}")),
        ("europe/berlin", "time zone \"europe/berlin\" is not spelled so; write Europe/Berlin".to_owned()),
        ("utc", "time zone \"utc\" is not spelled so; write UTC".to_owned()),
    ] {
        assert_eq!(parse_zone(zone).expect_err(zone).to_string(), message, "{zone:?}");
        let preview = preview("@daily", zone, utc("2026-01-01T00:00:00Z"), 1);
        assert_eq!(preview.expect_err(zone).to_string(), message, "{zone:?}");
    }
    assert!(parse_zone("Europe/Berlin").is_ok());
}

#[test]
fn random_text_is_refused_or_read_back_as_it_is_displayed_and_answers() {
    let pieces = [
        "*",
        "*",
        "*",
        "/",
        "-",
        ",",
        " ",
        " ",
        " ",
        " ",
        " ",
        "0",
        "1",
        "2",
        "7",
        "9",
        "59",
        "31",
        "JAN",
        "fri",
        "@",
        "every",
        "at",
        "daily",
        "now",
        "h",
        "ms",
        "2026-03-07T02:30:00",
        "Z",
        "+02:00",
        "\t",
        "é",
        "\0",
    ];
    let start = utc("2026-03-07T00:00:00Z");
    let mut dice = Dice::new(13);
    let mut read = 0;
    for _ in 0..50_000 {
        let text: String =
            (0..dice.below(14)).map(|_| pieces[dice.below(pieces.len() as u32) as usize]).collect();
        let Ok(when) = When::parse(&text) else { continue };
        assert_eq!(When::parse(&when.to_string()), Ok(when), "{text:?}");
        let times: Vec<_> = schedule(&text, "Africa/Casablanca", start).after(start).take(3).collect();
        assert!(times.is_sorted_by(|one, next| one < next), "{text:?}: {times:?}");
        read += 1;
    }
    assert!(read > 100, "only {read} were schedules");
}
