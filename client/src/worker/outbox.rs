//! What one session still has to tell its server: acceptances and credit. Both are collected until the stream takes them, so a slow
//! server costs no memory and everything goes in batches.

use marabunta_proto::v1::{Accepted, Credit, WorkerMessage, worker_message::Message};

use super::attempts::Lease;

/// The book-keeping of one session, counted from its Hello.
#[derive(Debug)]
pub struct Outbox {
    /// Assignments that the server may have sent.
    granted: u64,
    /// What the server knows of `granted`.
    told: u64,
    /// Assignments that it has sent.
    received: u64,
    accepted: Vec<Lease>,
    settled: Vec<Lease>,
}

impl Outbox {
    /// Starts with the credit that Hello carries.
    pub fn new(credit: u64) -> Self {
        Self { granted: credit, told: credit, received: 0, accepted: Vec::new(), settled: Vec::new() }
    }

    /// Counts an assignment. False if the server sent more than it may: then it is not taken, and goes back to the queue.
    pub fn receive(&mut self) -> bool {
        let covered = self.received < self.granted;
        self.received += u64::from(covered);
        covered
    }

    /// Tells of an attempt taken in charge.
    pub fn accept(&mut self, lease: Lease) {
        self.accepted.push(lease);
    }

    /// Tells of an end that has its verdict.
    pub fn settle(&mut self, lease: Lease) {
        self.settled.push(lease);
    }

    /// There is room for this many more assignments. What was granted is never taken back.
    pub fn grant(&mut self, free: u64) {
        self.granted = self.granted.max(self.received + free);
    }

    /// True if there is something to send.
    pub fn is_ready(&self) -> bool {
        !self.accepted.is_empty() || !self.settled.is_empty() || self.granted > self.told
    }

    /// The next message to send. Acceptances go first: a server waits for them, and no longer than 5 s.
    pub fn next(&mut self) -> Option<WorkerMessage> {
        if !self.is_ready() {
            return None;
        }
        let message = if self.accepted.is_empty() {
            self.told = self.granted;
            Message::Credit(Credit { total: self.granted, ended: wire(&mut self.settled) })
        } else {
            Message::Accepted(Accepted { leases: wire(&mut self.accepted) })
        };
        Some(WorkerMessage { message: Some(message) })
    }
}

fn wire(leases: &mut Vec<Lease>) -> Vec<bytes::Bytes> {
    std::mem::take(leases).into_iter().map(|lease| lease.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit(outbox: &mut Outbox) -> Option<u64> {
        match outbox.next()?.message {
            Some(Message::Credit(credit)) => Some(credit.total),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn credit_counts_up_by_what_ended() {
        let mut outbox = Outbox::new(2);
        outbox.grant(2);
        assert_eq!(credit(&mut outbox), None, "Hello said it");
        assert!(outbox.receive() && outbox.receive());
        assert!(!outbox.receive(), "the third was not paid for");
        outbox.grant(0);
        assert_eq!(credit(&mut outbox), None);
        outbox.grant(1);
        assert_eq!(credit(&mut outbox), Some(3));
        outbox.grant(0);
        assert_eq!(credit(&mut outbox), None, "it never falls");
        assert!(outbox.receive());
        outbox.grant(2);
        assert_eq!(credit(&mut outbox), Some(5));
    }

    #[test]
    fn acceptances_go_first_and_together() {
        let mut outbox = Outbox::new(2);
        let leases = ["a", "b"].map(|name| Lease(name.into()));
        outbox.settle(leases[0].clone());
        leases.clone().into_iter().for_each(|lease| outbox.accept(lease));
        let Some(Message::Accepted(accepted)) = outbox.next().unwrap().message else { panic!() };
        assert_eq!(accepted.leases, ["a", "b"]);
        let Some(Message::Credit(credit)) = outbox.next().unwrap().message else { panic!() };
        assert_eq!((credit.total, credit.ended), (2, vec!["a".into()]));
        assert!(!outbox.is_ready());
    }
}
