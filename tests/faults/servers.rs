//! Postgres and Redis with the durability settings of production: every commit is synced, and every command is in an
//! append-only file. The settings are read back, because losses on any other server would prove nothing.

use harness::postgres_server::PostgresServer;
use harness::redis_server::RedisServer;
use sqlx::postgres::PgPoolOptions;

/// The settings that Postgres must report.
const POSTGRES: [(&str, &str); 3] = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];
/// The settings that Redis must report.
const REDIS: [(&str, &str); 1] = [("appendonly", "yes")];

pub(crate) struct Servers {
    pub(crate) postgres: PostgresServer,
    /// The Redis instance that faults are injected into.
    pub(crate) redis: RedisServer,
    /// Further instances, which take over from it. Without any, there is no other.
    pub(crate) more_redis: Vec<RedisServer>,
}

impl Servers {
    /// Starts Postgres and this many Redis instances.
    pub(crate) async fn start(instances: usize) -> Self {
        let redis = || RedisServer::with(&["--appendonly", "yes", "--enable-debug-command", "local"]);
        let more_redis = (1..instances).map(|_| redis()).collect();
        let servers = Self { postgres: PostgresServer::start(), redis: redis(), more_redis };
        servers.require_durable().await;
        servers
    }

    /// Panics unless the servers report the settings that the results rely on.
    pub(crate) async fn require_durable(&self) {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.postgres.port());
        let connection = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        for (name, required) in POSTGRES {
            let actual: String =
                sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&connection).await.unwrap();
            assert_eq!(actual, required, "the Postgres setting {name} makes the results meaningless");
        }
        connection.close().await;
        for (name, required) in REDIS {
            for redis in [&self.redis].into_iter().chain(&self.more_redis) {
                let actual: Vec<String> = redis.answers(&["CONFIG", "GET", name]).unwrap();
                assert_eq!(actual, [name, required], "Redis must run as it does where its data matter");
            }
        }
    }
}
