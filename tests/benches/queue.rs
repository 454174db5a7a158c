//! The queue: how fast a backlog is worked off, whether it matters how much else waits, and how soon a drain that waits
//! picks up what somebody leaves. In this process, with sockets that only count: what is measured is the drain and its
//! stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use harness::{TestApp, event, postgres_server, redis_server, request};
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

/// Each with one device, which does not take what arrives first.
const USERS: usize = 1_000;
/// How many notifications each one has in the backlog: not so many that he is told to sync instead.
const EACH: usize = 5;
/// How many recipients a send has.
const RECIPIENTS: usize = 200;
/// Longer than the second try waits, and less than the record does.
const SOON: Duration = Duration::from_secs(1);
/// How many entries wait while some are claimed and settled.
const WAITING: [usize; 3] = [1_000, 10_000, 100_000];
/// How many of them are.
const CLAIMED: usize = 1_000;
/// How often a drain that waits is left something.
const PICKUPS: usize = 300;

/// Everything, on these stores.
pub(crate) async fn measure(stores: Stores) {
    backlog(stores).await;
    claims(stores).await;
    pickup(stores).await;
}

/// Sockets that count, and take nothing until they are told to.
#[derive(Default)]
struct Sockets {
    takes: AtomicBool,
    taken: AtomicUsize,
    heard: Option<mpsc::UnboundedSender<Instant>>,
}

#[async_trait]
impl Push for Sockets {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        if !self.takes.load(Ordering::Relaxed) {
            return vec![Outcome::Failed; frames.len()];
        }
        self.taken.fetch_add(frames.len(), Ordering::Relaxed);
        if let Some(heard) = &self.heard {
            heard.send(Instant::now()).unwrap();
        }
        vec![Outcome::Offered; frames.len()]
    }

    async fn close(&self, _: &[ConnectionId]) {}
}

/// An app whose clock stands, so that nothing comes back from the record by itself.
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
async fn sends(test: &TestApp, users: &[String]) {
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
    test.clock.turn(SOON);
    sockets.takes.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let run = drain::handle(&test.app, i64::MAX).await;
    let seconds = begun.elapsed().as_secs_f64();
    let total = USERS * EACH;
    assert_eq!((run.pushed, sockets.taken.load(Ordering::Relaxed), run.failed), (total, total, false), "WRONG");
    let how =
        format!("{total} notifications that one device each did not take; claimed, taken, pushed, noted, settled");
    figure(&stores.named("backlog, one drain"), number(total as f64 / seconds, 0), "entries/s", &how);
}

fn entry(n: usize) -> Entry {
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
            Stores::Here => Box::new(MemoryMoment::default()),
            Stores::Servers => Box::new(moment()),
        };
        let entries: Vec<Entry> = (0..waiting).map(entry).collect();
        for some in entries.chunks(1_000) {
            assert_eq!(queue.add(some, At::Server).await.refused, 0, "WRONG");
        }
        let (begun, mut claimed) = (Instant::now(), 0);
        while claimed < CLAIMED {
            let claims = queue.claim(64, At::Server).await.unwrap().claimed;
            claimed += claims.len();
            let done: Vec<Resolution> = claims.into_iter().map(|claimed| Resolution::Done(claimed.id)).collect();
            assert!(queue.settle(&done, At::Server).await && !done.is_empty(), "WRONG");
        }
        let each_us = begun.elapsed().as_secs_f64() * 1_000_000.0 / claimed as f64;
        let name = stores.named(&format!("queue, {} waiting", number(waiting as f64, 0)));
        figure(&name, number(each_us, 1), "us/entry", "claimed and settled, 64 at once, without the record");
    }
}

async fn pickup(stores: Stores) {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let sockets = Arc::new(Sockets { heard: Some(heard), ..Sockets::default() });
    let mut test = app(stores, sockets.clone(), PICKUPS).await;
    // What is left goes to another queue, from which it is left one by one.
    let queue = std::mem::replace(&mut test.app.moment.queue, Arc::new(MemoryMoment::default()));
    let users: Vec<String> = (0..PICKUPS).map(|n| format!("user-{n}")).collect();
    for some in users.chunks(RECIPIENTS) {
        sends(&test, some).await;
    }
    let until = At::Fixed(test.clock.now_ms() + 1_000);
    let left = test.app.moment.queue.claim(PICKUPS, until).await.unwrap().claimed;
    assert_eq!(left.len(), PICKUPS, "WRONG");
    test.app.moment.queue = queue.clone();
    sockets.takes.store(true, Ordering::Relaxed);

    // The rows that are left to the record keep it waiting.
    let app = test.app.clone();
    let drain = tokio::spawn(async move { drain::handle(&app, i64::MAX).await });
    let mut taken = Vec::new();
    for (n, claimed) in left.into_iter().enumerate() {
        // Never in step with it.
        tokio::time::sleep(Duration::from_micros(30_000 + 7_919 * n as u64 % 25_000)).await;
        let begun = Instant::now();
        let added = queue.add(&[Entry { work: claimed.work.unwrap(), wait_ms: 0 }], test.app.clock.at()).await;
        assert!(added.refused == 0 && added.drain_is_awake == Some(true), "WRONG");
        taken.push(hears.recv().await.unwrap() - begun);
    }
    drain.await.unwrap();
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        let how = format!("from leaving an entry to a drain that waits until it is pushed; {PICKUPS} of them");
        figure(
            &stores.named(&format!("idle pickup, {label}")),
            number(percentile(&in_ms(&taken), share), 1),
            "ms",
            &how,
        );
    }
}
