//! Pages of the history: newest first, only what matches the query, and every send exactly once.

use std::collections::HashSet;

use shared::ids::{SendId, UserId};
use shared::inbox::Change;
use shared::inbox::history::{MAX_SENDS, SendQuery, State};
use shared::inbox::sends::CHUNK_RECIPIENTS;

use crate::record::{Record, Send, at, concurrently, ids, user, users};

on_each_record! {
    a_history_without_sends_is_empty,
    sends_are_listed_newest_first_and_in_a_fixed_order_at_equal_times,
    pages_neither_skip_nor_repeat_a_send_while_others_arrive,
    only_matching_sends_are_listed,
    a_user_in_a_waiting_chunk_counts_as_a_recipient,
    an_empty_page_of_a_rare_state_leads_to_the_next_page,
}

/// The titles of a page, and whether more follow.
async fn titles(record: &Record, query: SendQuery) -> (String, bool) {
    let page = record.send_history().sends(&query, at(1_000)).await.unwrap();
    let titles: Vec<String> = page.sends.into_iter().map(|send| send.title).collect();
    (titles.join(" "), page.next.is_some())
}

async fn a_history_without_sends_is_empty(record: Record) {
    assert_eq!(titles(&record, SendQuery { limit: 10, ..SendQuery::default() }).await, (String::new(), false));
}

async fn sends_are_listed_newest_first_and_in_a_fixed_order_at_equal_times(record: Record) {
    for (key, after_ms) in [("1", 0), ("2", 5), ("3", 5), ("4", 5), ("5", 9)] {
        record.send(&Send::new(key), &users(&["alice"]), at(after_ms)).await;
    }
    let mut same_time = ["2", "3", "4"].map(|key| (Send::new(key).id, key));
    same_time.sort();
    let expected = ["5", same_time[2].1, same_time[1].1, same_time[0].1, "1"];
    for limit in 1..=5 {
        let mut query = SendQuery { limit, ..SendQuery::default() };
        let mut listed = Vec::new();
        loop {
            let page = record.send_history().sends(&query, at(10)).await.unwrap();
            assert!(page.sends.len() == limit || page.next.is_none());
            listed.extend(page.sends.into_iter().map(|send| send.title));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(listed, expected, "{limit} at once");
    }
}

async fn pages_neither_skip_nor_repeat_a_send_while_others_arrive(record: Record) {
    const SENDS: usize = 40;
    let mut stored = HashSet::new();
    for n in 0..SENDS {
        let send = Send::new(&n.to_string());
        // Four sends share each time.
        record.send(&send, &users(&["alice"]), at(i64::try_from(n / 4).unwrap())).await;
        stored.insert(send.id);
    }
    concurrently(4, |n| {
        let (record, stored) = (record.clone(), stored.clone());
        async move {
            if n < 3 {
                for m in 0..SENDS {
                    let send = Send::new(&format!("{n} {m}"));
                    record.send(&send, &[user(&format!("user {n}"))], at(10)).await;
                }
                return;
            }
            let mut query = SendQuery { limit: 3, ..SendQuery::default() };
            let mut listed: Vec<SendId> = Vec::new();
            loop {
                let page = record.send_history().sends(&query, at(10)).await.unwrap();
                listed.extend(page.sends.iter().map(|send| send.key.id));
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            let distinct: HashSet<SendId> = listed.iter().copied().collect();
            assert_eq!(listed.len(), distinct.len());
            assert!(stored.is_subset(&distinct));
        }
    })
    .await;
}

async fn only_matching_sends_are_listed(record: Record) {
    for (n, (sender, key, kind, to)) in [
        ("billing", "1", "like", ["alice", "bob"].as_slice()),
        ("reports", "2", "like", &["alice"]),
        ("billing", "3", "LIKE", &["bob"]),
        ("reports", "4", "reply", &["bob", "carol"]),
        ("billing", "5", "like", &["carol"]),
    ]
    .into_iter()
    .enumerate()
    {
        record.append_from(sender, &Send::of_kind(key, kind), &users(to), at(i64::try_from(n).unwrap())).await;
    }
    // Deleting a notification does not take its send out of the history.
    record.change("alice", Change::Delete(ids(&["1"], "alice")), at(10)).await;

    for (sender, recipient, kind, expected) in [
        (None, None, None, "5 4 3 2 1"),
        (Some("billing"), None, None, "5 3 1"),
        (Some("reports"), None, None, "4 2"),
        (Some("bill"), None, None, ""),
        (Some("alice"), None, None, ""),
        (None, Some("alice"), None, "2 1"),
        (None, Some("bob"), None, "4 3 1"),
        (None, Some("bob' OR true --"), None, ""),
        (None, None, Some("like"), "5 2 1"),
        (None, None, Some("lik%"), ""),
        (Some("billing"), Some("bob"), None, "3 1"),
        (Some("billing"), Some("bob"), Some("like"), "1"),
        (Some("reports"), None, Some("like"), "2"),
        (Some("reports"), Some("carol"), Some("like"), ""),
    ] {
        let named = |name: Option<&str>| name.map(user);
        let query = SendQuery {
            sender: named(sender),
            recipient: named(recipient),
            kind: kind.map(str::to_owned),
            limit: 10,
            ..SendQuery::default()
        };
        assert_eq!(titles(&record, query.clone()).await, (expected.into(), false), "{query:?}");
        if let Some((first, rest)) = expected.split_once(' ') {
            let query = SendQuery { limit: 1, ..query };
            let page = record.send_history().sends(&query, at(1_000)).await.unwrap();
            assert_eq!(page.sends[0].title, first);
            let query = SendQuery { after: page.next, limit: 10, ..query };
            assert_eq!(titles(&record, query.clone()).await, (rest.into(), false), "{query:?}");
        }
    }
}

async fn a_user_in_a_waiting_chunk_counts_as_a_recipient(record: Record) {
    let to: Vec<UserId> = (0..=CHUNK_RECIPIENTS).map(|n| user(&format!("\"user\" \\ {n} \u{e9}"))).collect();
    let last = to[CHUNK_RECIPIENTS].clone();
    record.send(&Send::new("1"), &to, at(0)).await;
    record.send(&Send::new("2"), &to[1..=2], at(1)).await;
    let of = |recipient: &UserId| SendQuery { recipient: Some(recipient.clone()), limit: 10, ..SendQuery::default() };
    for _ in 0..2 {
        assert_eq!(titles(&record, of(&last)).await, ("1".into(), false));
        assert_eq!(titles(&record, of(&to[1])).await, ("2 1".into(), false));
        assert_eq!(titles(&record, of(&user("user"))).await, (String::new(), false));
        record.materialise_next(at(2)).await.unwrap();
    }
}

async fn an_empty_page_of_a_rare_state_leads_to_the_next_page(record: Record) {
    for n in 0..MAX_SENDS + 5 {
        record.send(&Send::new(&n.to_string()), &users(&["alice"]), at(i64::try_from(n).unwrap())).await;
    }
    record.change("alice", Change::Read(ids(&["2"], "alice")), at(900)).await;
    let query = SendQuery { state: Some(State::Settled), limit: 3, ..SendQuery::default() };
    let page = record.send_history().sends(&query, at(1_000)).await.unwrap();
    assert!(page.sends.is_empty());
    let query = SendQuery { after: Some(page.next.unwrap()), ..query };
    assert_eq!(titles(&record, query).await, ("2".into(), false));
}
