//! SQL is an interface: a task written by plain SQL is honoured within one poll.

use marabunta_tests::scenarios;
use marabunta_tests::support::{Backend, Cluster, Journal, eventually};
use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use crate::steps::look;

async fn polling(backend: Backend) -> Cluster {
    let options = Cluster::on(backend).servers(2).workers(["web-1"]);
    options.server_argument("--poll-interval=1s").start().await
}

/// A connection of somebody who writes behind the servers' backs.
async fn connect(cluster: &Cluster) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let url = match cluster.database() {
        Some(database) => database.url().to_owned(),
        None => format!("sqlite://{}", cluster.server().data().join("marabunta.db").display()),
    };
    AnyConnection::connect(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

async fn execute(connection: &mut AnyConnection, statement: &str) {
    let result = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await;
    assert_eq!(
        result.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected(),
        1,
        "{statement}"
    );
}

async fn show(cluster: &Cluster, name: &str) -> Value {
    cluster.cli(["task", "show", name, "-o", "json"]).await.json()
}

scenarios! {
    async fn a_row_that_is_inserted_edited_disabled_and_deleted_is_honoured(backend: Backend) {
        let cluster = polling(backend).await;
        let mut sql = connect(&cluster).await;
        let journal = Journal::new();
        let insert = format!(
            "INSERT INTO tasks (name, target, `when`, payload) VALUES ('by-hand', 'web-1', '* * * * * *', '{}')",
            literal(backend, &journal.note("first"))
        );
        execute(&mut sql, &insert).await;
        journal.noted("first", 2).await;
        let id = &journal.runs("first")[0];
        assert_eq!(look(&cluster, id).await.task_name, "by-hand");

        let edit = format!("UPDATE tasks SET payload = '{}' WHERE name = 'by-hand'", literal(backend, &journal.note("second")));
        execute(&mut sql, &edit).await;
        journal.noted("second", 2).await;

        execute(&mut sql, "UPDATE tasks SET paused = 1 WHERE name = 'by-hand'").await;
        eventually("nothing is queued ahead any more", async || {
            let todo = cluster.cli(["runs", "list", "--task", "by-hand", "--state", "todo,queued", "-o", "json"]).await.json();
            let shown = show(&cluster, "by-hand").await;
            anyhow::ensure!(todo["runs"] == serde_json::json!([]) && shown["paused"] == true, "{todo:#} {shown:#}");
            Ok(())
        })
        .await;
        execute(&mut sql, "UPDATE tasks SET paused = 0 WHERE name = 'by-hand'").await;
        let before = journal.runs("second").len();
        journal.noted("second", before + 1).await;

        execute(&mut sql, "DELETE FROM tasks WHERE name = 'by-hand'").await;
        cluster.cli(["task", "show", "by-hand"]).await.code(1);
        eventually("nothing is queued ahead of it", async || {
            let todo = cluster.cli(["runs", "list", "--state", "todo,queued", "-o", "json"]).await.json();
            anyhow::ensure!(todo["runs"] == serde_json::json!([]), "{todo:#}");
            Ok(())
        })
        .await;
        for word in ["first", "second"] {
            let mut runs = journal.runs(word);
            let all = runs.len();
            runs.sort_unstable();
            runs.dedup();
            assert_eq!(runs.len(), all, "each once");
        }
    }

    async fn a_row_that_cannot_be_read_gets_its_problem_and_harms_no_other(backend: Backend) {
        let cluster = polling(backend).await;
        let mut sql = connect(&cluster).await;
        let journal = Journal::new();
        let table = [
            ("schedule", "'web-1', '61 * * * *', '{}', 'normal'", "when:"),
            ("never", "'web-1', '0 0 30 2 *', '{}', 'normal'", "when:"),
            ("target", "'any(role=', '* * * * *', '{}', 'normal'", "target:"),
            ("payload", "'web-1', '* * * * *', '{', 'normal'", "payload:"),
            ("priority", "'web-1', '* * * * *', '{}', 'highest'", "priority:"),
        ];
        for (name, values, _) in table {
            execute(&mut sql, &format!("INSERT INTO tasks (name, target, `when`, payload, priority) VALUES ('{name}', {values})")).await;
        }
        let good = format!(
            "INSERT INTO tasks (name, target, `when`, payload) VALUES ('good', 'web-1', '* * * * * *', '{}')",
            literal(backend, &journal.note("good"))
        );
        execute(&mut sql, &good).await;
        journal.noted("good", 1).await;
        for (name, _, column) in table {
            eventually(&format!("the problem of {name} is written"), async || {
                let shown = show(&cluster, name).await;
                let problem = shown["problem"].as_str().unwrap_or_default();
                anyhow::ensure!(problem.starts_with(column), "{shown:#}");
                Ok(())
            })
            .await;
        }
        let row = "SELECT problem FROM tasks WHERE name = 'schedule'";
        let problem: String = sqlx::query_scalar(row).fetch_one(&mut sql).await.unwrap();
        assert!(problem.contains("61"), "{problem}");
        // Mended by hand, it fires.
        let mend = format!(
            "UPDATE tasks SET `when` = '* * * * * *', payload = '{}' WHERE name = 'schedule'",
            literal(backend, &journal.note("mended"))
        );
        execute(&mut sql, &mend).await;
        journal.noted("mended", 1).await;
        assert_eq!(show(&cluster, "schedule").await["problem"], Value::Null);
    }

    async fn a_payload_is_shared_by_its_id(backend: Backend) {
        let cluster = polling(backend).await;
        let mut sql = connect(&cluster).await;
        let journal = Journal::new();
        let uuid = uuid::Uuid::new_v4();
        let data = literal(backend, &journal.note("shared"));
        execute(&mut sql, &format!("INSERT INTO payloads (uuid, data) VALUES ('{uuid}', '{data}')")).await;
        for name in ["one", "two"] {
            let insert = format!("INSERT INTO tasks (name, target, `when`, payload) VALUES ('{name}', 'web-1', '@every 1s', '{uuid}')");
            execute(&mut sql, &insert).await;
        }
        for name in ["one", "two"] {
            eventually(&format!("{name} has run"), async || {
                for id in journal.runs("shared") {
                    if look(&cluster, &id).await.task_name == name {
                        return Ok(());
                    }
                }
                anyhow::bail!("not yet")
            })
            .await;
        }
    }
}

/// The payload of a shell script inside a quoted literal. A backslash escapes in MySQL and stands for itself in SQLite.
fn literal(backend: Backend, script: &str) -> String {
    let json = serde_json::json!({"argv": ["sh", "-c", script]}).to_string().replace('\'', "''");
    if backend == Backend::Embedded { json } else { json.replace('\\', "\\\\") }
}
