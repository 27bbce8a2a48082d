use ::redis::AsyncCommands as _;
use marabunta_tests::support::redis::Redis;

#[tokio::test]
async fn a_prefix_holds_the_keys_of_one_test_and_is_emptied_with_it() {
    let server = Redis::shared().await;
    let (one, other) = (server.prefix(), server.prefix());
    let mut connection = server.connect().await;
    for (key, value) in [(format!("{}:a", one.prefix()), 1), (format!("{}:a", other.prefix()), 2)] {
        connection.set::<_, _, ()>(key, value).await.unwrap();
    }
    assert_eq!(one.keys().await, [format!("{}:a", one.prefix())]);

    let key = format!("{}:a", one.prefix());
    drop(one);
    assert!(!connection.exists::<_, bool>(key).await.unwrap());
    assert_eq!(other.keys().await.len(), 1, "the keys of others stay");
}

#[tokio::test]
async fn redis_is_configured_as_the_design_demands() {
    let server = Redis::start().await;
    let mut connection = server.connect().await;
    for (option, expected) in
        [("maxmemory-policy", "noeviction"), ("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "")]
    {
        let found: Vec<String> =
            ::redis::cmd("CONFIG").arg("GET").arg(option).query_async(&mut connection).await.unwrap();
        assert_eq!(found, [option, expected]);
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_and_restart() {
    let server = Redis::start().await;
    let prefix = server.prefix();
    let key = format!("{}:a", prefix.prefix());
    let mut connection = server.connect().await;
    connection.set::<_, _, ()>(&key, 7).await.unwrap();

    let before = server.pid();
    server.kill();
    connection.get::<_, i32>(&key).await.expect_err("the connection died with the server");
    server.restart().await;

    assert_ne!(server.pid(), before);
    assert_eq!(server.connect().await.get::<_, i32>(&key).await.unwrap(), 7);
}
