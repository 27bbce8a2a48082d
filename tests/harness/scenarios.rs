use std::sync::atomic::{AtomicU32, Ordering};

use marabunta_tests::scenarios;
use marabunta_tests::support::Backend;

static EMBEDDED: AtomicU32 = AtomicU32::new(0);

scenarios! {
    /// The first of two.
    async fn a_scenario_becomes_a_test_for_each_backend(backend: Backend) {
        if backend == Backend::Embedded {
            EMBEDDED.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn several_scenarios_share_a_block(backend: Backend) {
        assert!(matches!(backend, Backend::Embedded | Backend::MariaDbRedis));
    }
}

#[tokio::test]
async fn the_generated_tests_call_the_scenario() {
    let before = EMBEDDED.load(Ordering::Relaxed);
    a_scenario_becomes_a_test_for_each_backend(Backend::Embedded).await;
    assert!(EMBEDDED.load(Ordering::Relaxed) > before);
}
