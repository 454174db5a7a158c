//! The queue: how fast a drain works off a backlog, whether the number of waiting entries matters, and how soon a
//! waiting drain picks up a new entry. It runs in this process, with fake sockets, so that only the drain and its stores
//! are measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use harness::app::request;
use harness::{TestApp, event, postgres_server, redis_server};
use serde_json::json;
use shared::clock::{At, Clock};
use shared::delivery::queue::{Entry, Queue, Resolution};
use shared::delivery::work::PushWork;
use shared::ids::{ConnectionId, UserId};
use shared::inbox::notification::Priority;
use shared::moment::memory::MemoryMoment;
use shared::moment::redis::RedisMoment;
use shared::protocol::Frame;
use shared::record::postgres::PostgresRecord;
use shared::sockets::push::{Outcome, Push};
use tokio::sync::mpsc;

use crate::report::{figure, in_ms, number, percentile};
use crate::stores::Stores;

/// The number of users, each with one device whose first pushes fail.
const USERS: usize = 1_000;
/// The notifications per user in the backlog: few enough that they are not replaced by a resync.
const EACH: usize = 5;
/// The recipients of one send.
const RECIPIENTS: usize = 200;
/// Longer than the delay of the first retry from the queue, and shorter than that of the record.
const SOON: Duration = Duration::from_secs(1);
/// The numbers of entries that wait while [`CLAIMED`] of them are claimed and settled.
const WAITING: [usize; 3] = [1_000, 10_000, 100_000];
/// How many entries are claimed and settled.
const CLAIMED: usize = 1_000;
/// How many entries a waiting drain picks up, one at a time.
const PICKUPS: usize = 300;

/// Measures all of this on these stores.
pub(crate) async fn measure(stores: Stores) {
    backlog(stores).await;
    claims(stores).await;
    pickup(stores).await;
}

/// Fake sockets that count the frames that they accept, and accept none until they are switched on.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) is_on: AtomicBool,
    pub(crate) accepted: AtomicUsize,
    pushed_at: Option<mpsc::UnboundedSender<Instant>>,
}

#[async_trait]
impl Push for Sockets {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        if !self.is_on.load(Ordering::Relaxed) {
            return vec![Outcome::Failed; frames.len()];
        }
        self.accepted.fetch_add(frames.len(), Ordering::Relaxed);
        if let Some(pushed_at) = &self.pushed_at {
            pushed_at.send(Instant::now()).unwrap();
        }
        vec![Outcome::Offered; frames.len()]
    }

    async fn close(&self, _: &[ConnectionId]) {}
}

/// An app whose clock does not advance, so that the record retries nothing.
async fn app(stores: Stores, sockets: Arc<Sockets>, users: usize) -> TestApp {
    let mut test = TestApp::new().await;
    if matches!(stores, Stores::Servers) {
        test.uses_record(Arc::new(PostgresRecord::new(&postgres_server::database().await, 10).unwrap()));
        test.uses_moment(Arc::new(moment()));
    }
    test.app.push = sockets;
    for n in 0..users {
        test.connect(&format!("user-{n}"), &[&format!("device-{n}")]).await;
    }
    test
}

fn moment() -> RedisMoment {
    RedisMoment::with_timeout(&redis_server::own_prefix(), Clock::system(), Duration::from_secs(30)).unwrap()
}

/// Sends to these users.
pub(crate) async fn sends(test: &TestApp, users: &[String]) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "like", "userIds": users, "title": "Hi"}).to_string().into();
    assert_eq!(send::handle(&test.app, request(sending)).await.status(), 202);
}

async fn backlog(stores: Stores) {
    let sockets = Arc::new(Sockets::default());
    let test = app(stores, sockets.clone(), USERS).await;
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
    for _ in 0..EACH {
        for some in users.chunks(RECIPIENTS) {
            sends(&test, some).await;
        }
    }
    test.clock.advance(SOON);
    sockets.is_on.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let run = drain::handle(&test.app, i64::MAX).await;
    let seconds = began.elapsed().as_secs_f64();
    let total = USERS * EACH;
    assert_eq!((run.pushed, sockets.accepted.load(Ordering::Relaxed), run.failed), (total, total, false), "WRONG");
    let how = format!("{total} notifications with one failed push each; claimed, taken, pushed, marked, settled");
    figure(&stores.named("backlog, one drain"), number(total as f64 / seconds, 0), "entries/s", &how);
}

/// An entry as a send adds it when the only device of a user did not take the frame.
pub(crate) fn entry(n: usize) -> Entry {
    let work = PushWork {
        user: UserId::new(format!("user-{n}")).unwrap(),
        offset: 1,
        fence_ms: 1_800_000_000_000,
        priority: Priority::Normal,
        throttled: 0,
        left: vec![ConnectionId::new("PJqB0fHsqRcCHlw=")],
    };
    Entry { work: work.into(), wait_ms: 0 }
}

async fn claims(stores: Stores) {
    for waiting in WAITING {
        let queue: Box<dyn Queue> = match stores {
            Stores::Local => Box::new(MemoryMoment::default()),
            Stores::Servers => Box::new(moment()),
        };
        let entries: Vec<Entry> = (0..waiting).map(entry).collect();
        for some in entries.chunks(1_000) {
            assert_eq!(queue.add(some, At::Server).await.refused, 0, "WRONG");
        }
        let (began, mut claimed) = (Instant::now(), 0);
        while claimed < CLAIMED {
            let claims = queue.claim(64, At::Server).await.unwrap().claimed;
            claimed += claims.len();
            let done: Vec<Resolution> = claims.into_iter().map(|claimed| Resolution::Done(claimed.id)).collect();
            assert!(queue.settle(&done, At::Server).await && !done.is_empty(), "WRONG");
        }
        let each_us = began.elapsed().as_secs_f64() * 1_000_000.0 / claimed as f64;
        let name = stores.named(&format!("queue, {} waiting", number(waiting as f64, 0)));
        figure(&name, number(each_us, 1), "us/entry", "claimed and settled, 64 at once, without the record");
    }
}

async fn pickup(stores: Stores) {
    let (pushed_at, mut pushes) = mpsc::unbounded_channel();
    let sockets = Arc::new(Sockets { pushed_at: Some(pushed_at), ..Sockets::default() });
    let mut test = app(stores, sockets.clone(), PICKUPS).await;
    // The failed pushes are enqueued in a queue of their own, from which they move to the measured one, one at a time.
    let queue = std::mem::replace(&mut test.app.moment.queue, Arc::new(MemoryMoment::default()));
    let users: Vec<String> = (0..PICKUPS).map(|n| format!("user-{n}")).collect();
    for some in users.chunks(RECIPIENTS) {
        sends(&test, some).await;
    }
    let until = At::Fixed(test.clock.now_ms() + 1_000);
    let waiting = test.app.moment.queue.claim(PICKUPS, until).await.unwrap().claimed;
    assert_eq!(waiting.len(), PICKUPS, "WRONG");
    test.app.moment.queue = queue.clone();
    sockets.is_on.store(true, Ordering::Relaxed);

    // The rows in the record that are due later keep the drain waiting.
    let app = test.app.clone();
    let drain = tokio::spawn(async move { drain::handle(&app, i64::MAX).await });
    let mut taken = Vec::new();
    for (n, claimed) in waiting.into_iter().enumerate() {
        // Irregular pauses, so that the enqueues are never in step with the drain.
        tokio::time::sleep(Duration::from_micros(30_000 + 7_919 * n as u64 % 25_000)).await;
        let began = Instant::now();
        let added = queue.add(&[Entry { work: claimed.work.unwrap(), wait_ms: 0 }], test.app.clock.at()).await;
        assert!(added.refused == 0 && added.drain_is_awake == Some(true), "WRONG");
        taken.push(pushes.recv().await.unwrap() - began);
    }
    drain.await.unwrap();
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        let how = format!("from enqueuing an entry until a waiting drain has pushed it; {PICKUPS} entries");
        figure(
            &stores.named(&format!("idle pickup, {label}")),
            number(percentile(&in_ms(&taken), share), 1),
            "ms",
            &how,
        );
    }
}
