//! Postgres and Redis as real as they get: every commit synced, every command in an append-only file; what they say of
//! that is read back, and with anything else there is nothing to report.

use harness::postgres_server::PostgresServer;
use harness::redis_server::RedisServer;
use sqlx::postgres::PgPoolOptions;

/// What Postgres must say of itself, or its losses would prove nothing.
const POSTGRES: [(&str, &str); 3] = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];
/// What Redis must say of itself.
const REDIS: [(&str, &str); 1] = [("appendonly", "yes")];

/// Both of them.
pub(crate) struct Servers {
    pub(crate) postgres: PostgresServer,
    pub(crate) redis: RedisServer,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let redis = RedisServer::with(&["--appendonly", "yes", "--enable-debug-command", "local"]);
        let servers = Self { postgres: PostgresServer::start(), redis };
        servers.are_durable().await;
        servers
    }

    /// Requires what the report relies on.
    pub(crate) async fn are_durable(&self) {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.postgres.port());
        let asked = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        for (name, required) in POSTGRES {
            let said: String =
                sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&asked).await.unwrap();
            assert_eq!(said, required, "{name} of Postgres: nothing that this server keeps proves anything");
        }
        asked.close().await;
        for (name, required) in REDIS {
            let said: Vec<String> = self.redis.answers(&["CONFIG", "GET", name]).unwrap();
            assert_eq!(said, [name, required], "Redis is to run as it does where its data matter");
        }
    }
}
