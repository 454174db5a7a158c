//! A database and a Redis server for one test, and gateways that use them.

use std::time::{Duration, Instant};

use harness::World;
use harness::postgres_server;
use harness::redis_server::RedisServer;
use serde_json::Value;
use shared::clock::Clock;
use shared::config::Secret;

/// The prefix of every key and channel.
pub(crate) const PREFIX: &str = "shop";

/// An empty database and an empty Redis server.
pub(crate) struct Stores {
    pub(crate) database: Secret,
    pub(crate) redis: RedisServer,
}

impl Stores {
    pub(crate) async fn new() -> Self {
        Self { database: postgres_server::database().await, redis: RedisServer::start() }
    }

    /// A gateway on these stores, with limits that no test reaches. It uses the machine's clock, because outages take
    /// real time.
    pub(crate) async fn gateway(&self) -> World {
        self.gateway_with(&[("RATE_LIMIT_SEND", "100000/1s"), ("RATE_LIMIT_FRAMES", "100000/1s")], Clock::system())
            .await
    }

    /// A gateway on these stores, with these additional variables.
    pub(crate) async fn gateway_with(&self, further: &[(&str, &str)], clock: Clock) -> World {
        let redis = format!("redis://127.0.0.1:{}", self.redis.port());
        let stores = [("DATABASE_URL", self.database.reveal()), ("REDIS_URL", &redis), ("REDIS_KEY_PREFIX", PREFIX)];
        World::on(&[&stores, further].concat(), clock).await
    }
}

/// The answer of `/health`: the status code, the overall status, and those of the database and of Redis.
pub(crate) async fn health(world: &World) -> (u16, String, String, String) {
    let answer = world.call("GET", "/health", &[], "").await;
    let (status, body) = (answer.status, answer.json());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependencies = &body["dependencies"];
    (status, text(&body["status"]), text(&dependencies["database"]), text(&dependencies["redis"]))
}

/// Compares an answer of `/health` with the expected one.
#[track_caller]
pub(crate) fn assert_health(health: (u16, String, String, String), expected: (u16, &str, &str, &str)) {
    let (code, status, database, redis) = &health;
    assert_eq!((*code, status.as_str(), database.as_str(), redis.as_str()), expected);
}

/// Waits until `/health` reports that everything works. Panics after `limit`.
pub(crate) async fn is_healthy_within(world: &World, limit: Duration) {
    let began = Instant::now();
    loop {
        let health = health(world).await;
        if health.1 == "ok" {
            return assert_health(health, (200, "ok", "ok", "ok"));
        }
        assert!(began.elapsed() < limit, "after {limit:?}: {health:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
