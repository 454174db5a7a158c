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
    /// It works, but an operator should look at it: it may soon not, or may lose what it should keep.
    Warned(Vec<Warning>),
    /// It does not respond; calls continue without it.
    Unavailable,
    /// No such store is used, so there is nothing to check.
    Off,
}

/// Why an operator should look at an instance, as `warnings` in the health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The [`Instance::name`].
    pub instance: String,
    /// What it is about.
    pub name: WarningName,
    /// The same in words and figures, for the log. Not for the public.
    #[serde(skip)]
    pub text: String,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningName {
    /// The instance does not answer, and others take over.
    Away,
    /// It is older than what is tested.
    OldVersion,
    /// Its version is not that of the others.
    OtherVersion,
    /// It may evict keys.
    EvictionPolicy,
    /// Its eviction policy is not that of the others.
    OtherEvictionPolicy,
    /// It uses 80 % of the memory that it may use, or more.
    Memory,
    /// It has 80 % of the connections that it accepts, or more.
    Clients,
    /// It could not write its data to disk the last time it tried.
    Persistence,
    /// Accepts wait in it for the database, and a restart would lose them: it appends nothing to a file.
    NoAppendOnlyFile,
    /// Its replica, or it as a replica, has heard nothing for 10 s or more.
    ReplicationLag,
}

/// The instances of a store, as `redis` in the metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instances {
    /// How the work is divided among them.
    pub mode: Mode,
    /// All instances, in a fixed order; empty if there is no store.
    pub instances: Vec<Instance>,
}

impl Instances {
    /// The instances that would lose with a restart what was accepted fast: it is in no file, and there is no replica to take over.
    pub fn without_append_only_file(&self) -> Vec<Warning> {
        let loses = |Server { persistence, replication_lag_ms, .. }: &Server| {
            *persistence == Some(Persistence::Snapshots) && replication_lag_ms.is_none()
        };
        let warned = self.instances.iter().filter(|instance| loses(&instance.server));
        let warn = |instance: &Instance| {
            Warning {
            instance: instance.name.clone(),
            name: WarningName::NoAppendOnlyFile,
            text: "fast accepts wait in it, and a restart loses them: appendonly should be yes, or there should be a replica".into(),
        }
        };
        warned.map(warn).collect()
    }
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
    /// There is a cluster, which divides everything among its servers.
    Cluster,
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
    /// What it reports about itself.
    #[serde(flatten)]
    pub server: Server,
    /// How much of what is divided among the instances is kept there at this moment: 0 to 1. All of it, if there is one.
    pub share: f64,
    /// How many calls were made to it, with or without an answer. A call that the breaker denied is not counted.
    pub operations: u64,
    /// How many of them had no usable answer within their timeout.
    pub errors: u64,
    /// The median time to an answer in milliseconds, within 6.25 %; 0 if there was none.
    pub p50_ms: f64,
    /// The 99th percentile of the same times in milliseconds; 0 if there was no answer.
    pub p99_ms: f64,
    /// Whether calls to it are permitted.
    pub breaker: BreakerState,
    /// The reason of the last failure, even if calls have succeeded since; without secrets or addresses. `None` if
    /// there was no failure.
    pub last_error: Option<String>,
}

/// What an instance reports about itself: `None` if it did not answer or does not report it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its version, such as `7.2.4`.
    pub version: Option<String>,
    /// Its role in replication.
    pub role: Option<Role>,
    /// Its memory use.
    pub used_memory_bytes: Option<u64>,
    /// How much memory it may use; `None` if as much as there is.
    pub max_memory_bytes: Option<u64>,
    /// How much memory it has of the system, divided by what it uses.
    pub fragmentation: Option<f64>,
    /// What it does when its memory is full: `noeviction`, or which keys it evicts.
    pub eviction_policy: Option<String>,
    /// Open connections, of all processes.
    pub clients: Option<u64>,
    /// How many connections it accepts.
    pub max_clients: Option<u64>,
    /// What of its data survives a restart.
    pub persistence: Option<Persistence>,
    /// How long ago the slowest of its replicas last acknowledged, or, if it is a replica, how long ago it heard its primary:
    /// in milliseconds, to a second. `None` if it has no replica.
    pub replication_lag_ms: Option<u64>,
}

/// What of an instance's data survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Persistence {
    /// Every write is appended to a file.
    Aof,
    /// Snapshots at most.
    Snapshots,
    /// The last attempt to write failed.
    Failing,
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
