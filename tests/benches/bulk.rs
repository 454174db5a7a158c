//! Reading many things of chats at once: one statement against one for each, and against the least that Redis takes for as
//! many values, all in one run on the same servers.

use std::time::{Duration, Instant};

use harness::postgres_server::{self, without_timeout};
use harness::redis_server;
use shared::chat::chats::Chats;
use shared::config::Secret;
use shared::ids::UserId;
use shared::presence::acquaintances::Acquaintances;
use shared::record::postgres::PostgresRecord;
use sqlx::{Connection, PgConnection};

use crate::report::{figure, in_ms, number, percentile};

/// How many chats a user has, and how many of them have unread messages.
const CHATS: usize = 100;
const UNREAD: usize = 50;
/// How often each way is measured. They take turns, so that a noisy neighbour affects all of them alike.
const ROUNDS: usize = 300;
const WARM_UP: usize = 20;

/// 2,000 direct chats of 100 messages each: `reader` has 100 of them, one with each of `friend 1` to `friend 100`, and
/// `busy` 50, of which 7 messages are unread; the others are those of strangers.
const FILL: &str = "
    INSERT INTO chats (id, kind, status, fingerprint, created_at, active_at, last_seq)
    SELECT lpad(n::text, 32, '0')::uuid, 'direct', 'ACCEPTED', '', n, n, 100 FROM generate_series(1, 2000) n;
    INSERT INTO chat_members (chat_id, user_id, joined_at, involved, read_seq)
    SELECT lpad(n::text, 32, '0')::uuid,
           CASE WHEN m = 1 THEN 'friend ' || n WHEN n <= 100 THEN 'reader' WHEN n <= 150 THEN 'busy' ELSE 'other ' || n END,
           0, true, 93
      FROM generate_series(1, 2000) n, generate_series(1, 2) m;
    INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at)
    SELECT lpad(n::text, 32, '0')::uuid, seq, gen_random_uuid(), 'friend ' || n, seq::text, 'Tomorrow before noon.', '{}', 0
      FROM generate_series(1, 2000) n, generate_series(1, 100) seq";

/// Measures all ways in turn.
pub(crate) async fn measure() {
    let database = postgres_server::database().await;
    postgres_server::does(&without_timeout(&database), FILL).await;
    postgres_server::does(&without_timeout(&database), "VACUUM ANALYZE").await;
    let mut bulk = Bulk::new(&database).await;
    let mut taken: [Vec<Duration>; 7] = Default::default();
    for round in 0..WARM_UP + ROUNDS {
        for (way, taken) in taken.iter_mut().enumerate() {
            let began = Instant::now();
            bulk.read(way).await;
            if round >= WARM_UP {
                taken.push(began.elapsed());
            }
        }
    }
    let names = [
        "100 memberships, one statement",
        "100 memberships, 100 selects",
        "100 acquaintances, one statement",
        "100 values, one bare MGET",
        "50 unread counts, one statement",
        "50 unread counts, 50 counts",
        "50 values, one bare MGET",
    ];
    for (name, taken) in names.into_iter().zip(taken) {
        let taken = in_ms(&taken);
        let how = format!("{ROUNDS} rounds, all ways in turn, one connection each");
        for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
            figure(&format!("servers: {name}, {label}"), number(percentile(&taken, share), 3), "ms", &how);
        }
    }
}

struct Bulk {
    record: PostgresRecord,
    database: PgConnection,
    redis: redis::aio::MultiplexedConnection,
    keys: Vec<String>,
    friends: Vec<UserId>,
}

impl Bulk {
    async fn new(database: &Secret) -> Self {
        let own = redis_server::own_prefix();
        let mut redis = redis::Client::open(own.instances[0].url.reveal())
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        let keys: Vec<String> = (0..CHATS).map(|n| format!("{}:{n}", own.prefix)).collect();
        for key in &keys {
            redis::cmd("SET").arg(key).arg(7).exec_async(&mut redis).await.unwrap();
        }
        Self {
            record: PostgresRecord::new(database, 1).unwrap(),
            database: PgConnection::connect(database.reveal()).await.unwrap(),
            redis,
            keys,
            friends: (1..=CHATS).map(|n| UserId::new(format!("friend {n}")).unwrap()).collect(),
        }
    }

    /// Reads everything once, in one of the ways.
    async fn read(&mut self, way: usize) {
        match way {
            0 => {
                let found = self.record.summaries(&user("reader"), 2_000).await.unwrap();
                assert_eq!(found.len(), CHATS, "WRONG");
            }
            1 => {
                for n in 1..=CHATS {
                    let is_member: bool = sqlx::query_scalar(
                        "SELECT EXISTS (SELECT FROM chat_members WHERE chat_id = $1::text::uuid AND user_id = 'reader')",
                    )
                    .bind(chat(n))
                    .fetch_one(&mut self.database)
                    .await
                    .unwrap();
                    assert!(is_member, "WRONG");
                }
            }
            2 => {
                let found = self.record.visible(Some(&user("reader")), &self.friends).await.unwrap();
                assert_eq!(found.len(), CHATS, "WRONG");
            }
            3 => self.values(CHATS).await,
            4 => {
                let found = self.record.summaries(&user("busy"), 2_000).await.unwrap();
                assert!(found.len() == UNREAD && found.iter().all(|chat| chat.unread == 7), "WRONG");
            }
            5 => {
                for n in CHATS + 1..=CHATS + UNREAD {
                    let unread: i64 = sqlx::query_scalar(
                        "SELECT count(*) FROM chat_members m JOIN messages USING (chat_id)
                          WHERE m.chat_id = $1::text::uuid AND m.user_id = 'busy' AND seq > m.read_seq",
                    )
                    .bind(chat(n))
                    .fetch_one(&mut self.database)
                    .await
                    .unwrap();
                    assert_eq!(unread, 7, "WRONG");
                }
            }
            _ => self.values(UNREAD).await,
        }
    }

    async fn values(&mut self, count: usize) {
        let found: Vec<i64> = redis::cmd("MGET").arg(&self.keys[..count]).query_async(&mut self.redis).await.unwrap();
        assert_eq!(found, vec![7; count], "WRONG");
    }
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// The id of a chat of [`FILL`], by its number.
fn chat(n: usize) -> String {
    format!("{n:032}")
}
