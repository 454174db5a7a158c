//! One broken recipient or row never blocks the others, on either record: what was damaged in the tables is
//! dead-lettered, and everything else goes on.

use std::path::PathBuf;

use shared::config::Secret;
use shared::delivery::PUSH_GRACE_MS;
use shared::delivery::dead_letters::{DeadLetter, Reason, Redriven};
use shared::ids::UserId;
use shared::inbox::history::{SendQuery, States};
use shared::inbox::send::Due;
use shared::inbox::sends::{Appended, CHUNK_RECIPIENTS, Stored};
use shared::record::postgres::PostgresRecord;
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

use crate::record::{LATE_MS, Record, Send, at, id, user, users};

on_each_database! {
    a_refused_recipient_does_not_hold_up_the_others,
    each_refused_recipient_is_dead_lettered,
    a_recipient_gets_their_row_by_a_redrive_once_the_inbox_is_repaired,
    unreadable_recipients_are_dead_lettered_as_a_whole_chunk,
    an_unreadable_send_does_not_hold_up_the_others,
    a_broken_send_does_not_hold_up_others_that_are_due_with_it,
    chunks_that_are_dead_lettered_repeatedly_are_all_kept,
    an_immediate_send_reaches_all_but_the_broken_inboxes,
    a_newer_send_replaces_an_older_one_in_all_but_the_broken_inboxes,
    an_unreadable_row_does_not_hold_up_its_neighbours,
    an_unreadable_message_does_not_hold_up_the_others,
}

/// Direct access to the database of a store.
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(Secret),
}

impl Database {
    pub(crate) async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(file) => crate::stores::sqlite_connection(file).execute_batch(sql).unwrap(),
            Self::Postgres(url) => {
                let mut server = sqlx::PgConnection::connect(url.reveal()).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await.unwrap();
            }
        }
    }

    /// Exhausts the offsets of an inbox, so that the database refuses every further row.
    async fn break_inbox(&self, name: &str) {
        self.execute(&format!("UPDATE inboxes SET head = 9223372036854775807 WHERE user_id = '{name}'")).await;
    }

    async fn repair_inbox(&self, name: &str) {
        self.execute(&format!("UPDATE inboxes SET head = 1 WHERE user_id = '{name}'")).await;
    }
}

pub(crate) async fn sqlite() -> (Record, Database, TempDir) {
    let (record, folder) = crate::stores::sqlite().await;
    let file = folder.path().join("carillon.db");
    (record, Database::Sqlite(file), folder)
}

pub(crate) async fn postgres() -> (Record, Database) {
    let url = harness::postgres_server::database().await;
    (Record::new(PostgresRecord::new(&url, 8).unwrap()), Database::Postgres(url))
}

/// Enough recipients for one full chunk and `beyond` more; the tests look at those after the first 200.
fn many(beyond: usize) -> Vec<UserId> {
    (0..CHUNK_RECIPIENTS + beyond).map(|n| user(&format!("user {n:03}"))).collect()
}

/// Breaks these users' inboxes, each of which holds one notification.
async fn break_inboxes(record: &Record, database: &Database, names: &[&str]) {
    for name in names {
        record.ring(&[&format!("before {name}")], name, at(0)).await;
        database.break_inbox(name).await;
    }
}

async fn materialises(record: &Record, now_ms: i64) -> bool {
    record.materialise_next(at(now_ms)).await.unwrap().is_some()
}

async fn dead_letters(record: &Record) -> Vec<DeadLetter> {
    record.dead_letters().page(None, 200).await.unwrap().letters
}

async fn states(record: &Record) -> States {
    record.send_history().sends(&SendQuery { limit: 1, ..SendQuery::default() }, at(100)).await.unwrap().sends[0].states
}

async fn a_refused_recipient_does_not_hold_up_the_others(record: Record, database: Database) {
    break_inboxes(&record, &database, &["user 277"]).await;
    let to = many(150);
    record.connect("user 349", "tab", at(0)).await;
    record.send(&Send::new("1"), &to, at(1)).await;
    let deliveries = record.materialise_next(at(2)).await.unwrap().unwrap();
    assert_eq!(deliveries.len(), 1, "only the connected recipient has a delivery");
    assert_eq!(deliveries[0].user, user("user 349"));
    assert!(!materialises(&record, LATE_MS).await, "no chunk is left");
    for recipient in to.iter().filter(|recipient| recipient.as_str() != "user 277") {
        assert_eq!(record.position(recipient.as_str()).await.head, 1, "{recipient}");
    }
    assert_eq!(record.listed("user 277").await.len(), 1);
    let letters = dead_letters(&record).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.user.clone(), letter.notification), (Some(user("user 277")), Some(id("1", "user 277"))));
    assert_eq!((letter.error.as_str(), letter.attempts), (Reason::Refused.text(), 1));
    assert_eq!(states(&record).await, States { waiting: 349, dead: 1, ..States::default() });
}

async fn each_refused_recipient_is_dead_lettered(record: Record, database: Database) {
    let names = ["user 200", "user 201", "user 250", "user 349"];
    break_inboxes(&record, &database, &names).await;
    record.send(&Send::new("1"), &many(150), at(1)).await;
    assert!(materialises(&record, 2).await && !materialises(&record, LATE_MS).await);
    let mut dead: Vec<String> =
        dead_letters(&record).await.into_iter().map(|letter| letter.user.unwrap().to_string()).collect();
    dead.sort();
    assert_eq!(dead, names);
    assert_eq!(states(&record).await, States { waiting: 346, dead: 4, ..States::default() });
}

async fn a_recipient_gets_their_row_by_a_redrive_once_the_inbox_is_repaired(record: Record, database: Database) {
    break_inboxes(&record, &database, &["user 200"]).await;
    record.send(&Send::new("1"), &many(2), at(1)).await;
    assert!(materialises(&record, 2).await);
    // The inbox is still broken, so the recipient is dead-lettered again.
    for now_ms in [10, 20] {
        let letter = dead_letters(&record).await.remove(0);
        assert_eq!(record.dead_letters().redrive(letter.key.id, at(now_ms)).await.unwrap(), Redriven::Done);
        assert_eq!(dead_letters(&record).await, []);
        assert!(!materialises(&record, now_ms - 1).await);
        assert!(materialises(&record, now_ms).await && !materialises(&record, LATE_MS).await);
    }
    let letter = dead_letters(&record).await.remove(0);
    database.repair_inbox("user 200").await;
    assert_eq!(record.dead_letters().redrive(letter.key.id, at(30)).await.unwrap(), Redriven::Done);
    assert!(materialises(&record, 30).await && !materialises(&record, LATE_MS).await);
    let listed: Vec<_> = record.listed("user 200").await.into_iter().map(|one| one.id).collect();
    assert_eq!(listed, [id("1", "user 200"), id("before user 200", "user 200")]);
    assert_eq!((dead_letters(&record).await, record.position("user 201").await.head), (Vec::new(), 1));
    assert_eq!(states(&record).await, States { waiting: 202, ..States::default() });
}

async fn unreadable_recipients_are_dead_lettered_as_a_whole_chunk(record: Record, database: Database) {
    record.send(&Send::new("1"), &many(2 * CHUNK_RECIPIENTS), at(1)).await;
    database.execute("UPDATE send_chunks SET recipients = '[\"user 200\", 7' WHERE n = 1").await;
    assert!(materialises(&record, 2).await && materialises(&record, 2).await && !materialises(&record, LATE_MS).await);
    assert_eq!((record.position("user 399").await.head, record.position("user 400").await.head), (0, 1));
    let letter = dead_letters(&record).await.remove(0);
    assert_eq!((letter.user, letter.notification), (None, None));
    assert_eq!(letter.error, Reason::Unreadable.text());
    assert_eq!(states(&record).await, States { waiting: 400, dead: 1, ..States::default() });
    database.execute("UPDATE dead_letters SET payload = '[\"user 200\", \"user 201\"]'").await;
    assert_eq!(record.dead_letters().redrive(letter.key.id, at(30)).await.unwrap(), Redriven::Done);
    assert!(materialises(&record, 30).await && !materialises(&record, LATE_MS).await);
    assert_eq!((record.position("user 200").await.head, record.position("user 202").await.head), (1, 0));
}

async fn an_unreadable_send_does_not_hold_up_the_others(record: Record, database: Database) {
    record.send(&Send::new("broken"), &many(3), at(1)).await;
    record.send(&Send::new("good"), &many(1), at(2)).await;
    database.execute("UPDATE sends SET data = '{' WHERE title = 'broken'").await;
    assert!(materialises(&record, 3).await && materialises(&record, 3).await && !materialises(&record, LATE_MS).await);
    assert_eq!(record.listed("user 200").await.len(), 1);
    let backlog = record.deliveries().backlog(at(3)).await.unwrap();
    assert_eq!((backlog.waiting, backlog.dead_letters), (0, 1));
    database.execute("UPDATE sends SET data = '{}' WHERE title = 'broken'").await;
    let letter = dead_letters(&record).await.remove(0);
    assert_eq!(record.dead_letters().redrive(letter.key.id, at(30)).await.unwrap(), Redriven::Done);
    assert!(materialises(&record, 30).await);
    assert_eq!(record.position("user 202").await.head, 1);
}

async fn chunks_that_are_dead_lettered_repeatedly_are_all_kept(record: Record, database: Database) {
    let to = many(150);
    record.send(&Send::due("1", Due::After(1_000)), &to, at(0)).await;
    database.execute("UPDATE sends SET priority = 'urgent'").await;
    let materialise_all = async || {
        while materialises(&record, 2_000).await {}
        dead_letters(&record).await
    };
    assert_eq!(materialise_all().await.len(), 2);
    for _ in 0..3 {
        for n in 0..2 {
            let letter = dead_letters(&record).await[n].key.id;
            assert_eq!(record.dead_letters().redrive(letter, at(2_000)).await.unwrap(), Redriven::Done);
            assert_eq!(materialise_all().await.len(), 2, "one dead letter replaced the other");
        }
    }
    database.execute("UPDATE sends SET priority = 'high'").await;
    for letter in dead_letters(&record).await {
        assert_eq!(record.dead_letters().redrive(letter.key.id, at(2_000)).await.unwrap(), Redriven::Done);
    }
    assert!(materialise_all().await.is_empty());
    for recipient in &to {
        assert_eq!(record.position(recipient.as_str()).await.head, 1, "{recipient}");
    }
}

async fn a_broken_send_does_not_hold_up_others_that_are_due_with_it(record: Record, database: Database) {
    break_inboxes(&record, &database, &["user 3"]).await;
    for n in 0..8 {
        let send = Send::due(&n.to_string(), Due::After(1_000 + n));
        record.send(&send, &users(&[&format!("user {n}"), "shared"]), at(0)).await;
    }
    database.execute("UPDATE sends SET priority = 'urgent' WHERE title = '5'").await;
    let mut counts = Vec::new();
    while counts.last() != Some(&0) {
        counts.push(record.deliveries().materialise(100, at(2_000)).await.unwrap().chunks);
    }
    // Each chunk before the refused one is materialised on its own, and the unreadable one never shares a transaction.
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 2, 0]);
    for (name, count) in [("shared", 7), ("user 2", 1), ("user 4", 1), ("user 5", 0), ("user 7", 1)] {
        assert_eq!(record.listed(name).await.len(), count, "{name}");
    }
    let mut dead: Vec<String> = dead_letters(&record).await.into_iter().map(|letter| letter.error).collect();
    dead.sort();
    let mut expected = [Reason::Unreadable.text(), Reason::Refused.text()];
    expected.sort_unstable();
    assert_eq!(dead, expected);
}

async fn an_immediate_send_reaches_all_but_the_broken_inboxes(record: Record, database: Database) {
    break_inboxes(&record, &database, &["bob", "user 350"]).await;
    for name in ["alice", "bob", "carol"] {
        record.connect(name, &format!("{name}'s"), at(0)).await;
    }
    let mut to = users(&["carol", "bob", "alice"]);
    to.extend(many(200));
    let send = Send::new("1");
    let Appended::Stored(Stored { deliveries, .. }) = record.append(&send, &to, at(5)).await else {
        panic!("the send is new")
    };
    let mut notified: Vec<&str> = deliveries.iter().map(|delivery| delivery.user.as_str()).collect();
    notified.sort_unstable();
    assert_eq!(notified, ["alice", "carol"]);
    assert_eq!(states(&record).await, States { waiting: 403, ..States::default() });
    assert!(matches!(record.append(&send, &to, at(6)).await, Appended::Known(first) if first.answer == send.answer));
    assert_eq!(record.position("alice").await.head, 1, "the repeat added nothing");
    // The second chunk and the broken recipients wait for the drain.
    let mut chunks = 0;
    while materialises(&record, 7).await {
        chunks += 1;
    }
    assert_eq!((chunks, record.position("user 399").await.head), (3, 1));
    assert_eq!(states(&record).await, States { waiting: 401, dead: 2, ..States::default() });
}

async fn a_newer_send_replaces_an_older_one_in_all_but_the_broken_inboxes(record: Record, database: Database) {
    record.send(&Send::new("1").collapsing("door"), &users(&["alice", "bob", "carol"]), at(0)).await;
    database.break_inbox("bob").await;
    for name in ["alice", "carol"] {
        record.connect(name, &format!("{name}'s"), at(1)).await;
    }
    let newer = record.send(&Send::new("2").collapsing("door"), &users(&["alice", "bob", "carol"]), at(2)).await;
    let delivery_to = |name: &str| newer.iter().find(|delivery| delivery.user.as_str() == name).unwrap();
    assert_eq!(newer.len(), 2);
    for name in ["alice", "carol"] {
        let (delivery, listed) = (delivery_to(name), record.listed(name).await);
        assert_eq!((delivery.replaces.as_slice(), delivery.unread), ([id("1", name)].as_slice(), 1));
        assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [id("2", name)]);
        assert_eq!(record.position(name).await.head, 3);
    }
    // Bob's inbox keeps what it has.
    assert!(materialises(&record, 3).await);
    assert_eq!(dead_letters(&record).await[0].user, Some(user("bob")));
    assert_eq!(record.listed("bob").await[0].id, id("1", "bob"));
}

async fn an_unreadable_row_does_not_hold_up_its_neighbours(record: Record, database: Database) {
    record.connect("alice", "tab", at(0)).await;
    record.connect("alice", "desk", at(0)).await;
    record.ring(&["1", "broken", "3"], "alice", at(0)).await;
    database.execute("UPDATE sends SET priority = 'urgent' WHERE title = 'broken'").await;
    let take = async |now_ms| record.deliveries().take_due(10, at(now_ms)).await.unwrap().deliveries;
    let taken: Vec<_> = take(5_000).await.into_iter().map(|delivery| delivery.notification.id).collect();
    assert_eq!(taken, [id("1", "alice"), id("3", "alice")]);
    let letter = dead_letters(&record).await.remove(0);
    assert_eq!((letter.notification, letter.error.as_str()), (Some(id("broken", "alice")), Reason::Unreadable.text()));
    assert_eq!(record.position("alice").await.head, 3, "the row stays");
    let alice = user("alice");
    record.deliveries().mark_offered(&[(&alice, 1), (&alice, 3)], at(5_001)).await.unwrap();
    assert_eq!(record.next_due().await.unwrap(), None);
    database.execute("UPDATE sends SET priority = 'high' WHERE title = 'broken'").await;
    assert_eq!(record.dead_letters().redrive(letter.key.id, at(6_000)).await.unwrap(), Redriven::Done);
    assert_eq!(take(6_000).await.len(), 1);
}

/// A database that does not answer in time says nothing about what it was asked to store.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_failure_dead_letters_nothing() {
    let (record, Database::Postgres(url)) = postgres().await else { unreachable!() };
    record.ring(&["before"], "user 200", at(0)).await;
    record.send(&Send::new("1"), &many(2), at(1)).await;
    let mut holder = sqlx::PgConnection::connect(url.reveal()).await.unwrap();
    let held = "SET idle_in_transaction_session_timeout = 0;
                BEGIN; SELECT FROM inboxes WHERE user_id = 'user 200' FOR UPDATE";
    sqlx::raw_sql(held).execute(&mut holder).await.unwrap();
    let failed = record.materialise_next(at(2)).await;
    assert!(matches!(failed, Err(shared::error::StoreError::Unavailable(_))), "{failed:?}");
    assert_eq!(dead_letters(&record).await, []);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    assert!(materialises(&record, 2).await && !materialises(&record, LATE_MS).await);
    assert_eq!((dead_letters(&record).await, record.position("user 200").await.head), (Vec::new(), 2));
}

async fn an_unreadable_message_does_not_hold_up_the_others(record: Record, database: Database) {
    record.connect("alice", "phone", at(0)).await;
    let chat = record.group(&["bob"]).await;
    for body in ["one", "two", "three"] {
        record.say(chat, "alice", body, at(0)).await;
    }
    database.execute("UPDATE messages SET data = 'not JSON' WHERE seq = 2").await;
    let due = record.messages().take_due_messages(10, at(PUSH_GRACE_MS)).await.unwrap();
    let seqs: Vec<i64> = due.iter().map(|due| due.message.seq).collect();
    assert_eq!(seqs, [1, 3]);
    // It is tried again with the usual delay, and not at each look.
    assert!(record.messages().take_due_messages(10, at(PUSH_GRACE_MS)).await.unwrap().is_empty());
}
