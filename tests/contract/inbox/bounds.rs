//! How much of an inbox one answer contains.

use std::sync::Arc;

use shared::ids::NotificationId;
use shared::inbox::bounds::Bounds;
use shared::inbox::notification::{Content, Notification};
use shared::inbox::{Change, CurrentState, Page};

use crate::record::{Record, Send, at, id, ids, user};

on_each_record! {
    a_page_ends_before_it_has_too_many_bytes,
    changes_end_before_they_have_too_many_bytes,
    pages_of_few_bytes_skip_nothing,
    tombstones_have_few_bytes,
}

/// Puts notifications with bodies of these lengths into alice's inbox. Quotes take two bytes each as JSON.
async fn rings_with_bodies(record: &Record, lengths: &[usize]) {
    for (n, length) in lengths.iter().enumerate() {
        let send = Send::new(&n.to_string());
        let content = Content { body: Some("\"".repeat(*length)), ..Content::clone(&send.content) };
        record.send(&Send { content: Arc::new(content), ..send }, &[user("alice")], at(0)).await;
    }
}

/// The bytes of a notification in an answer.
fn bytes(notification: &Notification) -> usize {
    serde_json::to_string(notification).unwrap().len() + 1
}

fn id_of(change: &CurrentState) -> NotificationId {
    match change {
        CurrentState::Present { notification, .. } => notification.id,
        CurrentState::Deleted { id, .. } => *id,
    }
}

async fn a_page_ends_before_it_has_too_many_bytes(record: Record) {
    rings_with_bodies(&record, &[4_000, 4_000, 10, 4_000]).await;
    let sizes: Vec<usize> = record.listed("alice").await.iter().map(bytes).collect();
    let two = sizes[0] + sizes[1];
    for (bytes, items, keys, more) in [
        (two, 9, ["3", "2"].as_slice(), true),
        (two - 1, 9, &["3"], true),
        (two + sizes[2], 9, &["3", "2", "1"], true),
        (sizes.iter().sum(), 9, &["3", "2", "1", "0"], false),
        (two, 1, &["3"], true),
        // The first is returned whatever its size.
        (1, 9, &["3"], true),
    ] {
        let page = Page { bounds: Bounds { items, bytes }, ..Page::default() };
        let listed = record.inbox().list(&user("alice"), &page, at(1)).await.unwrap();
        let found: Vec<_> = listed.notifications.iter().map(|n| n.id).collect();
        assert_eq!((found, listed.more), (ids(keys, "alice"), more), "{page:?}");
    }
    let last = Page { before: Some(2), bounds: Bounds { items: 9, bytes: 1 }, ..Page::default() };
    assert!(!record.inbox().list(&user("alice"), &last, at(1)).await.unwrap().more);
}

async fn changes_end_before_they_have_too_many_bytes(record: Record) {
    rings_with_bodies(&record, &[4_000, 4_000, 10, 4_000]).await;
    let sizes: Vec<usize> = record.listed("alice").await.iter().rev().map(bytes).collect();
    let two = sizes[0] + sizes[1];
    for (bytes, keys, complete) in [
        (two, ["0", "1"].as_slice(), false),
        (two - 1, &["0"], false),
        (two + sizes[2], &["0", "1", "2"], false),
        (sizes.iter().sum(), &["0", "1", "2", "3"], true),
        (1, &["0"], false),
    ] {
        let bounds = Bounds { items: 9, bytes };
        let changes = record.inbox().changes(&user("alice"), None, bounds, at(1)).await.unwrap().unwrap();
        let found: Vec<_> = changes.changes.iter().map(id_of).collect();
        assert_eq!((found, changes.complete), (ids(keys, "alice"), complete), "{bounds:?}");
    }
}

async fn pages_of_few_bytes_skip_nothing(record: Record) {
    let lengths = [0, 3_000, 1, 4_000, 4_000, 2, 700, 4_000];
    rings_with_bodies(&record, &lengths).await;
    record.change("alice", Change::Delete(ids(&["2", "4"], "alice")), at(1)).await;
    record.change("alice", Change::Read(vec![id("0", "alice")]), at(1)).await;
    let listed: Vec<_> = record.listed("alice").await.iter().map(|n| n.id).collect();
    let history: Vec<_> = record.history("alice").await.iter().map(id_of).collect();
    let beginning = record.position("alice").await.cursor_at(0);
    for bytes in [1, 500, 1_000, 5_000, 9_000, 20_000] {
        let bounds = Bounds { items: 9, bytes };
        let (mut found, mut page) = (Vec::new(), Page { bounds, ..Page::default() });
        loop {
            let part = record.inbox().list(&user("alice"), &page, at(1)).await.unwrap();
            found.extend(part.notifications.iter().map(|n| n.id));
            page.before = part.notifications.last().map(|last| last.cursor.offset);
            if !part.more {
                break;
            }
        }
        assert_eq!(found, listed, "{bytes}");

        let (mut found, mut since) = (Vec::new(), beginning);
        loop {
            let part = record.inbox().changes(&user("alice"), Some(since), bounds, at(1)).await.unwrap().unwrap();
            found.extend(part.changes.iter().map(id_of));
            if part.complete {
                break;
            }
            since.offset = part.changes.last().unwrap().version();
        }
        assert_eq!(found, history, "{bytes}");
    }
}

async fn tombstones_have_few_bytes(record: Record) {
    rings_with_bodies(&record, &[4_000; 4]).await;
    record.change("alice", Change::Delete(ids(&["0", "1", "2", "3"], "alice")), at(1)).await;
    let beginning = record.position("alice").await.cursor_at(0);
    let of = |bytes| Bounds { items: 9, bytes };
    let changes = record.inbox().changes(&user("alice"), Some(beginning), of(4 * 39), at(1)).await.unwrap().unwrap();
    assert_eq!((changes.changes.len(), changes.complete), (4, true));
    let changes =
        record.inbox().changes(&user("alice"), Some(beginning), of(4 * 39 - 1), at(1)).await.unwrap().unwrap();
    assert_eq!((changes.changes.len(), changes.complete), (3, false));
}
