//! How much of a time there was nobody who could do all of the work: Redis, the database, or all servers were struck.

use super::history::{Fault, Touched};
use super::moment::Moment;

/// The share of the time from `from` to `to`, 0 to 1.
pub fn share(faults: &[Fault], servers: usize, from: Moment, to: Moment) -> f64 {
    let within = |fault: &Fault| (fault.applied.clamp(from, to), fault.healed.clamp(from, to));
    let services =
        faults.iter().filter(|fault| fault.touches(&Touched::Queue) || fault.touches(&Touched::Store));
    let mut spans: Vec<(Moment, Moment)> = services.map(within).collect();
    let all = (0..servers).map(|at| {
        let of = faults.iter().filter(|fault| fault.touches(&Touched::Server(at)));
        of.map(within).collect::<Vec<_>>()
    });
    spans.extend(all.reduce(|one, other| common(&one, &other)).unwrap_or_default());
    spans.sort_unstable();
    let (mut struck, mut end) = (0, from);
    for (begins, ends) in spans {
        struck += ends.since(begins.max(end)).as_micros();
        end = end.max(ends);
    }
    struck as f64 / to.since(from).as_micros() as f64
}

/// When there is one of these and one of those.
fn common(ones: &[(Moment, Moment)], others: &[(Moment, Moment)]) -> Vec<(Moment, Moment)> {
    let pairs = ones.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
    let both = pairs.map(|(one, other)| (one.0.max(other.0), one.1.min(other.1)));
    both.filter(|(begins, ends)| begins < ends).collect()
}

#[cfg(test)]
mod tests {
    use super::super::history::How;
    use super::*;

    fn fault(part: Touched, from: u64, to: u64) -> Fault {
        let (applied, healed) = (Moment(from), Moment(to));
        Fault { what: String::new(), touched: vec![part], forgets: false, how: How::Gone, applied, healed }
    }

    #[test]
    fn what_everybody_needs_is_counted_once_and_what_one_server_needs_is_not() {
        use Touched::{Queue, Server, Store, WayToQueue, Worker};
        let table = [
            (vec![], 0.0),
            (vec![fault(Queue, 110, 120)], 0.1),
            (vec![fault(Queue, 110, 120), fault(Store, 115, 130)], 0.2),
            (vec![fault(Queue, 0, 110), fault(Store, 190, u64::MAX)], 0.2),
            (vec![fault(Queue, 0, 50)], 0.0),
            (vec![fault(Server(0), 110, 120), fault(Worker("w-1".to_owned()), 110, 120)], 0.0),
            (vec![fault(WayToQueue(0), 110, 120)], 0.0),
            (vec![fault(Server(0), 110, 120), fault(Server(1), 115, 130)], 0.05),
        ];
        for (faults, expected) in table {
            let found = share(&faults, 2, Moment(100), Moment(200));
            assert!((found - expected).abs() < 1e-9, "{found} of {faults:?}");
        }
    }
}
