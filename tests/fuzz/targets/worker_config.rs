//! The worker's configuration, up to a worker that could be started.

#![no_main]

use libfuzzer_sys::fuzz_target;
use marabunta::connect;
use marabunta::worker::config::{File, WorkerArgs, settle};

fuzz_target!(|text: &str| {
    let Ok(file) = toml::from_str::<File>(text) else { return };
    for server in file.servers {
        let config = connect::Config { server, ..connect::Config::default() };
        RUNTIME.with(|runtime| {
            let _inside = runtime.enter();
            connect::Connection::open(&config).map_or_else(|error| drop(error.to_string()), drop);
        });
    }
    let args =
        WorkerArgs { name: file.name, slots: file.slots, prefetch: file.prefetch, ..WorkerArgs::default() };
    drop(settle(args, connect::Config { server: String::new(), ..connect::Config::default() }).map(drop));
});

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
}
