//! Bugs that the fault campaign's checker must find: what it says of the right server is worth as much as what it says of a wrong one.
//!
//! They are built in with the feature `planted`, never for use, and then one of them is there if `MARABUNTA_PLANTED` names it. Without the
//! feature each [`is`] is `false` before the program runs, and nothing of them is left.

/// A bug. Each is a line or two at the place of what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// `lost-hint`: a place that was empty and has work now is not looked at, not even by the sweep behind the hint.
    LostHint,
    /// `pop-before-record`: what a claim takes leaves the queue, and is nowhere until its report comes.
    PopBeforeRecord,
    /// `unfenced-report`: the report of any attempt is taken for that of the latest.
    UnfencedReport,
    /// `double-firing`: each server that plans a firing makes a run of its own.
    DoubleFiring,
    /// `early-acknowledgement`: durable runs, and results, are acknowledged first and written then.
    EarlyAcknowledgement,
}

/// Whether this bug is there.
#[cfg(not(feature = "planted"))]
#[must_use]
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}

/// Whether this bug is there.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(chosen) == Some(bug)
}

/// Does this while whoever asked for it has his answer.
#[expect(clippy::disallowed_methods, reason = "that nobody waits for it is the bug")]
pub fn unheard<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) {
    tokio::spawn(work);
}

#[cfg(feature = "planted")]
fn chosen() -> Option<Bug> {
    let name = std::env::var("MARABUNTA_PLANTED").ok()?;
    let bug = match name.as_str() {
        "lost-hint" => Bug::LostHint,
        "pop-before-record" => Bug::PopBeforeRecord,
        "unfenced-report" => Bug::UnfencedReport,
        "double-firing" => Bug::DoubleFiring,
        "early-acknowledgement" => Bug::EarlyAcknowledgement,
        _ => panic!("MARABUNTA_PLANTED names no bug: `{name}`"),
    };
    tracing::error!(?bug, "this server has a bug, to be found");
    Some(bug)
}
