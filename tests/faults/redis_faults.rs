//! Redis is killed, emptied, hung, slowed, cut off and filled. No sender gets an error for any of it.

use std::time::{Duration, Instant};

use shared::delivery::work::SHARDS;
use shared::telemetry::health::{Health, Status, WarningName};

use crate::proxy::Mode;
use crate::servers::calls;
use crate::testbed::{Duplicates, LIMIT_WINDOW, Testbed, pause};

/// Twice the contract's bound for a call that encounters a slow or silent Redis.
const SLOW_MS: f64 = 400.0;
/// How often drains may look for work in a second in which there is none to do: as often as a drain does that waits for another.
const MAX_LOOKS_PER_S: f64 = 40.0;
/// A look counts what is delayed and what is claimed in each shard of the queue. Little else uses ZCARD without load.
const ZCARDS_OF_A_LOOK: u64 = 2 * SHARDS as u64;
/// How many keys of no meaning there are where keys are evicted.
const BALLAST: u64 = 100_000;

/// F01: Redis is killed; its append-only file survives.
pub(crate) async fn killed(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    for _ in 0..2 {
        testbed.servers.redis.is_killed();
        testbed.run_for(1.0).await;
        testbed.servers.redis.is_back();
        testbed.run_for(1.0).await;
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F02: the power fails. Redis syncs its append-only file every second, so what it wrote in the last one is gone. No library over
/// `fsync` is needed for that: the file is cut to what it had a second before, which is at least what a power cut takes.
pub(crate) async fn power_lost(testbed: &mut Testbed) {
    let from = Instant::now();
    for _ in 0..3 {
        testbed.run_for(1.5).await;
        let synced = testbed.servers.redis.appended();
        testbed.run_for(1.0).await;
        let written = testbed.servers.redis.appended().iter().map(|(_, length)| length).sum::<u64>();
        let lost = written - synced.iter().map(|(_, length)| length).sum::<u64>();
        testbed.require(lost > 0, "nothing was written that could be lost");
        testbed.expect_losses(1).await;
        testbed.servers.redis.loses_power(&synced);
        testbed.run_for(0.5).await;
        testbed.servers.redis.is_back();
        testbed.note(format!("{lost} bytes of commands lost"));
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F53: the clock of Redis jumps an hour ahead and back, and an hour behind and back. A caller that is refused
/// because its budget seems empty is admitted again after one window.
pub(crate) async fn clock_jumps(testbed: &mut Testbed) {
    testbed.servers.redis.gets_own_clock();
    testbed.run_for(1.5).await;
    let from = Instant::now();
    let redis_s = |testbed: &Testbed| testbed.servers.redis.answers::<(i64, i64)>(&["TIME"]).map_or(0, |(s, _)| s);
    let start = (redis_s(testbed), Instant::now());
    for ahead_s in [3_600, 0, -3_600, 0] {
        testbed.servers.redis.sets_clock(ahead_s);
        // A budget is empty when the clock has gone back, and full again after its window.
        testbed.run_for(1.25 * LIMIT_WINDOW.as_secs_f64()).await;
        let full_at = Instant::now();
        testbed.run_for(2.0).await;
        let refused = testbed.refusals_since(full_at);
        testbed.require_no_refusal(&refused, &format!("a window after the clock was set {ahead_s} s ahead"));
        let accepted = testbed.calls_with_status(full_at, Instant::now(), |status| (200..300).contains(&status));
        testbed.require(accepted > 0, format!("no call was accepted with the clock {ahead_s} s ahead"));
        let expected = start.0 + start.1.elapsed().as_secs().cast_signed() + ahead_s;
        let off = redis_s(testbed) - expected;
        testbed.require(off.abs() <= 2, format!("the clock of Redis is {off} s off from what was set"));
    }
    testbed.end_fault();
    let refused = testbed.refusals(from, Instant::now(), |_, call| call.code != "rate_limited");
    testbed.require_no_refusal(&refused, "although Postgres was available");
}

/// F03: Redis comes back empty, as after the promotion of an empty replica. Waiting work is found in the record.
pub(crate) async fn wiped(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    for _ in 0..2 {
        testbed.expect_losses(1).await;
        testbed.servers.redis.is_wiped();
        testbed.run_for(1.0).await;
        testbed.servers.redis.is_back();
        testbed.run_for(1.0).await;
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F04: Redis accepts commands but does not answer, for 1, 5 and 30 s. A call times out once, then the breaker is open.
pub(crate) async fn hung(testbed: &mut Testbed) {
    testbed.run_for(3.0).await;
    let from = Instant::now();
    let [_, calm_ms] = testbed.accept_ms(from - Duration::from_secs(2), from);
    for seconds in [1.0, 5.0, 30.0] {
        testbed.servers.redis.hangs();
        testbed.run_for(1.0).await;
        let open = Instant::now();
        testbed.run_for(seconds - 1.0).await;
        let [p50, p99] = testbed.accept_ms(open, Instant::now());
        testbed.servers.redis.goes_on();
        if seconds > 1.0 {
            testbed
                .note(format!("hung for {seconds} s: accept p50/p99 {p50:.0}/{p99:.0} ms, p99 {calm_ms:.0} ms before"));
            // On a slow machine, where even calm calls take long, the fault may at most double their time.
            let bound = SLOW_MS.max(2.0 * calm_ms);
            testbed.require(
                p99 <= bound,
                format!("accept p99 was {p99:.0} ms with an open breaker, more than {bound:.0}"),
            );
        }
        testbed.run_for(1.0).await;
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F05: every answer is delayed, by less and by more than the timeout of a call.
pub(crate) async fn slow(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    for delay_ms in [50, 200, 1_000] {
        testbed.redis.set_mode(Mode::Delay(Duration::from_millis(delay_ms)));
        testbed.run_for(2.5).await;
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F06: commands arrive but their answers do not, so it is unknown whether they were executed.
pub(crate) async fn answers_lost(testbed: &mut Testbed) {
    run_modes(testbed, &[Mode::LoseAnswers(0.3)], 5.0).await;
}

/// F07: answers arrive in slices, break off in the middle, or are garbage.
pub(crate) async fn answers_cut(testbed: &mut Testbed) {
    run_modes(testbed, &[Mode::Slice, Mode::CutAnswers(0.3), Mode::GarbleAnswers(0.3)], 2.5).await;
}

/// F15: Redis is full and must not evict anything.
pub(crate) async fn full(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    testbed.servers.redis.does(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = testbed.servers.redis.answers::<String>(&["SET", "one", "more"]).is_err();
    testbed.require(refused, "Redis was not full");
    testbed.run_for(5.0).await;
    testbed.servers.redis.does(&["CONFIG", "SET", "maxmemory", "0"]);
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F16: Redis is full and evicts any key, as it must not: whatever was there is gone, and health says why.
pub(crate) async fn evicting(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    // So much more than our own keys that buffers of clients may grow without leaving nothing to evict.
    testbed.servers.redis.does(&["DEBUG", "POPULATE", &BALLAST.to_string(), "ballast", "64"]);
    let memory: String = testbed.servers.redis.answers(&["INFO", "memory"]).unwrap();
    let bytes = |name: &str| {
        let value = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    // A third of the ballast less than it has: what clients use, and what it took to grow, shrinks by more than a megabyte. What
    // waits for replicas and for the disk does not count.
    let most = (bytes("used_memory") - bytes("mem_not_counted_for_evict") - 4_000_000).to_string();
    testbed.servers.redis.does(&["CONFIG", "RESETSTAT"]);
    testbed.servers.redis.does(&["CONFIG", "SET", "maxmemory", &most, "maxmemory-policy", "allkeys-random"]);
    testbed.run_for(5.0).await;
    let is_named = match testbed.queue.check().await {
        Status::Warned(warnings) => warnings.iter().any(|warning| warning.name == WarningName::EvictionPolicy),
        _ => false,
    };
    testbed.require(is_named, "health did not name the eviction policy");
    testbed.servers.redis.does(&["CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction"]);
    testbed.end_fault();
    let ballast = testbed.servers.redis.keys().iter().filter(|key| key.starts_with("ballast:")).count() as u64;
    let stats: String = testbed.servers.redis.answers(&["INFO", "stats"]).unwrap();
    let evicted = |line: &str| line.strip_prefix("evicted_keys:")?.trim().parse::<u64>().ok();
    let evicted = stats.lines().find_map(evicted).unwrap_or_default();
    testbed.require(evicted > 0, "no key was evicted");
    // Each of them may have been a log.
    let own = evicted.saturating_sub(BALLAST - ballast.min(BALLAST));
    testbed.expect_losses(own).await;
    testbed.note(format!("{evicted} keys evicted, of which {own} were no ballast"));
    require_unnoticed(testbed, from);
    testbed.expect_losses(1).await;
    testbed.servers.empty_redis();
}

/// F18: a script of another program does not end, so that Redis first answers nothing, and then BUSY.
pub(crate) async fn busy(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    testbed.servers.redis.does(&["CONFIG", "SET", "busy-reply-threshold", "500"]);
    for _ in 0..3 {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", testbed.servers.redis.port())).unwrap();
        let script = std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut connection)
        });
        testbed.run_for(2.0).await;
        let is_busy =
            testbed.servers.redis.answers::<String>(&["PING"]).is_err_and(|error| error.code() == Some("BUSY"));
        testbed.require(is_busy, "Redis was not busy");
        testbed.servers.redis.does(&["SCRIPT", "KILL"]);
        let ended = script.join().unwrap();
        testbed.require(ended.is_err(), "the script ended by itself");
        testbed.run_for(1.0).await;
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F17: Redis is restarted and loads its data for a while before it serves.
pub(crate) async fn loading(testbed: &mut Testbed) {
    testbed.servers.redis.does(&["DEBUG", "POPULATE", "700000", "ballast", "64"]);
    testbed.servers.redis.does(&["BGREWRITEAOF"]);
    let info =
        |testbed: &Testbed| testbed.servers.redis.answers::<String>(&["INFO", "persistence"]).unwrap_or_default();
    for _ in 0..300 {
        let info = info(testbed);
        if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
            break;
        }
        pause(100).await;
    }
    let from = Instant::now();
    testbed.servers.redis.is_killed();
    testbed.servers.redis.is_back();
    let was_loading = info(testbed).contains("\nloading:1");
    testbed.require(was_loading, "Redis had nothing to load");
    let mut loading = was_loading;
    while loading {
        pause(50).await;
        loading = !info(testbed).contains("\nloading:0");
    }
    testbed.note(format!("loading for {:.1} s", from.elapsed().as_secs_f64()));
    testbed.end_fault();
    require_unnoticed(testbed, from);
    testbed.run_for(1.0).await;
    // What waits in Redis alone is written before it is emptied.
    testbed.stop_senders().await;
    testbed.wait_until_idle().await;
    // In a cluster the replica may have taken over meanwhile.
    testbed.servers.empty_redis();
    testbed.resume_load();
}

/// F19: Redis forgets its scripts and functions repeatedly.
pub(crate) async fn scripts_forgotten(testbed: &mut Testbed) {
    repeat_commands(testbed, &[&["SCRIPT", "FLUSH"], &["FUNCTION", "FLUSH"]], 10).await;
}

/// F20: Redis forgets all its data repeatedly.
pub(crate) async fn flushed(testbed: &mut Testbed) {
    repeat_commands(testbed, &[&["FLUSHALL"]], 100).await;
}

/// F21: Redis gets a password that the functions do not have, and loses it again.
pub(crate) async fn password_changed(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    let mut admin = admin(testbed);
    let mut does =
        |command: &[&str]| redis::cmd(command[0]).arg(&command[1..]).query::<redis::Value>(&mut admin).unwrap();
    does(&["CONFIG", "SET", "requirepass", "changed"]);
    does(&["CLIENT", "KILL", "TYPE", "normal"]);
    testbed.run_for(5.0).await;
    let is_refused =
        testbed.servers.redis.answers::<String>(&["PING"]).is_err_and(|error| error.code() == Some("NOAUTH"));
    testbed.require(is_refused, "no password was needed");
    does(&["CONFIG", "SET", "requirepass", ""]);
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F22: Redis has as many connections as it accepts, and those of the functions are closed.
pub(crate) async fn no_more_clients(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    let mut admin = admin(testbed);
    let mut does =
        |command: &[&str]| redis::cmd(command[0]).arg(&command[1..]).query::<redis::Value>(&mut admin).unwrap();
    does(&["CONFIG", "SET", "maxclients", "1"]);
    for kind in ["normal", "pubsub"] {
        does(&["CLIENT", "KILL", "TYPE", kind]);
    }
    testbed.run_for(5.0).await;
    let is_refused = testbed.servers.redis.answers::<String>(&["PING"]).is_err();
    testbed.require(is_refused, "a further connection was accepted");
    does(&["CONFIG", "SET", "maxclients", "10000"]);
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F23: one of several instances is down for long. Only its partitions move, and what it still had is drained when it is back.
/// Drains that cannot finish without it wait for it.
pub(crate) async fn one_of_several_down(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    testbed.servers.redis.is_killed();
    testbed.run_for(12.0).await;
    // Without load there is nothing else to do.
    testbed.stop_senders().await;
    testbed.run_for(2.0).await;
    let (quiet, before) = (Instant::now(), looks(testbed));
    testbed.run_for(6.0).await;
    let per_s = looks(testbed).saturating_sub(before) as f64 / quiet.elapsed().as_secs_f64();
    testbed.note(format!("without load, drains looked for work {per_s:.0} times a second"));
    testbed.require(
        per_s <= MAX_LOOKS_PER_S,
        format!("drains looked for work {per_s:.0} times a second, more than {MAX_LOOKS_PER_S}"),
    );
    testbed.resume_load();
    testbed.servers.redis.is_back();
    testbed.run_for(7.0).await;
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// How often drains have looked for work so far, at the healthy instance that was asked most.
fn looks(testbed: &Testbed) -> u64 {
    let zcards = testbed.servers.more_redis.iter().map(|server| calls(server, "zcard"));
    zcards.max().unwrap_or(0) / ZCARDS_OF_A_LOOK
}

/// A connection to Redis that outlasts the others.
fn admin(testbed: &Testbed) -> redis::Connection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", testbed.servers.redis.port())).unwrap();
    client.get_connection().unwrap()
}

/// Sets each mode for this many seconds.
async fn run_modes(testbed: &mut Testbed, modes: &[Mode], seconds: f64) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    for mode in modes {
        testbed.redis.set_mode(*mode);
        testbed.run_for(seconds).await;
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// Repeats the commands for five seconds, with a pause of `interval_ms` after each round.
async fn repeat_commands(testbed: &mut Testbed, commands: &[&[&str]], interval_ms: u64) {
    testbed.run_for(1.0).await;
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(5) {
        for command in commands {
            if **command == ["FLUSHALL"] {
                testbed.expect_losses(1).await;
            }
            testbed.servers.redis.does(command);
        }
        pause(interval_ms).await;
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// Requires that no call was refused because of the fault, which began at `from`, and forbids duplicate frames. Notes how soon calls
/// and frames went on.
pub(crate) fn require_unnoticed(testbed: &mut Testbed, from: Instant) {
    let went_on = testbed.went_on_after(from);
    testbed.note(went_on);
    testbed.duplicates = Duplicates::Forbidden;
    let refused = testbed.refusals_since(from);
    testbed.require_no_refusal(&refused, "although Postgres was available");
}
