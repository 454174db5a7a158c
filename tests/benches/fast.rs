//! Fast accepts beside durable ones, and how quickly logs are written: functions in this process on Postgres and Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::app::request;
use harness::{TestApp, event, postgres_server, redis_server};
use serde_json::json;
use shared::chat::Kind;
use shared::chat::chats::{Chats, NewChat};
use shared::clock::{At, Clock, Time};
use shared::config::Secret;
use shared::fast::log::LogId;
use shared::fast::logged::{LoggedMessage, LoggedSend};
use shared::fast::write::Extent;
use shared::ids::{ChatId, MessageId, SendId, UserId, sha256};
use shared::inbox::notification::{Channels, Content, Priority};
use shared::moment::redis::RedisMoment;
use shared::record::postgres::PostgresRecord;
use sqlx::{Connection, PgConnection};

use crate::report::{figure, in_ms, number, percentile, spread};

/// How many users the sends go to, in turn, and how many chats the messages.
const USERS: usize = 5_000;
const CHATS: usize = 500;
/// How many sends are accepted one after the other, in each way.
const IN_A_ROW: usize = 1_000;
/// How many sends are accepted at once, for how long, and how often in each way.
const AT_ONCE: usize = 16;
const SECOND: Duration = Duration::from_secs(1);
const FOR: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
/// How many entries are written from logs, and how many rows by the bare insert.
const WRITTEN: usize = 50_000;
const BARE_ROWS: usize = 1_000;

/// Measures accepting, writing, and what an entry takes.
pub(crate) async fn measure() {
    let database = postgres_server::database().await;
    let record = Arc::new(PostgresRecord::new(&database, 20).unwrap());
    let redis = redis_server::own_prefix();
    let moment = Arc::new(RedisMoment::new(&redis, Clock::system()).unwrap());
    let mut test = TestApp::with(&[
        ("JWT_SECRET", "a secret of at least thirty-two bytes"),
        ("RATE_LIMIT_SEND_TYPES", "order=off"),
    ])
    .await;
    test.uses_record(record.clone());
    test.uses_moment(moment);
    test.accepts_fast().await;
    let bench = Bench { test, sent: AtomicUsize::new(0), database };
    bench.accept_in_a_row().await;
    bench.accept_at_once().await;
    bench.write(&record, redis.instances[0].url.reveal()).await;
}

struct Bench {
    test: TestApp,
    sent: AtomicUsize,
    database: Secret,
}

impl Bench {
    async fn send(&self, accept: &str) -> Duration {
        let n = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut sending = event("send");
        sending["headers"]["authorization"] = self.test.bearer("shop", "notify:send").into();
        let body = json!({"type": "order", "userId": format!("user-{}", n % USERS), "title": "Your order is on its way",
            "idempotencyKey": n.to_string(), "accept": accept});
        sending["body"] = body.to_string().into();
        let call = request(sending);
        let began = Instant::now();
        let answer = send::handle(&self.test.app, call).await;
        let took = began.elapsed();
        assert_eq!(answer.status(), 202, "WRONG");
        took
    }

    /// Writes what waits, and checks that every send is stored once.
    async fn write_all(&self) {
        let app = &self.test.app;
        let logs = app.moment.logs.unwritten(&LogId::all().collect::<Vec<_>>()).await.logs;
        let written = app.log_writer.write(&logs, Extent::Everything, 60 * SECOND, At::Server).await;
        assert!(written.unfinished.is_empty(), "WRONG");
    }

    async fn check(&self) {
        let mut database = PgConnection::connect(self.database.reveal()).await.unwrap();
        let stored: i64 =
            sqlx::query_scalar("SELECT count(*) FROM notifications").fetch_one(&mut database).await.unwrap();
        assert_eq!(usize::try_from(stored).unwrap(), self.sent.load(Ordering::Relaxed), "WRONG");
    }

    /// One after the other, in turn, so that a noisy neighbour affects both ways alike.
    async fn accept_in_a_row(&self) {
        let mut took = [Vec::new(), Vec::new()];
        for n in 0..IN_A_ROW + 50 {
            for (accept, took) in ["durable", "fast"].into_iter().zip(&mut took) {
                let accepted = self.send(accept).await;
                if n >= 50 {
                    took.push(accepted);
                }
            }
            if n % 100 == 99 {
                self.write_all().await;
            }
        }
        self.write_all().await;
        self.check().await;
        for (accept, took) in ["durable", "fast"].into_iter().zip(took) {
            for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
                let how = format!("a send to one user without devices; {IN_A_ROW} in a row, both ways in turn");
                let name = format!("servers: accept {accept}, {label}");
                figure(&name, number(percentile(&in_ms(&took), share), 3), "ms", &how);
            }
        }
    }

    /// Many at once, while logs are written every 20 ms.
    async fn accept_at_once(&self) {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (accept, rates) in ["durable", "fast"].into_iter().zip(&mut rates) {
                let (before, began) = (self.sent.load(Ordering::Relaxed), Instant::now());
                let sending = (0..AT_ONCE).map(|_| async {
                    while began.elapsed() < FOR {
                        self.send(accept).await;
                    }
                });
                let writing = async {
                    while began.elapsed() < FOR {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        self.write_all().await;
                    }
                };
                tokio::join!(join_all(sending), writing);
                let accepted = self.sent.load(Ordering::Relaxed) - before;
                rates.push(accepted as f64 / began.elapsed().as_secs_f64());
                self.write_all().await;
                self.check().await;
            }
        }
        for (accept, rates) in ["durable", "fast"].into_iter().zip(rates) {
            let how = format!("{AT_ONCE} at once for {} s, written meanwhile; both ways in turn", FOR.as_secs());
            figure(&format!("servers: accept {accept}"), spread(&rates, 0), "sends/s", &how);
        }
    }

    /// Sends and messages from full logs, beside the least that Postgres takes for as many rows.
    async fn write(&self, record: &PostgresRecord, redis: &str) {
        let mut redis = redis::Client::open(redis).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut used = async || -> f64 {
            let info: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await.unwrap();
            info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().parse().unwrap()
        };
        let before = used().await;
        let text = self.fill_with_sends().await;
        let bytes = (used().await - before) / WRITTEN as f64;
        let how = format!("a send whose entry is {text} bytes; {WRITTEN} in {} logs", 1_024);
        figure("servers: Redis for an entry of a log", number(bytes, 0), "bytes", &how);
        let sends = self.time_writing().await;
        self.sent.fetch_add(WRITTEN, Ordering::Relaxed);
        self.check().await;
        self.fill_with_messages(record).await;
        let messages = self.time_writing().await;
        let bare = self.insert_bare().await;
        let how = format!("{WRITTEN} entries, two rows each");
        figure("servers: sends written from logs", number(sends, 0), "entries/s", &how);
        let how = format!("{WRITTEN} entries, a row each; {:.2} of the bare insert", messages / bare);
        figure("servers: messages written from logs", number(messages, 0), "entries/s", &how);
        let how = format!("INSERT … SELECT FROM unnest, {BARE_ROWS} such rows with their indexes, {WRITTEN} in all");
        figure("servers: bare insert", number(bare, 0), "rows/s", &how);
    }

    async fn time_writing(&self) -> f64 {
        let began = Instant::now();
        self.write_all().await;
        let left = self.test.app.moment.logs.unwritten_total(At::Server).await.unwrap();
        assert_eq!(left.entries, 0, "WRONG");
        WRITTEN as f64 / began.elapsed().as_secs_f64()
    }

    /// Returns the bytes of an entry.
    async fn fill_with_sends(&self) -> usize {
        let sender = UserId::new("shop").unwrap();
        let content = Arc::new(Content {
            kind: "order".into(),
            title: "Your order is on its way".into(),
            body: Some("It arrives tomorrow before noon, says the carrier.".into()),
            data: serde_json::value::RawValue::from_string(r#"{"order":4711}"#.into()).unwrap(),
            action_url: Some("/orders/4711".into()),
            priority: Priority::Normal,
            expires_at: None,
            collapse_key: None,
            channels: Channels::All,
            digest_ms: None,
            trace: None,
        });
        let mut bytes = 0;
        let numbers: Vec<usize> = (0..WRITTEN).collect();
        for some in numbers.chunks(200) {
            let append = some.iter().map(|n| {
                let recipient = UserId::new(format!("user-{}", n % USERS)).unwrap();
                let send = LoggedSend {
                    id: SendId::of_key(&sender, "bench", &n.to_string()),
                    sender: sender.clone(),
                    fingerprint: sha256(b""),
                    answer: format!(
                        r#"{{"sendId":"{0}","status":"accepted","durability":"redis","notifications":[{{"userId":"user-{n}","id":"{0}","status":"accepted"}}]}}"#,
                        SendId::of_key(&sender, "bench", &n.to_string())
                    ),
                    recipient,
                    content: Arc::clone(&content),
                    silent: false,
                    retention_ms: 90 * 24 * 60 * 60 * 1_000,
                    accepted_at: Time(1_800_000_000_000),
                };
                let text = send.text();
                bytes = text.len();
                async move {
                    let log = LogId::of_user(&send.recipient);
                    self.test.app.moment.logs.append(log, send.id.as_uuid(), &text, At::Server).await.unwrap();
                }
            });
            join_all(append).await;
        }
        bytes
    }

    async fn fill_with_messages(&self, record: &PostgresRecord) {
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let chat = |n: usize| ChatId::of_group(&alice, &n.to_string());
        for n in 0..CHATS {
            let others = std::slice::from_ref(&bob);
            let fingerprint = sha256(b"");
            let new = NewChat { id: chat(n), kind: Kind::Group, title: None, creator: &alice, others, fingerprint };
            record.create(&new, At::Server).await.unwrap();
        }
        let numbers: Vec<usize> = (0..WRITTEN).collect();
        for some in numbers.chunks(200) {
            let append = some.iter().map(|n| {
                let chat = chat(n % CHATS);
                let message = LoggedMessage {
                    id: MessageId::of(chat, &alice, &n.to_string()),
                    chat,
                    sender: alice.clone(),
                    client_id: n.to_string(),
                    body: "Tomorrow before noon, says the carrier.".into(),
                    data: serde_json::value::RawValue::from_string("{}".into()).unwrap(),
                    accepted_at: Time(1_800_000_000_000),
                    trace: None,
                };
                async move {
                    let (log, text) = (LogId::of_chat(message.chat), message.text());
                    self.test.app.moment.logs.append(log, message.id.as_uuid(), &text, At::Server).await.unwrap();
                }
            });
            join_all(append).await;
        }
    }

    /// The same rows as those of messages, with the same indexes and nothing else.
    async fn insert_bare(&self) -> f64 {
        let mut database = PgConnection::connect(self.database.reveal()).await.unwrap();
        let table = "CREATE TABLE bare (LIKE messages INCLUDING ALL)";
        sqlx::raw_sql(table).execute(&mut database).await.unwrap();
        let bodies = vec!["Tomorrow before noon, says the carrier."; BARE_ROWS];
        let began = Instant::now();
        for n in 0..WRITTEN / BARE_ROWS {
            let numbers: Vec<i64> = (0..BARE_ROWS).map(|row| (n * BARE_ROWS + row) as i64).collect();
            let insert = sqlx::query(
                "INSERT INTO bare (chat_id, seq, id, sender_id, client_id, body, data, created_at)
                 SELECT lpad((n % 500)::text, 32, '0')::uuid, n, gen_random_uuid(), 'alice', n::text, body, '{}', 0
                   FROM unnest($1::bigint[], $2::text[]) AS rows (n, body)",
            );
            insert.bind(&numbers).bind(&bodies).execute(&mut database).await.unwrap();
        }
        WRITTEN as f64 / began.elapsed().as_secs_f64()
    }
}
