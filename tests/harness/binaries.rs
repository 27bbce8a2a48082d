use marabunta_tests::support::cli::Cli;
use marabunta_tests::support::program;

#[tokio::test]
async fn the_binaries_of_the_workspace_are_built_and_run() {
    for name in ["marabunta", "marabunta-server"] {
        assert!(program::built(name).ends_with(name));
    }
    Cli::new(["--version"]).run().await.success();
}
