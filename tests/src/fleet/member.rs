//! One worker of the fleet: a worker of the SDK without a directory, whose handler works by waiting.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marabunta::connect;
use marabunta::worker::{Context, Failure, RunError, Shutdown, StartError, Worker, function, health::Pulse};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::testimony::{Life, Testimony};
use super::valve::{Traffic, Valve};

/// The handler that each member has. Its payload is a number: milliseconds of work.
pub const HANDLER: &str = "work";

/// What all members share.
#[derive(Debug)]
pub struct Common {
    /// URLs; each member begins with another.
    pub servers: Vec<String>,
    pub tls_ca: Option<PathBuf>,
    /// How many attempts a member runs at once.
    pub slots: u32,
    pub testimony: Arc<Testimony>,
    pub traffic: Arc<Traffic>,
}

/// A member. Dropping it is a sudden death: connections, attempts and what was not reported go with it.
#[derive(Debug)]
pub struct Member {
    pub valve: Valve,
    number: usize,
    life: Life,
    pulse: watch::Receiver<Option<Pulse>>,
    shutdown: watch::Sender<Shutdown>,
    running: Running,
}

#[derive(Debug)]
struct Running(JoinHandle<Result<(), RunError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `ant-00042`.
pub fn name(number: usize) -> String {
    format!("ant-{number:05}")
}

impl Member {
    /// Starts one under the name of this number. What it executes it does as `life`.
    pub fn start(number: usize, life: Life, common: &Common) -> Result<Self, StartError> {
        let (valve, testimony) = (Valve::default(), common.testimony.clone());
        let work =
            move |context: Context, milliseconds: u64| work(context, milliseconds, life, testimony.clone());
        let mut builder = Worker::forgetful(name(number))
            .label("fleet", "ants")
            .label("shard", (number % 10).to_string())
            .slots(common.slots)
            .handler(HANDLER, function(work));
        let dialer = valve.dialer(source(number), common.traffic.clone());
        for turn in 0..common.servers.len() {
            let server = common.servers[(number + turn) % common.servers.len()].clone();
            let (tls_ca, dialer) = (common.tls_ca.clone(), Some(dialer.clone()));
            builder = builder.server(connect::Config { server, tls_ca, dialer, ..Default::default() });
        }
        let worker = builder.build()?;
        let (pulse, (shutdown, asked)) = (worker.pulse(), watch::channel(Shutdown::No));
        #[expect(clippy::disallowed_methods, reason = "what is given back owns it")]
        let running = Running(tokio::spawn(Box::pin(worker.run(asked))));
        Ok(Self { valve, number, life, pulse, shutdown, running })
    }

    pub fn name(&self) -> String {
        name(self.number)
    }

    pub fn life(&self) -> Life {
        self.life
    }

    /// It has a session, as far as it knows.
    pub fn is_connected(&self) -> bool {
        self.pulse.borrow().is_some()
    }

    /// It has ended by itself: another has its name.
    pub fn has_ended(&self) -> bool {
        self.running.0.is_finished()
    }

    /// Lets it end what it has, waits for that, and says which life it was.
    pub async fn drain(mut self) -> Life {
        self.shutdown.send_replace(Shutdown::Drain);
        // Aborted it is never, and that it was superseded has been seen.
        (&mut self.running.0).await.ok();
        self.life
    }
}

/// A thousand members share an address.
fn source(number: usize) -> Ipv4Addr {
    let block = u8::try_from(number / 1000 % 200).expect("below 200");
    Ipv4Addr::new(127, 88, block, 1)
}

async fn work(
    context: Context,
    milliseconds: u64,
    life: Life,
    testimony: Arc<Testimony>,
) -> Result<Option<Value>, Failure> {
    let execution = testimony.began(&context.run, context.attempt, life);
    tokio::select! {
        () = sleep(Duration::from_millis(milliseconds)) => {}
        () = context.cancelled() => {
            testimony.stopped(&context.run, execution);
            return Err(Failure::failed("stopped"));
        }
    }
    testimony.ended(&context.run, execution);
    Ok(None)
}
