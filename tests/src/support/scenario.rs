//! One scenario, every backend.

/// What keeps the tasks and the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite inside the one server.
    Embedded,
    /// MariaDB and Redis (or what `MARABUNTA_TEST_MYSQL` and `MARABUNTA_TEST_REDIS` name) behind any number of servers.
    MariaDbRedis,
}

/// Turns scenarios into tests, one for each [`Backend`]: `embedded::name`, and with the feature `services` `mariadb_redis::name`.
///
/// ```ignore
/// scenarios! {
///     /// Standard output arrives byte for byte.
///     async fn a_run_gives_its_output(backend: Backend) {
///         let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
///         let output = cluster.cli(["run", "--target", "web-1", "--", "echo", "hello"]).await;
///         assert_eq!(output.success(), "hello\n");
///     }
/// }
/// ```
#[macro_export]
macro_rules! scenarios {
    ($($(#[$attribute:meta])* async fn $name:ident($backend:ident: Backend) $body:block)+) => {
        $($(#[$attribute])* async fn $name($backend: $crate::support::Backend) $body)+

        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::Backend::Embedded).await;
            })+
        }

        #[cfg(feature = "services")]
        mod mariadb_redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::Backend::MariaDbRedis).await;
            })+
        }
    };
}
