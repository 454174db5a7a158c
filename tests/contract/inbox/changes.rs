//! What a device learns that asks from a cursor.

use std::collections::HashMap;

use shared::cursor::{Cursor, Epoch};
use shared::ids::NotificationId;
use shared::inbox::{Change, CurrentState};

use crate::record::{Record, Send, at, id, ids, user};

on_each_record! {
    without_a_cursor_there_is_everything_that_stands_and_no_tombstone,
    since_a_cursor_there_is_each_row_once_as_it_is_now,
    an_answer_in_parts_loses_nothing,
    parts_lose_nothing_while_the_inbox_changes,
    an_answer_says_whether_it_is_complete,
    a_cursor_that_is_not_of_the_history_is_not_answered,
    other_peoples_changes_are_not_told,
}

/// Each change as its version, what it is, and whether it stands.
fn told(changes: &[CurrentState]) -> Vec<(i64, NotificationId, bool)> {
    changes
        .iter()
        .map(|present| match present {
            CurrentState::Present { version, notification } => (*version, notification.id, true),
            CurrentState::Deleted { version, id } => (*version, *id, false),
        })
        .collect()
}

/// Five arrive; the first is read and unread, the second deleted, the third read.
async fn lively(record: &Record) {
    record.ring(&["1", "2", "3", "4", "5"], "alice", at(0)).await;
    for change in [
        Change::Read(ids(&["1"], "alice")),
        Change::Delete(ids(&["2"], "alice")),
        Change::Read(ids(&["3"], "alice")),
        Change::Unread(ids(&["1"], "alice")),
    ] {
        record.change("alice", change, at(1)).await;
    }
}

async fn without_a_cursor_there_is_everything_that_stands_and_no_tombstone(record: Record) {
    lively(&record).await;
    let changes = record.changes("alice", None, 10).await.unwrap();
    let of = |key| id(key, "alice");
    assert_eq!(
        told(&changes.changes),
        [(4, of("4"), true), (5, of("5"), true), (8, of("3"), true), (9, of("1"), true)]
    );
    assert!(changes.complete);
    assert_eq!(changes.position, record.position("alice").await);
}

async fn since_a_cursor_there_is_each_row_once_as_it_is_now(record: Record) {
    lively(&record).await;
    let position = record.position("alice").await;
    let of = |key| id(key, "alice");
    let everything =
        [(4, of("4"), true), (5, of("5"), true), (7, of("2"), false), (8, of("3"), true), (9, of("1"), true)];
    for since in 0..=9 {
        let changes = record.changes("alice", Some(position.cursor_at(since)), 10);
        let changes = changes.await.unwrap();
        let expected: Vec<_> = everything.into_iter().filter(|(version, ..)| *version > since).collect();
        assert_eq!(told(&changes.changes), expected, "since {since}");
        assert!(changes.complete);
        assert_eq!(changes.position, position);
    }
    let changes = record.history("alice").await;
    for present in &changes {
        if let CurrentState::Present { notification, .. } = present {
            // Only the third is read by now; where they arrived stays.
            let is_third = notification.id == of("3");
            assert_eq!(notification.read_at.is_some(), is_third);
            let arrival: i64 = notification.content.title.parse().unwrap();
            assert_eq!(notification.cursor, position.cursor_at(arrival));
        }
    }
}

async fn an_answer_in_parts_loses_nothing(record: Record) {
    lively(&record).await;
    let position = record.position("alice").await;
    for start in [None, Some(position.cursor_at(0)), Some(position.cursor_at(4))] {
        let whole = record.changes("alice", start, 100).await.unwrap();
        for limit in 1..=5 {
            let (mut since, mut found) = (start, Vec::new());
            loop {
                let part = record.changes("alice", since, limit).await.unwrap();
                assert!(part.changes.len() <= limit);
                found.extend(told(&part.changes));
                if part.complete {
                    break;
                }
                assert_eq!(part.changes.len(), limit, "a part is as long as it was asked for");
                since = Some(position.cursor_at(part.changes.last().unwrap().version()));
            }
            if start.is_some() {
                assert_eq!(found, told(&whole.changes), "{limit} at once");
            } else {
                // From the second part on there is a cursor, and with it come tombstones.
                found.retain(|(_, _, stands)| *stands);
                assert_eq!(found, told(&whole.changes), "{limit} at once");
            }
        }
    }
}

async fn parts_lose_nothing_while_the_inbox_changes(record: Record) {
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    record.ring(&all, "alice", at(0)).await;
    let mut shown: HashMap<NotificationId, bool> = HashMap::new();
    let mut since = record.position("alice").await.cursor_at(0);
    let mut turns = 0;
    loop {
        let part = record.changes("alice", Some(since), 3).await.unwrap();
        for (version, id, stands) in told(&part.changes) {
            assert!(version > since.offset);
            since.offset = version;
            if stands {
                shown.insert(id, true);
            } else {
                shown.remove(&id);
            }
        }
        if part.complete {
            break;
        }
        turns += 1;
        if turns <= 10 {
            // Something told already, something not told yet, something new.
            let delete = Change::Delete(vec![id(all[turns - 1], "alice")]);
            record.change("alice", delete, at(1)).await;
            let read = Change::Read(vec![id(all[20 - turns], "alice")]);
            record.change("alice", read, at(1)).await;
            record.ring(&[&format!("new {turns}")], "alice", at(1)).await;
        }
    }
    let mut shown: Vec<_> = shown.into_keys().collect();
    let listed = record.listed("alice").await;
    let mut standing: Vec<_> = listed.iter().map(|n| n.id).collect();
    shown.sort();
    standing.sort();
    assert_eq!(shown, standing);
    assert_eq!(since, record.position("alice").await.cursor());
}

async fn an_answer_says_whether_it_is_complete(record: Record) {
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    for (limit, complete) in [(1, false), (2, false), (3, true), (4, true)] {
        let changes = record.changes("alice", None, limit).await.unwrap();
        assert_eq!(changes.complete, complete, "{limit} at once");
        assert_eq!(changes.changes.len(), limit.min(3));
    }
    let head = record.position("alice").await.cursor();
    let changes = record.changes("alice", Some(head), 1).await.unwrap();
    assert!(changes.complete && changes.changes.is_empty());
}

async fn a_cursor_that_is_not_of_the_history_is_not_answered(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let position = record.position("alice").await;
    let other = Cursor { epoch: Epoch(position.epoch.0 ^ 1), offset: 1 };
    for cursor in [other, Cursor { offset: 0, ..other }, position.cursor_at(3), position.cursor_at(i64::MAX)] {
        let changes = record.changes("alice", Some(cursor), 10).await;
        assert!(changes.is_none(), "{cursor}");
    }
    // Another's head means nothing here: somebody who got less is behind it.
    let changes = record.changes("carol", Some(position.cursor()), 10).await;
    assert!(changes.is_none());
    let changes = record.changes("carol", Some(position.cursor_at(0)), 10).await;
    assert!(changes.is_some());
}

async fn other_peoples_changes_are_not_told(record: Record) {
    let both = [user("alice"), user("bob")];
    record.send(&Send::new("1"), &both, at(0)).await;
    let delete = Change::Delete(vec![id("1", "bob")]);
    record.change("bob", delete, at(1)).await;
    assert_eq!(told(&record.history("alice").await), [(1, id("1", "alice"), true)]);
    assert_eq!(told(&record.history("bob").await), [(2, id("1", "bob"), false)]);
}
