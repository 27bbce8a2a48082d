//! Safe by default: TLS, names, tokens.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use marabunta_tests::support::authority::{Authority, secret};
use marabunta_tests::support::cli::{Cli, Output};
use marabunta_tests::support::eventually;
use marabunta_tests::support::scratch::Scratch;
use marabunta_tests::support::server::{Options, Server};
use marabunta_tests::support::worker::{Worker, WorkerOptions};

fn server(arguments: &[(&str, &PathBuf)]) -> Server {
    let arguments =
        arguments.iter().flat_map(|(flag, path)| [OsString::from(flag), path.as_os_str().to_owned()]);
    Server::launch(Options { arguments: arguments.collect(), ..Options::default() })
}

/// `https://localhost:PORT`
fn https(server: &Server) -> String {
    format!("https://localhost:{}", server.grpc().port())
}

fn with(arguments: &[&str], options: &[(&str, &PathBuf)]) -> Vec<OsString> {
    let options = options.iter().flat_map(|(flag, path)| [OsString::from(flag), path.as_os_str().to_owned()]);
    options.chain(arguments.iter().map(OsString::from)).collect()
}

async fn call(url: &str, arguments: &[&str], options: &[(&str, &PathBuf)]) -> Output {
    Cli::new(with(arguments, options)).server(url).run().await
}

async fn until_listed(url: &str, options: &[(&str, &PathBuf)], workers: &[&str]) {
    eventually(&format!("{workers:?} are online"), async || {
        let output = call(url, &["workers", "list", "-o", "json"], options).await;
        anyhow::ensure!(output.code == 0, "{}", output.errors());
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let online = |name: &&str| {
            listed["workers"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["name"] == **name && one["online"] == true))
        };
        anyhow::ensure!(workers.iter().all(online), "{listed}");
        Ok(())
    })
    .await;
}

fn worker(name: &str, url: &str, options: &[(&str, &PathBuf)]) -> Worker {
    let named = WorkerOptions::named(name);
    let options =
        options.iter().fold(named, |all, (flag, path)| all.argument(*flag).argument(path.as_os_str()));
    Worker::start(url, options)
}

#[tokio::test]
async fn with_tls_and_tokens_only_those_who_have_them_come_in() {
    let (authority, tokens) = (Authority::new("ours"), Scratch::new("tokens"));
    let callers = secret(&tokens, "callers", "correct-horse-battery-staple\n");
    let workers = secret(
        &tokens,
        "workers",
        "# the second replaces the first\nworker-token-number-one\nworker-token-number-two\n",
    );
    let (second, wrong) = (
        secret(&tokens, "second", "worker-token-number-two\n"),
        secret(&tokens, "wrong", "worker-token-number-three\n"),
    );
    let (certificate, key) = authority.identity("localhost");
    let server = server(&[
        ("--tls-cert", &certificate),
        ("--tls-key", &key),
        ("--token-file", &callers),
        ("--worker-token-file", &workers),
    ]);
    let (url, ca) = (https(&server), authority.ca());
    let caller = [("--tls-ca", &ca), ("--token-file", &callers)];
    until_listed(&url, &caller, &[]).await;
    let web = worker("web-1", &url, &[("--tls-ca", &ca), ("--token-file", &second)]);
    until_listed(&url, &caller, &["web-1"]).await;
    let output = call(&url, &["run", "--target", "web-1", "--", "echo", "hello"], &caller).await;
    assert_eq!(output.success(), "hello\n");

    let stranger = worker("web-2", &url, &[("--tls-ca", &ca), ("--token-file", &wrong)]);
    // A worker's token is none for calls, and a caller's none for work.
    let confused = worker("web-3", &url, &[("--tls-ca", &ca), ("--token-file", &callers)]);
    for refused in [&stranger, &confused] {
        eventually("the worker is told that its token is wrong", async || {
            anyhow::ensure!(refused.log().contains("token"), "{}", refused.log());
            Ok(())
        })
        .await;
    }
    let plain = server.url();
    for (url, options, word) in [
        (&url, &[("--tls-ca", &ca)][..], "token"),
        (&url, &[("--tls-ca", &ca), ("--token-file", &second)], "token"),
        (&url, &[("--token-file", &callers)], "certificate"),
        (&plain, &[("--token-file", &callers)], ""),
    ] {
        let output = call(url, &["workers", "list"], options).await;
        output.code(1);
        assert!(output.errors().to_lowercase().contains(word), "{}", output.errors());
    }
    let listed = call(&url, &["workers", "list", "-o", "json"], &caller).await.json();
    assert_eq!(listed["workers"].as_array().unwrap().len(), 1, "{listed:#}");
    let logs = [server.log(), web.log(), stranger.log(), confused.log(), output.errors()].concat();
    for token in ["correct-horse-battery-staple", "worker-token-number"] {
        assert!(!logs.contains(token), "a secret is in a log");
    }
}

#[tokio::test]
async fn with_a_client_ca_a_worker_is_who_its_certificate_says() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (certificate, key) = ours.identity("localhost");
    let ca = ours.ca();
    let server = server(&[("--tls-cert", &certificate), ("--tls-key", &key), ("--client-ca", &ca)]);
    let url = https(&server);
    let (person, web, foreign) = (ours.identity("person"), ours.identity("web-1"), theirs.identity("web-1"));
    let caller = [("--tls-ca", &ca), ("--tls-cert", &person.0), ("--tls-key", &person.1)];
    until_listed(&url, &caller, &[]).await;
    let _web = worker("web-1", &url, &[("--tls-ca", &ca), ("--tls-cert", &web.0), ("--tls-key", &web.1)]);
    until_listed(&url, &caller, &["web-1"]).await;
    let impostor = worker("db-1", &url, &[("--tls-ca", &ca), ("--tls-cert", &web.0), ("--tls-key", &web.1)]);
    eventually("the worker is told that the name is not its own", async || {
        anyhow::ensure!(
            impostor.log().contains("db-1") && impostor.log().contains("certificate"),
            "{}",
            impostor.log()
        );
        Ok(())
    })
    .await;
    for options in [
        &[("--tls-ca", &ca)][..],
        &[("--tls-ca", &ca), ("--tls-cert", &foreign.0), ("--tls-key", &foreign.1)],
    ] {
        call(&url, &["workers", "list"], options).await.code(1);
    }
    let output = call(&url, &["run", "--target", "web-1", "--", "echo", "hello"], &caller).await;
    assert_eq!(output.success(), "hello\n");
    let listed = call(&url, &["workers", "list", "-o", "json"], &caller).await.json();
    assert_eq!(listed["workers"].as_array().unwrap().len(), 1, "{listed:#}");
}

/// Waits for a line in a worker's log, after what it said before.
async fn until_said(worker: &Worker, word: &str) {
    eventually(&format!("the worker says {word:?}"), async || {
        anyhow::ensure!(worker.log().contains(word), "{}", worker.log());
        Ok(())
    })
    .await;
}

async fn until_offline(url: &str, options: &[(&str, &PathBuf)], worker: &str) {
    eventually(&format!("{worker} is offline"), async || {
        let listed = call(url, &["workers", "show", worker, "-o", "json"], options).await.json();
        anyhow::ensure!(listed["online"] == false, "{listed}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_whose_certificate_is_replaced_in_time_goes_on_and_one_that_lets_it_expire_is_shut_out() {
    let ours = Authority::new("ours");
    let (certificate, key) = ours.identity("localhost");
    let ca = ours.ca();
    let server = server(&[("--tls-cert", &certificate), ("--tls-key", &key), ("--client-ca", &ca)]);
    let (url, person) = (https(&server), ours.identity("person"));
    let caller = [("--tls-ca", &ca), ("--tls-cert", &person.0), ("--tls-key", &person.1)];
    until_listed(&url, &caller, &[]).await;
    let start = |name: &str, life: u64| {
        let (certificate, key) = ours.identity_for(name, Duration::from_secs(life));
        worker(name, &url, &[("--tls-ca", &ca), ("--tls-cert", &certificate), ("--tls-key", &key)])
    };
    let (careful, careless) = (start("web-1", 25), start("web-2", 8));
    until_listed(&url, &caller, &["web-1", "web-2"]).await;
    ours.identity("web-1");
    let run = ["run", "--target", "web-1", "--", "sh", "-c", "echo first; sleep 30; echo last"];
    let running = Cli::new(with(&run, &caller)).server(&url).start();

    until_offline(&url, &caller, "web-2").await;
    until_said(&careless, "Expired").await;
    ours.identity("web-2");
    until_listed(&url, &caller, &["web-2"]).await;

    until_said(&careful, "certificate expires").await;
    assert_eq!(running.output().await.success(), "first\nlast\n");
    let shown = call(&url, &["workers", "list", "-o", "json"], &caller).await;
    assert!(!careful.log().contains("Expired"), "{}\n{}", careful.log(), shown.errors());
}

#[tokio::test]
async fn a_server_whose_certificate_and_tokens_are_replaced_takes_the_new_ones_without_a_restart() {
    let (ours, next, tokens) = (Authority::new("ours"), Authority::new("next"), Scratch::new("tokens"));
    let callers = secret(&tokens, "callers", "correct-horse-battery-staple\n");
    let workers = secret(&tokens, "workers", "worker-token-number-one\n");
    let (certificate, key) = ours.identity("localhost");
    let server = server(&[
        ("--tls-cert", &certificate),
        ("--tls-key", &key),
        ("--token-file", &callers),
        ("--worker-token-file", &workers),
    ]);
    let (url, ca) = (https(&server), ours.ca());
    until_listed(&url, &[("--tls-ca", &ca), ("--token-file", &callers)], &[]).await;

    let (new_certificate, new_key) = next.identity("localhost");
    std::fs::copy(new_certificate, &certificate).unwrap();
    std::fs::copy(new_key, &key).unwrap();
    secret(&tokens, "callers", "wrong-donkey-capacitor-clip\n");
    let ca = next.ca();
    until_listed(&url, &[("--tls-ca", &ca), ("--token-file", &callers)], &[]).await;
    let old = secret(&tokens, "old", "correct-horse-battery-staple\n");
    call(&url, &["workers", "list"], &[("--tls-ca", &ca), ("--token-file", &old)]).await.code(1);
}

#[tokio::test]
async fn what_would_be_unsafe_or_contradictory_does_not_start() {
    let (authority, files) = (Authority::new("ours"), Scratch::new("files"));
    let (certificate, key) = authority.identity("localhost");
    let token = secret(&files, "token", "correct-horse-battery-staple\n");
    let open = files.write("open", "correct-horse-battery-staple\n");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o666)).unwrap();
    let [certificate, key, token, open] =
        [&certificate, &key, &token, &open].map(|path| path.to_str().unwrap());
    let table: [(&[&str], &str); 14] = [
        (&["--grpc", "0.0.0.0:0"], "plaintext"),
        (&["--http", "0.0.0.0:0"], "plaintext"),
        (&["--grpc", "0.0.0.0:0", "--tls-cert", certificate, "--tls-key", key], "anybody"),
        (&["--tls-cert", certificate], "tls-key"),
        (&["--client-ca", certificate], "tls-cert"),
        (&["--tls-cert", key, "--tls-key", key], "certificate"),
        (&["--token-file", token], "worker"),
        (&["--token-file", open, "--worker-token-file", token], "others can write"),
        (&["--token-file", "/no/such/file", "--worker-token-file", token], "/no/such/file"),
        (&["--mysql", "mysql://localhost/x"], "redis"),
        (&["--poll-interval", "0s"], "poll-interval"),
        (&["--poll-interval", "5"], "unit"),
        (&["--grpc", "127.0.0.1:70000"], "70000"),
        (&["--no-such-flag"], "no-such-flag"),
    ];
    for (arguments, word) in table {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let refused = Server::launch(Options { arguments, ..Options::default() });
        let code = refused.exit().await;
        assert!(code == 1 || code == 2, "exit code {code}: {}", refused.log());
        assert!(refused.log().contains(word), "no {word:?} in {}", refused.log());
    }
}
