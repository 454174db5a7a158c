//! Opens fresh stores. Each comes with a guard that must live as long as the store is used.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use shared::config::{Pooler, RedisConfig};
use shared::moment::memory::MemoryMoment;
use shared::moment::redis::RedisMoment;
use shared::record::postgres::PostgresRecord;
use shared::record::sqlite::SqliteRecord;
use tempfile::TempDir;

use crate::record::Record;

/// A record in its own SQLite file.
pub(crate) async fn sqlite() -> (Record, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    let store = SqliteRecord::open(&file).await.unwrap();
    (Record::new(store), folder)
}

/// A connection to the SQLite file of a record, beside those of the record.
pub(crate) fn sqlite_connection(file: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

/// A record in its own database on the shared Postgres server, used by a role that may only read and change rows; with
/// `CARILLON_STORES=pooled`, behind PgBouncer.
pub(crate) async fn postgres() -> (Record, ()) {
    let url = harness::postgres_server::database().await;
    let record = if harness::world::is_pooled() {
        PostgresRecord::new(&harness::pgbouncer::pooled(&url), 8).unwrap().behind(Pooler::Transaction)
    } else {
        PostgresRecord::new(&harness::postgres_server::as_functions(&url).await, 8).unwrap()
    };
    (Record::new(record), ())
}

/// A moment in the memory of this process.
pub(crate) async fn memory() -> (Arc<MemoryMoment>, ()) {
    (Arc::new(MemoryMoment::default()), ())
}

/// A moment under its own key prefix on the shared Redis server.
pub(crate) async fn redis() -> (Arc<RedisMoment>, RedisGuard) {
    let config = harness::redis_server::own_prefix();
    let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap();
    (Arc::new(moment), RedisGuard(config))
}

/// A moment under its own key prefix on three shared Redis servers, among which everything is divided.
pub(crate) async fn balanced() -> (Arc<RedisMoment>, RedisGuard) {
    let config = harness::redis_server::own_prefix_on_several();
    let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap();
    (Arc::new(moment), RedisGuard(config))
}

/// A moment under its own key prefix on the shared Redis Cluster.
pub(crate) async fn cluster() -> (Arc<RedisMoment>, RedisGuard) {
    let config = harness::redis_cluster::own_prefix_on_cluster();
    let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap();
    (Arc::new(moment), RedisGuard(config))
}

/// The same as `redis`, for tests that write no key: their streams hear nothing if Redis is not used.
pub(crate) async fn redis_channels() -> (Arc<RedisMoment>, ()) {
    let (moment, guard) = redis().await;
    std::mem::forget(guard);
    (moment, ())
}

/// The same on three servers.
pub(crate) async fn balanced_channels() -> (Arc<RedisMoment>, ()) {
    let (moment, guard) = balanced().await;
    std::mem::forget(guard);
    (moment, ())
}

/// The same on a cluster.
pub(crate) async fn cluster_channels() -> (Arc<RedisMoment>, ()) {
    let (moment, guard) = cluster().await;
    std::mem::forget(guard);
    (moment, ())
}

/// Fails a test that wrote nothing to Redis. If Redis is unreachable, limits are decided in this process and telemetry
/// is dropped, so a suite could pass without ever using Redis.
pub(crate) struct RedisGuard(RedisConfig);

impl Drop for RedisGuard {
    fn drop(&mut self) {
        let urls: Vec<String> = if self.0.is_cluster {
            harness::redis_cluster::urls(&self.0)
        } else {
            self.0.instances.iter().map(|instance| instance.url.reveal().to_owned()).collect()
        };
        let keys = urls.into_iter().flat_map(|url| {
            let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
            let pattern = format!("{}:*", self.0.prefix);
            redis::cmd("KEYS").arg(pattern).query::<Vec<String>>(&mut connection).unwrap()
        });
        assert!(std::thread::panicking() || keys.count() > 0, "the test did not use Redis");
    }
}
