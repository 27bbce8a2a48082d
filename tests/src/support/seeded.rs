//! Properties of whatever a seed brings forth.

use std::env;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use uuid::Uuid;

/// Tries whether this holds of so many values. One for which it panics is made as small as it can be, and shown with its seed.
///
/// `MARABUNTA_TEST_SEED` tries that seed alone, `MARABUNTA_TEST_CASES` as many values as it says.
pub fn check<S: Strategy<Value: Debug>>(cases: u32, values: &S, holds: impl Fn(S::Value)) {
    let seed: Option<u64> = number("MARABUNTA_TEST_SEED");
    let cases = if seed.is_some() { 1 } else { number("MARABUNTA_TEST_CASES").unwrap_or(cases) };
    for _ in 0..cases {
        let seed = seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        check_one(seed, values, &holds);
    }
}

fn check_one<S: Strategy<Value: Debug>>(seed: u64, values: &S, holds: &impl Fn(S::Value)) {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 2000,
        max_shrink_time: 120_000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let failed = TestRunner::new(config).run(values, |value| {
        catch_unwind(AssertUnwindSafe(|| holds(value))).map_err(|panic| TestCaseError::fail(words(&*panic)))
    });
    match failed {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => {
            panic!("MARABUNTA_TEST_SEED={seed} repeats this\n{value:#?}\n{reason}")
        }
        Err(TestError::Abort(reason)) => panic!("nothing was tried: {reason}"),
    }
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}; it must be a number")))
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
