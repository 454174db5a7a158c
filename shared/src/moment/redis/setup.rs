//! What a server says about itself, and whether an operator should look at it: it may lose what we keep in it, or soon
//! refuse it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value, from_redis_value};

use super::steps::pipe;
use crate::telemetry::health::{Persistence, Role, Server, Warning, WarningName};

/// The oldest version that is tested.
const MIN_MAJOR_VERSION: u32 = 7;
/// Of memory and connections: how much of the limit is in use when it is time to look.
const NEARLY_FULL_PERCENT: u64 = 80;
const LONG_LAG_MS: u64 = 10_000;

/// The sections of `INFO` that say it. A server before 7.0 takes one section a command.
const SECTIONS: [&str; 5] = ["server", "clients", "memory", "persistence", "replication"];

/// Asks a server about itself. Nothing is known if the access list forbids `INFO`.
pub(crate) async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<Server> {
    let commands = SECTIONS.map(|section| {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        command
    });
    let mut info = String::new();
    for section in pipe(connection, commands).await? {
        if let Some(text) = section.ok().and_then(|section| from_redis_value::<String>(section).ok()) {
            info.push_str(&text);
            info.push('\n');
        }
    }
    Ok(parse(&info))
}

/// Whether a server is one of a cluster, which the access list may forbid to ask, and its time in milliseconds since 1970.
pub(crate) async fn cluster_and_time(connection: &mut MultiplexedConnection) -> RedisResult<(Option<bool>, i64)> {
    let mut info = redis::cmd("INFO");
    info.arg("cluster");
    let mut answers = pipe(connection, [info, redis::cmd("TIME")]).await?.into_iter();
    let info = answers.next().and_then(Result::ok).and_then(|info| from_redis_value::<String>(info).ok());
    let is_in_cluster =
        info.and_then(|info| match info.lines().find_map(|line| line.trim().strip_prefix("cluster_enabled:"))? {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        });
    let (seconds, microseconds): (i64, i64) = match answers.next() {
        Some(time) => from_redis_value(time?)?,
        None => (0, 0),
    };
    Ok((is_in_cluster, seconds * 1_000 + microseconds / 1_000))
}

/// Asks a server which slots each server of its cluster holds.
pub(crate) async fn slots(connection: &mut MultiplexedConnection) -> RedisResult<Value> {
    redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await
}

/// Why an operator should look at these servers, given with the names of their instances.
pub(crate) fn warnings(servers: &[(&str, &Server)]) -> Vec<Warning> {
    let mut all = Vec::new();
    for (instance, server) in servers {
        let compared = servers.first().filter(|(first, _)| first != instance);
        let found =
            own_warnings(server).into_iter().chain(compared.into_iter().flat_map(|first| differences(server, *first)));
        all.extend(found.map(|(name, text)| Warning { instance: (*instance).to_owned(), name, text }));
    }
    all
}

/// The servers that this process has connected to so far, by the names of their instances.
#[derive(Debug, Default)]
pub(crate) struct Setups(Mutex<Vec<(String, Server)>>);

impl Setups {
    /// Adds a server; returns what there is to say about it, also compared with the others.
    pub(crate) fn add(&self, instance: &str, server: Server) -> Vec<Warning> {
        let mut setups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        setups.retain(|(name, _)| name != instance);
        setups.push((instance.to_owned(), server));
        let setups: Vec<(&str, &Server)> = setups.iter().map(|(name, server)| (name.as_str(), server)).collect();
        warnings(&setups).into_iter().filter(|warning| warning.instance == instance).collect()
    }
}

fn parse(info: &str) -> Server {
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
    let text = |name: &str| fields.get(name).map(|text| (*text).to_owned());
    let role = fields.get("role").and_then(|role| match *role {
        "master" => Some(Role::Primary),
        "slave" => Some(Role::Replica),
        _ => None,
    });
    let failed = |name: &str| fields.get(name).is_some_and(|status| *status == "err");
    let persistence = match fields.get("aof_enabled") {
        Some(_) if failed("aof_last_write_status") || failed("rdb_last_bgsave_status") => Some(Persistence::Failing),
        Some(&"1") => Some(Persistence::Aof),
        Some(_) => Some(Persistence::Snapshots),
        None => None,
    };
    let lag_s = match role {
        Some(Role::Primary) => slowest_replica_lag_s(&fields),
        Some(Role::Replica) => number("master_last_io_seconds_ago"),
        None => None,
    };
    Server {
        version: text("redis_version"),
        role,
        used_memory_bytes: number("used_memory"),
        max_memory_bytes: number("maxmemory").filter(|bytes| *bytes > 0),
        fragmentation: fields
            .get("mem_fragmentation_ratio")
            .and_then(|ratio| ratio.parse().ok())
            .filter(|ratio: &f64| ratio.is_finite()),
        eviction_policy: text("maxmemory_policy"),
        clients: number("connected_clients"),
        max_clients: number("maxclients"),
        persistence,
        replication_lag_ms: lag_s.map(|seconds| seconds.saturating_mul(1_000)),
    }
}

/// From lines such as `slave0:ip=10.0.0.1,port=6379,state=online,offset=42,lag=1`.
fn slowest_replica_lag_s(fields: &HashMap<&str, &str>) -> Option<u64> {
    let replicas = fields.iter().filter(|(name, _)| {
        name.strip_prefix("slave").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let lag = |state: &str| state.split(',').find_map(|part| part.strip_prefix("lag="))?.parse().ok();
    replicas.filter_map(|(_, state)| lag(state)).max()
}

fn own_warnings(server: &Server) -> Vec<(WarningName, String)> {
    let mut found = Vec::new();
    if let Some(version) = &server.version {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < MIN_MAJOR_VERSION) {
            found.push((WarningName::OldVersion, format!("Redis {version} is older than {MIN_MAJOR_VERSION}.0")));
        }
    }
    if let Some(policy) = &server.eviction_policy
        && policy != "noeviction"
        && server.max_memory_bytes.is_some()
    {
        let text = format!("maxmemory-policy is {policy}, which evicts keys: it should be noeviction");
        found.push((WarningName::EvictionPolicy, text));
    }
    if let (Some(used), Some(limit)) = (server.used_memory_bytes, server.max_memory_bytes)
        && is_nearly_full(used, limit)
    {
        found.push((WarningName::Memory, format!("{used} of {limit} bytes of maxmemory are used")));
    }
    if let (Some(clients), Some(limit)) = (server.clients, server.max_clients)
        && is_nearly_full(clients, limit)
    {
        found.push((WarningName::Clients, format!("{clients} of {limit} connections of maxclients are used")));
    }
    if server.persistence == Some(Persistence::Failing) {
        found.push((WarningName::Persistence, "the last attempt to write to disk failed".into()));
    }
    if let Some(lag_ms) = server.replication_lag_ms.filter(|lag_ms| *lag_ms >= LONG_LAG_MS) {
        found.push((WarningName::ReplicationLag, format!("replication is {} s behind", lag_ms / 1_000)));
    }
    found
}

fn is_nearly_full(used: u64, limit: u64) -> bool {
    u128::from(used) * 100 >= u128::from(limit) * u128::from(NEARLY_FULL_PERCENT)
}

/// How a server differs from the first one in what all should have in common.
fn differences(server: &Server, (first_name, first): (&str, &Server)) -> Vec<(WarningName, String)> {
    let mut found = Vec::new();
    if let (Some(version), Some(other)) = (&server.version, &first.version)
        && version != other
    {
        found.push((
            WarningName::OtherVersion,
            format!("its version is {version}, and that of {first_name} is {other}"),
        ));
    }
    if let (Some(policy), Some(other)) = (&server.eviction_policy, &first.eviction_policy)
        && policy != other
    {
        let text = format!("its maxmemory-policy is {policy}, and that of {first_name} is {other}");
        found.push((WarningName::OtherEvictionPolicy, text));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(servers: &[(&str, &Server)]) -> Vec<(String, WarningName)> {
        warnings(servers).into_iter().map(|warning| (warning.instance, warning.name)).collect()
    }

    #[test]
    fn what_a_server_says_is_read_and_what_it_does_not_say_is_unknown() {
        let info = "# Server\r\nredis_version:7.2.4\r\nconnected_clients:3\r\nmaxclients:10000\r\nused_memory:1048576\r\n\
                    used_memory_rss:7\r\nmaxmemory:4194304\r\nmaxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.25\r\n\
                    aof_enabled:1\r\naof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\nrole:master\r\n\
                    connected_slaves:2\r\nslave0:ip=10.0.0.1,port=1,state=online,offset=42,lag=1\r\n\
                    slave1:ip=10.0.0.2,port=1,state=online,offset=40,lag=4\r\n";
        let expected = Server {
            version: Some("7.2.4".into()),
            role: Some(Role::Primary),
            used_memory_bytes: Some(1_048_576),
            max_memory_bytes: Some(4_194_304),
            fragmentation: Some(1.25),
            eviction_policy: Some("noeviction".into()),
            clients: Some(3),
            max_clients: Some(10_000),
            persistence: Some(Persistence::Aof),
            replication_lag_ms: Some(4_000),
        };
        assert_eq!(parse(info), expected);
        let replica = parse("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_last_io_seconds_ago:12\r\nmaxmemory:0");
        let expected = Server { role: Some(Role::Replica), replication_lag_ms: Some(12_000), ..Server::default() };
        assert_eq!(replica, expected);
        for unknown in ["", "?", "role:sentinel\r\nused_memory:much\r\nmem_fragmentation_ratio:nan\r\nmaxclients:-1"] {
            assert_eq!(parse(unknown), Server::default(), "{unknown}");
        }
        // A replica that has lost its primary.
        assert_eq!(parse("role:slave\r\nmaster_last_io_seconds_ago:-1").replication_lag_ms, None);
    }

    #[test]
    fn each_reason_to_look_at_a_server_has_a_name() {
        use WarningName::{Clients, EvictionPolicy, Memory, OldVersion, ReplicationLag};
        for (info, expected) in [
            ("redis_version:7.0.15\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru", &[][..]),
            ("redis_version:8.2.1\r\nmaxmemory:1000\r\nused_memory:799\r\nmaxmemory_policy:noeviction", &[]),
            ("redis_version:6.2.14\r\nmaxmemory:0", &[OldVersion]),
            ("maxmemory:1000\r\nmaxmemory_policy:volatile-lru", &[EvictionPolicy]),
            ("maxmemory:1000\r\nused_memory:800", &[Memory]),
            ("connected_clients:8\r\nmaxclients:10", &[Clients]),
            ("role:master\r\nslave0:lag=10", &[ReplicationLag]),
            ("aof_enabled:1\r\naof_last_write_status:err", &[WarningName::Persistence]),
            ("aof_enabled:0\r\nrdb_last_bgsave_status:err", &[WarningName::Persistence]),
            ("redis_version:6.0.0\r\nmaxmemory:1000\r\nmaxmemory_policy:allkeys-lru", &[OldVersion, EvictionPolicy]),
        ] {
            let expected: Vec<_> = expected.iter().map(|name| ("redis-1".to_owned(), *name)).collect();
            assert_eq!(names(&[("redis-1", &parse(info))]), expected, "{info}");
        }
        let old = warnings(&[("redis-1", &parse("redis_version:6.2.14"))]);
        assert_eq!(old[0].text, "Redis 6.2.14 is older than 7.0");
    }

    #[test]
    fn servers_that_differ_are_named() {
        let [one, other] = ["7.0.15", "7.2.4"].map(|version| parse(&format!("redis_version:{version}")));
        let [keeps, evicts] = ["noeviction", "allkeys-lru"].map(|policy| parse(&format!("maxmemory_policy:{policy}")));
        let named = |name| vec![("redis-2".to_owned(), name)];
        assert_eq!(names(&[("redis-1", &one), ("redis-2", &other)]), named(WarningName::OtherVersion));
        assert_eq!(names(&[("redis-1", &keeps), ("redis-2", &evicts)]), named(WarningName::OtherEvictionPolicy));
        assert_eq!(names(&[("redis-1", &one), ("redis-2", &keeps), ("redis-3", &one)]), []);

        let setups = Setups::default();
        assert_eq!(setups.add("redis-2", one), []);
        let said = setups.add("redis-1", other);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].text, "its version is 7.2.4, and that of redis-2 is 7.0.15");
    }
}
