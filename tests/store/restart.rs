//! What is of MySQL and MariaDB alone: the database goes away and comes back.

use marabunta_server::store::{Inserted, Store, StoreError, StoreOptions, StoreUrl};
use marabunta_tests::support::mariadb::MariaDb;

use crate::fixture::{new, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_unavailable_while_its_database_is_down_and_itself_again_after() {
    let server = MariaDb::start().await;
    let database = server.database().await;
    let store =
        Store::open(&StoreUrl::mysql(database.url()).unwrap(), &StoreOptions::default()).await.unwrap();
    let run = run(store.now().await.unwrap());
    assert_eq!(store.insert_runs(vec![new(&run)]).await.unwrap(), [Inserted::New]);

    server.kill();
    let refused = store.insert_runs(vec![new(&run)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let refused = store.run(run.id).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");

    server.restart().await;
    assert_eq!(store.insert_runs(vec![new(&run)]).await.unwrap(), [Inserted::Duplicate]);
    store.close().await;
}
