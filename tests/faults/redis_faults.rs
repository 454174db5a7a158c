//! Redis is killed, emptied, hung, slowed, cut and filled. None of it is an error to anybody who sends.

use std::time::{Duration, Instant};

use crate::proxy::Mode;
use crate::stage::{Stage, pause};

/// The contract's bound for a call that meets a Redis that is slow or silent, twice over.
const SLOW_MS: f64 = 400.0;

/// F01: killed, with its append-only file intact.
pub(crate) async fn killed(stage: &mut Stage) {
    stage.works_for(1.5).await;
    let from = Instant::now();
    for _ in 0..2 {
        stage.servers.redis.is_killed();
        stage.works_for(1.0).await;
        stage.servers.redis.is_back();
        stage.works_for(1.0).await;
    }
    stage.heals();
    nobody_notices(stage, from);
}

/// F03: an empty replica was promoted. The record knows everything, and what waits is found there.
pub(crate) async fn wiped(stage: &mut Stage) {
    stage.works_for(1.5).await;
    let from = Instant::now();
    for _ in 0..2 {
        stage.servers.redis.is_wiped();
        stage.works_for(1.0).await;
        stage.servers.redis.is_back();
        stage.works_for(1.0).await;
    }
    stage.heals();
    nobody_notices(stage, from);
}

/// F04: it takes everything and answers nothing, for 1, 5 and 30 s. A call waits once, then the breaker is open.
pub(crate) async fn hung(stage: &mut Stage) {
    stage.works_for(3.0).await;
    let from = Instant::now();
    let [_, calm_ms] = stage.accept_ms(from - Duration::from_secs(2), from);
    for seconds in [1.0, 5.0, 30.0] {
        stage.servers.redis.hangs();
        stage.works_for(1.0).await;
        let open = Instant::now();
        stage.works_for(seconds - 1.0).await;
        let [p50, p99] = stage.accept_ms(open, Instant::now());
        stage.servers.redis.goes_on();
        if seconds > 1.0 {
            stage
                .remarks(format!("hung for {seconds} s: accepts take {p50:.0}/{p99:.0} ms, {calm_ms:.0} ms when calm"));
            // Where the machine itself is slower than that, the fault may not be slower still.
            let bound = SLOW_MS.max(2.0 * calm_ms);
            stage.requires(p99 <= bound, format!("with an open breaker p99 is {p99:.0} ms"));
        }
        stage.works_for(1.0).await;
    }
    stage.heals();
    nobody_notices(stage, from);
}

/// F05: every answer comes later, by less and by more than a call waits.
pub(crate) async fn slow(stage: &mut Stage) {
    stage.works_for(1.0).await;
    let from = Instant::now();
    for delay_ms in [50, 200, 1_000] {
        stage.redis.does(Mode::Delay(Duration::from_millis(delay_ms)));
        stage.works_for(2.5).await;
    }
    stage.heals();
    nobody_notices(stage, from);
}

/// F06: the command arrived, its answer does not: nobody knows whether it was done.
pub(crate) async fn answers_lost(stage: &mut Stage) {
    plays(stage, &[Mode::LoseAnswers(0.3)], 5.0).await;
}

/// F07: answers come in slices, break off in their middle, or are no answers.
pub(crate) async fn answers_cut(stage: &mut Stage) {
    plays(stage, &[Mode::Slice, Mode::CutAnswers(0.3), Mode::GarbleAnswers(0.3)], 2.5).await;
}

/// F15: full, and it may drop nothing.
pub(crate) async fn full(stage: &mut Stage) {
    stage.works_for(1.0).await;
    let from = Instant::now();
    stage.servers.redis.does(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = stage.servers.redis.answers::<String>(&["SET", "one", "more"]).is_err();
    stage.requires(refused, "Redis was not full");
    stage.works_for(5.0).await;
    stage.servers.redis.does(&["CONFIG", "SET", "maxmemory", "0"]);
    stage.heals();
    nobody_notices(stage, from);
}

/// F17: it is back, and reads its data for a while before it serves.
pub(crate) async fn loading(stage: &mut Stage) {
    stage.servers.redis.does(&["DEBUG", "POPULATE", "700000", "ballast", "64"]);
    stage.servers.redis.does(&["BGREWRITEAOF"]);
    let info = |stage: &Stage| stage.servers.redis.answers::<String>(&["INFO", "persistence"]).unwrap_or_default();
    for _ in 0..300 {
        let info = info(stage);
        if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
            break;
        }
        pause(100).await;
    }
    let from = Instant::now();
    stage.servers.redis.is_killed();
    stage.servers.redis.is_back();
    let was_loading = info(stage).contains("\nloading:1");
    stage.requires(was_loading, "Redis had nothing to load");
    let mut loading = was_loading;
    while loading {
        pause(50).await;
        loading = !info(stage).contains("\nloading:0");
    }
    stage.remarks(format!("loading for {:.1} s", from.elapsed().as_secs_f64()));
    stage.heals();
    nobody_notices(stage, from);
    stage.works_for(1.0).await;
    stage.servers.redis.does(&["FLUSHALL"]);
}

/// F19: the scripts that it knew are forgotten, again and again.
pub(crate) async fn scripts_forgotten(stage: &mut Stage) {
    repeats(stage, &[&["SCRIPT", "FLUSH"], &["FUNCTION", "FLUSH"]], 10).await;
}

/// F20: everything that it knew is forgotten, again and again.
pub(crate) async fn flushed(stage: &mut Stage) {
    repeats(stage, &[&["FLUSHALL"]], 100).await;
}

/// Each mode for so many seconds.
async fn plays(stage: &mut Stage, modes: &[Mode], seconds: f64) {
    stage.works_for(1.0).await;
    let from = Instant::now();
    for mode in modes {
        stage.redis.does(*mode);
        stage.works_for(seconds).await;
    }
    stage.heals();
    nobody_notices(stage, from);
}

/// The commands each so many milliseconds, for five seconds.
async fn repeats(stage: &mut Stage, commands: &[&[&str]], each_ms: u64) {
    stage.works_for(1.0).await;
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(5) {
        for command in commands {
            stage.servers.redis.does(command);
        }
        pause(each_ms).await;
    }
    stage.heals();
    nobody_notices(stage, from);
}

/// No call was refused for it, and no frame may come twice.
fn nobody_notices(stage: &mut Stage, from: Instant) {
    stage.doubles_nothing = true;
    let refused = stage.answered(from, Instant::now(), |status| !(200..300).contains(&status));
    stage.requires(refused == 0, format!("{refused} sends were refused, though the database was there"));
}
