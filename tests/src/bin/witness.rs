//! A worker whose tasks write down what they do: the ground truth of the fault campaign.

use std::process::ExitCode;

use clap::Parser as _;
use marabunta_tests::faults::witness::Cli;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
