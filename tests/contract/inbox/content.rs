//! Users with hostile ids stay distinct, and the content of a send comes back byte for byte.

use std::sync::Arc;

use serde_json::value::RawValue;
use shared::clock::Time;
use shared::inbox::notification::{Channels, Content, Priority};
use shared::inbox::sends::CHUNK_RECIPIENTS;
use shared::inbox::{Change, CurrentState};

use crate::record::{LATE_MS, Record, START_MS, Send, at, id, trace, user};

on_each_record! {
    content_comes_back_byte_for_byte_on_every_path,
    users_with_hostile_ids_stay_distinct,
    hostile_ids_survive_chunks_and_pushes,
}

/// Ids that become equal or special to code that joins, splits, quotes, matches or folds them.
fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        "a",
        "A",
        "a ",
        " a",
        "a:b",
        "a:b:",
        "{a}",
        "{a:b}",
        "a'b",
        "a''b",
        "a\"b",
        "a\\b",
        "a\\\"b",
        "a%b",
        "a_b",
        "a*b",
        "a?b",
        "[a]",
        "a,b",
        "a;--",
        "' OR '1'='1",
        "$1",
        "?1",
        "null",
        "0",
        "00",
        "1e3",
        "true",
        "/../a",
        "ß",
        "ss",
        "é",
        "e",
        "👩‍👧",
        "👩",
        "ﬁ",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    names.push("x".repeat(256));
    names.push(format!("{}y", "x".repeat(255)));
    names.push("🔔".repeat(64));
    names
}

fn contents() -> Vec<Content> {
    let data = [
        "{}",
        r#"{"b":1,"a":2,"nested":{"z":[],"y":{}}}"#,
        r#"{"big":123456789012345678901234567890,"small":1e-400,"exact":1.10,"exp":1E+2,"neg":-0.0}"#,
        r#"{"escaped":"\u00fc\ud83d\udd14\n\t\\\"\/","raw":"ü🔔","key\u0020":null}"#,
    ];
    let priorities = Priority::NAMES.map(|(_, priority)| priority);
    data.into_iter()
        .zip(priorities)
        .enumerate()
        .map(|(n, (data, priority))| Content {
            kind: "a.b:c_d-E9".into(),
            title: "Grüße 🔔 'quoted' \"twice\" \\ %s $1".into(),
            body: [None, Some(String::new()), Some("two\nlines\tand\\n".into()), Some("ü".repeat(4_000))][n].clone(),
            data: RawValue::from_string(data.into()).unwrap(),
            action_url: (n % 2 == 0).then(|| "/r/7?x='1'&y=%20#ü".into()),
            priority,
            collapse_key: (n % 2 == 1).then(|| format!("k'1' \"{n}\" ü")),
            expires_at: (n % 2 == 0).then_some(Time(START_MS + 2 * LATE_MS)),
            channels: [Channels::All, Channels::Realtime, Channels::Push, Channels::All][n],
            digest_ms: (n % 2 == 1).then_some(60_000),
            trace: (n % 2 == 0).then(trace),
        })
        .collect()
}

fn assert_same(found: &Content, sent: &Content) {
    assert_eq!(found.kind, sent.kind);
    assert_eq!(found.title, sent.title);
    assert_eq!(found.body, sent.body);
    assert_eq!(found.data.get(), sent.data.get());
    assert_eq!(found.action_url, sent.action_url);
    assert_eq!(found.priority, sent.priority);
    assert_eq!(found.expires_at, sent.expires_at);
    assert_eq!(found.collapse_key, sent.collapse_key);
    assert_eq!(found.channels, sent.channels);
    assert_eq!(found.digest_ms, sent.digest_ms);
    assert_eq!(found.trace, sent.trace);
}

async fn content_comes_back_byte_for_byte_on_every_path(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    for (n, content) in contents().into_iter().enumerate() {
        let key = format!("key {n}");
        let send = Send { content: Arc::new(content), ..Send::new(&key) };
        let deliveries = record.send(&send, &[user("alice")], at(0)).await;
        assert_same(&deliveries[0].notification.content, &send.content);

        let due = record.deliveries().take_due(10, at(5_000)).await.unwrap().deliveries;
        assert_same(&due[0].notification.content, &send.content);
        let offered = (&user("alice"), due[0].notification.cursor.offset);
        record.deliveries().mark_offered(&[offered], at(0)).await.unwrap();

        assert_same(&record.listed("alice").await[0].content, &send.content);
        let (alice, key) = (user("alice"), id(&key, "alice"));
        let found = record.inbox().find(&alice, key, at(0)).await.unwrap();
        assert_same(&found.unwrap().content, &send.content);
        let Some(CurrentState::Present { notification, .. }) = record.history("alice").await.pop() else {
            panic!("the notification is not in the history")
        };
        assert_same(&notification.content, &send.content);
    }
}

async fn users_with_hostile_ids_stay_distinct(record: Record) {
    let names = hostile();
    let recipients: Vec<_> = names.iter().map(|name| user(name)).collect();
    for (n, name) in names.iter().enumerate() {
        record.connect(name, &format!("tab {n}"), at(0)).await;
    }
    let deliveries = record.send(&Send::new("all"), &recipients, at(0)).await;
    assert_eq!(deliveries.len(), names.len());
    for (n, name) in names.iter().enumerate() {
        let delivery = deliveries.iter().find(|found| found.user == user(name));
        let connections = &delivery.unwrap().connections;
        assert_eq!(connections.len(), 1, "{name}");
        assert_eq!(connections[0].id.as_str(), format!("tab {n}"));
        let own = format!("own of {n}");
        record.ring(&[&own], name, at(1)).await;
        record.ring(&[&format!("second of {n}")], name, at(2)).await;
        let change = Change::Read(vec![id(&own, name)]);
        assert_eq!(record.change(name, change, at(3)).await.ids.len(), 1);
    }
    for (n, name) in names.iter().enumerate() {
        let titles: Vec<String> = record.listed(name).await.iter().map(|n| n.content.title.clone()).collect();
        assert_eq!(titles, [format!("second of {n}"), format!("own of {n}"), "all".into()], "{name}");
        let position = record.position(name).await;
        assert_eq!((position.head, position.unread), (4, 2), "{name}");
    }
}

async fn hostile_ids_survive_chunks_and_pushes(record: Record) {
    let names = hostile();
    let mut recipients: Vec<_> = (0..CHUNK_RECIPIENTS).map(|n| user(&format!("u{n}"))).collect();
    recipients.extend(names.iter().map(|name| user(name)));
    for (n, name) in names.iter().enumerate() {
        record.connect(name, &format!("tab {n}"), at(0)).await;
    }
    record.send(&Send::new("all"), &recipients, at(0)).await;
    let chunk = record.materialise_next(at(0)).await.unwrap();
    assert_eq!(chunk.unwrap().len(), names.len());
    let due = record.deliveries().take_due(1_000, at(5_000)).await.unwrap().deliveries;
    assert_eq!(due.len(), names.len());
    let offered: Vec<_> = due.iter().map(|row| (&row.user, row.notification.cursor.offset)).collect();
    record.deliveries().mark_offered(&offered, at(5_001)).await.unwrap();
    assert_eq!(record.next_due().await.unwrap(), None);
    for name in &names {
        assert_eq!(record.position(name).await.head, 1, "{name}");
    }
}
