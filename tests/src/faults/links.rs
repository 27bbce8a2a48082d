//! Proxies on the links of an installation.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::proxy::{Protocol, Proxy};
use crate::support::{Detour, Link};

/// The links that have a proxy. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Links(Arc<Mutex<Vec<(Link, Arc<Proxy>)>>>);

impl Links {
    /// Puts a proxy on each link that is wanted.
    pub fn detour(&self, mut wanted: impl FnMut(&Link) -> bool + Send + 'static) -> Detour {
        let links = self.clone();
        Box::new(move |link, address| if wanted(link) { links.add(link, address) } else { address })
    }

    /// From the server at this place to Redis.
    pub fn to_queue(&self, at: usize) -> Arc<Proxy> {
        self.on(|link| *link == Link::ToQueue(at)).pop().expect("there is a proxy on this link")
    }

    /// From the server at this place to the database.
    pub fn to_store(&self, at: usize) -> Arc<Proxy> {
        self.on(|link| *link == Link::ToStore(at)).pop().expect("there is a proxy on this link")
    }

    /// From this worker to each server.
    pub fn of_worker(&self, name: &str) -> Vec<Arc<Proxy>> {
        self.on(|link| matches!(link, Link::ToServer(worker, _) if worker == name))
    }

    /// On those links for which this is so.
    pub fn on(&self, is_so: impl Fn(&Link) -> bool) -> Vec<Arc<Proxy>> {
        self.links().iter().filter(|(link, _)| is_so(link)).map(|(_, proxy)| proxy.clone()).collect()
    }

    fn add(&self, link: &Link, upstream: SocketAddr) -> SocketAddr {
        let protocol = match link {
            Link::ToQueue(_) => Protocol::Redis,
            Link::ToStore(_) => Protocol::Turns,
            Link::ToServer(..) | Link::FromClients(_) => Protocol::Http2,
        };
        let proxy = Proxy::start(upstream, protocol);
        let address = proxy.address();
        self.links().push((link.clone(), proxy.into()));
        address
    }

    fn links(&self) -> MutexGuard<'_, Vec<(Link, Arc<Proxy>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
