//! What a device learns when it asks for the changes after a cursor.

use std::collections::HashMap;

use shared::cursor::{Cursor, Epoch};
use shared::ids::NotificationId;
use shared::inbox::{Change, CurrentState};

use crate::record::{Record, Send, at, id, ids, user};

on_each_record! {
    without_a_cursor_all_notifications_and_no_tombstones_are_returned,
    after_a_cursor_each_changed_row_is_returned_once_in_its_current_state,
    partial_answers_lose_nothing,
    partial_answers_lose_nothing_while_the_inbox_changes,
    an_answer_says_whether_it_is_complete,
    a_cursor_outside_the_history_is_not_answered,
    changes_of_other_users_are_not_returned,
}

/// Each change as its version, the notification's id, and whether the notification is present.
fn summaries(changes: &[CurrentState]) -> Vec<(i64, NotificationId, bool)> {
    changes
        .iter()
        .map(|present| match present {
            CurrentState::Present { version, notification } => (*version, notification.id, true),
            CurrentState::Deleted { version, id } => (*version, *id, false),
        })
        .collect()
}

/// Five notifications arrive. The first is marked as read and as unread again, the second deleted, the third read.
async fn prepare_changes(record: &Record) {
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

async fn without_a_cursor_all_notifications_and_no_tombstones_are_returned(record: Record) {
    prepare_changes(&record).await;
    let changes = record.changes("alice", None, 10).await.unwrap();
    let of = |key| id(key, "alice");
    assert_eq!(
        summaries(&changes.changes),
        [(4, of("4"), true), (5, of("5"), true), (8, of("3"), true), (9, of("1"), true)]
    );
    assert!(changes.complete);
    assert_eq!(changes.position, record.position("alice").await);
}

async fn after_a_cursor_each_changed_row_is_returned_once_in_its_current_state(record: Record) {
    prepare_changes(&record).await;
    let position = record.position("alice").await;
    let of = |key| id(key, "alice");
    let everything =
        [(4, of("4"), true), (5, of("5"), true), (7, of("2"), false), (8, of("3"), true), (9, of("1"), true)];
    for since in 0..=9 {
        let changes = record.changes("alice", Some(position.cursor_at(since)), 10);
        let changes = changes.await.unwrap();
        let expected: Vec<_> = everything.into_iter().filter(|(version, ..)| *version > since).collect();
        assert_eq!(summaries(&changes.changes), expected, "since {since}");
        assert!(changes.complete);
        assert_eq!(changes.position, position);
    }
    let changes = record.history("alice").await;
    for present in &changes {
        if let CurrentState::Present { notification, .. } = present {
            // Only the third is read now; the arrival offsets stay.
            let is_third = notification.id == of("3");
            assert_eq!(notification.read_at.is_some(), is_third);
            let arrival: i64 = notification.content.title.parse().unwrap();
            assert_eq!(notification.cursor, position.cursor_at(arrival));
        }
    }
}

async fn partial_answers_lose_nothing(record: Record) {
    prepare_changes(&record).await;
    let position = record.position("alice").await;
    for start in [None, Some(position.cursor_at(0)), Some(position.cursor_at(4))] {
        let whole = record.changes("alice", start, 100).await.unwrap();
        for limit in 1..=5 {
            let (mut since, mut found) = (start, Vec::new());
            loop {
                let part = record.changes("alice", since, limit).await.unwrap();
                assert!(part.changes.len() <= limit);
                found.extend(summaries(&part.changes));
                if part.complete {
                    break;
                }
                assert_eq!(part.changes.len(), limit, "a partial answer is as long as its limit");
                since = Some(position.cursor_at(part.changes.last().unwrap().version()));
            }
            if start.is_some() {
                assert_eq!(found, summaries(&whole.changes), "{limit} at once");
            } else {
                // From the second part on there is a cursor, so that tombstones are returned.
                found.retain(|(_, _, is_present)| *is_present);
                assert_eq!(found, summaries(&whole.changes), "{limit} at once");
            }
        }
    }
}

async fn partial_answers_lose_nothing_while_the_inbox_changes(record: Record) {
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    record.ring(&all, "alice", at(0)).await;
    let mut shown: HashMap<NotificationId, bool> = HashMap::new();
    let mut since = record.position("alice").await.cursor_at(0);
    let mut rounds = 0;
    loop {
        let part = record.changes("alice", Some(since), 3).await.unwrap();
        for (version, id, is_present) in summaries(&part.changes) {
            assert!(version > since.offset);
            since.offset = version;
            if is_present {
                shown.insert(id, true);
            } else {
                shown.remove(&id);
            }
        }
        if part.complete {
            break;
        }
        rounds += 1;
        if rounds <= 10 {
            // One that was returned already, one that was not returned yet, and a new one.
            let delete = Change::Delete(vec![id(all[rounds - 1], "alice")]);
            record.change("alice", delete, at(1)).await;
            let read = Change::Read(vec![id(all[20 - rounds], "alice")]);
            record.change("alice", read, at(1)).await;
            record.ring(&[&format!("new {rounds}")], "alice", at(1)).await;
        }
    }
    let mut shown: Vec<_> = shown.into_keys().collect();
    let listed = record.listed("alice").await;
    let mut present: Vec<_> = listed.iter().map(|n| n.id).collect();
    shown.sort();
    present.sort();
    assert_eq!(shown, present);
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

async fn a_cursor_outside_the_history_is_not_answered(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let position = record.position("alice").await;
    let other = Cursor { epoch: Epoch(position.epoch.0 ^ 1), offset: 1 };
    for cursor in [other, Cursor { offset: 0, ..other }, position.cursor_at(3), position.cursor_at(i64::MAX)] {
        let changes = record.changes("alice", Some(cursor), 10).await;
        assert!(changes.is_none(), "{cursor}");
    }
    // The head of another user's inbox is ahead of an inbox with fewer offsets.
    let changes = record.changes("carol", Some(position.cursor()), 10).await;
    assert!(changes.is_none());
    let changes = record.changes("carol", Some(position.cursor_at(0)), 10).await;
    assert!(changes.is_some());
}

async fn changes_of_other_users_are_not_returned(record: Record) {
    let both = [user("alice"), user("bob")];
    record.send(&Send::new("1"), &both, at(0)).await;
    let delete = Change::Delete(vec![id("1", "bob")]);
    record.change("bob", delete, at(1)).await;
    assert_eq!(summaries(&record.history("alice").await), [(1, id("1", "alice"), true)]);
    assert_eq!(summaries(&record.history("bob").await), [(2, id("1", "bob"), false)]);
}
