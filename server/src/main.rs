//! `marabunta-server`: parse, log, bind, serve until a signal.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use marabunta_server::app::{self, Listeners};
use marabunta_server::config::{Cli, Config};
use marabunta_server::listen;

pub fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("marabunta-server: failed to {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let config = Config::load(Cli::parse()).context("start with these settings")?;
    app::init_tracing(config.log_format);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(config.threads).enable_all().build();
    runtime.context("start the runtime")?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let bind = |address| listen::bind(address).with_context(|| format!("listen on {address}"));
    let listeners = Listeners { grpc: bind(config.grpc)?, http: bind(config.http)? };
    let (first, second) = app::signals().context("listen to signals")?;
    tokio::select! {
        served = app::run(config, listeners, first) => served.context("serve")?,
        // A second signal does not wait.
        () = second => std::process::exit(1),
    }
    Ok(ExitCode::SUCCESS)
}
