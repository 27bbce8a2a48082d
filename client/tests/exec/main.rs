//! Real processes under `marabunta::exec`. Where it matters each test runs under every containment that this host
//! allows: without a writable cgroup v2 that is the walk over /proc alone.

mod adoption;
mod attempt;
mod output;
mod start;
mod tree;
