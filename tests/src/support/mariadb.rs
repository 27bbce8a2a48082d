//! Real MariaDB: one shared by the tests of a process, with a database for each test, and private ones for tests that break it.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use nix::unistd::Uid;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection, mysql::MySqlConnectOptions,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::port::Port;
use super::process::Process;
use super::program;
use super::scratch::Scratch;
use super::wait::finish;

/// URL of an account that may create databases: the tests then use that server (MySQL or MariaDB) and start none.
const ELSEWHERE: &str = "MARABUNTA_TEST_MYSQL";

const PASSWORD: &str = "correct-horse";

/// For temporary tables, one for each server: at its start a server removes those it finds, and in /tmp would find those of the others.
const TEMPORARY: &str = "tmp";

/// A database server. A private one ends when this is dropped, the shared one with the test process.
#[derive(Debug)]
pub struct MariaDb {
    /// Without a database.
    account: String,
    own: Option<Own>,
}

/// What is behind a server that the tests started. Fields are dropped in this order.
#[derive(Debug)]
struct Own {
    process: Mutex<Process>,
    port: Port,
    directory: Scratch,
}

impl MariaDb {
    /// The server that the tests of this process share, started by the first that asks, or the one that `MARABUNTA_TEST_MYSQL` names.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<MariaDb> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match env::var(ELSEWHERE) {
                Ok(account) => Self { account, own: None },
                Err(_) => Self::start().await,
            })
            .await
    }

    /// A server of its own, for a test that kills or pauses it.
    pub async fn start() -> Self {
        let directory = Scratch::new("mariadb");
        install(&directory);
        let port = Port::reserve();
        let account = format!("mysql://marabunta:{PASSWORD}@{}", port.address());
        let process = Process::service("mariadbd", &mariadbd(&directory, &port), &directory.join("log"));
        until_ready(&process, &account).await;
        Self { account, own: Some(Own { process: process.into(), port, directory }) }
    }

    /// A new, empty database, dropped with what this gives.
    pub async fn database(&self) -> Database {
        let name = format!("marabunta_test_{}", Uuid::new_v4().simple());
        execute(&self.account, format!("CREATE DATABASE {name}"))
            .await
            .expect("the account may create databases");
        Database { url: with_database(&self.account, &name), account: self.account.clone(), name }
    }

    /// SIGKILL. What was committed is there after [`restart`](Self::restart).
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts it again on the same port and data, after [`kill`](Self::kill).
    pub async fn restart(&self) {
        let own = self.own();
        let process =
            Process::service("mariadbd", &mariadbd(&own.directory, &own.port), &own.directory.join("log"));
        until_ready(&process, &self.account).await;
        *self.process() = process;
    }

    /// SIGSTOP: connections stay and nothing answers.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process().resume();
    }

    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.own().process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> &Own {
        self.own.as_ref().unwrap_or_else(|| {
            panic!("the server that {ELSEWHERE} names is not ours to stop: use MariaDb::start()")
        })
    }
}

/// A database of one test.
#[derive(Debug)]
pub struct Database {
    url: String,
    account: String,
    name: String,
}

impl Database {
    /// For `marabunta-server --mysql`, and for [`connect`](Self::connect)ing beside it.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection for a test that looks or writes behind the server's back.
    pub async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url).await.expect("the database exists while this lives")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {}", self.name);
        // A private server may have been killed, and then takes it along.
        if let Err(error) = finish(execute(&self.account, drop)) {
            eprintln!("failed to drop database {}: {error:#}", self.name);
        }
    }
}

fn install(directory: &Scratch) {
    let temporary = directory.join(TEMPORARY);
    fs::create_dir(&temporary)
        .unwrap_or_else(|error| panic!("failed to create {}: {error}", temporary.display()));
    let mut install = Command::new(program::installed("mariadb-install-db"));
    install.env("TMPDIR", temporary);
    install.arg("--no-defaults").arg(data(directory)).args(common());
    install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    let output = install.output().expect("mariadb-install-db starts");
    assert!(output.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&output.stderr));
    // Runs at each start. A password, so that a test can look for it where no secret may be.
    directory.write(
        "init.sql",
        format!("CREATE USER IF NOT EXISTS marabunta@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO marabunta@'%';\n"),
    );
}

fn mariadbd(directory: &Scratch, port: &Port) -> Command {
    let mut mariadbd = Command::new(program::installed("mariadbd"));
    mariadbd.env("TMPDIR", directory.join(TEMPORARY));
    mariadbd.arg("--no-defaults").arg(data(directory)).args(common());
    for (option, path) in [("socket", "socket"), ("pid-file", "pid"), ("init-file", "init.sql")] {
        mariadbd.arg(format!("--{option}={}", directory.join(path).display()));
    }
    mariadbd.args(["--bind-address=127.0.0.1", &format!("--port={}", port.number())]);
    mariadbd.args(["--skip-name-resolve", "--max-connections=1000", "--character-set-server=utf8mb4"]);
    // A commit survives the death of the server, which tests bring about, though not the loss of power, which they cannot.
    mariadbd.args(["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M"]);
    mariadbd
}

fn data(directory: &Scratch) -> String {
    format!("--datadir={}", directory.join("data").display())
}

fn common() -> Vec<&'static str> {
    let mut options = vec!["--innodb-log-file-size=16M"];
    if Uid::effective().is_root() {
        // Said in so many words, or it refuses.
        options.push("--user=root");
    }
    options
}

async fn until_ready(process: &Process, account: &str) {
    process.until_ready(async || execute(account, "SELECT 1".to_owned()).await).await;
}

async fn execute(url: &str, statement: String) -> anyhow::Result<()> {
    let options: MySqlConnectOptions =
        url.parse().with_context(|| format!("{ELSEWHERE} is a mysql:// URL"))?;
    let mut connection = options.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn with_database(account: &str, name: &str) -> String {
    let (address, parameters) =
        account.split_once('?').map_or((account, None), |(address, rest)| (address, Some(rest)));
    let (scheme, rest) = address.split_once("://").unwrap_or(("mysql", address));
    let host = rest.split('/').next().unwrap_or(rest);
    let parameters = parameters.map_or(String::new(), |parameters| format!("?{parameters}"));
    format!("{scheme}://{host}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_takes_the_place_of_the_path() {
        for (account, expected) in [
            ("mysql://root@localhost:1", "mysql://root@localhost:1/d"),
            ("mysql://root@localhost:1/", "mysql://root@localhost:1/d"),
            ("mysql://u:p@h/test?ssl-mode=DISABLED", "mysql://u:p@h/d?ssl-mode=DISABLED"),
        ] {
            assert_eq!(with_database(account, "d"), expected, "from {account}");
        }
    }
}
