use marabunta_proto::name::Name;
use marabunta_proto::selector::Traits;
use marabunta_proto::target::Target;

use crate::times::Dice;

#[test]
fn every_target_has_one_canonical_form() {
    for (text, canonical) in [
        ("web-1", "web-1"),
        ("any", "any"),
        ("all", "all"),
        ("any()", "any"),
        ("all( )", "all"),
        ("any(role=web,dc!=eu)", "any(dc!=eu,role=web)"),
        ("any( role == web , dc != eu )", "any(dc!=eu,role=web)"),
        ("all(role in (web,api), !gpu, tier notin (x))", "all(!gpu,role in (api,web),tier!=x)"),
        ("all(role in (web))", "all(role=web)"),
        ("all(role in(web,web))", "all(role=web)"),
        ("all(role notin(b,a,b))", "all(role notin (a,b))"),
        ("all(role=web,role=web,role in (web))", "all(role=web)"),
        ("all(role=a,role=b)", "all(role=a,role=b)"),
        ("all(gpu)", "all(gpu)"),
        ("all(! gpu)", "all(!gpu)"),
        ("all(in in (in,notin))", "all(in in (in,notin))"),
        ("all(name in (web-2,web-1))", "all(name in (web-1,web-2))"),
        ("all(example.com/Tier=Gold)", "all(example.com/Tier=Gold)"),
    ] {
        let target = Target::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(target.to_string(), canonical, "{text}");
        assert_eq!(Target::parse(canonical), Ok(target), "{text}");
    }
}

#[test]
fn selectors_match_as_in_kubernetes() {
    let labels = [("role", "web"), ("dc", "eu"), ("gpu", "")];
    let traits = Traits {
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        handlers: ["backup", "exec"].map(|handler| handler.parse().expect("a name")).into(),
    };
    let name = Name::parse_worker("web-1").expect("a name");
    for (text, matches, reason) in [
        ("any", true, "nothing is required"),
        ("any(role=web)", true, "the value is that"),
        ("any(role=api)", false, "the value is another"),
        ("any(role=Web)", false, "case counts"),
        ("any(tier=x)", false, "there is no such label"),
        ("any(role!=api)", true, "the value is another"),
        ("any(role!=web)", false, "the value is that"),
        ("any(tier!=x)", true, "a label that is absent is not x"),
        ("any(role in (api,web))", true, "one of them"),
        ("any(role in (api,db))", false, "none of them"),
        ("any(role notin (api,db))", true, "none of them"),
        ("any(role notin (api,web))", false, "one of them"),
        ("any(tier notin (x,y))", true, "a label that is absent is none of them"),
        ("any(gpu)", true, "present, if empty"),
        ("any(!gpu)", false, "present, if empty"),
        ("any(gpu!=a)", true, "empty is not a"),
        ("any(tier)", false, "absent"),
        ("any(!tier)", true, "absent"),
        ("any(role=web,dc=eu)", true, "both hold"),
        ("any(role=web,dc=us)", false, "one does not hold"),
        ("any(role=web,role=api)", false, "no value is both"),
        ("any(name=web-1)", true, "the worker's name is a label"),
        ("any(name!=web-1)", false, "the worker's name is a label"),
        ("any(name in (web-2,web-3))", false, "another name"),
        ("any(name)", true, "every worker has a name"),
        ("any(handler=backup)", true, "it has that handler, and another"),
        ("any(handler=backup,handler=exec)", true, "it has both"),
        ("any(handler=restore)", false, "it has not"),
        ("any(handler!=exec)", false, "it has"),
        ("any(handler in (exec,restore))", true, "it has one of them"),
        ("any(handler notin (exec,restore))", false, "it has one of them"),
        ("any(handler)", true, "it has some"),
        ("any(!handler)", false, "it has some"),
    ] {
        let target = Target::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let selector = target.selector().expect("any has a selector");
        assert_eq!(selector.matches(&name, &traits), matches, "{text}: {reason}");
    }
}

#[test]
fn the_longest_selector_of_a_target_can_be_narrowed_and_read_again() {
    let requirements: Vec<String> = (0..32).map(|number| format!("k{number}")).collect();
    let target = Target::parse(&format!("any({})", requirements.join(","))).expect("32 are allowed");
    let narrowed =
        target.selector().expect("any has a selector").clone().with_handler(&"_b".parse().expect("a name"));
    assert_eq!(narrowed.to_string().parse(), Ok(narrowed));
}

#[test]
fn random_targets_are_read_back_as_they_are_displayed() {
    let mut dice = Dice::new(7);
    for _ in 0..2_000 {
        let text = random_target(&mut dice);
        let target = Target::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(Target::parse(&target.to_string()), Ok(target), "{text}");
    }
}

#[test]
fn random_text_is_refused_or_read_back_as_it_is_displayed() {
    let pieces = [
        "any", "all", "(", ")", "role", "in", "notin", "=", "==", "!=", "!", ",", " ", "web", "A", "é", "<",
        "\0",
    ];
    let mut dice = Dice::new(11);
    for _ in 0..20_000 {
        let text: String =
            (0..dice.below(12)).map(|_| pieces[dice.below(pieces.len() as u32) as usize]).collect();
        if let Ok(target) = Target::parse(&text) {
            assert_eq!(Target::parse(&target.to_string()), Ok(target), "{text}");
        }
    }
}

fn random_target(dice: &mut Dice) -> String {
    let word = ["any", "all"][dice.below(2) as usize];
    let requirements: Vec<String> = (0..dice.below(5)).map(|_| random_requirement(dice)).collect();
    format!("{word}({})", requirements.join([",", " , "][dice.below(2) as usize]))
}

fn random_requirement(dice: &mut Dice) -> String {
    let key = ["role", "dc", "example.com/x", "name", "in", "Gpu"][dice.below(6) as usize];
    let mut value = || ["a", "b", "c-1", "in", "x.y"][dice.below(5) as usize];
    let (one, list) = (value(), [value(), value(), value()].join(", "));
    match dice.below(7) {
        0 => key.to_owned(),
        1 => format!("!{key}"),
        2 => format!("{key}={one}"),
        3 => format!("{key} == {one}"),
        4 => format!("{key}!={one}"),
        5 => format!("{key} in ({list})"),
        _ => format!("{key} notin({list})"),
    }
}
