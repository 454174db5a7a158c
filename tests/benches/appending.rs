//! Whether the length of a chat matters to who says something in it.

use std::time::{Duration, Instant};

use harness::postgres_server::{self, without_timeout};
use rusqlite::Connection;
use shared::chat::Kind;
use shared::chat::chats::{Chats, NewChat};
use shared::chat::messages::{Appended, Messages, NewMessage};
use shared::clock::At;
use shared::ids::{ChatId, MessageId, UserId, sha256};
use shared::record::postgres::PostgresRecord;
use shared::record::sqlite::SqliteRecord;

use crate::machine;
use crate::report::{figure, in_ms, number, percentile};
use crate::stores::Stores;

/// How many messages the chats have.
const LENGTHS: [usize; 2] = [10, 1_000_000];
/// How many messages are appended to each. They take turns, so that a noisy neighbour affects both alike.
const APPENDED: usize = 1_000;
/// How many are appended to each before.
const WARM_UP: usize = 50;

/// Appends to a short chat and to a long one, without connected members.
pub(crate) async fn measure(stores: Stores) {
    let data = machine::new_folder();
    let taken = match stores {
        Stores::Local => {
            let file = data.path().join("carillon.db");
            let record = SqliteRecord::open(&file).await.unwrap();
            create(&record).await;
            let database = Connection::open(&file).unwrap();
            database.busy_timeout(Duration::from_secs(5)).unwrap();
            for (n, length) in LENGTHS.into_iter().enumerate() {
                let numbers = format!(
                    "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT {length})
                      SELECT n FROM numbers)"
                );
                let chat = format!("unhex('{}')", chat(n).to_string().replace('-', ""));
                let fill = fill(&chat, length, "randomblob(16)", &numbers);
                database.execute_batch(&fill).unwrap();
            }
            database.close().unwrap();
            append(&record).await
        }
        Stores::Servers => {
            let database = postgres_server::database().await;
            let record = PostgresRecord::new(&database, 1).unwrap();
            create(&record).await;
            let filled = without_timeout(&database);
            for (n, length) in LENGTHS.into_iter().enumerate() {
                let numbers = format!("generate_series(1, {length}) AS numbers (n)");
                let chat = format!("'{}'::uuid", chat(n));
                postgres_server::does(&filled, &fill(&chat, length, "gen_random_uuid()", &numbers)).await;
            }
            postgres_server::does(&filled, "VACUUM ANALYZE").await;
            append(&record).await
        }
    };
    for (length, taken) in LENGTHS.into_iter().zip(taken) {
        let taken = in_ms(&taken);
        let name = stores.named(&format!("append to {} messages", number(length as f64, 0)));
        for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
            let how = format!("stored by the record; {APPENDED} in a row, the two chats in turn");
            figure(&format!("{name}, {label}"), number(percentile(&taken, share), 3), "ms", &how);
        }
    }
}

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

fn chat(n: usize) -> ChatId {
    ChatId::of_group(&alice(), &n.to_string())
}

/// Creates the chats, with two members each.
async fn create(record: &impl Chats) {
    let (alice, bob) = (alice(), UserId::new("bob").unwrap());
    for n in 0..LENGTHS.len() {
        let new = NewChat {
            id: chat(n),
            kind: Kind::Group,
            title: None,
            creator: &alice,
            others: std::slice::from_ref(&bob),
            fingerprint: sha256(b""),
        };
        record.create(&new, At::Server).await.unwrap();
    }
}

/// The statements that fill a chat, of which these are the id, the length, an expression for a random id, and a table of the
/// numbers up to the length.
fn fill(chat: &str, length: usize, id: &str, numbers: &str) -> String {
    format!(
        "INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at)
         SELECT {chat}, n, {id}, 'alice', CAST(n AS text), 'Tomorrow before noon, says the carrier.', '{{}}', 0
           FROM {numbers};
         UPDATE chats SET last_seq = {length} WHERE id = {chat}"
    )
}

/// How long it took to append to each of the chats.
async fn append(record: &impl Messages) -> [Vec<Duration>; 2] {
    let sender = alice();
    let mut taken = [Vec::new(), Vec::new()];
    for said in 0..WARM_UP + APPENDED {
        for (n, taken) in taken.iter_mut().enumerate() {
            let (chat, client_id) = (chat(n), format!("new {said}"));
            let new = NewMessage {
                id: MessageId::of(chat, &sender, &client_id),
                chat,
                sender: &sender,
                client_id: &client_id,
                body: "Tomorrow before noon, says the carrier.",
                data: "{}",
                trace: None,
            };
            let began = Instant::now();
            let appended = record.append(&new, At::Server).await.unwrap();
            if said >= WARM_UP {
                taken.push(began.elapsed());
            }
            let Appended::Stored { message, .. } = appended else { panic!("WRONG: {appended:?}") };
            assert_eq!(message.seq, (LENGTHS[n] + said + 1) as i64, "WRONG");
        }
    }
    taken
}
