//! Workers as people see them.

use marabunta_proto::v1;

use super::time::timestamp;
use crate::workers::WorkerView;

pub fn worker(view: WorkerView) -> v1::Worker {
    let WorkerView { row, session, holding } = view;
    let registration = row.registration;
    v1::Worker {
        name: registration.name.to_string(),
        labels: registration.traits.labels.into_iter().collect(),
        slots: registration.slots,
        handlers: registration.traits.handlers.iter().map(ToString::to_string).collect(),
        version: registration.version,
        online: session.is_some(),
        draining: row.draining,
        server: session.map_or_else(String::new, |session| session.server),
        registered: Some(timestamp(row.registered)),
        connected: Some(timestamp(row.connected)),
        running: u32::try_from(holding).unwrap_or(u32::MAX),
    }
}
