//! Postgres and Redis with the durability settings of production: every commit is synced, and every command is in an
//! append-only file. The settings are read back, because losses on any other server would prove nothing.

use std::time::Duration;

use harness::postgres_server::PostgresServer;
use harness::redis_cluster::{self, RedisCluster};
use harness::redis_server::RedisServer;
use sqlx::postgres::PgPoolOptions;

/// The settings that Postgres must report.
const POSTGRES: [(&str, &str); 3] = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];
/// The settings that Redis must report.
const REDIS: [(&str, &str); 1] = [("appendonly", "yes")];

/// The options of each Redis server.
pub(crate) const REDIS_OPTIONS: [&str; 4] = ["--appendonly", "yes", "--enable-debug-command", "local"];

pub(crate) struct Servers {
    pub(crate) postgres: PostgresServer,
    /// The Redis instance that faults are injected into.
    pub(crate) redis: RedisServer,
    /// Further instances, which take over from it. Without any, there is no other.
    pub(crate) more_redis: Vec<RedisServer>,
    /// Whether they are a cluster: its primaries, and then a replica of each.
    pub(crate) is_cluster: bool,
}

/// How many primaries a cluster has.
pub(crate) const PRIMARIES: usize = 3;

/// How many Redis servers there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Redis {
    Instances(usize),
    Cluster,
}

/// Ends all connections of clients, and answers no new ones until the server goes on.
pub(crate) fn cut_off(server: &RedisServer) {
    server.does(&["CLIENT", "KILL", "TYPE", "normal"]);
    server.hangs();
}

/// How often a server has performed a command since its statistics were reset, in scripts too.
pub(crate) fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats: String = server.answers(&["INFO", "commandstats"]).unwrap();
    let own = format!("cmdstat_{command}:calls=");
    let counted = stats.lines().find_map(|line| line.strip_prefix(own.as_str())?.split(',').next()?.parse().ok());
    counted.unwrap_or(0)
}

impl Servers {
    /// Starts Postgres and Redis.
    pub(crate) async fn start(redis: Redis) -> Self {
        let mut all: Vec<RedisServer> = match redis {
            Redis::Instances(count) => (0..count).map(|_| RedisServer::with(&REDIS_OPTIONS)).collect(),
            Redis::Cluster => RedisCluster::with_options(PRIMARIES, 1, &REDIS_OPTIONS).servers,
        };
        let more_redis = all.split_off(1);
        let redis_server = all.pop().expect("there is a first one");
        let is_cluster = matches!(redis, Redis::Cluster);
        let servers = Self { postgres: PostgresServer::start(), redis: redis_server, more_redis, is_cluster };
        servers.require_durable().await;
        servers
    }

    pub(crate) fn all_redis(&self) -> impl Iterator<Item = &RedisServer> {
        [&self.redis].into_iter().chain(&self.more_redis)
    }

    /// One of the servers of a cluster that were its primaries at first.
    pub(crate) fn first_primary(&self, n: usize) -> &RedisServer {
        if n == 0 { &self.redis } else { &self.more_redis[n - 1] }
    }

    /// Empties every Redis server. In a cluster all are there before, and the first one is a primary.
    pub(crate) fn empty_redis(&self) {
        if self.is_cluster {
            let all: Vec<&RedisServer> = self.all_redis().collect();
            redis_cluster::agree_within(&all, Duration::from_secs(30));
            if redis_cluster::is_replica(&self.redis) {
                self.redis.does(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
                redis_cluster::agree_within(&all, Duration::from_secs(30));
            }
        }
        for redis in self.all_redis() {
            let emptied = redis.answers::<String>(&["FLUSHALL"]);
            assert!(emptied.is_ok() || redis_cluster::is_replica(redis), "{emptied:?}");
        }
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
            for redis in self.all_redis() {
                let actual: Vec<String> = redis.answers(&["CONFIG", "GET", name]).unwrap();
                assert_eq!(actual, [name, required], "Redis must run as it does where its data matter");
            }
        }
    }
}
