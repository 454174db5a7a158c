//! How Postgres executes the statements of chats, and of purging: by indexes, however many messages, chats, connections and
//! notifications there are.

use std::collections::BTreeSet;

use harness::postgres_server;
use shared::chat::chats::{Chats, MemberPage, Page};
use shared::chat::messages::{Appended, Messages, NewMessage, Range};
use shared::clock::{At, Time};
use shared::config::Secret;
use shared::ids::{ChatId, MessageId, UserId};
use shared::inbox::bounds::Bounds;
use shared::inbox::retention::{MAX_PURGED, Retention};
use shared::presence::acquaintances::{Acquaintances, MAX_NEIGHBOURS};
use shared::record::postgres::PostgresRecord;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::wire::Wire;

/// A time at which the connections of `FILL` are open.
const NOW: At = At::Fixed(1_800_000_000_000);

/// 3,000 groups of 10 users, with 20,000 users in all, each connected; in one of them 50,000 messages, in the others 10.
/// The last one has more than 100 members.
const FILL: &str = "
    INSERT INTO chats (id, kind, status, owner, fingerprint, created_at, active_at, last_seq)
    SELECT lpad(n::text, 32, '0')::uuid, 'group', 'ACCEPTED', 'user 1', '', n, n, CASE n WHEN 1 THEN 50000 ELSE 10 END
      FROM generate_series(1, 3000) n;
    INSERT INTO chat_members (chat_id, user_id, joined_at, involved)
    SELECT lpad(n::text, 32, '0')::uuid, 'user ' || CASE m WHEN 0 THEN 1 + n % 10 ELSE 1 + (n * 7 + m * 1999) % 20000 END, 0, true
      FROM generate_series(1, 3000) n, generate_series(0, 9) m ON CONFLICT DO NOTHING;
    INSERT INTO chat_members (chat_id, user_id, joined_at, involved)
    SELECT lpad('3000', 32, '0')::uuid, 'user ' || n, 0, true FROM generate_series(1, 500) n ON CONFLICT DO NOTHING;
    INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at, push_at)
    SELECT lpad(n::text, 32, '0')::uuid, seq, gen_random_uuid(), 'user 1', seq::text, 'Hi', '{}', 0,
           CASE WHEN n > 2990 THEN 1 END
      FROM generate_series(1, 3000) n, generate_series(1, CASE n WHEN 1 THEN 50000 ELSE 10 END) seq;
    INSERT INTO connections (id, user_id, connected_at, token_expires_at)
    SELECT 'connection ' || n, 'user ' || n, 0, 1900000000000 FROM generate_series(1, 20000) n;
    INSERT INTO last_seen (user_id, at) SELECT 'user ' || n, 0 FROM generate_series(1, 20000) n;
    INSERT INTO push_subscriptions (id, user_id, endpoint, p256dh, auth)
    SELECT gen_random_uuid(), 'user ' || n, 'https://push.example.net/' || n, '', '' FROM generate_series(1, 20000) n;
    INSERT INTO push_digests (user_id, tag, due_at, window_ms)
    SELECT 'user ' || n, 'chat:' || lpad(n::text, 32, '0')::uuid, n, 1 FROM generate_series(1, 20000) n;
    ANALYZE;";

/// 20,000 sends, half of which need not be kept any longer. Each has three tombstones, a chunk that is done, and a dead letter
/// that needs it no more.
const FILL_OLD: &str = "
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, data, priority, created_at, due_at, keep_until)
    SELECT lpad(n::text, 32, '0')::uuid, 'shop', '', '', 'started', 'T', 'Hi', '{}', 'normal', n, n, 1799999990000 + n
      FROM generate_series(1, 20000) n;
    INSERT INTO inboxes (user_id, epoch, head) SELECT 'user ' || n, 1, 3 FROM generate_series(1, 20000) n;
    INSERT INTO notifications (user_id, \"offset\", version, id, send_id, type, created_at, deleted_at)
    SELECT 'user ' || n, m, m, gen_random_uuid(), lpad(n::text, 32, '0')::uuid, 'T', n, 1799999990000 + n
      FROM generate_series(1, 20000) n, generate_series(1, 3) m;
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT lpad(n::text, 32, '0')::uuid, 1, '[]', n, 'materialised' FROM generate_series(1, 20000) n;
    INSERT INTO dead_letters (id, send_id, error, attempts, at, recipients)
    SELECT gen_random_uuid(), lpad(n::text, 32, '0')::uuid, '', 1, n, 0 FROM generate_series(1, 20000) n;
    ANALYZE;";

fn chat(n: u32) -> ChatId {
    ChatId::parse(&format!("00000000-0000-0000-0000-{n:012}")).unwrap()
}

fn user(n: u32) -> UserId {
    UserId::new(format!("user {n}")).unwrap()
}

async fn says(record: &PostgresRecord, chat: ChatId, sender: &UserId, client_id: &str) -> i64 {
    let id = MessageId::of(chat, sender, client_id);
    let new = NewMessage { id, chat, sender, client_id, body: "Hi", data: "{}", trace: None };
    match record.append(&new, NOW).await.unwrap() {
        Appended::Stored { message, .. } => message.seq,
        other => panic!("{other:?}"),
    }
}

/// Calls what a chat needs while users talk, read and look. Each call finds something.
async fn talk(record: &PostgresRecord) {
    let (large, me) = (chat(3_000), user(1));
    assert!(says(record, large, &me, "large").await > 10);
    let (long, writer) = (chat(1), user(2));
    let seq = says(record, long, &writer, "long").await;
    assert_eq!(seq, 50_001);
    record.mark_pushed(&[(long, seq)]).await.unwrap();
    record.mark_partly_pushed(large, 11, 1, NOW).await.unwrap();
    assert!(!record.take_due_messages(100, NOW).await.unwrap().is_empty());
    for range in [Range::Last, Range::Before(30_000), Range::After(30_000)] {
        let history = record.history(long, &writer, range, Bounds::items(50), &[]).await.unwrap().unwrap();
        assert_eq!((history.messages.len(), history.complete), (50, false));
    }
    assert!(record.read(long, &writer, 40_000, NOW).await.unwrap().is_some());
    assert!(record.set_hidden(chat(11), &writer, true, NOW).await.unwrap());
    assert!(record.find(long, &writer).await.unwrap().is_some());
    for hidden in [false, true] {
        let page = Page { after: None, bounds: Bounds::default(), hidden };
        assert!(!record.list(&writer, &page).await.unwrap().0.is_empty());
    }
    let page = MemberPage { after: None, limit: 50 };
    assert_eq!(record.members(large, &me, &page).await.unwrap().unwrap().0.len(), 50);
    assert!(record.summaries(&writer, 2_000).await.unwrap().len() > 100);
    assert!(!record.audience(long, &writer, NOW).await.unwrap().unwrap().connections.is_empty());
    let users: Vec<UserId> = (2..200).map(user).collect();
    assert!(!record.visible(Some(&me), &users).await.unwrap().is_empty());
    assert!(!record.neighbours(&me, MAX_NEIGHBOURS, NOW).await.unwrap().is_empty());
    record.saw(&me, Time(1_800_000_000_000)).await.unwrap();
}

/// The plan of a statement, whatever its parameters except for limits, which are known when it is planned.
async fn plan(database: &mut PgConnection, statement: &str) -> String {
    let parameters = (1..30).filter(|n| statement.contains(&format!("${n}"))).max().unwrap_or(0);
    let (mut types, mut text) = (vec!["unknown"; parameters], statement.to_owned());
    for n in (1..=parameters).rev() {
        let limit = format!("LIMIT ${n}");
        if text.contains(&limit) {
            types[n - 1] = "bigint";
            text = text.replace(&limit, "LIMIT 100");
        }
    }
    let listed = |items: Vec<&str>| if items.is_empty() { String::new() } else { format!("({})", items.join(", ")) };
    let values = listed(vec!["NULL"; parameters]);
    let prepare = format!("DEALLOCATE ALL; PREPARE planned {} AS {text}", listed(types));
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *database).await.unwrap();
    let explain = format!("EXPLAIN EXECUTE planned {values}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(database).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn no_statement_of_chats_reads_a_table_from_end_to_end() {
    let database: Secret = postgres_server::database().await;
    for statement in FILL.split(';') {
        postgres_server::does(&database, statement).await;
    }
    let (wire, url) = Wire::before(&database).await;
    talk(&PostgresRecord::new(&url, 1).unwrap()).await;
    let statements: BTreeSet<String> = wire.taken().statements.into_iter().collect();
    let planned: Vec<&String> =
        statements.iter().filter(|text| text.contains("chat") || text.contains("messages")).collect();
    assert!(planned.len() >= 14, "{planned:#?}");

    let mut database = PgConnection::connect(database.reveal()).await.unwrap();
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut database).await.unwrap();
    for statement in planned {
        let plan = plan(&mut database, statement).await;
        assert!(!plan.contains("Seq Scan on"), "{statement}\n\n{plan}");
    }
}

/// For an `EXISTS` the planner may make a hash of all notifications instead.
#[tokio::test]
async fn purging_sends_reads_only_what_belongs_to_them() {
    let database: Secret = postgres_server::database().await;
    for statement in FILL_OLD.split(';') {
        postgres_server::does(&database, statement).await;
    }
    let (wire, url) = Wire::before(&database).await;
    let purged = PostgresRecord::new(&url, 1).unwrap().purge(1, NOW).await.unwrap();
    assert_eq!((purged.sends, purged.tombstones), (MAX_PURGED, MAX_PURGED));
    let statements: BTreeSet<String> = wire.taken().statements.into_iter().collect();
    let planned: Vec<&String> = statements.iter().filter(|text| text.contains("keep_until")).collect();
    assert_eq!(planned.len(), 2, "{planned:#?}");

    let mut database = PgConnection::connect(database.reveal()).await.unwrap();
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut database).await.unwrap();
    for statement in planned {
        let plan = plan(&mut database, statement).await;
        assert!(!plan.contains("Seq Scan on"), "{statement}\n\n{plan}");
    }
}
