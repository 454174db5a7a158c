//! F50: an outage has left 100,000 notifications that are due at once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::rows::REST;
use crate::stage::{Stage, pause};

/// How many wait, for how many users each as many; the first of them have devices.
const NOTIFICATIONS: i64 = 100_000;
const USERS: i64 = 100;
/// The most frames of the backlog that a device gets.
const FRAMES: usize = 6;
/// How many times as long an accept may take as when nothing waits, or how long: the drain works on the same cores.
const SLOWER: f64 = 3.0;
const SLOW_MS: f64 = 1_000.0;

/// Whoever is far behind is told once to sync; meanwhile sends are accepted as ever.
pub(crate) async fn after_an_outage(stage: &mut Stage) {
    stage.has_no_schedule();
    stage.sends("s", 4, REST);
    pause(1_000).await;
    let calm = Instant::now();
    pause(3_000).await;
    let [_, calm_ms] = stage.accept_ms(calm, Instant::now());
    stage.sends_no_more().await;
    fall_due(stage).await;
    stage.sends("later", 4, REST);
    let begun = Instant::now();
    stage.heals();
    // One at a time: a drain that is awake keeps others from being woken. Of several at once each tells of what it found.
    while stage.waiting().await > 100 && begun.elapsed() < Duration::from_secs(60) {
        stage.drains(1).await;
    }
    let cleared = begun.elapsed();
    let [_, meanwhile_ms] = stage.accept_ms(begun, Instant::now().max(begun + Duration::from_secs(2)));
    let backlog = "SELECT n.id::text FROM notifications n JOIN sends s ON s.id = n.send_id WHERE s.sender = 'outage'";
    let backlog: Vec<String> = sqlx::query_scalar(backlog).fetch_all(&stage.database).await.unwrap();
    let backlog: HashSet<String> = backlog.into_iter().collect();
    let frames = stage.devices.iter().map(|device| {
        let seen = device.seen.lock().unwrap();
        let own = seen.frames.iter().filter(|(id, _)| backlog.contains(*id)).map(|(_, count)| *count);
        (own.sum::<usize>(), seen.resyncs)
    });
    let (frames, resyncs) = frames.fold((0, 0), |(most, all), (own, resyncs)| (most.max(own + resyncs), all + resyncs));
    stage.remarks(format!(
        "{NOTIFICATIONS} due were cleared in {:.1} s; a device got at most {frames} frames for its {}; accept p99 \
         {calm_ms:.0} ms when calm, {meanwhile_ms:.0} ms meanwhile",
        cleared.as_secs_f64(),
        NOTIFICATIONS / USERS
    ));
    stage.requires(resyncs > 0, "nobody was told to sync");
    stage.requires(frames <= FRAMES, format!("a device got {frames} frames for what one could have said"));
    let bound = SLOW_MS.max(SLOWER * calm_ms);
    stage.requires(
        meanwhile_ms <= bound,
        format!("accept p99 was {meanwhile_ms:.0} ms where {calm_ms:.0} ms are usual"),
    );
}

/// As sends would have left it, a minute ago.
async fn fall_due(stage: &Stage) {
    let each = NOTIFICATIONS / USERS;
    let statements = [
        format!(
            "INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, data, priority, created_at, due_at, keep_until)
             SELECT gen_random_uuid(), 'outage', '', '', 'started', 'order', 'backlog/' || n, '{{}}', 'normal', now_ms, now_ms, now_ms + 86400000
               FROM generate_series(1, {each}) AS n, (SELECT (extract(epoch FROM now()) * 1000)::bigint - 60000 AS now_ms) AS clock"
        ),
        format!(
            "INSERT INTO inboxes (user_id, epoch) SELECT 'user-' || u, epoch.epoch FROM generate_series(0, {USERS} - 1) AS u, epoch
             ON CONFLICT DO NOTHING"
        ),
        "INSERT INTO notifications (user_id, \"offset\", version, id, send_id, type, created_at, push_at)
         SELECT i.user_id, i.head + n, i.head + n, gen_random_uuid(), s.id, s.type, s.created_at, s.created_at
           FROM inboxes i, (SELECT *, split_part(title, '/', 2)::bigint AS n FROM sends WHERE sender = 'outage') AS s"
            .to_owned(),
        format!("UPDATE inboxes SET head = head + {each}, unread = unread + {each}"),
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&stage.database).await.unwrap();
    }
}
