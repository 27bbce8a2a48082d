//! Targets, selectors, names and labels: each has one canonical form, and what was read fits where it is kept.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use marabunta_proto::label;
use marabunta_proto::name::Name;
use marabunta_proto::selector::{Selector, Traits};
use marabunta_proto::target::Target;
use marabunta_server::run::Place;

fuzz_target!(|text: &str| {
    let traits = Traits { labels: labels(text), handlers: text.lines().flat_map(Name::parse).collect() };
    if let Ok(target) = Target::parse(text) {
        let canonical = target.to_string();
        assert!(canonical.len() <= Target::MAX_LEN);
        assert_eq!(Target::parse(&canonical).as_ref(), Ok(&target), "{canonical}");
        if let Some(selector) = target.selector() {
            matches(selector, &traits);
        }
        if let Some(place) = Place::parse(text) {
            assert_eq!(place.to_string(), canonical);
            assert_eq!(Place::parse(&canonical), Some(place));
        }
    }
    if let Ok(selector) = Selector::parse(text) {
        let canonical = selector.to_string();
        assert_eq!(Selector::parse(&canonical).as_ref(), Ok(&selector), "{canonical}");
        matches(&selector, &traits);
    }
    if let Ok(name) = Name::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['{', '}', '(', ')', '/', ' ', '\0']));
    }
    Name::parse_worker(text).map_or_else(|error| drop(error.to_string()), drop);
});

/// Lines of `key=value`, if all of them are labels.
fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    match label::parse_all(pairs) {
        Ok(labels) => labels,
        Err(error) => {
            assert!(error.to_string().len() < 1024);
            BTreeMap::new()
        }
    }
}

/// Its canonical form chooses the same workers.
fn matches(selector: &Selector, traits: &Traits) {
    let name = Name::parse("web-1").expect("it is a name");
    let again = Selector::parse(&selector.to_string()).expect("the canonical form is read");
    assert_eq!(selector.matches(&name, traits), again.matches(&name, traits));
}
