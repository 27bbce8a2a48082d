use marabunta_proto::label;
use marabunta_proto::name::Name;

#[test]
fn names_are_read_as_they_are() {
    let longest = "a".repeat(Name::MAX_LEN);
    for text in ["web-1", "a", "0", "_x", "db.eu-west_2", "any", "trailing-", &longest] {
        assert_eq!(Name::parse(text).expect(text).to_string(), text);
    }
}

#[test]
fn names_that_break_the_rules_are_refused_with_the_reason() {
    let alphabet = "only a-z 0-9 . _ - are allowed";
    let long = "a".repeat(256);
    for (text, message) in [
        ("", "name is empty; it needs 1 to 128 characters of a-z 0-9 . _ -".to_owned()),
        (&long, "name has 256 bytes; at most 128 are allowed".to_owned()),
        ("..", "name starts with '.'; it must start with a letter, a digit or `_`".to_owned()),
        (".", "name starts with '.'; it must start with a letter, a digit or `_`".to_owned()),
        (".hidden", "name starts with '.'; it must start with a letter, a digit or `_`".to_owned()),
        ("-rf", "name starts with '-'; it must start with a letter, a digit or `_`".to_owned()),
        ("a/b", format!("name has '/' at character 2; {alphabet}")),
        ("{x}", format!("name has '{{' at character 1; {alphabet}")),
        ("*", format!("name has '*' at character 1; {alphabet}")),
        ("a b", format!("name has ' ' at character 2; {alphabet}")),
        ("a\r\nb", format!("name has '\\r' at character 2; {alphabet}")),
        ("a\0", format!("name has '\\0' at character 2; {alphabet}")),
        ("Host1", format!("name has 'H' at character 1; {alphabet}")),
        ("h\u{043e}st", format!("name has '\u{043e}' at character 2; {alphabet}")),
        ("\u{ff48}ost", format!("name has '\u{ff48}' at character 1; {alphabet}")),
        ("host\u{200b}", format!("name has '\\u{{200b}}' at character 5; {alphabet}")),
        ("<script>", format!("name has '<' at character 1; {alphabet}")),
    ] {
        let error = Name::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text:?}");
        assert_eq!(Name::parse_worker(text), Err(error), "{text:?}");
    }
}

#[test]
fn workers_do_not_take_the_words_of_targets() {
    for text in ["any", "all"] {
        let error = Name::parse_worker(text).expect_err(text).to_string();
        assert_eq!(error, format!("name `{text}` is reserved: as a target it means every worker"));
    }
    assert!(Name::parse_worker("anyone").is_ok());
}

#[test]
fn labels_follow_the_syntax_of_kubernetes() {
    let labels = [("role", "web"), ("example.com/Tier_2", "Gold"), ("gpu", ""), ("v", "1.2-rc_3")];
    let read = label::parse_all(labels).expect("all of these are labels");
    assert_eq!(read.len(), labels.len());
    assert_eq!(read["gpu"], "");
}

#[test]
fn labels_that_break_the_rules_are_refused_with_the_reason() {
    let long = "v".repeat(129);
    for (labels, message) in [
        (vec![("", "x")], "label key \"\" is empty; it needs a letter or digit".to_owned()),
        (
            vec![("a b", "x")],
            "label key \"a b\" has ' ' at character 2; only A-Z a-z 0-9 . _ - are allowed".to_owned(),
        ),
        (vec![("-role", "x")], "label key \"-role\" must start and end with a letter or digit".to_owned()),
        (
            vec![("Example.com/role", "x")],
            "label key \"Example.com/role\" has a prefix that is not a DNS name of lower-case letters, digits, `-` and `.`"
                .to_owned(),
        ),
        (vec![("a.b/", "x")], "label key \"a.b/\" is empty; it needs a letter or digit".to_owned()),
        (
            vec![("a/b/c", "x")],
            "label key \"a/b/c\" has '/' at character 2; only A-Z a-z 0-9 . _ - are allowed".to_owned(),
        ),
        (
            vec![("role", "web,db")],
            "value \"web,db\" of label `role` has ',' at character 4; only A-Z a-z 0-9 . _ - are allowed".to_owned(),
        ),
        (
            vec![("role", "web.")],
            "value \"web.\" of label `role` must start and end with a letter or digit".to_owned(),
        ),
        (
            vec![("role", &*long)],
            format!("value \"{}..\" of label `role` has 129 bytes; at most 128 are allowed", "v".repeat(40)),
        ),
        (vec![("name", "web-1")], "label `name` is reserved: it always holds the worker's name".to_owned()),
        (vec![("handler", "backup")], "label `handler` is reserved: it always holds the worker's handlers".to_owned()),
        (vec![("role", "a"), ("role", "a")], "label `role` is given twice".to_owned()),
    ] {
        let error = label::parse_all(labels.clone()).expect_err(&message);
        assert_eq!(error.to_string(), message, "{labels:?}");
    }
    let many = (0..=label::MAX_LABELS).map(|n| (format!("k{n}"), "v"));
    assert_eq!(
        label::parse_all(many).expect_err("one too many").to_string(),
        "there are more than 64 labels"
    );
}
