use marabunta_proto::target::Target;

#[test]
fn wrong_targets_are_refused_with_the_place_and_the_reason() {
    const NAME: &str = "target is neither any(..) nor all(..) nor a worker's name: name";
    const ALPHABET: &str = "only a-z 0-9 . _ - are allowed";
    const SELECTOR: &str = "target has a wrong selector:";
    const OPERATORS: &str = "where `,`, `=`, `==`, `!=`, `in`, `notin` or the end must stand";
    for (text, message) in [
        ("", "target is empty; write a worker's name, any(..) or all(..)".to_owned()),
        ("..", format!("{NAME} starts with '.'; it must start with a letter, a digit or `_`")),
        ("-x", format!("{NAME} starts with '-'; it must start with a letter, a digit or `_`")),
        ("a/b", format!("{NAME} has '/' at character 2; {ALPHABET}")),
        ("{x}", format!("{NAME} has '{{' at character 1; {ALPHABET}")),
        ("*", format!("{NAME} has '*' at character 1; {ALPHABET}")),
        ("a b", format!("{NAME} has ' ' at character 2; {ALPHABET}")),
        ("web-1,web-2", format!("{NAME} has ',' at character 6; {ALPHABET}")),
        ("web-1\r\n", format!("{NAME} has '\\r' at character 6; {ALPHABET}")),
        ("Host1", format!("{NAME} has 'H' at character 1; {ALPHABET}")),
        ("ANY", format!("{NAME} has 'A' at character 1; {ALPHABET}")),
        ("any)", format!("{NAME} has ')' at character 4; {ALPHABET}")),
        ("role=web", format!("{NAME} has '=' at character 5; {ALPHABET}")),
        (
            "one(role=web)",
            "target has a selector after a word other than any or all; write any(..) or all(..)".to_owned(),
        ),
        (
            "any (role=web)",
            "target has a selector after a word other than any or all; write any(..) or all(..)".to_owned(),
        ),
        ("any(", "target ends with '(' where `)` must stand".to_owned()),
        ("any(role=web", "target ends with 'b' where `)` must stand".to_owned()),
        ("any(role=web) ", "target ends with ' ' where `)` must stand".to_owned()),
        ("any(role=web)x", "target ends with 'x' where `)` must stand".to_owned()),
        ("any(role=)", format!("{SELECTOR} the end stands at character 6 where a value must stand")),
        ("any(role=,dc=eu)", format!("{SELECTOR} `,` stands at character 6 where a value must stand")),
        ("any(=web)", format!("{SELECTOR} `=` stands at character 1 where a label's key must stand")),
        ("any(role==)", format!("{SELECTOR} the end stands at character 7 where a value must stand")),
        ("any(role===web)", format!("{SELECTOR} `=` stands at character 7 where a value must stand")),
        ("any(role in ())", format!("{SELECTOR} `)` stands at character 10 where a value must stand")),
        ("any(in ())", format!("{SELECTOR} `(` stands at character 4 {OPERATORS}")),
        (
            "any(role in)",
            format!("{SELECTOR} the end stands at character 8 where `(` and a list of values must stand"),
        ),
        (
            "any(role in web)",
            format!("{SELECTOR} \"web\" stands at character 9 where `(` and a list of values must stand"),
        ),
        (
            "any(role in (web)",
            format!("{SELECTOR} the end stands at character 13 where `,` or `)` must stand"),
        ),
        ("any(role in (web,))", format!("{SELECTOR} `)` stands at character 14 where a value must stand")),
        (
            "any(role in (web api))",
            format!("{SELECTOR} \"api\" stands at character 14 where `,` or `)` must stand"),
        ),
        ("any(role=web))", format!("{SELECTOR} `)` stands at character 9 where `,` or the end must stand")),
        ("any((role=web))", format!("{SELECTOR} `(` stands at character 1 where a label's key must stand")),
        (
            "any(role=web,)",
            format!("{SELECTOR} the end stands at character 10 where a label's key must stand"),
        ),
        ("any(,)", format!("{SELECTOR} `,` stands at character 1 where a label's key must stand")),
        ("any(!)", format!("{SELECTOR} the end stands at character 2 where a label's key must stand")),
        ("any(!role=web)", format!("{SELECTOR} `=` stands at character 6 where `,` or the end must stand")),
        ("any(role web)", format!("{SELECTOR} \"web\" stands at character 6 {OPERATORS}")),
        ("any(cpus > 4)", format!("{SELECTOR} \">\" stands at character 6 {OPERATORS}")),
        (
            "any(role=w*)",
            format!(
                "{SELECTOR} at character 6: value \"w*\" of label `role` has '*' at character 2; \
                 only A-Z a-z 0-9 . _ - are allowed"
            ),
        ),
        (
            "any(r\u{f6}le=web)",
            format!(
                "{SELECTOR} at character 1: label key \"r\u{f6}le\" has '\u{f6}' at character 2; \
                 only A-Z a-z 0-9 . _ - are allowed"
            ),
        ),
        (
            "any(role=web\n)",
            format!(
                "{SELECTOR} at character 6: value \"web\\n\" of label `role` has '\\n' at character 4; \
                 only A-Z a-z 0-9 . _ - are allowed"
            ),
        ),
        ("any(name=Host1)", format!("{SELECTOR} at character 6: name has 'H' at character 1; {ALPHABET}")),
        (
            "any(name=all)",
            format!("{SELECTOR} at character 6: name `all` is reserved: as a target it means every worker"),
        ),
    ] {
        let error = Target::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text:?}");
    }
}

#[test]
fn targets_are_bounded() {
    let list =
        |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let requirements = |count| format!("any({})", list(count, &|n| format!("k{n}")));
    let values = |count| format!("any(role in ({}))", list(count, &|n| format!("v{n}")));
    for (text, message) in [
        (requirements(33), "target has a wrong selector: there are more than 32 requirements".to_owned()),
        (
            values(65),
            "target has a wrong selector: there are more than 64 values for the label `role`".to_owned(),
        ),
        (
            "a".repeat(256),
            Target::parse(&"a".repeat(129)).expect_err("too long").to_string().replace("129", "256"),
        ),
        ("x".repeat(1_025), "target has 1025 bytes; at most 1024 are allowed".to_owned()),
    ] {
        assert_eq!(Target::parse(&text).expect_err(&message).to_string(), message);
    }
    assert!(Target::parse(&requirements(32)).is_ok());
    assert!(Target::parse(&values(64)).is_ok());
}

#[test]
fn a_target_whose_canonical_form_is_too_long_is_refused() {
    let values = ["a", "b", "c", "d"].map(|value| value.repeat(120)).join(",");
    let written = format!("any(k1 in({values}),k2 in({values}),{})", "k".repeat(36));
    assert_eq!(written.len(), 1_023);
    assert_eq!(
        Target::parse(&written).expect_err("two bytes more").to_string(),
        "target has 1025 bytes; at most 1024 are allowed"
    );
}
