//! F50: after an outage, 100,000 notifications are due at once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::device::Transport;
use crate::scenarios::PAUSE_AFTER_SEND;
use crate::testbed::{Testbed, pause};

/// The size of the backlog and the number of users who share it equally. Only the first users have devices.
const NOTIFICATIONS: i64 = 100_000;
const USERS: i64 = 100;
/// The maximum number of backlog frames that one device may get.
const MAX_FRAMES: usize = 6;
/// The bound for accept latency during the backlog: this many times the calm latency, but at least this many
/// milliseconds. The drain runs on the same cores.
const MAX_SLOWDOWN: f64 = 3.0;
const MIN_BOUND_MS: f64 = 1_000.0;

/// A user with a large backlog gets one instruction to sync. Sends are accepted as usual meanwhile.
pub(crate) async fn after_an_outage(testbed: &mut Testbed) {
    testbed.stop_schedule();
    testbed.start_senders("s", 4, PAUSE_AFTER_SEND);
    testbed.start_talk();
    pause(1_000).await;
    let calm = Instant::now();
    pause(3_000).await;
    let [_, calm_ms] = testbed.accept_ms(calm, Instant::now());
    testbed.stop_senders().await;
    insert_backlog(testbed).await;
    testbed.resume_load();
    let drain_started = Instant::now();
    testbed.end_fault();
    // One drain at a time: while one is awake, no other is woken, and several at once would each send instructions to
    // sync for what they found.
    while testbed.waiting().await > 100 && drain_started.elapsed() < Duration::from_secs(60) {
        testbed.run_drains(1).await;
    }
    let cleared = drain_started.elapsed();
    let [_, busy_ms] = testbed.accept_ms(drain_started, Instant::now().max(drain_started + Duration::from_secs(2)));
    let backlog = "SELECT n.id::text FROM notifications n JOIN sends s ON s.id = n.send_id WHERE s.sender = 'outage'";
    let backlog: Vec<String> = sqlx::query_scalar(backlog).fetch_all(&testbed.database).await.unwrap();
    let backlog: HashSet<String> = backlog.into_iter().collect();
    // A stream tells of up to 500 changes one by one, which costs no push.
    let sockets = testbed.devices.iter().filter(|device| device.transport == Transport::Socket);
    let frames = sockets.map(|device| {
        let seen = device.seen.lock().unwrap();
        let own = seen.frames.iter().filter(|(id, _)| backlog.contains(*id)).map(|(_, count)| *count);
        (own.sum::<usize>(), seen.resyncs)
    });
    let (frames, resyncs) = frames.fold((0, 0), |(most, all), (own, resyncs)| (most.max(own + resyncs), all + resyncs));
    testbed.note(format!(
        "{NOTIFICATIONS} due notifications cleared in {:.1} s; at most {frames} frames per device for a backlog of {}; \
         accept p99 {calm_ms:.0} ms before, {busy_ms:.0} ms meanwhile",
        cleared.as_secs_f64(),
        NOTIFICATIONS / USERS
    ));
    testbed.require(resyncs > 0, "no device got a resync");
    testbed
        .require(frames <= MAX_FRAMES, format!("a device got {frames} frames for its backlog, more than {MAX_FRAMES}"));
    let bound = MIN_BOUND_MS.max(MAX_SLOWDOWN * calm_ms);
    testbed
        .require(busy_ms <= bound, format!("accept p99 was {busy_ms:.0} ms, compared with {calm_ms:.0} ms when calm"));
}

/// Inserts the rows that sends would have left behind a minute ago. Inboxes are locked meanwhile: what was accepted fast may
/// still be written to them.
async fn insert_backlog(testbed: &Testbed) {
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
        "SELECT FROM inboxes ORDER BY user_id FOR UPDATE".to_owned(),
        "INSERT INTO notifications (user_id, \"offset\", version, id, send_id, type, created_at, push_at)
         SELECT i.user_id, i.head + n, i.head + n, gen_random_uuid(), s.id, s.type, s.created_at, s.created_at
           FROM inboxes i, (SELECT *, split_part(title, '/', 2)::bigint AS n FROM sends WHERE sender = 'outage') AS s"
            .to_owned(),
        format!("UPDATE inboxes SET head = head + {each}, unread = unread + {each}"),
    ];
    let mut transaction = testbed.database.begin().await.unwrap();
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}
