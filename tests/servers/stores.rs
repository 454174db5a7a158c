//! A database and a Redis that belong to one test, and gateways on them.

use std::time::{Duration, Instant};

use harness::World;
use harness::postgres_server;
use harness::redis_server::RedisServer;
use serde_json::Value;
use shared::clock::Clock;
use shared::config::Secret;

/// Before every key and channel.
pub(crate) const PREFIX: &str = "shop";

/// Both of them, empty.
pub(crate) struct Stores {
    pub(crate) database: Secret,
    pub(crate) redis: RedisServer,
}

impl Stores {
    pub(crate) async fn new() -> Self {
        Self { database: postgres_server::database().await, redis: RedisServer::start() }
    }

    /// A gateway on them by the machine's clock, as outages last by it, and with limits that stop nobody.
    pub(crate) async fn gateway(&self) -> World {
        self.gateway_with(&[("RATE_LIMIT_SEND", "100000/1s"), ("RATE_LIMIT_FRAMES", "100000/1s")], Clock::system())
            .await
    }

    /// A gateway on them with these variables besides.
    pub(crate) async fn gateway_with(&self, further: &[(&str, &str)], clock: Clock) -> World {
        let redis = format!("redis://127.0.0.1:{}", self.redis.port());
        let stores = [("DATABASE_URL", self.database.reveal()), ("REDIS_URL", &redis), ("REDIS_KEY_PREFIX", PREFIX)];
        World::on(&[&stores, further].concat(), clock).await
    }
}

/// What `/health` says: the status of its answer, its own, that of the database and that of Redis.
pub(crate) async fn health(world: &World) -> (u16, String, String, String) {
    let answer = world.call("GET", "/health", &[], "").await;
    let (status, said) = (answer.status, answer.json());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependencies = &said["dependencies"];
    (status, text(&said["status"]), text(&dependencies["database"]), text(&dependencies["redis"]))
}

/// Asserts what `/health` says.
#[track_caller]
pub(crate) fn is(health: (u16, String, String, String), expected: (u16, &str, &str, &str)) {
    let (code, status, database, redis) = &health;
    assert_eq!((*code, status.as_str(), database.as_str(), redis.as_str()), expected);
}

/// Waits until `/health` says that everything works, which must be soon.
pub(crate) async fn is_well_within(world: &World, limit: Duration) {
    let begun = Instant::now();
    loop {
        let health = health(world).await;
        if health.1 == "ok" {
            return is(health, (200, "ok", "ok", "ok"));
        }
        assert!(begun.elapsed() < limit, "after {limit:?}: {health:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
