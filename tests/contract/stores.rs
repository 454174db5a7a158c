//! Fresh stores, each with what must be kept for as long as it is used.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use shared::config::RedisConfig;
use shared::moment::memory::MemoryMoment;
use shared::moment::redis::RedisMoment;
use shared::record::postgres::PostgresRecord;
use shared::record::sqlite::SqliteRecord;
use tempfile::TempDir;

use crate::record::Record;

/// A record in a file of its own.
pub(crate) async fn sqlite() -> (Record, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    let store = SqliteRecord::open(&file).await.unwrap();
    (Record::new(store), folder)
}

/// A record in a database of its own, on one server.
pub(crate) async fn postgres() -> (Record, ()) {
    let url = harness::postgres_server::database().await;
    (Record::new(PostgresRecord::new(&url, 8).unwrap()), ())
}

/// A moment in this process.
pub(crate) async fn memory() -> (Arc<MemoryMoment>, ()) {
    (Arc::new(MemoryMoment::default()), ())
}

/// A moment in Redis, under a prefix of its own on one server.
pub(crate) async fn redis() -> (Arc<RedisMoment>, InRedis) {
    let config = harness::redis_server::own_prefix();
    let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap();
    (Arc::new(moment), InRedis(config))
}

/// Limits that cannot be asked admit, by what this process knows, and notes are dropped; a suite on Redis must have
/// asked it.
pub(crate) struct InRedis(RedisConfig);

impl Drop for InRedis {
    fn drop(&mut self) {
        let mut connection = redis::Client::open(self.0.url.reveal()).unwrap().get_connection().unwrap();
        let pattern = format!("{}:*", self.0.prefix);
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut connection).unwrap();
        assert!(std::thread::panicking() || !keys.is_empty(), "Redis was not asked");
    }
}
