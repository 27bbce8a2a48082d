//! From what a claim took to what its worker is sent.

use marabunta_proto::name::Name;
use tracing::error;

use super::Assignment;
use crate::queue::Delivery;
use crate::run::{Lease, Run};

/// An assignment for each delivery whose body can be read; one that cannot is left to its accept time-out, and so ends buried.
pub(super) fn assignments(worker: &Name, deliveries: &[Delivery]) -> Vec<Assignment> {
    deliveries
        .iter()
        .filter_map(|delivery| match Run::decode(delivery.run, &delivery.body) {
            Ok(run) => {
                let (id, fence, attempt) = (delivery.run, delivery.fence, delivery.attempt);
                let lease =
                    Lease { run: id, fence, attempt, durability: run.durability, worker: worker.clone() };
                Some(Assignment { lease, run })
            }
            Err(error) => {
                error!(run = %delivery.run, %error, "run cannot be assigned");
                None
            }
        })
        .collect()
}
