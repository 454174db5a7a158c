//! Redis Clusters of the tests: one that all tests of a process share, and others that a test may break.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use redis::{Value, from_redis_value};
use shared::config::RedisConfig;

use crate::redis_server::{Authority, RedisServer, config, free_port, new_prefix, remove_folders_of_ended_processes};

const SLOTS: usize = 16_384;
/// After how long without an answer a server counts as away, in milliseconds.
const NODE_TIMEOUT_MS: &str = "1000";

/// A cluster for one test.
pub struct RedisCluster {
    /// Its servers; those that were primaries at first come first, and then their replicas.
    pub servers: Vec<RedisServer>,
    /// Where the first server speaks TLS, if it does.
    tls_port: u16,
}

/// Where a server of a cluster listens.
struct Ports {
    /// For clients; for TLS, if it speaks that.
    port: u16,
    /// For the other servers.
    bus_port: u16,
}

impl RedisCluster {
    /// Starts an empty cluster, each primary with so many replicas, and the slots divided evenly; returns once it serves.
    pub fn start(primaries: usize, replicas: usize) -> Self {
        Self::with(primaries, replicas, None, &[])
    }

    /// The same with additional command-line options of all servers.
    pub fn with_options(primaries: usize, replicas: usize, options: &[&str]) -> Self {
        Self::with(primaries, replicas, None, options)
    }

    /// The same without replicas, also reached by TLS, with certificates issued by `authority`. Clients that come by TLS are
    /// told the ports for TLS. Also returns that of the first server.
    pub fn with_tls(primaries: usize, authority: &Authority) -> (Self, u16) {
        let cluster = Self::with(primaries, 0, Some(authority), &[]);
        let port = cluster.tls_port;
        (cluster, port)
    }

    fn with(primaries: usize, replicas: usize, tls: Option<&Authority>, more: &[&str]) -> Self {
        let start = || {
            let (bus_port, tls_port) = (free_port(), tls.map(|_| free_port()));
            let own = ["--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0"];
            let own = own.into_iter().chain(["--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-port"]);
            let mut options: Vec<String> = own.map(str::to_owned).collect();
            options.push(bus_port.to_string());
            options.extend(more.iter().map(|option| (*option).to_owned()));
            if let (Some(authority), Some(port)) = (tls, tls_port) {
                options.extend(["--tls-cluster", "yes", "--tls-port"].map(str::to_owned));
                options.push(port.to_string());
                options.extend(authority.options());
            }
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            // Another process may take one of the ports before the server listens.
            let server = RedisServer::try_with(&options)?;
            let port = tls_port.unwrap_or(server.port());
            Some((server, Ports { port, bus_port }))
        };
        let started =
            (0..primaries * (1 + replicas)).map(|_| (0..5).find_map(|_| start()).expect("redis-server did not start"));
        let (servers, ports): (Vec<RedisServer>, Vec<Ports>) = started.unzip();
        let tls_port = ports[0].port;
        let cluster = Self { servers, tls_port };
        for Ports { port, bus_port } in &ports[1..] {
            cluster.servers[0].does(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string(), &bus_port.to_string()]);
        }
        for (n, server) in cluster.servers[..primaries].iter().enumerate() {
            let [first, next] = [n, n + 1].map(|n| n * SLOTS / primaries);
            server.does(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(next - 1).to_string()]);
        }
        cluster.agrees_within(Duration::from_secs(20));
        for (n, server) in cluster.servers[primaries..].iter().enumerate() {
            server.does(&["CLUSTER", "REPLICATE", &id(&cluster.servers[n % primaries])]);
        }
        waits_for("replicas", Duration::from_secs(20), || cluster.servers[primaries..].iter().all(is_replica));
        cluster.agrees_within(Duration::from_secs(20));
        cluster
    }

    /// The configuration of a moment on this cluster, which is given one of its servers.
    pub fn config(&self, prefix: &str) -> RedisConfig {
        RedisConfig { is_cluster: true, ..self.servers[0].config(prefix) }
    }

    /// Waits until every server that is there says that all slots are served, and by the same servers.
    pub fn agrees_within(&self, longest: Duration) {
        agree_within(&self.servers.iter().collect::<Vec<_>>(), longest);
    }

    /// Waits until a replica has everything that its primary has.
    pub fn waits_for_copy(&self, primary: usize, replica: usize) {
        let offset = |server: usize, name: &str| -> Option<u64> {
            let info: String = self.servers[server].answers(&["INFO", "replication"]).ok()?;
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        waits_for("copy", Duration::from_secs(20), || {
            let written = offset(primary, "master_repl_offset");
            is_replica(&self.servers[replica]) && offset(replica, "slave_repl_offset") >= written
        });
    }

    /// Begins to move a slot, and leaves it so with half of its keys moved.
    pub fn begins_to_move_slot(&self, slot: u64, from: usize, to: usize) {
        begin_to_move_slot(slot, &self.servers[from], &self.servers[to]);
    }

    /// Moves a slot with its keys from one server to another, and tells `halfway` when half of its keys have moved.
    pub fn moves_slot(&self, slot: u64, from: usize, to: usize, halfway: impl FnMut()) {
        move_slot(slot, &self.servers[from], &self.servers[to], halfway);
    }

    /// The slots that a server holds and that have keys.
    pub fn used_slots(&self, server: usize) -> Vec<u64> {
        used_slots(&self.servers[server])
    }
}

/// Waits until all of these servers that are there say that all slots are served, and by the same servers.
pub fn agree_within(servers: &[&RedisServer], longest: Duration) {
    let said = |server: &&RedisServer| -> Option<(bool, BTreeSet<String>)> {
        let state: String = server.answers(&["CLUSTER", "INFO"]).ok()?;
        let count = format!("cluster_known_nodes:{}\r", servers.len());
        let slots: Vec<Vec<Value>> = server.answers(&["CLUSTER", "SLOTS"]).ok()?;
        // Without the replicas, which are told more slowly.
        let slots = slots.iter().map(|entry| format!("{:?}", &entry[..3])).collect();
        Some((state.contains("cluster_state:ok") && state.contains(&count), slots))
    };
    waits_for("agreement", longest, || {
        let said: Vec<_> = servers.iter().filter_map(said).collect();
        said.iter().all(|(is_ok, slots)| *is_ok && *slots == said[0].1)
    });
}

/// Begins to move a slot, and leaves it so with half of its keys moved.
pub fn begin_to_move_slot(slot: u64, source: &RedisServer, target: &RedisServer) {
    let keys = announce_move(slot, source, target);
    for key in keys.iter().step_by(2) {
        move_key(key, source, target);
    }
}

/// Moves a slot with its keys from one server to another, and tells `halfway` when half of its keys have moved.
pub fn move_slot(slot: u64, source: &RedisServer, target: &RedisServer, mut halfway: impl FnMut()) {
    let keys = announce_move(slot, source, target);
    for (n, key) in keys.iter().enumerate() {
        if n == keys.len() / 2 {
            halfway();
        }
        move_key(key, source, target);
    }
    // Those that were written meanwhile.
    for key in keys_in_slot(slot, source) {
        move_key(&key, source, target);
    }
    // The target first: it is to know that the slot is its own before others stop knowing it as the source's.
    for server in [target, source] {
        server.does(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id(target)]);
    }
}

/// Tells both servers that a slot moves; returns its keys.
fn announce_move(slot: u64, source: &RedisServer, target: &RedisServer) -> Vec<String> {
    target.does(&["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &id(source)]);
    source.does(&["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &id(target)]);
    keys_in_slot(slot, source)
}

fn keys_in_slot(slot: u64, server: &RedisServer) -> Vec<String> {
    server.answers(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1000"]).unwrap()
}

fn move_key(key: &str, source: &RedisServer, target: &RedisServer) {
    source.does(&["MIGRATE", "127.0.0.1", &target.port().to_string(), key, "0", "5000"]);
}

/// The slots that a server holds and that have keys.
pub fn used_slots(server: &RedisServer) -> Vec<u64> {
    let slot = |key: &String| server.answers::<u64>(&["CLUSTER", "KEYSLOT", key]).unwrap();
    server.keys().iter().map(slot).collect::<BTreeSet<u64>>().into_iter().collect()
}

fn id(server: &RedisServer) -> String {
    server.answers(&["CLUSTER", "MYID"]).unwrap()
}

/// Whether a server is a replica whose data is complete.
pub fn is_replica(server: &RedisServer) -> bool {
    server.answers::<String>(&["INFO", "replication"]).is_ok_and(|info| info.contains("master_link_status:up"))
}

fn waits_for(what: &str, longest: Duration, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < longest, "no {what} within {longest:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the user of [`own_prefix_on_cluster`] may do: all that Carillon needs, and nothing that ElastiCache Serverless lacks.
const RIGHTS: &str = "~* &* -@all +auth +hello +asking +cluster|slots +info +time \
    +eval +evalsha +script|load +publish +spublish +subscribe +unsubscribe +ssubscribe +sunsubscribe +pubsub|numsub \
    +get +set +incr +del +unlink +exists +type +pttl +pexpire +hget +hset +hdel +hlen +hincrby +hgetall \
    +rpush +llen +lrange +ltrim +xadd +xdel +xlen +xrange +xrevrange \
    +zadd +zcard +zcount +zrange +zrangebyscore +zrem +zremrangebyrank +zremrangebyscore +zscore";

/// The configuration of a moment on the cluster of three primaries that all tests of this process share, as a user with few
/// rights. Every call returns a new prefix.
pub fn own_prefix_on_cluster() -> RedisConfig {
    static CONFIG: OnceLock<RedisConfig> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        remove_folders_of_ended_processes();
        // Servers die with the thread that started them, so that thread must outlive every test.
        std::thread::spawn(move || {
            let cluster = RedisCluster::start(3, 0);
            for server in &cluster.servers {
                let user = ["ACL", "SETUSER", "carillon", "on", ">p"];
                server.does(&user.into_iter().chain(RIGHTS.split_whitespace()).collect::<Vec<_>>());
            }
            let url = format!("redis://carillon:p@127.0.0.1:{}", cluster.servers[0].port());
            sender.send(RedisConfig { is_cluster: true, ..config(&url, "") }).unwrap();
            loop {
                std::thread::park();
            }
        });
        receiver.recv().expect("the cluster did not start")
    });
    RedisConfig { prefix: new_prefix(), ..config.clone() }
}

/// The URLs of the servers that hold slots of a configured cluster.
pub fn urls(config: &RedisConfig) -> Vec<String> {
    let mut connection = redis::Client::open(config.instances[0].url.reveal()).unwrap().get_connection().unwrap();
    let slots: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query(&mut connection).unwrap();
    let ports: BTreeSet<u16> = slots
        .into_iter()
        .map(|entry| {
            let primary: Vec<Value> = from_redis_value(entry[2].clone()).unwrap();
            from_redis_value(primary[1].clone()).unwrap()
        })
        .collect();
    ports.into_iter().map(|port| format!("redis://127.0.0.1:{port}")).collect()
}
