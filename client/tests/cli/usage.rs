//! Arguments that make no sense: exit code 2, and a word on which one and why; nothing reaches a server.

use crate::marabunta::alone;

#[test]
fn bad_arguments_are_named() {
    let run = |rest: &[&'static str]| [&["run", "--target", "web-1"], rest].concat();
    let create = |rest: &[&'static str]| [&["task", "create", "nightly"], rest].concat();
    let table = [
        (vec![], "Usage:"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["run", "--", "true"], "--target"),
        (run(&[]), "nothing to run"),
        (run(&["true"]), "unexpected argument 'true'"),
        (run(&["--handler", "h", "--", "true"]), "cannot be used with"),
        (run(&["--payload", "{}", "--", "true"]), "cannot be used with"),
        (run(&["--handler", "h", "--payload", "{\"a\":1,}"]), "--payload is not JSON: key must be a string"),
        (run(&["--handler", "h", "--payload", "{} x"]), "--payload is not JSON: trailing characters"),
        (run(&["--handler", "h", "--payload", ""]), "--payload is not JSON: EOF"),
        (run(&["--handler", "h", "--env", "A=b"]), "cannot be used with"),
        (run(&["--env", "A", "--", "true"]), "NAME=VALUE"),
        (run(&["--env", "=b", "--", "true"]), "NAME=VALUE"),
        (run(&["--timeout", "10", "--", "true"]), "no unit"),
        (run(&["--timeout", "-5m", "--", "true"]), "unexpected argument '-5'"),
        (run(&["--timeout=-5m", "--", "true"]), "without sign"),
        (run(&["--retries", "-1", "--", "true"]), "-1"),
        (run(&["--retries", "1001", "--", "true"]), "1001 is not in 0..=1000"),
        (run(&["--max-lost", "4294967296", "--", "true"]), "4294967296"),
        (run(&["--priority", "top", "--", "true"]), "[possible values: low, normal, high, urgent]"),
        (run(&["--token", "secret", "--", "true"]), "unexpected argument '--token'"),
        (run(&["-o", "yaml", "--", "true"]), "[possible values: text, json]"),
        (create(&["--", "true"]), "--target is missing"),
        (create(&["--target", "web-1"]), "nothing to run"),
        (create(&["--target", "web-1", "--catch-up", "some", "--", "true"]), "none, latest, all, or all:N"),
        (create(&["--target", "web-1", "--overlap", "maybe", "--", "true"]), "allow, skip, queue, replace"),
        (vec!["task", "edit", "nightly"], "nothing to change"),
        (vec!["runs", "list", "--state", "ended"], "possible values: todo, queued"),
        (vec!["runs", "list", "--since", "yesterday"], "--since"),
        (vec!["runs", "list", "--since", "2026-03-01T12:00:00"], "--since"),
        (vec!["runs", "list", "--limit", "0"], "--limit"),
        (vec!["runs", "list", "--limit", "5", "--all"], "cannot be used with"),
        (vec!["runs", "logs", "-f", "run-1", "-o", "json"], "use one of them"),
        (vec!["runs", "cancel"], "<RUN>"),
        (vec!["workers", "drain"], "<NAME>"),
        (vec!["workers", "drain", "web-1", "--selector", "role=web"], "cannot be used with"),
        (vec!["completions", "cobol"], "cobol"),
    ];
    for (arguments, expected) in table {
        let ended = alone(&arguments);
        assert_eq!((ended.code, ended.stdout()), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn what_cannot_be_reached_says_what_to_do() {
    let table = [
        // Nothing listens on port 1.
        (
            vec!["--server", "http://127.0.0.1:1", "runs", "list"],
            1,
            "connection refused); is the server running?",
        ),
        (
            vec!["--server", "http://127.0.0.1:1", "run", "-t", "a", "--", "b"],
            125,
            "failed to submit the run: no server at",
        ),
        (vec!["--server", "http://192.0.2.1:50051", "runs", "list"], 1, "--insecure"),
        (vec!["--server", "web-1:50051", "runs", "list"], 1, "must start with http:// or https://"),
        (vec!["--tls-ca", "/nonexistent", "runs", "list"], 1, "https URL only"),
        (vec!["--token-file", "/nonexistent", "runs", "list"], 1, "read --token-file /nonexistent"),
        (
            vec!["run", "-t", "a", "--handler", "h", "--payload", "@/nonexistent"],
            125,
            "read --payload /nonexistent",
        ),
        (
            vec!["run", "-t", "a", "--stdin", "/dev/zero", "--", "cat"],
            125,
            "--stdin /dev/zero: it is larger than 1 MiB",
        ),
    ];
    for (arguments, code, expected) in table {
        let ended = alone(&arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn the_version_and_completions_need_no_server() {
    assert_eq!(alone(&["version"]).stdout(), concat!("marabunta ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(alone(&["version", "-o", "json"]).json()["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = alone(&["completions", shell]);
        assert!(ended.code == Some(0) && ended.stdout().contains("marabunta"), "{shell}");
    }
}
