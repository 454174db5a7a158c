//! How rates, times and memory grow: with what waits in the queue, users online, members of a chat, rows, and instances of the
//! drain. It runs in this process, on Postgres and Redis. GROWTH names some of the curves, as in `GROWTH=queue,rows`, and
//! GROWTH_ROWS a last size for that of rows, as in `GROWTH_ROWS=10000000`.

mod chats;
mod drains;
mod online;
mod purge;
mod queue;
mod rows;

use std::time::{Duration, Instant};

use harness::START_MS;
use harness::redis_server::RedisServer;
use shared::clock::Clock;
use shared::config::RedisConfig;
use shared::moment::redis::RedisMoment;

use crate::report::{in_ms, number, percentile};

/// The curves, each a module of the same name.
const CURVES: [&str; 6] = ["queue", "online", "chats", "rows", "purge", "drains"];
/// Longer than Redis takes for anything here: a measurement that it refuses would be wrong.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Measures the curves that are chosen, or all.
pub(crate) async fn measure() {
    let chosen = std::env::var("GROWTH").ok().filter(|chosen| !chosen.is_empty());
    let chosen = chosen.unwrap_or_else(|| CURVES.join(","));
    for curve in chosen.split(',') {
        match curve {
            "queue" => queue::measure().await,
            "online" => online::measure().await,
            "chats" => chats::measure().await,
            "rows" => rows::measure().await,
            "purge" => purge::measure().await,
            "drains" => drains::measure().await,
            other => panic!("{other} is not a curve; the curves are {}", CURVES.join(", ")),
        }
    }
}

/// These sizes, and that of GROWTH_ROWS.
fn sizes(by_default: &[usize]) -> Vec<usize> {
    let last = std::env::var("GROWTH_ROWS").ok().map(|rows| rows.parse::<usize>().expect("GROWTH_ROWS is a number"));
    by_default.iter().copied().chain(last).collect()
}

fn moment(redis: &RedisConfig) -> RedisMoment {
    RedisMoment::with_timeout(redis, Clock::system(), TIMEOUT).unwrap()
}

/// The memory that a server uses for what it has, in bytes.
fn used_bytes(redis: &RedisServer) -> f64 {
    let info: String = redis.answers(&["INFO", "memory"]).unwrap();
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().parse().unwrap()
}

/// A statement that registers a connection `device-<n>` for each of the users `user-0`, `user-1` and so on.
fn connecting(users: usize) -> String {
    format!(
        "INSERT INTO connections (id, user_id, connected_at, token_expires_at)
         SELECT 'device-' || n, 'user-' || n, {START_MS}, {START_MS} + 86400000 FROM generate_series(0, {users} - 1) n"
    )
}

/// Adds how long an act takes.
async fn timed<T>(taken: &mut Vec<Duration>, act: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = act.await;
    taken.push(began.elapsed());
    done
}

/// The median and the 99th percentile.
fn p50_and_p99(taken: &[Duration]) -> String {
    let ms = in_ms(taken);
    [0.5, 0.99].map(|share| number(percentile(&ms, share), 2)).join(" / ")
}

/// A whole number, in figures and their names.
fn count(count: usize) -> String {
    number(count as f64, 0)
}
