//! Each notification of a send is in exactly one state, whatever happens to it.

use shared::ids::UserId;
use shared::inbox::Change;
use shared::inbox::history::{PastSend, SendQuery, State, States};
use shared::inbox::sends::CHUNK_RECIPIENTS;
use shared::page_key::PageKey;

use crate::record::{Record, START_MS, Send, at, ids, user, users};

on_each_record! {
    a_notification_that_no_connection_took_is_waiting,
    a_notification_that_every_connection_took_is_offered,
    an_acknowledgement_settles_what_arrived_up_to_it_and_nothing_later,
    read_and_deleted_notifications_are_settled,
    recipients_in_chunks_are_waiting_and_counted_once,
    neither_a_repeat_nor_another_send_changes_the_states,
    only_sends_with_a_notification_in_the_state_are_listed,
}

/// The send with this key, as the history shows it.
async fn past_send(record: &Record, key: &str) -> PastSend {
    let query = SendQuery { limit: 200, ..SendQuery::default() };
    let page = record.send_history().sends(&query, at(1_000)).await.unwrap();
    assert_eq!(page.next, None);
    let id = Send::new(key).id;
    page.sends.into_iter().find(|send| send.key.id == id).unwrap()
}

async fn states(record: &Record, key: &str) -> States {
    past_send(record, key).await.states
}

async fn offset(record: &Record, name: &str) -> i64 {
    record.position(name).await.head
}

async fn a_notification_that_no_connection_took_is_waiting(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.send(&Send::of_kind("1", "like"), &users(&["alice", "bob"]), at(5)).await;
    let send = past_send(&record, "1").await;
    assert_eq!(send.key, PageKey { at_ms: START_MS + 5, id: Send::new("1").id });
    assert_eq!((send.kind.as_str(), send.title.as_str()), ("like", "1"));
    assert_eq!(send.states, States { waiting: 2, ..States::default() });
}

async fn a_notification_that_every_connection_took_is_offered(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.send(&Send::new("1"), &users(&["alice", "bob", "carol"]), at(0)).await;
    record.deliveries().mark_offered(&[(&user("alice"), 1)], at(1)).await.unwrap();
    assert_eq!(states(&record, "1").await, States { offered: 1, waiting: 2, ..States::default() });
    // Reading it later settles it.
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(2)).await;
    assert_eq!(states(&record, "1").await, States { settled: 1, waiting: 2, ..States::default() });
}

async fn an_acknowledgement_settles_what_arrived_up_to_it_and_nothing_later(record: Record) {
    record.ring(&["1"], "alice", at(0)).await;
    record.send(&Send::new("2"), &users(&["alice", "bob"]), at(1)).await;
    let cursor = record.position("alice").await.cursor_at(1);
    assert!(record.inbox().acknowledge(&user("alice"), cursor, at(2)).await.unwrap());
    assert_eq!(states(&record, "1").await, States { settled: 1, ..States::default() });
    assert_eq!(states(&record, "2").await, States { waiting: 2, ..States::default() });
    let cursor = record.position("alice").await.cursor_at(2);
    assert!(record.inbox().acknowledge(&user("alice"), cursor, at(3)).await.unwrap());
    assert_eq!(states(&record, "2").await, States { settled: 1, waiting: 1, ..States::default() });
}

async fn read_and_deleted_notifications_are_settled(record: Record) {
    let names = ["alice", "bob", "carol", "dave"];
    record.send(&Send::new("1"), &users(&names), at(0)).await;
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(1)).await;
    record.change("bob", Change::Delete(ids(&["1"], "bob")), at(1)).await;
    record.change("carol", Change::Read(ids(&["1"], "carol")), at(1)).await;
    assert_eq!(states(&record, "1").await, States { settled: 3, waiting: 1, ..States::default() });
    // Marking it as unread puts it back into its earlier state.
    record.change("carol", Change::Unread(ids(&["1"], "carol")), at(2)).await;
    assert_eq!(states(&record, "1").await, States { settled: 2, waiting: 2, ..States::default() });
    // Marking a tombstone as offered changes nothing.
    record.deliveries().mark_offered(&[(&user("bob"), 1)], at(3)).await.unwrap();
    assert_eq!(states(&record, "1").await, States { settled: 2, waiting: 2, ..States::default() });
}

async fn recipients_in_chunks_are_waiting_and_counted_once(record: Record) {
    let to: Vec<UserId> = (0..2 * CHUNK_RECIPIENTS + 30).map(|n| user(&format!("user \"{n}\""))).collect();
    record.send(&Send::new("1"), &to, at(0)).await;
    let reader = to[0].as_str();
    record.change(reader, Change::Read(ids(&["1"], reader)), at(1)).await;
    let last = to.last().unwrap();
    for chunks_left in (0..=2).rev() {
        assert_eq!(states(&record, "1").await, States { settled: 1, waiting: 429, ..States::default() });
        assert_eq!(offset(&record, last.as_str()).await, i64::from(chunks_left == 0));
        let chunk = record.materialise_next(at(2)).await.unwrap();
        assert_eq!(chunk.is_some(), chunks_left > 0);
    }
    record.deliveries().mark_offered(&[(last, 1)], at(3)).await.unwrap();
    let expected = States { settled: 1, offered: 1, waiting: 428, ..States::default() };
    assert_eq!(states(&record, "1").await, expected);
    assert_eq!(expected.sum(), 430);
}

async fn neither_a_repeat_nor_another_send_changes_the_states(record: Record) {
    record.send(&Send::new("1"), &users(&["alice", "bob"]), at(0)).await;
    record.append(&Send::new("1"), &users(&["alice", "bob"]), at(1)).await;
    record.send(&Send::new("2"), &users(&["alice", "carol"]), at(2)).await;
    record.change("alice", Change::Read(ids(&["2"], "alice")), at(3)).await;
    assert_eq!(states(&record, "1").await, States { waiting: 2, ..States::default() });
    assert_eq!(states(&record, "2").await, States { settled: 1, waiting: 1, ..States::default() });
    assert_eq!(past_send(&record, "1").await.key.at_ms, START_MS);
}

async fn only_sends_with_a_notification_in_the_state_are_listed(record: Record) {
    let of = async |state, limit| {
        let query = SendQuery { state: Some(state), limit, ..SendQuery::default() };
        let page = record.send_history().sends(&query, at(1_000)).await.unwrap();
        let titles: Vec<String> = page.sends.into_iter().map(|send| send.title).collect();
        (titles.join(" "), page.next.is_some())
    };
    for (n, key) in ["1", "2", "3", "4"].into_iter().enumerate() {
        record.send(&Send::new(key), &users(&["alice", "bob"]), at(i64::try_from(n).unwrap())).await;
    }
    record.change("alice", Change::Read(ids(&["1", "3"], "alice")), at(10)).await;
    record.change("bob", Change::Read(ids(&["3"], "bob")), at(10)).await;
    record.deliveries().mark_offered(&[(&user("bob"), 4)], at(10)).await.unwrap();
    assert_eq!(of(State::Waiting, 10).await, ("4 2 1".into(), false));
    assert_eq!(of(State::Waiting, 2).await, ("4 2".into(), true));
    assert_eq!(of(State::Settled, 10).await, ("3 1".into(), false));
    assert_eq!(of(State::Settled, 1).await, ("3".into(), true));
    assert_eq!(of(State::Offered, 10).await, ("4".into(), false));
    assert_eq!(of(State::Expired, 10).await, (String::new(), false));
    assert_eq!(of(State::Dead, 10).await, (String::new(), false));
}
