//! Drains: how fast a backlog is worked off, by how many drains work at once. They share this process's core, and each has its
//! own connections to Postgres and Redis.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use harness::{TestApp, postgres_server, redis_server};
use serde_json::Value;
use shared::app::App;
use shared::config::{Config, RedisConfig, Secret};
use shared::ids::ConnectionId;
use shared::moment::Moment;
use shared::protocol::Frame;
use shared::record::Record;
use shared::record::postgres::PostgresRecord;
use shared::sockets::push::{Outcome, Push};
use tokio::sync::watch;

use super::{TIMEOUT, connecting, count, moment};
use crate::queue::sends;
use crate::report::{figure, number};

/// How many drains work at once.
const INSTANCES: [usize; 5] = [1, 2, 4, 8, 16];
/// The users, each with a device whose first pushes fail.
const USERS: usize = 2_000;
/// The notifications of each user: few enough that they are not replaced by a resync.
const EACH: usize = 5;
/// The recipients of one send.
const RECIPIENTS: usize = 200;
/// Longer than the delay of the first retry from the queue, and shorter than that of the record.
const SOON: Duration = Duration::from_secs(1);

pub(super) async fn measure() {
    for instances in INSTANCES {
        drain_with(instances).await;
    }
}

async fn drain_with(instances: usize) {
    let (database, redis) = (postgres_server::database().await, redis_server::own_prefix());
    let sockets = Arc::new(Sockets::default());
    let mut test = TestApp::new().await;
    test.uses_record(Arc::new(PostgresRecord::new(&database, 10).unwrap()));
    test.uses_moment(Arc::new(moment(&redis)));
    test.app.push = sockets.clone();
    postgres_server::does(&database, &connecting(USERS)).await;
    postgres_server::does(&database, "VACUUM ANALYZE").await;
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
    for _ in 0..EACH {
        for some in users.chunks(RECIPIENTS) {
            sends(&test, some).await;
        }
    }
    test.clock.advance(SOON);
    sockets.is_on.store(true, Ordering::Relaxed);

    let apps: Vec<App> = (0..instances).map(|_| instance(&test, &sockets, &database, &redis)).collect();
    let draining = apps.iter().map(|app| {
        let mut are_all_pushed = sockets.are_all_pushed.subscribe();
        // A drain waits for rows that others are about to push, by a clock that is turned by hand.
        let ending = async move {
            are_all_pushed.wait_for(|are_all_pushed| *are_all_pushed).await.unwrap();
        };
        drain::handle_until(app, i64::MAX, Duration::ZERO, ending)
    });
    let began = Instant::now();
    let runs = tokio::time::timeout(TIMEOUT, join_all(draining)).await.expect("WRONG: some were not pushed");
    let seconds = began.elapsed().as_secs_f64();

    let total = USERS * EACH;
    let pushed: usize = runs.iter().map(|run| run.pushed).sum();
    assert_eq!((pushed, sockets.different(), runs.iter().any(|run| run.failed)), (total, total, false), "WRONG");
    let how = format!("{} entries in all, each pushed once; claimed, taken, pushed, marked, settled", count(total));
    figure(&format!("drains, {instances} at once"), number(total as f64 / seconds, 0), "entries/s", &how);
}

/// A drain's own process, as far as its connections go.
fn instance(test: &TestApp, sockets: &Arc<Sockets>, database: &Secret, redis: &RedisConfig) -> App {
    let record = Record::new(Arc::new(PostgresRecord::new(database, 2).unwrap()));
    let moment = Moment::new(Arc::new(moment(redis)));
    App::with_clock(Config::clone(&test.app.config), record, moment, sockets.clone(), test.clock.clone())
}

/// Sockets that keep the frames that they accept, and accept none until they are switched on.
#[derive(Default)]
struct Sockets {
    is_on: AtomicBool,
    accepted: Mutex<Vec<(ConnectionId, Frame)>>,
    are_all_pushed: watch::Sender<bool>,
}

impl Sockets {
    /// How many different notifications were pushed. Panics if one was pushed twice.
    fn different(&self) -> usize {
        let accepted = self.accepted.lock().unwrap();
        let mut different = HashSet::new();
        for (connection, frame) in accepted.iter() {
            let frame: Value = serde_json::from_str(frame).unwrap();
            let id = frame["notification"]["id"].as_str().unwrap().to_owned();
            assert!(different.insert((connection, id)), "WRONG: {frame} was pushed twice");
        }
        different.len()
    }
}

#[async_trait]
impl Push for Sockets {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        if !self.is_on.load(Ordering::Relaxed) {
            return vec![Outcome::Failed; frames.len()];
        }
        let mut accepted = self.accepted.lock().unwrap();
        accepted.extend_from_slice(frames);
        if accepted.len() >= USERS * EACH {
            self.are_all_pushed.send_replace(true);
        }
        vec![Outcome::Offered; frames.len()]
    }

    async fn close(&self, _: &[ConnectionId]) {}
}
