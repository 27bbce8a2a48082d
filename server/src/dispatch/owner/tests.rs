use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::queue::embedded::Embedded;
use crate::queue::{Entry, Limits, Phase, Restored};
use crate::run::{Counters, Durability, Priority, RunId};
use deaf::Deaf;

mod deaf;

/// An owner at work on an embedded queue.
struct Bench {
    dispatch: Dispatch,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    owner: JoinHandle<()>,
    _started: mpsc::Receiver<Vec<Started>>,
    findings: mpsc::Receiver<Vec<Finding>>,
}

impl Bench {
    fn new(session_age: Duration) -> Self {
        Self::on(Arc::new(Embedded::new(Limits::default())), session_age)
    }

    fn on(queue: Arc<dyn Queue>, session_age: Duration) -> Self {
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let ((started, _started), (findings_in, findings)) = (mpsc::channel(8), mpsc::channel(8));
        let options = Options { server: "server-1".into(), session_age };
        let (owner, dispatch) =
            Owner::new(queue, options, metrics.clone(), &TaskTracker::new(), started, findings_in);
        #[expect(clippy::disallowed_methods, reason = "the bench waits for it")]
        let owner = tokio::spawn(owner.run(stop.clone(), Duration::ZERO));
        Self { dispatch, metrics, stop, owner, _started, findings }
    }

    async fn connect<S>(&self, worker: &str, said: S) -> ReceiverStream<ToWorker>
    where
        S: futures_util::Stream<Item = Result<FromWorker, String>> + Send + 'static,
    {
        self.connect_holding(worker, Vec::new(), said).await
    }

    async fn connect_holding<S>(&self, worker: &str, holding: Vec<Lease>, said: S) -> ReceiverStream<ToWorker>
    where
        S: futures_util::Stream<Item = Result<FromWorker, String>> + Send + 'static,
    {
        let hello = Hello {
            worker: worker.parse().unwrap(),
            instance: "1".into(),
            boot_id: "1".into(),
            traits: Default::default(),
            slots: 1,
            version: "1".into(),
            holding,
            credit: 1,
        };
        let mut messages = self.dispatch.connect(hello, false, said).await.unwrap();
        assert!(matches!(messages.next().await, Some(ToWorker::Welcome { .. })));
        messages
    }

    fn counted(&self, line: &str) {
        let shown = self.metrics.text().unwrap();
        assert!(shown.contains(&format!("{line}\n")), "{line}: {shown}");
    }
}

#[tokio::test]
async fn a_stream_whose_reading_panics_ends_its_session_and_no_other() {
    let bench = Bench::new(Duration::from_secs(3600));
    let (mouth, said) = mpsc::channel(1);
    let mut other = bench.connect("web-1", ReceiverStream::new(said)).await;
    let fragile = stream::once(async { panic!("a message that nobody expected") });
    let ended = bench.connect("web-2", fragile).await;
    assert_eq!(ended.collect::<Vec<_>>().await, [], "its stream ends");
    mouth.send(Ok(FromWorker::Heartbeat(7))).await.unwrap();
    assert_eq!(other.next().await, Some(ToWorker::HeartbeatAck(7)));
    bench.counted("marabunta_panics_total{where=\"session\"} 1");
    bench.counted("marabunta_sessions_ended_total{cause=\"server_fault\"} 1");
}

#[tokio::test]
async fn an_owner_that_panics_begins_anew_and_its_worker_can_come_back() {
    // An age that no clock can count to.
    let bench = Bench::new(Duration::MAX);
    for round in 1..=2 {
        let stream = bench.connect("web-1", stream::pending()).await;
        assert_eq!(stream.collect::<Vec<_>>().await, [], "its stream ends, so that it comes back");
        bench.counted(&format!("marabunta_panics_total{{where=\"sessions_owner\"}} {round}"));
        bench.counted("marabunta_sessions_connected 0");
    }
    bench.stop.cancel();
    bench.owner.await.expect("it stops when it is told to");
}

#[tokio::test]
async fn what_was_claimed_and_never_heard_of_goes_back() {
    let queue = Arc::new(Deaf { queue: Embedded::new(Limits::default()), next: true.into() });
    let mut bench = Bench::on(queue.clone(), Duration::from_secs(3600));
    let (_mouth, said) = mpsc::channel(1);
    let mut messages = bench.connect("web-1", ReceiverStream::new(said)).await;
    let entry = entry("web-1");
    let run = entry.run;
    queue.enqueue(vec![entry]).await.unwrap();
    let found = tokio::select! {
        found = bench.findings.recv() => found.unwrap(),
        message = messages.next() => panic!("{message:?}"),
    };
    let [Finding::Unsent { run: back, fence, .. }] = &found[..] else { panic!("{found:?}") };
    let record = queue.look(vec![run]).await.unwrap().remove(0).unwrap();
    assert_eq!((*back, Some(*fence)), (run, record.fence));
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_did_not_know_stays_with_its_worker_once_the_queue_has_it_back() {
    let queue = Arc::new(Embedded::new(Limits::default()));
    let mut bench = Bench::on(queue.clone(), Duration::from_secs(3600));
    let (_mouth, said) = mpsc::channel(1);
    let (entry, fence, worker) = (entry("web-1"), Fence(7), "web-1".parse::<Name>().unwrap());
    let (run, durability) = (entry.run, Durability::Durable);
    let lease = Lease { run, fence, attempt: 1, durability, worker: worker.clone() };
    let _messages = bench.connect_holding("web-1", vec![lease], ReceiverStream::new(said)).await;
    let found = bench.findings.recv().await.unwrap();
    assert_eq!(found, [Finding::Unknown { worker: worker.clone(), run, fence }]);
    let back = Restored {
        entry,
        counters: Counters::default(),
        attempt: 1,
        fence: Some(fence),
        held: Some(worker),
        unsure: false,
        missed: false,
    };
    assert_eq!(queue.restore(vec![back]).await.unwrap(), 1);
    loop {
        tokio::select! {
            found = bench.findings.recv() => panic!("{found:?}"),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let record = queue.look(vec![run]).await.unwrap().remove(0).unwrap();
        if matches!(record.phase, Phase::InFlight { session, accepted: true, .. } if session != SessionId::NONE)
        {
            return assert_eq!(record.fence, Some(fence));
        }
    }
}

/// A run that waits for this worker, or is with it.
fn entry(worker: &str) -> Entry {
    Entry {
        run: RunId::new(crate::clock::wall(), 0),
        place: Place::Worker(worker.parse().unwrap()),
        priority: Priority::Normal,
        delay: Duration::ZERO,
        expires: None,
        overlap: None,
        key: None,
        body: "unread".into(),
    }
}
