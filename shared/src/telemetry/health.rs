//! The promise of a store to report its health: in short for a health check, and in detail for operators.

use async_trait::async_trait;
use serde::Serialize;

use crate::error::StoreError;

/// The promise of a record to tell which migrations its database has.
#[async_trait]
pub trait Migrations: Send + Sync {
    /// The schema of the database at this moment. An error if the database is unavailable.
    async fn schema(&self) -> Result<Schema, StoreError>;
}

/// The schema of a database, compared with the one that this code needs. Releases run side by side on one database, so
/// it may be newer than the code; the code runs on it unless something is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// The number of the last migration that this code needs.
    pub needed: i64,
    /// The number of the last migration that the database has; 0 if it has none.
    pub found: i64,
    /// The file name of the first needed migration that the database lacks; `None` if it has all of them.
    pub missing: Option<String>,
}

/// A store that reports its health. Neither method fails: an unavailable store is reported as such.
#[async_trait]
pub trait Health: Send + Sync {
    /// Checks the store now, by performing what calls depend on and not only by connecting. Has no effect on calls, and
    /// takes no longer than the store's timeout.
    async fn check(&self) -> Status;

    /// Describes each instance of the store, asking it now. Has no effect, and takes no longer than the store's
    /// timeout. The parts are read one after the other, so that numbers of one instance may be a moment apart.
    async fn instances(&self) -> Instances;
}

/// The health of a store. Contains no addresses or secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Ok,
    /// It works, but its configuration may lose what it should keep. The text is for operators and says why.
    Warned(String),
    /// It does not respond; calls continue without it.
    Unavailable,
    /// No such store is used, so there is nothing to check.
    Off,
}

/// The instances of a store, as `redis` in the metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instances {
    /// How the work is divided among them.
    pub mode: Mode,
    /// All instances, in a fixed order; empty if there is no store.
    pub instances: Vec<Instance>,
}

/// How the work is divided among instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// There is no server: everything is in this process.
    Memory,
    /// There is one instance, which does everything.
    Single,
    /// There are several, among which everything is divided, and which take over from each other.
    Balanced,
}

/// One instance. `operations`, `errors`, the latencies and `last_error` are this process's own calls since it started;
/// another process reports other numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// A stable name that does not reveal its address, such as `redis-1`.
    pub name: String,
    /// Whether it answered just now and its breaker is closed.
    pub healthy: bool,
    /// Its role in replication; `None` if it did not answer or does not report one.
    pub role: Option<Role>,
    /// How many calls were made to it, with or without an answer. A call that the breaker denied is not counted.
    pub operations: u64,
    /// How many of them had no usable answer within their timeout.
    pub errors: u64,
    /// The median time to an answer in milliseconds, within 6.25 %; 0 if there was none.
    pub p50_ms: f64,
    /// The 99th percentile of the same times in milliseconds; 0 if there was no answer.
    pub p99_ms: f64,
    /// Its memory use; `None` if it did not answer or does not report it.
    pub used_memory_bytes: Option<u64>,
    /// Whether calls to it are permitted.
    pub breaker: BreakerState,
    /// The reason of the last failure, even if calls have succeeded since; without secrets or addresses. `None` if
    /// there was no failure.
    pub last_error: Option<String>,
}

/// The role of an instance in replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It accepts writes.
    Primary,
    /// It follows a primary.
    Replica,
}

/// The state of an instance's circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BreakerState {
    /// Calls are permitted.
    Closed,
    /// Calls are denied, until the cooldown has passed.
    Open,
    /// Calls are denied while a probe finds out whether the instance works again.
    Probing,
}
