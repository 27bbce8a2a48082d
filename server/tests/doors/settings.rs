//! Flags and files. Variables are clap's; no test sets one, since all of a process share them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser as _;
use marabunta_server::config::{Backend, Cli, Config};
use tempfile::TempDir;

use crate::server::settings;

fn file(directory: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn with_file(text: &str, mode: u32, flags: &[&str]) -> Result<Config, String> {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "server.toml", text, mode);
    let arguments = [&["--config", path.to_str().unwrap()], flags].concat();
    Config::load(settings(&arguments)).map_err(|error| error.to_string())
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let text = "poll-interval = \"30s\"\nqueue-cap = 5\nhttp = \"127.0.0.1:9000\"\n";
    let config = with_file(text, 0o600, &["--queue-cap", "7"]).unwrap();
    assert_eq!(config.limits.waiting, 7);
    assert_eq!(config.poll_interval, Duration::from_secs(30));
    assert_eq!(config.http.to_string(), "127.0.0.1:9000");
    assert_eq!(config.grpc.to_string(), "127.0.0.1:50051");
    assert_eq!(config.backend, Backend::Embedded("marabunta-data".into()));
    assert_eq!(config.retention.age, Some(Duration::from_secs(30 * 86_400)));
}

#[test]
fn a_file_is_refused_by_key_and_line_and_without_a_secret() {
    for (text, mode, said) in [
        (
            "mysql = \"mysql://u:hunter2@h/d\"\npol-interval = \"1s\"\n",
            0o600,
            "line 2: unknown field `pol-interval`",
        ),
        ("mysql = \"mysql://u:hunter2@h/d\" x\n", 0o600, "line 1: "),
        ("poll-interval = \"5\"\n", 0o600, "line 1: duration 5 has no unit"),
        ("poll-interval = 5\n", 0o600, "line 1: invalid type: integer `5`"),
        ("grpc = \"127.0.0.1:70000\"\n", 0o600, "line 1: invalid socket address"),
        ("queue-cap = 5\n", 0o620, "others can write it (mode 620): chmod go-w"),
        ("queue-cap = 5\n", 0o602, "others can write it (mode 602): chmod go-w"),
    ] {
        let error = with_file(text, mode, &[]).expect_err(said);
        assert!(error.contains(said), "{error:?} should say {said:?}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let missing = Config::load(settings(&["--config", "/nonexistent/server.toml"])).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "read the file /nonexistent/server.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn what_cannot_work_or_is_open_to_anybody_is_refused() {
    let off = ["--grpc", "0.0.0.0:50051"];
    let directory = TempDir::new().unwrap();
    let key = file(&directory, "key", "", 0o600);
    let key = key.to_str().unwrap();
    let secure = ["--tls-cert", "c", "--tls-key", key];
    for (flags, said) in [
        (vec!["--mysql", "mysql://h/d"], "mysql goes with redis"),
        (vec!["--redis", "redis://h"], "redis goes with mysql"),
        (vec!["--mysql", "m", "--redis", "r", "--data", "d"], "data is the directory of an embedded server"),
        (vec!["--redis-prefix", "p"], "redis-prefix goes with redis"),
        (vec!["--tls-cert", "c"], "tls-cert goes with tls-key"),
        (vec!["--tls-key", key], "tls-key goes with tls-cert"),
        (vec!["--client-ca", "c"], "client-ca goes with tls-cert"),
        (
            vec!["--token-file", key],
            "token-file without worker-token-file or client-ca would let in any worker",
        ),
        (
            vec!["--worker-token-file", key],
            "worker-token-file without token-file or client-ca would let in any caller",
        ),
        (vec!["--poll-interval", "500ms"], "poll-interval is 500ms: 1s to 1h are allowed"),
        (vec!["--session-age", "1s"], "session-age is 1s: 15s to"),
        (vec!["--queue-cap", "0"], "queue-cap is 0: 1 to 10000000"),
        (vec!["--threads", "0"], "threads is 0: 1 to 256"),
        (
            vec!["--http", "127.0.0.1:50051"],
            "http is 127.0.0.1:50051: grpc and http need addresses of their own",
        ),
        (off.to_vec(), "grpc is 0.0.0.0:50051, which other hosts can reach, and would be in plaintext"),
        (
            vec!["--http", "[::]:8080"],
            "http is [::]:8080, which other hosts can reach, and would be in plaintext",
        ),
        (
            [&off[..], &secure].concat(),
            "grpc is 0.0.0.0:50051, which other hosts can reach, and would let in anybody",
        ),
    ] {
        let error = Config::load(settings(&flags)).expect_err(said).to_string();
        assert!(error.starts_with(said), "{error:?} should begin with {said:?}");
    }
    for flags in [
        [&off[..], &["--insecure"]].concat(),
        [&off[..], &secure, &["--client-ca", "ca"]].concat(),
        [&off[..], &secure, &["--token-file", key, "--worker-token-file", key]].concat(),
        vec!["--grpc", "[::1]:50051", "--http", "127.0.0.2:80"],
    ] {
        Config::load(settings(&flags)).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
    }
}

#[test]
fn wrong_flags_are_refused_and_secrets_stay_hidden() {
    for (flags, said) in [
        (["--poll-interval", "5"], "duration 5 has no unit"),
        (["--grpc", "127.0.0.1:70000"], "invalid socket address"),
        (["--queue-cap", "-1"], "unexpected argument"),
        (["--pol", "1"], "unexpected argument '--pol'"),
        (["--log-format", "xml"], "[possible values: text, json]"),
    ] {
        let error = Cli::try_parse_from(["marabunta-server", flags[0], flags[1]]).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let flags = settings(&["--mysql", "mysql://u:hunter2@h/d", "--redis", "redis://:hunter2@h"]);
    let config = Config::load(flags.clone()).unwrap();
    assert!(!format!("{flags:?} {config:?}").contains("hunter2"));
}
