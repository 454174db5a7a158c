//! The suite of `shared::fast::log::Logs`: each log keeps its order, has each entry once, and is bounded.

use std::sync::Arc;

use shared::fast::log::{
    Claimed, KeyClaim, LogEntry, LogId, Logged, Logs, MAX_LOG_AGE_MS, MAX_LOG_BYTES, MAX_LOG_ENTRIES, ReadLogs, Share,
    Unwritten, WRITER_LEASE_MS, WriterId,
};
use shared::ids::{ChatId, SendId, sha256};

use crate::record::{at, concurrently, user};

on_each_moment! {
    entries_are_read_in_the_order_in_which_they_were_appended,
    an_id_is_in_a_log_once_and_answered_with_its_first_text,
    an_id_may_be_appended_again_after_it_was_removed,
    a_log_takes_so_many_entries_and_so_many_bytes,
    a_log_whose_oldest_entry_waits_for_long_takes_nothing,
    the_oldest_entrys_age_is_told,
    removing_leaves_what_came_later,
    removing_twice_is_harmless,
    an_entry_in_the_place_of_a_removed_one_stays,
    what_is_read_and_left_is_told,
    only_logs_with_entries_are_unwritten,
    each_log_is_read_up_to_a_limit,
    concurrent_appends_all_arrive_once,
    the_total_counts_entries_bytes_and_age,
    a_key_belongs_to_its_first_claim,
    a_claim_can_be_taken_over,
    any_text_is_kept_as_it_is,
    a_log_has_one_writer_at_a_time,
    who_waits_for_a_writer_sees_when_what_there_was_is_written,
    a_lease_lapses_and_does_not_outlive_a_clock_that_goes_back,
    a_writer_without_a_lease_waits_for_no_other_and_leaves_its_lease,
}

type Store = Arc<dyn Logs>;

const WRITER: WriterId = WriterId(u64::MAX);
const ALL: Share = Share { entries: 2_000, bytes: usize::MAX / 2 };

fn up_to(entries: usize) -> Share {
    Share { entries, ..ALL }
}

fn log(name: &str) -> LogId {
    LogId::of_user(&user(name))
}

fn id(n: usize) -> SendId {
    SendId::of_key(&user("billing"), "/send", &n.to_string())
}

async fn append(store: &Store, name: &str, n: usize, text: &str, after_ms: i64) -> Logged {
    store.append(log(name), id(n).as_uuid(), text, at(after_ms)).await.unwrap()
}

async fn append_all(store: &Store, name: &str, texts: &[&str]) {
    for (n, text) in texts.iter().enumerate() {
        assert!(matches!(append(store, name, n, text, 0).await, Logged::Added { .. }));
    }
}

async fn entries(store: &Store, name: &str) -> Vec<LogEntry> {
    store.read(&[log(name)], ALL, WRITER, at(0)).await.entries
}

fn texts(entries: &[LogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| std::str::from_utf8(&entry.text).unwrap()).collect()
}

async fn entries_are_read_in_the_order_in_which_they_were_appended(store: Store) {
    // The clock goes back in between, as that of another server may.
    for (n, after_ms) in [500, 0, 700, 700, 600].into_iter().enumerate() {
        append(&store, "alice", n, &n.to_string(), after_ms).await;
    }
    append(&store, "bob", 9, "other", 0).await;
    let entries = entries(&store, "alice").await;
    assert_eq!(texts(&entries), ["0", "1", "2", "3", "4"]);
    assert!(entries.iter().all(|entry| entry.log == log("alice")));
    assert_eq!(entries[4].id, id(4).to_string().into_bytes());
}

async fn an_id_is_in_a_log_once_and_answered_with_its_first_text(store: Store) {
    append_all(&store, "alice", &["first", "second"]).await;
    assert_eq!(append(&store, "alice", 0, "again", 5).await, Logged::Known("first".into()));
    assert_eq!(texts(&entries(&store, "alice").await), ["first", "second"]);
    // The same id in another log is another entry.
    assert!(matches!(append(&store, "bob", 0, "again", 5).await, Logged::Added { oldest_ms: None }));
}

async fn an_id_may_be_appended_again_after_it_was_removed(store: Store) {
    append_all(&store, "alice", &["first", "second"]).await;
    let first = entries(&store, "alice").await;
    assert!(store.remove(&first[..1], WRITER).await.is_some());
    assert!(matches!(append(&store, "alice", 0, "again", 5).await, Logged::Added { .. }));
    assert_eq!(texts(&entries(&store, "alice").await), ["second", "again"]);
    // Its new entry is another one: whoever removes the first late leaves it.
    assert!(store.remove(&first[..1], WRITER).await.is_some());
    assert_eq!(texts(&entries(&store, "alice").await), ["second", "again"]);
    assert_eq!(append(&store, "alice", 0, "once more", 6).await, Logged::Known("again".into()));
}

async fn a_log_takes_so_many_entries_and_so_many_bytes(store: Store) {
    for n in 0..MAX_LOG_ENTRIES {
        assert!(matches!(append(&store, "alice", n, "x", 0).await, Logged::Added { .. }), "{n}");
    }
    assert_eq!(append(&store, "alice", MAX_LOG_ENTRIES, "x", 0).await, Logged::Full);
    // A repeat is answered all the same.
    assert_eq!(append(&store, "alice", 7, "y", 0).await, Logged::Known("x".into()));
    store.remove(&store.read(&[log("alice")], up_to(1), WRITER, at(0)).await.entries, WRITER).await;
    assert!(matches!(append(&store, "alice", MAX_LOG_ENTRIES, "x", 0).await, Logged::Added { .. }));

    let quarter = "q".repeat(MAX_LOG_BYTES / 4);
    for n in 0..4 {
        assert!(matches!(append(&store, "bob", n, &quarter, 0).await, Logged::Added { .. }), "{n}");
    }
    assert_eq!(append(&store, "bob", 4, "x", 0).await, Logged::Full);
    store.remove(&store.read(&[log("bob")], up_to(1), WRITER, at(0)).await.entries, WRITER).await;
    assert!(matches!(append(&store, "bob", 4, &quarter, 0).await, Logged::Added { .. }));
}

async fn a_log_whose_oldest_entry_waits_for_long_takes_nothing(store: Store) {
    append_all(&store, "alice", &["first"]).await;
    assert!(matches!(append(&store, "alice", 1, "second", MAX_LOG_AGE_MS - 1).await, Logged::Added { .. }));
    assert_eq!(append(&store, "alice", 2, "third", MAX_LOG_AGE_MS).await, Logged::Full);
    store.remove(&store.read(&[log("alice")], up_to(1), WRITER, at(0)).await.entries, WRITER).await;
    assert!(matches!(append(&store, "alice", 2, "third", MAX_LOG_AGE_MS).await, Logged::Added { .. }));
}

async fn the_oldest_entrys_age_is_told(store: Store) {
    assert_eq!(append(&store, "alice", 0, "first", 100).await, Logged::Added { oldest_ms: None });
    assert_eq!(append(&store, "alice", 1, "second", 100).await, Logged::Added { oldest_ms: Some(0) });
    assert_eq!(append(&store, "alice", 2, "third", 350).await, Logged::Added { oldest_ms: Some(250) });
    // A clock that is behind does not make it negative.
    assert_eq!(append(&store, "alice", 3, "fourth", 0).await, Logged::Added { oldest_ms: Some(0) });
}

async fn removing_leaves_what_came_later(store: Store) {
    append_all(&store, "alice", &["first", "second"]).await;
    append_all(&store, "bob", &["other"]).await;
    let read = store.read(&[log("alice"), log("bob")], up_to(10), WRITER, at(0)).await.entries;
    append(&store, "alice", 2, "third", 1).await;
    assert!(store.remove(&read, WRITER).await.is_some());
    assert_eq!(texts(&entries(&store, "alice").await), ["third"]);
    assert!(entries(&store, "bob").await.is_empty());
}

async fn removing_twice_is_harmless(store: Store) {
    append_all(&store, "alice", &["first", "second", "third"]).await;
    let read = store.read(&[log("alice")], up_to(2), WRITER, at(0)).await.entries;
    for _ in 0..2 {
        assert_eq!(store.remove(&read, WRITER).await, Some(vec![log("alice")]));
    }
    assert_eq!(texts(&entries(&store, "alice").await), ["third"]);
    let rest = Unwritten { entries: 1, bytes: 5, oldest_ms: 7 };
    assert_eq!(store.unwritten_total(at(7)).await, Some(rest));
    assert!(store.remove(&[], WRITER).await.is_some());
}

async fn an_entry_in_the_place_of_a_removed_one_stays(store: Store) {
    append(&store, "alice", 0, "first", 7).await;
    let first = entries(&store, "alice").await;
    assert_eq!(store.remove(&first, WRITER).await, Some(Vec::new()));
    // The log begins anew, and its clock is where it was.
    append(&store, "alice", 1, "second", 7).await;
    store.remove(&first, WriterId(1)).await;
    assert_eq!(texts(&entries(&store, "alice").await), ["second"]);
}

async fn what_is_read_and_left_is_told(store: Store) {
    append_all(&store, "alice", &["aaaa", "bbbb", "cccc"]).await;
    append_all(&store, "bob", &["dddd"]).await;
    let logs = [log("alice"), log("bob")];
    let read = store.read(&logs, up_to(2), WRITER, at(0)).await;
    assert_eq!(read.more, [log("alice")]);
    // One entry is always read, however few bytes there may be.
    for (bytes, expected) in [(0, "aaaa"), (7, "aaaa"), (8, "aaaabbbb"), (12, "aaaabbbbcccc")] {
        let read = store.read(&[log("alice")], Share { entries: 9, bytes }, WRITER, at(0)).await;
        assert_eq!(texts(&read.entries).concat(), expected, "{bytes}");
        assert_eq!(read.more.is_empty(), bytes == 12);
    }
    assert_eq!(store.remove(&read.entries, WRITER).await, Some(vec![log("alice")]));
}

async fn only_logs_with_entries_are_unwritten(store: Store) {
    let logs = [log("alice"), log("bob"), LogId::of_chat(ChatId::of_pair(&user("alice"), &user("bob")))];
    assert!(store.unwritten(&logs).await.logs.is_empty());
    append_all(&store, "bob", &["first"]).await;
    assert_eq!(store.unwritten(&logs).await.logs, [log("bob")]);
    assert_eq!(store.unwritten(&LogId::all().collect::<Vec<_>>()).await.logs, [log("bob")]);
    store.remove(&entries(&store, "bob").await, WRITER).await;
    assert!(store.unwritten(&logs).await.logs.is_empty());
    append_all(&store, "alice", &["second"]).await;
    assert_eq!(store.unwritten(&logs).await.logs, [log("alice")]);
}

async fn each_log_is_read_up_to_a_limit(store: Store) {
    append_all(&store, "alice", &["a", "b", "c"]).await;
    append_all(&store, "bob", &["d"]).await;
    let mut read =
        texts(&store.read(&[log("alice"), log("bob"), log("carol")], up_to(2), WRITER, at(0)).await.entries).join("");
    read = read.chars().filter(|letter| *letter != 'd').chain(read.chars().filter(|letter| *letter == 'd')).collect();
    assert_eq!(read, "abd");
}

async fn concurrent_appends_all_arrive_once(store: Store) {
    let appended = concurrently(16, |n| {
        let store = Arc::clone(&store);
        // Each of eight entries twice.
        async move { append(&store, "alice", n % 8, &(n % 8).to_string(), 0).await }
    });
    let added = appended.await.into_iter().filter(|appended| matches!(appended, Logged::Added { .. })).count();
    assert_eq!(added, 8);
    let read = entries(&store, "alice").await;
    let mut texts = texts(&read);
    texts.sort_unstable();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

async fn the_total_counts_entries_bytes_and_age(store: Store) {
    assert_eq!(store.unwritten_total(at(0)).await, Some(Unwritten::default()));
    append(&store, "alice", 0, "four", 100).await;
    append(&store, "bob", 1, "ü", 300).await;
    append(&store, "bob", 2, "", 400).await;
    let total = Unwritten { entries: 3, bytes: 6, oldest_ms: 900 };
    assert_eq!(store.unwritten_total(at(1_000)).await, Some(total));
}

fn claim(name: Option<&str>, body: &str) -> KeyClaim {
    KeyClaim::new(name.map(log), &sha256(body.as_bytes()))
}

async fn a_key_belongs_to_its_first_claim(store: Store) {
    let send = |key: &str| SendId::of_key(&user("billing"), "/send", key);
    assert_eq!(store.claimed_key(send("a"), at(0)).await, None);
    let first = claim(Some("alice"), "one");
    assert_eq!(store.claim_key(send("a"), first, at(0)).await, Some(Claimed::Now));
    assert_eq!(store.claim_key(send("a"), first, at(1)).await, Some(Claimed::Before(first)));
    for other in [claim(Some("bob"), "one"), claim(Some("alice"), "two"), claim(None, "one")] {
        assert_eq!(store.claim_key(send("a"), other, at(1)).await, Some(Claimed::Before(first)));
    }
    assert_eq!(store.claimed_key(send("a"), at(1)).await, Some(first));
    let durable = claim(None, "one");
    assert_eq!(store.claim_key(send("b"), durable, at(1)).await, Some(Claimed::Now));
    assert_eq!(store.claim_key(send("b"), first, at(1)).await, Some(Claimed::Before(durable)));
}

async fn a_claim_can_be_taken_over(store: Store) {
    let send = SendId::of_key(&user("billing"), "/send", "a");
    let (first, durable) = (claim(Some("alice"), "one"), claim(None, "two"));
    assert_eq!(store.take_key(send, durable, at(0)).await, None);
    assert_eq!(store.claimed_key(send, at(0)).await, Some(durable));
    let send = SendId::of_key(&user("billing"), "/send", "b");
    store.claim_key(send, first, at(0)).await;
    assert_eq!(store.take_key(send, durable, at(0)).await, Some(first));
    assert_eq!(store.claimed_key(send, at(0)).await, Some(durable));
    assert_eq!(store.claim_key(send, first, at(0)).await, Some(Claimed::Before(durable)));
}

async fn any_text_is_kept_as_it_is(store: Store) {
    for (n, text) in ["", " ", "{}\n\r\t", "\u{0}\u{7f}", "🔔 \"ü\"", "- 1 e id"].into_iter().enumerate() {
        append(&store, "alice", n, text, 0).await;
        assert_eq!(append(&store, "alice", n, "other", 0).await, Logged::Known(text.into()));
        let read = entries(&store, "alice").await;
        assert_eq!(texts(&read).last(), Some(&text));
    }
}

async fn is_busy(store: &Store, writer: WriterId, after_ms: i64) -> bool {
    let read = store.read(&[log("alice")], ALL, writer, at(after_ms)).await;
    assert!(read.busy.is_empty() || read.entries.is_empty());
    read.busy.iter().any(|busy| busy.log == log("alice"))
}

async fn a_log_has_one_writer_at_a_time(store: Store) {
    append_all(&store, "alice", &["first", "second"]).await;
    append_all(&store, "bob", &["other"]).await;
    let (one, other, logs) = (WriterId(1), WriterId(2), [log("alice"), log("bob")]);
    let read = store.read(&[log("alice")], up_to(1), one, at(0)).await;
    assert_eq!((texts(&read.entries), read.busy.len()), (vec!["first"], 0));
    // The other gets what is not busy.
    let rest = store.read(&logs, up_to(9), other, at(1)).await;
    assert_eq!((texts(&rest.entries), rest.busy[0].log), (vec!["other"], log("alice")));
    // When one has written what it read, it is the turn of others, though the log has more.
    assert_eq!(store.remove(&read.entries, one).await, Some(vec![log("alice")]));
    let read = store.read(&[log("alice")], up_to(9), other, at(2)).await;
    assert_eq!((texts(&read.entries), read.busy.len()), (vec!["second"], 0));
    assert!(is_busy(&store, one, 3).await);
    // A writer that removes ends no other's lease.
    store.remove(&read.entries[..0], one).await;
    assert!(is_busy(&store, one, 4).await);
    // Nor does one that gives up.
    store.release(&logs, one).await;
    assert!(is_busy(&store, one, 5).await);
    store.release(&logs, other).await;
    assert!(!is_busy(&store, one, 6).await && is_busy(&store, other, 6).await);
    assert!(store.remove(&read.entries, one).await.is_some());
    assert_eq!(store.read(&[log("alice")], up_to(9), other, at(7)).await, ReadLogs::default());
}

async fn who_waits_for_a_writer_sees_when_what_there_was_is_written(store: Store) {
    let (one, other) = (WriterId(1), WriterId(2));
    let busy = async |after_ms| store.read(&[log("alice")], ALL, other, at(after_ms)).await.busy[0];
    append_all(&store, "alice", &["first", "second"]).await;
    let read = store.read(&[log("alice")], up_to(1), one, at(0)).await;
    let before = busy(1).await;
    append(&store, "alice", 2, "third", 2).await;
    assert!(!busy(3).await.is_past(&before));
    store.remove(&read.entries, one).await;
    let read = store.read(&[log("alice")], up_to(1), one, at(4)).await;
    assert!(!busy(5).await.is_past(&before));
    store.remove(&read.entries, one).await;
    let rest = store.read(&[log("alice")], up_to(1), one, at(6)).await;
    assert_eq!(texts(&rest.entries), ["third"]);
    assert!(busy(7).await.is_past(&before));
}

async fn a_lease_lapses_and_does_not_outlive_a_clock_that_goes_back(store: Store) {
    let (one, other) = (WriterId(1), WriterId(2));
    let is_busy = async |writer, after_ms| is_busy(&store, writer, after_ms).await;
    append(&store, "alice", 0, "first", 0).await;
    assert!(!is_busy(one, 0).await);
    assert!(is_busy(other, WRITER_LEASE_MS - 1).await);
    assert!(!is_busy(other, WRITER_LEASE_MS).await);
    // The clock of the server was an hour ahead, and is set right.
    assert!(!is_busy(one, 3_600_000).await);
    assert!(!is_busy(other, 2_000).await);
    assert!(is_busy(one, 2_100).await);
}

async fn a_writer_without_a_lease_waits_for_no_other_and_leaves_its_lease(store: Store) {
    let (one, other) = (WriterId(1), WriterId(2));
    append(&store, "alice", 0, "first", 0).await;
    store.read(&[log("alice")], ALL, one, at(0)).await;
    let read = store.read(&[log("alice")], ALL, WriterId::WITHOUT_LEASE, at(1)).await;
    assert_eq!((texts(&read.entries), read.busy.len()), (vec!["first"], 0));
    assert!(is_busy(&store, other, 2).await);
    append(&store, "alice", 1, "second", 3).await;
    store.remove(&read.entries, WriterId::WITHOUT_LEASE).await;
    assert!(is_busy(&store, other, 4).await);
    let read = store.read(&[log("alice")], ALL, one, at(5)).await;
    assert_eq!(texts(&read.entries), ["second"]);
}
