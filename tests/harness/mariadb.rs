use marabunta_tests::support::mariadb::MariaDb;
use sqlx::{Connection as _, Row as _};

#[tokio::test]
async fn each_database_is_new_and_is_dropped_with_its_test() {
    let server = MariaDb::shared().await;
    let (one, other) = (server.database().await, server.database().await);
    assert_ne!(one.name(), other.name());

    let mut connection = one.connect().await;
    sqlx::query("CREATE TABLE t (id INT PRIMARY KEY)").execute(&mut connection).await.unwrap();
    let mut beside = other.connect().await;
    assert!(
        sqlx::query("SELECT * FROM t").fetch_all(&mut beside).await.is_err(),
        "the other one has its own tables"
    );

    let name = one.name().to_owned();
    connection.close().await.unwrap();
    drop(one);
    let databases = sqlx::query("SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata");
    let databases = databases.fetch_all(&mut beside).await.unwrap();
    assert!(databases.iter().all(|row| row.get::<String, _>(0) != name));
}

#[tokio::test]
async fn the_shared_server_is_one() {
    let (one, other) = tokio::join!(MariaDb::shared(), MariaDb::shared());
    assert!(std::ptr::eq(one, other));
}

#[tokio::test]
async fn what_was_committed_survives_kill_and_restart() {
    let server = MariaDb::start().await;
    let database = server.database().await;
    let mut connection = database.connect().await;
    sqlx::query("CREATE TABLE t (id INT PRIMARY KEY)").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (7)").execute(&mut connection).await.unwrap();

    let before = server.pid();
    server.kill();
    sqlx::query("SELECT 1").execute(&mut connection).await.expect_err("the connection died with the server");
    server.restart().await;

    assert_ne!(server.pid(), before);
    let found: i32 =
        sqlx::query_scalar("SELECT id FROM t").fetch_one(&mut database.connect().await).await.unwrap();
    assert_eq!(found, 7);
}
