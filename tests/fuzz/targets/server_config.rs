//! The server's configuration: refused or resolved, and no error shows a secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use marabunta_server::config::{Backend, Config, Settings};
use marabunta_server::store::StoreUrl;

const SECRET: &str = "hunter2hunter2";

fuzz_target!(|text: &str| {
    if let Ok(settings) = toml::from_str::<Settings>(text) {
        // Files that it names are not for this to read.
        let settings =
            Settings { token_file: None, worker_token_file: None, tls_key: None, tls_cert: None, ..settings };
        let hidden = settings.mysql.as_ref().is_some_and(|url| url.0.contains(SECRET));
        match Config::resolve(settings) {
            Ok(config) => {
                if let Backend::Shared { mysql, .. } = &config.backend {
                    StoreUrl::mysql(&mysql.0).map_or_else(|error| silent(&error.to_string()), drop);
                }
                if hidden {
                    silent(&format!("{config:?}"));
                }
            }
            Err(error) if hidden => silent(&error.to_string()),
            Err(error) => drop(error.to_string()),
        }
    }
    match StoreUrl::mysql(text) {
        // What stands behind the last `@` is no password.
        Ok(url) if text.rsplit_once('@').is_none_or(|(_, rest)| !rest.contains(SECRET)) => {
            silent(&format!("{url:?}"))
        }
        Ok(_) => {}
        Err(error) => silent(&error.to_string()),
    }
});

fn silent(text: &str) {
    assert!(!text.contains(SECRET), "it is said: {text}");
}
