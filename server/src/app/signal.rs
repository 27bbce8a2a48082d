//! SIGTERM and SIGINT.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The first signal, which asks for an ordered stop, and the second, which does not wait for it.
pub fn signals() -> std::io::Result<(impl Future<Output = ()> + Send, impl Future<Output = ()> + Send)> {
    let (mut first, mut second) = (both()?, both()?);
    let first = async move { one(&mut first).await };
    let second = async move {
        one(&mut second).await;
        one(&mut second).await;
    };
    Ok((first, second))
}

fn both() -> std::io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

async fn one((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
