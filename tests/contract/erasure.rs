//! The suite of `shared::users::erasures::Erasures`.

use serde_json::value::RawValue;
use shared::chat::chats::{Created, NewChat};
use shared::chat::messages::Range;
use shared::chat::{Kind, Role};
use shared::delivery::dead_letters::{Dead, Reason, Redriven};
use shared::delivery::work::Work;
use shared::ids::{ChatId, ConnectionId, UserId, sha256};
use shared::inbox::bounds::Bounds;
use shared::inbox::send::Due;
use shared::inbox::sends::Appended;
use shared::users::erasures::{Erased, MAX_CHANGED};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::broken_rows::Database;
use crate::record::{Record, Send, at, concurrently, user, users};

on_each_database! {
    a_list_that_cannot_be_read_loses_the_id_and_stays_for_others,
    nothing_names_the_user_and_others_keep_what_is_theirs,
    an_erasure_goes_on_where_it_stopped,
    chats_of_which_no_one_else_is_a_member_end,
    what_a_revoked_token_did_meanwhile_is_erased_too,
}

on_each_record! {
    an_erasure_of_a_stranger_is_complete,
    known_messages_that_were_erased_since_are_not_used,
    the_key_of_a_send_that_others_need_makes_no_second_notification,
    what_arrives_meanwhile_makes_an_inbox_without_gaps,
}

/// A user whose id has to be escaped in JSON.
const MALLORY: &str = "mallory, \"M\"";

/// The columns of all tables that contain this text.
async fn mentions(database: &Database, text: &str) -> Vec<String> {
    match database {
        Database::Sqlite(file) => {
            let db = crate::stores::sqlite_connection(file);
            let columns = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c
                            WHERE t.type = 'table' AND c.type = 'TEXT' ORDER BY 1, 2";
            let mut columns = db.prepare(columns).unwrap();
            let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let columns: Vec<(String, String)> = columns.map(Result::unwrap).collect();
            let has_text = |(table, column): &&(String, String)| {
                let sql = format!(r#"SELECT count(*) FROM "{table}" WHERE instr("{column}", ?1) > 0"#);
                db.query_row(&sql, [text], |row| row.get::<_, i64>(0)).unwrap() > 0
            };
            columns.iter().filter(has_text).map(|(table, column)| format!("{table}.{column}")).collect()
        }
        Database::Postgres(url) => {
            let mut server = sqlx::PgConnection::connect(url.reveal()).await.unwrap();
            let columns = "SELECT table_name::text, column_name::text FROM information_schema.columns
                            WHERE table_schema = 'public' AND data_type = 'text' ORDER BY 1, 2";
            let columns = sqlx::query(columns).fetch_all(&mut server).await.unwrap();
            let mut found = Vec::new();
            for row in &columns {
                let (table, column): (String, String) = (row.get(0), row.get(1));
                let sql = format!(r#"SELECT count(*) FROM "{table}" WHERE strpos("{column}", '{text}') > 0"#);
                let count = sqlx::query(AssertSqlSafe(sql.as_str())).fetch_one(&mut server).await.unwrap();
                if count.get::<i64, _>(0) > 0 {
                    found.push(format!("{table}.{column}"));
                }
            }
            found
        }
    }
}

async fn step(record: &Record, name: &str) -> Erased {
    record.erasures().erase_some(&user(name), at(10)).await.unwrap()
}

/// Erases a user; returns what each step has done.
async fn erase(record: &Record, name: &str) -> Vec<Erased> {
    record.erasures().begin_erasure(&user(name), at(10)).await.unwrap();
    let mut steps = vec![step(record, name).await];
    while steps.last().is_some_and(|last| !last.is_complete) {
        steps.push(step(record, name).await);
    }
    steps
}

/// An answer that names these users.
fn answer(names: &[&str]) -> String {
    let named: Vec<String> =
        names.iter().map(|name| format!(r#"{{"userId":{},"id":null}}"#, serde_json::json!(name))).collect();
    format!(r#"{{"sendId":"x",  "notifications":[{}]}}"#, named.join(","))
}

async fn create(record: &Record, kind: Kind, name: &str, others: &[&str]) -> ChatId {
    let (creator, others) = (user(name), users(others));
    let id = match kind {
        Kind::Direct => ChatId::of_pair(&creator, &others[0]),
        Kind::Group => ChatId::of_group(&creator, "theirs"),
    };
    let new = NewChat { id, kind, title: None, creator: &creator, others: &others, fingerprint: sha256(b"theirs") };
    let created = record.chats().create(&new, at(0)).await.unwrap();
    assert!(matches!(created, Created::New(_)), "{created:?}");
    id
}

async fn titles(record: &Record, name: &str) -> Vec<String> {
    let mut titles: Vec<String> =
        record.listed(name).await.iter().map(|notification| notification.content.title.clone()).collect();
    titles.sort();
    titles
}

/// Who a message is from, and what it says.
async fn said(record: &Record, chat: ChatId, reader: &str) -> Vec<(i64, Option<UserId>, String)> {
    let history = record.messages_in(chat, reader, Range::Last, Bounds::default()).await;
    history.messages.into_iter().map(|message| (message.seq, message.sender, message.body)).collect()
}

async fn nothing_names_the_user_and_others_keep_what_is_theirs(record: Record, database: Database) {
    let (mallory, bob) = (user(MALLORY), user("bob"));
    for sql in [
        "INSERT INTO preferences (user_id, types, muted_chats) VALUES ('{}', '{}', '{}')",
        "INSERT INTO last_seen (user_id, at) VALUES ('{}', 1)",
        "INSERT INTO push_digests (user_id, tag, window_ms) VALUES ('{}', 'type:LIKE', 1)",
    ] {
        database.execute(&sql.replacen("{}", MALLORY, 1)).await;
    }
    crate::web_push::subscribe(&record, MALLORY, "browser").await;
    record.connect(MALLORY, "tab", at(0)).await;
    record.connect("bob", "phone", at(0)).await;

    record.ring(&["hers alone"], MALLORY, at(0)).await;
    let both = [mallory.clone(), bob.clone()];
    let shared = Send { answer: answer(&[MALLORY, "bob"]), ..Send::new("shared") };
    record.send(&shared, &both, at(1)).await;
    record.send(&Send::due("later", Due::After(1_000)), &both, at(1)).await;
    let hers = Send::due("hers alone, later", Due::After(1_000));
    record.send(&hers, std::slice::from_ref(&mallory), at(1)).await;
    let held = Work::Presence(mallory.clone()).text();
    record.dead_letters().dead_letter(&Dead::Held { payload: &held }, Reason::Unknown, at(1)).await.unwrap();

    record.append_from(MALLORY, &Send::new("from her"), std::slice::from_ref(&bob), at(2)).await;
    let from_her_later = Send::due("from her, later", Due::After(1_000));
    record.append_from(MALLORY, &from_her_later, std::slice::from_ref(&bob), at(2)).await;
    record.append_from(MALLORY, &Send::new("to herself"), std::slice::from_ref(&mallory), at(2)).await;

    let theirs = record.group(&["bob", MALLORY]).await;
    for (name, text) in [("alice", "one"), (MALLORY, "two"), ("bob", "three")] {
        record.say(theirs, name, text, at(3)).await;
    }
    let hers = create(&record, Kind::Group, MALLORY, &["bob", "alice"]).await;
    let direct = create(&record, Kind::Direct, MALLORY, &["bob"]).await;
    record.say(direct, MALLORY, "hi", at(3)).await;

    assert!(mentions(&database, "mallory").await.len() > 10);
    let steps = erase(&record, MALLORY).await;
    assert_eq!(mentions(&database, "mallory").await, [""; 0]);
    let closed: Vec<&str> = steps.iter().flat_map(|step| &step.connections).map(ConnectionId::as_str).collect();
    assert_eq!(closed, ["tab"]);
    let changed: Vec<ChatId> = steps.iter().flat_map(|step| step.chats.clone()).collect();
    assert!([theirs, hers, direct].iter().all(|chat| changed.contains(chat)), "{changed:?}");

    // What others have got is theirs, and comes as it was sent.
    assert_eq!(titles(&record, "bob").await, ["from her", "shared"]);
    while record.materialise_next(at(2_000)).await.unwrap().is_some() {}
    assert_eq!(titles(&record, "bob").await, ["from her", "from her, later", "later", "shared"]);
    assert_eq!((record.position(MALLORY).await.head, record.listed(MALLORY).await.len()), (0, 0));
    for title in ["hers alone", "hers alone, later"] {
        // An answer of these tests has the key, which is the title too.
        assert_eq!(mentions(&database, title).await, ["sends.answer"]);
    }
    let first = record.sends().first_answer(shared.id).await.unwrap().unwrap();
    assert_eq!(
        first.answer,
        r#"{"sendId":"x",  "notifications":[{"userId":null,"id":null},{"userId":"bob","id":null}]}"#
    );
    // Of what others need, only the key is still known, and every request with it is another one.
    for key in ["from her", "from her, later"] {
        let first = record.sends().first_answer(Send::new(key).id).await.unwrap().unwrap();
        assert!(first.answer == "{}" && first.fingerprint != Send::new(key).fingerprint, "{key}");
    }
    assert_eq!(record.sends().first_answer(Send::new("to herself").id).await.unwrap(), None);

    // Her place in chats of others stays, and nothing of her.
    let expected = [
        (1, Some(user("alice")), "one".to_owned()),
        (2, None, String::new()),
        (3, Some(user("bob")), "three".to_owned()),
    ];
    assert_eq!(said(&record, theirs, "bob").await, expected);
    let erased = record.messages_in(theirs, "bob", Range::Before(3), Bounds::items(1)).await.messages.remove(0);
    assert!(erased.is_erased && erased.client_id.is_none());
    assert_eq!(RawValue::get(&erased.data), "{}");
    let find = async |chat| record.chats().find(chat, &user("bob")).await.unwrap().unwrap().chat;
    // Once for the member who is gone, and once for what it said.
    assert_eq!((find(theirs).await.member_count, find(theirs).await.version), (2, 3));
    let chat = find(hers).await;
    let owners = chat.participants.iter().filter(|participant| participant.role == Role::Owner);
    let owners: Vec<Option<UserId>> = owners.map(|owner| owner.user_id.clone()).collect();
    assert_eq!((chat.created_by, owners), (None, vec![Some(user("bob"))]));
    let chat = find(direct).await;
    let members: Vec<Option<UserId>> = chat.participants.into_iter().map(|participant| participant.user_id).collect();
    assert_eq!((chat.created_by, chat.member_count, members.contains(&None)), (None, 2, true));
    // Bob, too, may be erased.
    erase(&record, "bob").await;
    assert_eq!(mentions(&database, "bob").await, [""; 0]);
}

async fn a_list_that_cannot_be_read_loses_the_id_and_stays_for_others(record: Record, database: Database) {
    const DAMAGED: &str = r#"["bob", "mallory", 7, "carol""#;
    const LEFT: &str = r#"["bob", null, 7, "carol""#;
    let to = users(&["bob", "mallory", "carol"]);
    record.send(&Send::due("in a letter", Due::After(1_000)), &to, at(0)).await;
    record.send(&Send::due("in a chunk", Due::After(5_000)), &to, at(0)).await;
    database.execute(&format!("UPDATE send_chunks SET recipients = '{DAMAGED}'")).await;
    assert!(record.materialise_next(at(1_000)).await.unwrap().is_some());
    let places = ["dead_letters.payload", "send_chunks.recipients"];
    assert_eq!(mentions(&database, "mallory").await, places);
    erase(&record, "mallory").await;
    assert_eq!(mentions(&database, "mallory").await, [""; 0]);
    assert_eq!(mentions(&database, LEFT).await, places);

    // What an operator repairs reaches the others as it was sent.
    for (place, name) in [("dead_letters", "payload"), ("send_chunks", "recipients")] {
        database.execute(&format!(r#"UPDATE {place} SET {name} = '["bob","carol"]'"#)).await;
    }
    let letters = record.dead_letters().page(None, 10).await.unwrap().letters;
    assert_eq!(letters.len(), 1);
    assert_eq!(record.dead_letters().redrive(letters[0].key.id, at(2_000)).await.unwrap(), Redriven::Done);
    while record.materialise_next(at(5_000)).await.unwrap().is_some() {}
    for name in ["bob", "carol"] {
        assert_eq!(titles(&record, name).await, ["in a chunk", "in a letter"]);
    }
    assert_eq!(record.position("mallory").await.head, 0);
}

/// A text of Postgres is always UTF-8.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_erases_in_lists_that_are_no_utf_8() {
    let (record, database, _guard) = crate::broken_rows::sqlite().await;
    for (key, after_ms) in [("in a letter", 1_000), ("in a chunk", 5_000)] {
        record.send(&Send::due(key, Due::After(after_ms)), &users(&["bob", "mallory"]), at(0)).await;
    }
    database.execute("UPDATE send_chunks SET recipients = recipients || CAST(x'ff' AS TEXT)").await;
    assert!(record.materialise_next(at(1_000)).await.unwrap().is_some());
    let places = ["dead_letters.payload", "send_chunks.recipients"];
    assert_eq!(mentions(&database, "mallory").await, places);
    erase(&record, "mallory").await;
    assert_eq!(mentions(&database, "mallory").await, [""; 0]);
    assert_eq!(mentions(&database, r#"["bob",null]"#).await, places);
}

/// As many messages as that, all of the same sender.
async fn fill(database: &Database, name: &str, messages: usize) {
    let id = match database {
        Database::Sqlite(_) => "randomblob(16)",
        Database::Postgres(_) => "gen_random_uuid()",
    };
    let sql = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {messages})
         INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at)
         SELECT chats.id, n, {id}, '{name}', 'c', 'x', '{{}}', 0 FROM chats, numbers;
         UPDATE chats SET last_seq = {messages}"
    );
    database.execute(&sql).await;
}

async fn an_erasure_goes_on_where_it_stopped(record: Record, database: Database) {
    let chat = record.accepted().await;
    fill(&database, "alice", 2 * MAX_CHANGED + 1).await;
    record.erasures().begin_erasure(&user("alice"), at(10)).await.unwrap();
    let mut left = Vec::new();
    loop {
        // Another call begins each time, and does not begin anew.
        record.erasures().begin_erasure(&user("alice"), at(10)).await.unwrap();
        let erased = step(&record, "alice").await;
        let history = record.messages_in(chat, "bob", Range::Last, Bounds::items(2_000)).await.messages;
        left.push(history.iter().filter(|message| message.sender.is_some()).count());
        if erased.is_complete {
            break;
        }
    }
    left.dedup();
    assert_eq!(left, [2 * MAX_CHANGED + 1, MAX_CHANGED + 1, 1, 0]);
    assert_eq!(mentions(&database, "alice").await, [""; 0]);
    assert_eq!(step(&record, "alice").await, Erased::complete());
}

async fn what_a_revoked_token_did_meanwhile_is_erased_too(record: Record, database: Database) {
    let alice = user("alice");
    record.erasures().begin_erasure(&alice, at(0)).await.unwrap();
    assert!(!step(&record, "alice").await.is_complete);
    // Its stage is done.
    database.execute("INSERT INTO preferences (user_id, types, muted_chats) VALUES ('alice', '{}', '{}')").await;
    let steps = async |ms| record.erasures().erase_some(&alice, at(ms)).await.unwrap();
    while !steps(20_000).await.is_complete {}
    assert_eq!(mentions(&database, "alice").await, [""; 0]);
}

async fn chats_of_which_no_one_else_is_a_member_end(record: Record, database: Database) {
    record.accepted().await;
    erase(&record, "alice").await;
    let group = create(&record, Kind::Group, "bob", &["carol"]).await;
    erase(&record, "carol").await;
    fill(&database, "bob", MAX_CHANGED + 1).await;
    assert_eq!(said(&record, group, "bob").await.len(), MAX_CHANGED + 1);
    erase(&record, "bob").await;
    database.execute("INSERT INTO last_seen (user_id, at) SELECT DISTINCT 'a chat is left', 0 FROM chats").await;
    assert_eq!(mentions(&database, "a chat is left").await, [""; 0]);
}

async fn an_erasure_of_a_stranger_is_complete(record: Record) {
    assert_eq!(step(&record, "alice").await, Erased::complete());
    for _ in 0..2 {
        assert!(erase(&record, "alice").await.iter().all(|step| step.chats.is_empty() && step.connections.is_empty()));
    }
}

async fn known_messages_that_were_erased_since_are_not_used(record: Record) {
    let chat = record.accepted().await;
    for (name, text) in [("bob", "one"), ("alice", "two"), ("bob", "three")] {
        record.say(chat, name, text, at(1)).await;
    }
    let read = async |known: &[shared::chat::message::Message]| {
        let (reader, bounds) = (user("bob"), Bounds::default());
        record.messages().history(chat, &reader, Range::Last, bounds, known).await.unwrap().unwrap()
    };
    let before = read(&[]).await.messages;
    assert!(read(&before).await.has_confirmed);
    erase(&record, "alice").await;
    let after = read(&before).await;
    assert!(!after.has_confirmed);
    let texts: Vec<&str> = after.messages.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(texts, ["one", "", "three"]);
    assert!(read(&after.messages).await.has_confirmed);
    // Without any that was erased, older ones are as good as before.
    assert!(read(&before[2..]).await.has_confirmed);
}

async fn the_key_of_a_send_that_others_need_makes_no_second_notification(record: Record) {
    let (send, bob) = (Send::new("a"), [user("bob")]);
    record.append_from("alice", &send, &bob, at(0)).await;
    erase(&record, "alice").await;
    let again = record.append_from("alice", &send, &bob, at(1)).await;
    assert!(matches!(again, Appended::Known(first) if first.fingerprint != send.fingerprint));
    assert_eq!(titles(&record, "bob").await, ["a"]);
}

async fn what_arrives_meanwhile_makes_an_inbox_without_gaps(record: Record) {
    for n in 0..20 {
        record.ring(&[&format!("before {n}")], "alice", at(0)).await;
    }
    concurrently(6, |n| {
        let record = record.clone();
        async move {
            if n < 2 {
                erase(&record, "alice").await;
            } else {
                for m in 0..10 {
                    record.ring(&[&format!("meanwhile {n} {m}")], "alice", at(1)).await;
                }
            }
        }
    })
    .await;
    let (position, listed) = (record.position("alice").await, record.listed("alice").await);
    let mut offsets: Vec<i64> = listed.iter().map(|notification| notification.cursor.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=position.head).collect::<Vec<i64>>());
    assert_eq!(position.unread, position.head);
    assert!(listed.iter().all(|notification| notification.content.title.starts_with("meanwhile")));
}
