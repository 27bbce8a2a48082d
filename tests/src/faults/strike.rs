//! The carrying out of a [plan](super::nemesis): each strike is noted, done, and undone when its time is over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use sqlx::Connection as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::arena::Arena;
use super::history::{Applied, Touched};
use super::links::Links;
use super::nemesis::{Blow, Part, Strike};
use super::network::{Fault, Namespace};
use super::process;
use super::proxy::{Cut, Proxy};
use super::records;
use crate::support::Link;

/// One way. There and back it is less than anybody waits for, and more than anybody is used to.
const LATENCY: Duration = Duration::from_millis(150);
/// Of all packets, each way.
const LOSS: f64 = 0.3;
/// How long a service may take to do what a strike wants of it.
const PATIENCE: Duration = Duration::from_secs(2);
const LOCK: &str = "LOCK TABLES open_runs WRITE, runs WRITE";

/// What strikes are done to and with.
pub struct Ground<'a> {
    pub arena: &'a Arena,
    pub links: &'a Links,
    pub cables: &'a [Namespace],
}

impl Ground<'_> {
    /// Carries out a plan, and heals all of it. `tell` hears of each strike when it begins.
    pub async fn strike(&self, plan: &[Strike], tell: impl Fn(&Strike)) {
        let began = Instant::now();
        let strikes = plan.iter().map(async |strike| {
            sleep_until(began + strike.at).await;
            tell(strike);
            let fault = self.note(strike);
            self.carry_out(strike).await;
            self.arena.history.heal(fault);
        });
        join_all(strikes).await;
    }

    fn note(&self, strike: &Strike) -> Applied {
        let (history, what, touched) = (&self.arena.history, strike.blow.words(), [strike.part.touched()]);
        match strike.blow {
            Blow::Kill => history.end(what, touched),
            Blow::Terminate => history.dismiss(what, touched),
            Blow::Flush | Blow::LoseFile => history.forget(what),
            Blow::Cut | Blow::Refuse => history.sever(what, touched),
            Blow::Pause | Blow::Lock | Blow::Stall | Blow::Slow | Blow::Unplug | Blow::Lose => {
                history.apply(what, touched)
            }
        }
    }

    async fn carry_out(&self, strike: &Strike) {
        match &strike.part {
            Part::Plain(Touched::WayToQueue(at)) => {
                on_links(&self.links.on(|link| *link == Link::ToQueue(*at)), strike).await;
            }
            Part::Plain(Touched::WayToStore(at)) => {
                on_links(&self.links.on(|link| *link == Link::ToStore(*at)), strike).await;
            }
            Part::Way(worker) => on_links(&self.links.of_worker(worker), strike).await,
            Part::Cable(at, _) => on_cable(&self.cables[*at], strike).await,
            Part::Plain(touched) => self.on_process(touched, strike).await,
        }
    }

    async fn on_process(&self, part: &Touched, strike: &Strike) {
        let arena = self.arena;
        match strike.blow {
            Blow::Flush => return tell_of(Blow::Flush, flush(arena).await),
            Blow::Lock => return tell_of(Blow::Lock, lock(arena, strike.lasts).await),
            Blow::Pause => process::pause(arena, part),
            Blow::Terminate => process::terminate(arena, part).await,
            _ => process::kill(arena, part),
        }
        if strike.blow == Blow::LoseFile {
            arena.cluster.redis().forget();
        }
        sleep(strike.lasts).await;
        if strike.blow == Blow::Pause {
            process::resume(arena, part);
        } else {
            process::start(arena, part).await;
        }
    }
}

async fn on_links(proxies: &[Arc<Proxy>], strike: &Strike) {
    for proxy in proxies {
        match strike.blow {
            Blow::Slow => proxy.latency(LATENCY),
            Blow::Stall => proxy.black_hole(),
            Blow::Refuse => {
                proxy.refuse();
                proxy.cut(Cut::Rst);
            }
            _ => proxy.cut(Cut::Rst),
        }
    }
    sleep(strike.lasts).await;
    proxies.iter().for_each(|proxy| proxy.heal());
}

async fn on_cable(cable: &Namespace, strike: &Strike) {
    match strike.blow {
        Blow::Lose => cable.suffer(Fault::Loss(LOSS)),
        _ => cable.unplug(),
    }
    sleep(strike.lasts).await;
    cable.heal();
}

async fn flush(arena: &Arena) -> anyhow::Result<()> {
    let client = redis::Client::open(arena.cluster.redis().url())?;
    let mut redis = timeout(PATIENCE, client.get_multiplexed_async_connection()).await??;
    Ok(redis::cmd("FLUSHALL").exec_async(&mut redis).await?)
}

async fn lock(arena: &Arena, span: Duration) -> anyhow::Result<()> {
    let store = arena.cluster.store();
    let mut connection = timeout(PATIENCE, records::connect(&store)).await.context("no connection")??;
    // Before it is granted, it holds up who comes after it already.
    timeout(span.max(PATIENCE), sqlx::query(LOCK).execute(&mut connection)).await.context("no lock")??;
    sleep(span).await;
    Ok(connection.close().await?)
}

/// What was to be broken may be broken already; the fault is noted all the same.
fn tell_of(blow: Blow, outcome: anyhow::Result<()>) {
    if let Err(error) = outcome {
        eprintln!("{}: {error:#}", blow.words());
    }
}
