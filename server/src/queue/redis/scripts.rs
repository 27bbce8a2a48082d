//! The scripts, each with its flags. One whose text is not in Redis, after a restart or `SCRIPT FLUSH`, is loaded by the call that misses it.

use redis::Script;

use crate::planted::{self, Bug};

/// Works when Redis is out of memory: what gives out must, or nothing would ever leave.
const GIVES_OUT: &str = "#!lua flags=allow-oom\n";
/// Is refused when Redis is out of memory.
const TAKES_IN: &str = "#!lua\n";
/// Changes nothing.
const READS: &str = "#!lua flags=no-writes,allow-oom\n";

macro_rules! scripts {
    ($($name:ident: $flags:ident),* $(,)?) => {
        pub(super) struct Scripts {
            $(pub $name: Script,)*
        }

        impl Scripts {
            pub fn new() -> Self {
                Self { $($name: script($flags, include_str!(concat!(stringify!($name), ".lua"))),)* }
            }
        }
    };
}

scripts! {
    enqueue: TAKES_IN,
    restore: TAKES_IN,
    claim: GIVES_OUT,
    accept: GIVES_OUT,
    settle: GIVES_OUT,
    cancel: GIVES_OUT,
    withdraw: GIVES_OUT,
    tick: GIVES_OUT,
    open: GIVES_OUT,
    renew: GIVES_OUT,
    close: GIVES_OUT,
    doubt: GIVES_OUT,
    reap: GIVES_OUT,
    beat: GIVES_OUT,
    follow: GIVES_OUT,
    raise: GIVES_OUT,
    look: READS,
    unaccepted: READS,
    selectors: READS,
    census: READS,
}

fn script(flags: &str, body: &str) -> Script {
    let shared = concat!(include_str!("ledger.lua"), include_str!("overlap.lua"), include_str!("record.lua"));
    let text = format!("{flags}{shared}{body}");
    if planted::is(Bug::PopBeforeRecord) {
        // What a claim does with what it takes.
        return Script::new(&text.replace("enter(run, 'F')", "remove(run)"));
    }
    Script::new(&text)
}
